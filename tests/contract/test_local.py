"""A local server by its address. The embedded engine is tested for real, in tests/adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.local import plugin
from providers.testing import ProviderContract, Setup, Upstream
from tests.emulators.openai_chat import OpenAIChat


class TestLocalUrl(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {"cold": "the dialect reports no boot; it shows as `loading`"}

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {"api_key": upstream.key, "chat_path": "/chat/completions"}
        return Setup({}, scenario, {"url": upstream.url, **options})

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = OpenAIChat()
        app.url = emulator(app)
        return app
