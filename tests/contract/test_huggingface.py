"""The three dialects that stream or sleep: the router's chat, TGI's tokens, an endpoint's chat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.huggingface import plugin
from providers.testing import ProviderContract, Setup, Upstream
from providers.testing.scenarios import SCENARIOS, UNKNOWN_STATUS
from tests.emulators.huggingface import NAMESPACE, HuggingFace


class _Contract(ProviderContract):
    plugin = plugin

    def settings(self, upstream: Upstream) -> dict[str, Any]:
        return {
            "base_url": upstream.url,
            "management_url": f"{upstream.url}/v2",
            "token": upstream.key,
        }

    @pytest.fixture
    def upstream(self, emulator: Callable[[Any], str]) -> Upstream:
        app = HuggingFace()
        app.url = emulator(app)
        return app


NO_STATUS = "an answer is there or it is not; only the management API has words for a state"


class TestRouterChat(_Contract):
    cannot: ClassVar = {
        "cold": "the router reports no boot; a refusal shows as `loading`",
        "queued": "the router reports no queue",
        "unknown-status": NO_STATUS,
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        return Setup(self.settings(upstream), f"org/{scenario}:novita")


class TestTextGeneration(_Contract):
    cannot: ClassVar = {
        "cold": "hf-inference reports no boot; a refusal shows as `loading`",
        "tools": "text generation calls none",
        "content-refused": "TGI refuses no content",
        "unknown-status": NO_STATUS,
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {"via": "hf-inference", "api": "text-generation"}
        return Setup(self.settings(upstream), f"org/{scenario}", options)


BOOT_SECONDS = {"cold": 0.03, "never-boots": 1e9}


class TestManagedEndpoint(_Contract):
    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        assert isinstance(upstream, HuggingFace)
        endpoint = upstream.endpoint(scenario)
        if scenario in BOOT_SECONDS:
            endpoint.boot_seconds = BOOT_SECONDS[scenario]
        elif not endpoint.ups:
            endpoint.running()
        if scenario == "queued":
            endpoint.engine = "tgi"  # whose head says it
        elif scenario == "unknown-status":
            endpoint.lies.append(UNKNOWN_STATUS)
        assert scenario in SCENARIOS
        options = {
            "via": "endpoint",
            "url": f"{upstream.url}/e/{scenario}",
            "endpoint": f"{NAMESPACE}/{scenario}",
            "scale_up_timeout_seconds": 60,
        }
        return Setup(self.settings(upstream), scenario, options)
