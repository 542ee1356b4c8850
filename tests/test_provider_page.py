"""The adapter of ``providers/README.md`` as a distribution of its own, and its test as it stands.

Nothing of ours names it: its metadata lie in a folder of their own, the registry finds its entry
point there, it passes the contract suite, and ``gateway serve`` serves it from there.
"""

from __future__ import annotations

import atexit
import re
import shutil
import sys
import tempfile
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.plugins import installed, list_plugins, load_plugin
from gateway.settings import load
from providers.testing import ProviderContract, Upstream
from providers.testing.scenarios import SCENARIOS
from tests.acceptance.gateways import serving
from tests.documents import ROOT, blocks
from tests.emulators.acme import Acme
from tests.strangers import importable, install

PAGE = ROOT / "providers/README.md"


def installed_from_the_page() -> Path:
    """A folder with the page's adapter and entry point, installed as ``acme-gateway``."""
    target = Path(tempfile.mkdtemp(prefix="acme-"))
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    code = next(block for block in blocks("python", pages=[PAGE]) if "plugin =" in block.text)
    (entry,) = blocks("toml", pages=[PAGE])
    groups = tomllib.loads(entry.text)["project"]["entry-points"]
    install(target, "acme-gateway", {"acme_gateway.py": code.text}, groups)
    return target


def adapter_of(target: Path) -> types.ModuleType:
    """Its module, imported by the registry through the entry point."""
    with importable(target):
        plugin = load_plugin(installed()["acme"], "acme")
    module = sys.modules["acme_gateway"]
    assert module.plugin is plugin and module.__file__ == str(target / "acme_gateway.py")
    return module


def suite_of_the_page() -> type[ProviderContract]:
    """The test class of providers/README.md, as it stands there."""
    code = next(block for block in blocks("python", pages=[PAGE]) if "TestAcme" in block.text)
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(code.text, str(code), "exec"), names)
    suite: type[ProviderContract] = names["TestAcme"]
    assert issubclass(suite, ProviderContract)
    return suite


TARGET = installed_from_the_page()
acme_gateway = adapter_of(TARGET)
TestAcme = suite_of_the_page()


@pytest.fixture
def acme_emulator(emulator: Callable[[Any], str]) -> Upstream:
    app = Acme()
    app.url = emulator(app)
    return app


def configuration(path: Path, emulated: Acme) -> Path:
    """The page's, for the emulator."""
    text = next(b for b in blocks("yaml", pages=[PAGE]) if "openai_chat" not in b.text)
    tree = yaml.safe_load(text.text)
    tree["providers"]["acme"] = {"api_key": emulated.key, "base_url": emulated.url}
    tree["deployments"]["acme-mixtral"]["model"] = "cold"  # the emulator's scenario
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_a_strangers_adapter_goes_through_the_whole_gateway(
    acme_emulator: Acme, tmp_path: Path
) -> None:
    config = configuration(tmp_path / "gateway.yml", acme_emulator)
    log = tmp_path / "log"
    with serving(config, tmp_path / "data", log, PYTHONPATH=str(TARGET)) as gateway:
        answer = gateway.generate("mixtral", input="Say something.")
        chat = {"model": "mixtral", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        completion = gateway.call("POST", "/v1/chat/completions", chat).json
    verdict = answer["cold_start"]
    assert (verdict["verdict"], verdict["evidence"]) == ("cold", "phase_reported")
    boot = next(line for line in answer["cost"]["lines"] if line["kind"] == "boot_seconds")
    # Whose boot it was Acme does not say, so it may have been another caller's to pay.
    assert (boot["quantity"], boot["usd"], boot["status"]) == ("41.5", "0.0581", "estimated")
    assert answer["usage"]["source"] == "reported"
    assert answer["attempts"][0]["upstream_id"] == "1"
    assert completion["choices"][0]["message"]["content"] == answer["output"][0]["text"]
    assert acme_emulator.orders[1] == {
        "model": "cold",
        "gpu": "large",
        "prompt": "user: x",
        "max_tokens": 9,
    }


def test_the_page_names_every_scenario() -> None:
    rows = [row for row in PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert set(SCENARIOS) <= set(named)
    assert len(named) == len(set(named))


def test_it_is_listed_with_where_it_comes_from(acme_emulator: Acme, tmp_path: Path) -> None:
    settings = load(configuration(tmp_path / "gateway.yml", acme_emulator), {})
    with importable(TARGET):
        listed = {info.name: info for info in list_plugins(settings)}
    assert (listed["acme"].origin, listed["acme"].enabled) == ("acme-gateway", True)
    assert "acme" not in installed()
