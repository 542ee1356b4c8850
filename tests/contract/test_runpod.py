"""RunPod through every situation that its queue can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.runpod import plugin
from providers.testing import ProviderContract, Setup, Upstream
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_chat import MODEL

NO_WORDS = "a handler fails in words of its own; RunPod has no code for it"
QUEUES = "the queue takes every job, and it waits there"
CANNOT = {
    "content-refused": NO_WORDS,
    "loading": QUEUES,
    "no-capacity": QUEUES,
    "out-of-quota": "RunPod documents no answer for an account without credit",
}


class TestRunPod(ProviderContract):
    """A handler of one's own, a generator that counts."""

    plugin = plugin
    cannot: ClassVar = {
        **CANNOT,
        "tools": "a handler has outputs, not tool calls",
        "context-too-long": NO_WORDS,
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {
            "endpoint": scenario,
            "streams": True,
            "input": {"prompt": "prompt", "max_output_tokens": "max_tokens"},
            "output_field": "text",
            "input_tokens_field": "usage.tokens_in",
            "output_tokens_field": "usage.tokens_out",
        }
        return Setup(settings(upstream), scenario, options)

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = RunPod()
        app.url = emulator(app)
        return app


class TestRunPodChat(TestRunPod):
    """A vLLM worker, asked for chat completions."""

    cannot: ClassVar = CANNOT

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        return Setup(settings(upstream), MODEL, {"endpoint": f"chat-{scenario}", "api": "openai"})

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = ChatWorkers()
        app.url = emulator(app)
        return app


class ChatWorkers(RunPod):
    """The same, whose scenarios are asked for by their own names."""

    def began(self, scenario: str) -> int:
        return super().began(f"chat-{scenario}")

    def stopped(self, scenario: str) -> int:
        return super().stopped(f"chat-{scenario}")


def settings(upstream: Upstream) -> dict[str, Any]:
    return {
        "base_url": f"{upstream.url}/v2",
        "management_url": f"{upstream.url}/rest/v2",
        "api_key": upstream.key,
        "poll_seconds": 0.02,
    }
