"""Replicate through every situation that its API can show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.replicate import plugin
from providers.testing import ProviderContract, Setup, Upstream
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import version_of

NO_WORDS = "a model fails in words of its own; Replicate has no code for it"


class TestReplicate(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {
        "tools": "predictions have outputs, not tool calls",
        "context-too-long": NO_WORDS,
        "loading": "Replicate takes the request at once and says `starting`",
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        settings = {
            "base_url": f"{upstream.url}/v1",
            "api_token": upstream.key,
            "poll_seconds": 0.02,
        }
        return Setup(settings, f"emulated/{scenario}")

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = Replicate()
        app.url = emulator(app)
        return app


class TestReplicateVersions(TestReplicate):
    """Models that are not official are asked for by their version."""

    cannot: ClassVar = {
        **TestReplicate.cannot,
        **dict.fromkeys(
            (
                "bad-key",
                "no-such-model",
                "invalid-request",
                "out-of-quota",
                "rate-limited",
                "rate-limited-no-header",
                "no-capacity",
            ),
            "refused before it matters how the model was named",
        ),
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        setup = super().setup_for(scenario, upstream)
        name = f"community/{scenario}"
        return Setup(setup.settings, f"{name}:{version_of(name)}")
