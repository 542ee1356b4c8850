"""What the pages say is true: their code runs, their commands, routes, files and names exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import typer.main

from gateway import cli, reference
from gateway.app import create_app
from gateway.http.errors import STATUSES
from gateway.ledger import rows
from gateway.ledger.codec import ATTEMPT_COLUMNS
from gateway.plugins import list_plugins
from gateway.registry import Registry
from gateway.settings import load
from gateway.telemetry.definitions import BY_NAME, DEFINITIONS
from providers.contract import Booting, Delta, Evidence, Finished, Started, Usage
from providers.testing import ScriptedProvider
from providers.toolkit.http import open_http
from tests.documents import PAGES, ROOT, anchors, blocks, codes, links, shell_lines
from tests.gateways import post, running
from tests.test_provider_page import acme_gateway

README, PROVIDERS = ROOT / "README.md", ROOT / "providers/README.md"
API, COMMANDS = ROOT / "gateway/http/README.md", ROOT / "gateway/cli/README.md"
ENVIRONMENT = {
    "ACME_API_KEY": "a",
    "GROQ_API_KEY": "b",
    "OPENROUTER_API_KEY": "c",
    "HF_TOKEN": "hf_d",
    "MODAL_TOKEN_ID": "ak-e",
    "MODAL_TOKEN_SECRET": "as-f",
    "MODAL_PROXY_TOKEN_ID": "wk-g",
    "MODAL_PROXY_TOKEN_SECRET": "ws-h",
    "REPLICATE_API_TOKEN": "r8_i",
    "RUNPOD_API_KEY": "rpa_j",
}


@pytest.fixture(scope="module")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with the default configuration whose local engine is a script."""
    script = ScriptedProvider()
    script.play(
        "smollm2-135m-instruct",
        Booting("process_started", caused_boot=True),
        Started("local-1"),
        Delta("It scatters."),
        Finished(("stop",), Usage(36, 40)),
    )
    data_dir = tmp_path_factory.mktemp("gateway")
    settings = load(None, {}, {"server": {"data_dir": str(data_dir)}})
    with running(
        create_app(settings, plugins={"local": script.plugin("local")}, log_attempts=False)
    ) as url:
        yield url


# -- code blocks --------------------------------------------------------------------------------


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    kinds = {"sh", "json", "yaml", "toml", "python", "text"}
    fences = sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES)
    assert fences == 2 * len(blocks(*kinds))


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_configurations_are_sound(
    block: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    path = tmp_path / "gateway.yml"
    path.write_text(block.text, encoding="utf-8")
    settings = load(path, ENVIRONMENT)
    of_a_stranger = block.page == PROVIDERS and "openai_chat" not in block.text
    plugins = {"acme": acme_gateway.plugin} if of_a_stranger else None
    registry = Registry(settings, open_http, plugins)
    registry.build()
    assert registry.targets and settings.models


def test_the_sdk_works_as_the_page_says(
    gateway_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = blocks("python", pages=[README])
    code = block.text.replace("http://127.0.0.1:8080", gateway_url)
    assert code != block.text
    names: dict[str, Any] = {}
    try:
        exec(compile(code, str(block), "exec"), names)
    finally:
        names["client"].close()
    text, bill = capsys.readouterr().out.splitlines()
    assert text == "It scatters."
    cost, verdict = bill.split()
    assert float(cost) > 0 and verdict == "cold"


def test_the_first_answer_has_the_shape_that_is_shown(gateway_url: str) -> None:
    (block,) = blocks("json", pages=[README])
    curl = next(line for _, line in shell_lines() if line.startswith("curl"))
    body = json.loads(shlex.split(curl)[shlex.split(curl).index("-d") + 1])
    real = post(f"{gateway_url}/v1/generate", body)
    assert_shape(json.loads(block.text), real, "answer")


def assert_shape(shown: Any, real: Any, where: str) -> None:
    """All that is shown is there, under the same names and of the same types."""
    if isinstance(shown, dict):
        assert shown.keys() <= real.keys(), where
        for key, value in shown.items():
            assert_shape(value, real[key], f"{where}.{key}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), where
        for value, other in zip(shown, real, strict=True):
            assert_shape(value, other, f"{where}[]")
    else:
        assert type(shown) is type(real), where


def test_the_error_has_the_shape_that_is_shown(gateway_url: str) -> None:
    (block,) = blocks("json", pages=[API])
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(f"{gateway_url}/v1/generate", {"model": "none", "input": "hi"})
    with caught.value as answer:
        assert json.loads(answer.read()) == json.loads(block.text)


# -- commands, routes, files --------------------------------------------------------------------

COMMAND: Any = typer.main.get_command(cli.app)
USAGE_ERROR = typer.BadParameter.__mro__[1]


def parse(command: Any, arguments: list[str]) -> None:
    """Parse a command line without running it; raises click's own error on what is not there."""
    with command.make_context("gateway", list(arguments)) as context:
        bare = getattr(command, "invoke_without_command", False) and not context._protected_args
        if hasattr(command, "resolve_command") and not bare:
            _, inner, rest = command.resolve_command(context, context._protected_args)
            parse(inner, [*rest, *context.args])


@pytest.mark.parametrize(
    ("place", "line"), [(place, line) for place, line in shell_lines()], ids=lambda text: text[:60]
)
def test_shell_lines(place: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "gateway":
        parse(COMMAND, arguments)
    elif program == "make":
        assert arguments[0] in make_targets()
    elif program == "curl":
        path = re.sub(r"^http://127\.0\.0\.1:8080", "", arguments[0])
        assert path in paths()
    elif program == "docker":
        assert (ROOT / arguments[arguments.index("-f") + 1]).is_file()
    else:
        pytest.fail(f"{place}: nothing is known of {program}")


def test_parse_finds_what_is_not_there() -> None:
    for wrong in (["nonsense"], ["costs", "--colour"], ["keys", "drop"], ["costs", "extra"]):
        with pytest.raises(USAGE_ERROR):
            parse(COMMAND, wrong)


def make_targets() -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    return phony[1].split()


def test_every_make_word_is_explained() -> None:
    words = {
        line.split()[1] for _, line in shell_lines() if line.startswith("make") and "=" not in line
    }
    assert words == set(make_targets())
    usage = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\n")[0]
    assert set(make_targets()) <= set(re.findall(r"\w+", usage))


def paths() -> dict[str, set[str]]:
    """Methods by path, as the application serves them."""
    app = create_app(load(None, {}))
    served: dict[str, set[str]] = {}
    for path, methods in app.openapi()["paths"].items():
        served[path] = {method.upper() for method in methods}
    return served | {path: {"GET"} for path in ("/", "/openapi.json", "/docs", "/dashboard")}


def test_the_table_of_routes_is_whole() -> None:
    told: dict[str, set[str]] = {}
    for code in codes(API):
        method, _, path = code.partition(" ")
        if path.startswith("/"):
            told.setdefault(path, set()).add(method)
    assert told == paths()


def test_the_table_of_commands_is_whole() -> None:
    told = {tuple(code.split()[1:]) for code in codes(COMMANDS) if code.startswith("gateway ")}
    told = {tuple(word for word in words if word.isidentifier() or "-" in word) for words in told}
    there: set[tuple[str, ...]] = set()
    for name, command in COMMAND.commands.items():
        inner = getattr(command, "commands", None)
        there |= {(name, other) for other in inner or ()}
        if inner is None or getattr(command, "invoke_without_command", False):
            there.add((name,))
    assert told == there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


# -- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", reference.SECTIONS)
def test_the_reference_is_current(name: str) -> None:
    text = reference.SECTIONS[name][0].read_text(encoding="utf-8")
    assert reference.refreshed(name, text) == text, "make docs"


def test_the_reference_has_a_meaning_for_everything() -> None:
    for _, make in reference.SECTIONS.values():
        for line in make().splitlines():
            if line.startswith("| `"):
                assert not line.endswith("|  |"), line


def test_a_missing_marker_is_found() -> None:
    with pytest.raises(ValueError, match="begin: configuration"):
        reference.refreshed("configuration", "nothing")


def test_every_error_code_is_explained() -> None:
    said = {code for _, code in STATUSES.values()}
    sources = [*sorted((ROOT / "gateway/http").rglob("*.py")), ROOT / "gateway/app.py"]
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HttpError":
                said |= strings(node.args[1])
            if isinstance(node, ast.Assign) and re.match(
                r"\(?code\b", ast.unparse(node.targets[0])
            ):
                said |= strings(node.value)
    assert {"unknown_field", "missing_field", "route_not_found", "refused"} <= said
    assert said <= codes(API)


def strings(node: ast.AST) -> set[str]:
    """The codes an expression can give: a text, one of two, a table's; of a pair the first."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.Tuple(elts=[first, *_]):
            return strings(first)
        case ast.IfExp():
            return strings(node.body) | strings(node.orelse)
        case ast.Call(func=ast.Attribute(value=ast.Dict(values=values))):
            return {text for part in (*values, *node.args[1:]) for text in strings(part)}
    return set()


def test_every_metric_is_explained(gateway_url: str) -> None:
    post(f"{gateway_url}/v1/generate", {"model": "smollm2", "input": "hi"})
    end = time.monotonic() + 10
    while True:
        with urllib.request.urlopen(f"{gateway_url}/metrics", timeout=10) as answer:
            exposed = answer.read().decode()
        if "gateway_attempts_total{" in exposed:
            break
        assert time.monotonic() < end, "no metrics were shipped"
        time.sleep(0.05)
    there = set(re.findall(r"^# TYPE (\w+) ", exposed, re.MULTILINE))
    there = {name for name in there if not name.endswith("_created")}
    page, _ = reference.SECTIONS["metrics"]
    told = {code for code in codes(page) if re.match(r"(gateway|gen_ai)_\w+$", code)}
    known = {label for definition in DEFINITIONS for label in definition.labels}
    assert told - set(ATTEMPT_COLUMNS) - known == there == set(BY_NAME)


def test_every_kind_of_line_and_evidence_is_explained() -> None:
    kinds = re.findall(r"^    (\w+) +\{", rows.__doc__ or "", re.MULTILINE)
    assert len(kinds) == 6
    assert {*kinds, *get_args(Evidence)} <= codes(reference.SECTIONS["ledger"][0])


def test_every_provider_is_named_with_its_status() -> None:
    for page in (README, PROVIDERS):
        table = [line for line in page.read_text(encoding="utf-8").splitlines() if "|" in line]
        for info in list_plugins(load(None, {})):
            assert info.plugin is not None
            (row,) = [line for line in table if line.startswith(f"| `{info.name}`")]
            assert f"| {info.plugin.status}: " in row
            assert len(row.split("|")) == 7  # speaks, how a cold start shows, what is billed
            for preset in info.plugin.presets if page == README else ():
                assert preset in row.lower()


def test_the_changelog_begins_with_what_is_to_come() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections[0] == "Unreleased"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"{version} " in text
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
