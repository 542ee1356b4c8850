"""A boot without end through a whole gateway: its bound is the gateway's, and the work is ended."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.settings import load
from providers.testing import ProviderContract, Upstream
from tests.contract import test_banana, test_huggingface, test_local, test_modal, test_openai_chat
from tests.contract import test_replicate as replicate
from tests.contract import test_runpod as runpod
from tests.emulators.banana import Banana
from tests.emulators.huggingface import HuggingFace
from tests.emulators.modal import serve_modal
from tests.emulators.native_servers import LmStudio, Ollama
from tests.emulators.openai_chat import OpenAIChat
from tests.emulators.replicate import Replicate
from tests.emulators.runpod import RunPod
from tests.gateway_app.gateways import eventually
from tests.gateways import post, running

BOOT_SECONDS = 0.25
SUITES: dict[str, tuple[type[ProviderContract], Callable[[], Any]]] = {
    "replicate": (replicate.TestReplicate, Replicate),
    "huggingface": (test_huggingface.TestManagedEndpoint, HuggingFace),
    "ollama": (test_local.TestOllama, Ollama),
    "lmstudio": (test_local.TestLmStudio, LmStudio),
    "modal": (test_modal.TestModalFunction, serve_modal),
    "runpod": (runpod.TestRunPod, RunPod),
    "openai_chat": (test_openai_chat.TestOpenAIChat, OpenAIChat),
    "banana": (test_banana.TestPotassium, Banana),
}
REFUSE = {"openai_chat", "banana"}  # each question, so that nothing is left to end


@contextmanager
def emulated(name: str, emulator: Callable[[Any], str]) -> Iterator[Upstream]:
    _, build = SUITES[name]
    if name == "modal":
        with build() as service:
            yield service
    else:
        app = build()
        app.url = emulator(app)
        yield app


@pytest.mark.parametrize("name", SUITES)
def test_a_boot_without_end(name: str, emulator: Callable[[Any], str], tmp_path: Path) -> None:
    suite = SUITES[name][0]()
    with emulated(name, emulator) as upstream:
        setup = suite.setup_for("never-boots", upstream)
        kind = suite.plugin.name
        deployment = {"provider": "up", "model": setup.model, **setup.options}
        changes = {
            "server": {"data_dir": str(tmp_path)},
            "providers": {"up": {"kind": kind, **setup.settings}},
            "deployments": {"one": deployment},
            "models": {"one": {"deployments": ["one"]}},
            "timeouts": {"boot_seconds": BOOT_SECONDS},
        }
        with running(create_app(load(None, {}, changes), log_attempts=False)) as url:
            with pytest.raises(urllib.error.HTTPError) as caught:
                post(f"{url}/v1/generate", {"model": "one", "input": "Say something."})
            error = json.loads(caught.value.read())["error"]
            assert (caught.value.code, error["code"]) == (503, "cold_start_timeout")
            assert "retry-after" in caught.value.headers
            eventually(lambda: upstream.stopped("never-boots") == (name not in REFUSE), 5.0)
        assert upstream.began("never-boots") >= 1
