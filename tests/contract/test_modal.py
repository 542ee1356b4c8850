"""Modal: a function that returns, a class that yields, a chat server behind Modal's proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from providers.modal import plugin
from providers.testing import ProviderContract, Setup, Upstream
from tests.emulators.modal import TOKEN, Modal, serve_modal
from tests.emulators.modal_web import PROXY_TOKEN, ModalProxy
from tests.emulators.openai_chat import OpenAIChat

INPUT = {"prompt": "prompt", "max_output_tokens": "max_tokens"}
NOT_ON_THE_WIRE = {
    "split-frames": "the SDK reads the frames",
    "tools": "a function has no channel for tool calls",
    "out-of-quota": "no status of Modal's is known to mean it",
    "no-capacity": "calls wait in Modal's queue",
    "loading": "calls wait in Modal's queue",
    "unknown-status": "a status stands in results alone: with any word the call has ended",
}


@pytest.fixture(scope="module")
def modal() -> Iterator[Modal]:
    with serve_modal(speed=200.0) as service:
        yield service


class TestModalFunction(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {
        **NOT_ON_THE_WIRE,
        "stalls": "the answer comes in one piece",
        "error-frame-mid-stream": "the answer comes in one piece",
        "dies-mid-stream": "the answer comes in one piece",
        "malformed-frame": "the answer comes in one piece",
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        settings = {"server_url": upstream.url, "token_id": TOKEN[0], "token_secret": upstream.key}
        return Setup(settings, "m", {"app": "emulated", "function": scenario, "input": INPUT})

    @pytest.fixture
    def upstream(self, modal: Modal) -> Upstream:
        modal.forget()
        return modal


class TestModalStream(TestModalFunction):
    cannot: ClassVar = NOT_ON_THE_WIRE | {
        "error-in-200": "a function's status is its result's",
        "queued": "the SDK tells neither the id nor the stamps of a generator's call",
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        setup = super().setup_for(scenario, upstream)
        options = {"app": "emulated", "cls": scenario, "stream_method": "stream", "input": INPUT}
        return Setup(setup.settings, "m", options)


class TestModalWeb(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {
        "cold": "Modal says nothing of boots to a caller of a web endpoint",
        "queued": "Modal's proxy holds a call that waits, without a word",
        "unknown-status": "an answer has no status but HTTP's",
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        settings = {"proxy_token_id": PROXY_TOKEN[0], "proxy_token_secret": PROXY_TOKEN[1]}
        options = {"url": upstream.url, "path": "/chat/completions", "api_key": upstream.key}
        return Setup(settings, scenario, {**options, "cancels": True})

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        inner = OpenAIChat()
        proxy = ModalProxy(inner)
        inner.url = proxy.url = emulator(proxy)
        return inner
