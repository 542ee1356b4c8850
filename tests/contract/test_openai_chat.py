from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.openai_chat import plugin
from providers.testing import ProviderContract, Upstream
from tests.emulators.openai_chat import OpenAIChat


class TestOpenAIChat(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {
        "cold": "the dialect reports no boot; it shows as `loading`",
        "queued": "the dialect reports no queue",
        "unknown-status": "an answer of this dialect has no status but HTTP's",
    }

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = OpenAIChat()
        app.url = emulator(app)
        return app
