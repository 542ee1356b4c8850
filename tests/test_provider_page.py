"""The adapter of ``providers/README.md`` works as it stands there, and so does its test."""

from __future__ import annotations

import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.app import create_app
from gateway.settings import Settings
from providers.testing import ProviderContract, Upstream
from tests.documents import ROOT, blocks
from tests.emulators.acme import Acme
from tests.gateways import post, running

PAGE = ROOT / "providers/README.md"


def adapter_of_the_page() -> types.ModuleType:
    """The whole adapter of providers/README.md, as the module ``acme_gateway``."""
    code = next(block for block in blocks("python", pages=[PAGE]) if "plugin =" in block.text)
    module = types.ModuleType("acme_gateway")
    sys.modules[module.__name__] = module
    exec(compile(code.text, str(code), "exec"), module.__dict__)
    return module


def suite_of_the_page() -> type[ProviderContract]:
    """The test class of providers/README.md, as it stands there."""
    code = next(block for block in blocks("python", pages=[PAGE]) if "TestAcme" in block.text)
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(code.text, str(code), "exec"), names)
    suite: type[ProviderContract] = names["TestAcme"]
    assert issubclass(suite, ProviderContract)
    return suite


acme_gateway = adapter_of_the_page()
TestAcme = suite_of_the_page()


@pytest.fixture
def acme_emulator(emulator: Callable[[Any], str]) -> Upstream:
    app = Acme()
    app.url = emulator(app)
    return app


def test_a_strangers_adapter_goes_through_the_whole_gateway(
    acme_emulator: Acme, tmp_path: Path
) -> None:
    config = next(b for b in blocks("yaml", pages=[PAGE]) if "openai_chat" not in b.text)
    tree = yaml.safe_load(config.text)
    tree["providers"]["acme"] = {"api_key": acme_emulator.key, "base_url": acme_emulator.url}
    tree["deployments"]["acme-mixtral"]["model"] = "cold"  # the emulator's scenario
    settings = Settings.model_validate({**tree, "server": {"data_dir": tmp_path / "data"}})
    with running(
        create_app(settings, plugins={"acme": acme_gateway.plugin}, log_attempts=False)
    ) as url:
        answer = post(f"{url}/v1/generate", {"model": "mixtral", "input": "Say something."})
        chat = {"model": "mixtral", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        completion = post(f"{url}/v1/chat/completions", chat)
    verdict = answer["cold_start"]
    assert (verdict["verdict"], verdict["evidence"]) == ("cold", "phase_reported")
    boot = next(line for line in answer["cost"]["lines"] if line["kind"] == "boot_seconds")
    assert (boot["quantity"], boot["usd"], boot["status"]) == ("41.5", "0.0581", "measured")
    assert answer["usage"]["source"] == "reported"
    assert answer["attempts"][0]["upstream_id"] == "1"
    assert completion["choices"][0]["message"]["content"] == answer["output"][0]["text"]
    assert acme_emulator.orders[1] == {
        "model": "cold",
        "gpu": "large",
        "prompt": "user: x",
        "max_tokens": 9,
    }


def test_the_entry_point_is_the_group_that_is_read() -> None:
    (block,) = blocks("toml")
    (group,) = tomllib.loads(block.text)["project"]["entry-points"].items()
    assert group == (
        "serverless_inference_gateway.providers",
        {"acme": f"{acme_gateway.__name__}:plugin"},
    )
