"""Both of Banana's protocols, as emulated; a real Potassium server runs in tests/adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from providers.banana import plugin
from providers.testing import ProviderContract, Setup, Upstream
from providers.testing.scenarios import UNKNOWN_STATUS
from tests.emulators.banana import Banana

FIELDS = {
    "input": {"prompt": "prompt", "max_output_tokens": "max_length"},
    "output_field": "outputs",
    "input_tokens_field": "usage.in",
    "output_tokens_field": "usage.out",
}
STATUSES: dict[str, list[dict[str, Any]]] = {
    "unknown-status": [{"state": UNKNOWN_STATUS, "gpu_available": UNKNOWN_STATUS}],
    "clock-skew": [{"gpu_available": True, "idle_time": -24, "inference_time": -3}],
}
OWN_WORDS = "an answer's meaning is the handler's own affair"
RAW = "a streamed answer is raw bytes, without frames"


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Banana:
    app = Banana()
    app.url = emulator(app)
    return app


class TestPotassium(ProviderContract):
    plugin = plugin
    cannot: ClassVar = {
        "cold": "a boot shows as 503 or as a refused connection, so as `loading`",
        "queued": "a call waits inside the server, and nothing says how long",
        "context-too-long": OWN_WORDS,
        "content-refused": OWN_WORDS,
        "error-in-200": OWN_WORDS,
        "out-of-quota": "the edge that knew quotas is gone; 400 now means a bad request",
        "tools": OWN_WORDS,
        "error-frame-mid-stream": RAW,
        "malformed-frame": RAW,
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        assert isinstance(upstream, Banana)
        upstream.statuses += STATUSES.get(scenario, [])
        if scenario == "never-boots":
            upstream.up, upstream.boot_seconds = False, 1e9
        options = {"url": upstream.url, "route": f"/{scenario}", **FIELDS}
        return Setup({"api_key": upstream.key}, scenario, options)

    @pytest.fixture
    def upstream(self, app: Banana) -> Upstream:
        return app


class TestStartCheck(ProviderContract):
    plugin = plugin
    NO_CODES = "every failure is a text with `error` in it, and the texts are documented nowhere"
    cannot: ClassVar = {
        **TestPotassium.cannot,
        "cold": "the protocol says `running` during a boot too: the verdict stays unknown",
        "never-boots": "the protocol says `running` during a boot too",
        "queued": "the protocol says `running` of a call that waits, too",
        "dies-mid-stream": "nothing is streamed",
        "split-frames": "nothing is streamed",
        **dict.fromkeys(
            ("bad-key", "no-such-model", "invalid-request", "rate-limited", "no-capacity"), NO_CODES
        ),
        **dict.fromkeys(("rate-limited-no-header", "loading"), NO_CODES),
        "stalls": "nothing is streamed",
    }

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        options = {"api": "start_check", "url": upstream.url, **FIELDS}
        return Setup({"api_key": upstream.key}, scenario, options)

    @pytest.fixture
    def upstream(self, app: Banana) -> Upstream:
        return app
