"""A local server by its address. The embedded engine is tested for real, in tests/adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.local import plugin
from providers.testing import ProviderContract, Setup, Upstream
from tests.emulators.native_servers import LmStudio, Ollama
from tests.emulators.openai_chat import OpenAIChat


class TestLocalUrl(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {
        "cold": "the dialect reports no boot; it shows as `loading`",
        "queued": "the dialect reports no queue",
        "unknown-status": "an answer of this dialect has no status but HTTP's",
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {"api_key": upstream.key, "chat_path": "/chat/completions"}
        return Setup({}, scenario, {"url": upstream.url, **options})

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = OpenAIChat()
        app.url = emulator(app)
        return app


NOT_SAID = {
    "context-too-long": "it cuts the input without a word",
    "content-refused": "it refuses no content",
    "out-of-quota": "nobody pays for it",
    "rate-limited": "it has no rate limit",
    "rate-limited-no-header": "it has no rate limit",
    "loading": "it loads within the call",
    "queued": "it queues without a word",
    "tools": "not through its own API",
}


class TestOllama(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {**NOT_SAID, "unknown-status": "its lines are done or not done"}

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {"url": upstream.url, "api_key": upstream.key, "server": "ollama"}
        assert isinstance(upstream, Ollama)
        upstream.loaded = scenario not in ("cold", "never-boots")
        return Setup({}, scenario, options)

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = Ollama()
        app.url = emulator(app)
        return app


class TestLmStudio(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {**NOT_SAID, "no-capacity": "it queues"}

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {"url": upstream.url, "api_key": upstream.key, "server": "lmstudio"}
        return Setup({}, scenario, options)

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = LmStudio()
        app.url = emulator(app)
        return app
