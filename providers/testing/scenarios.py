"""The situations every adapter must get right, by name.

An emulator of a provider plays the scenario that is asked for as its model's name, and
``ProviderContract`` runs an adapter through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from providers.contract import (
    CapacityUnavailable,
    ContentRefused,
    ContextTooLong,
    CredentialsRejected,
    ModelLoading,
    ModelNotFound,
    ProtocolViolation,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    StreamInterrupted,
    UpstreamFailed,
)

ANSWER = "Grüße from a test: 1, 2, 3 ✓"
"""What every scenario that succeeds answers; beyond ASCII, so that cuts inside a letter show."""
INPUT_TOKENS = 12
OUTPUT_TOKENS = 9
RETRY_AFTER_SECONDS = 7.0
UNKNOWN_STATUS = "hibernating"
LATE_SECONDS = 0.1
LEAVING_SECONDS = (
    3.0  # how long a caller may take to leave: on a busy machine, longer than LATE_SECONDS
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What must be raised: one of ``errors``, exactly, and how long to wait."""

    errors: tuple[type[ProviderError], ...]
    retry_after_seconds: float | None = None
    after_output: bool = False


SUCCESSES: Mapping[str, str] = {
    "warm": "answers at once, with usage",
    "split-frames": "as warm, one byte at a time",
    "slow-first-delta": "as warm, after a pause",
    "usage-missing": "answers without saying what was used",
    "usage-zero": "answers nothing, and says that no token came out",
    "huge-frame": "answers one piece of text of about 10 MB",
    "tools": "calls a tool: text of the channel tool_call, finish reason not stop",
}

FAILURES: Mapping[str, Failure] = {
    "bad-key": Failure((CredentialsRejected,)),
    "no-such-model": Failure((ModelNotFound,)),
    "context-too-long": Failure((ContextTooLong,)),
    "content-refused": Failure((ContentRefused,)),
    "invalid-request": Failure((RequestRejected,)),
    "out-of-quota": Failure((QuotaExhausted,)),
    "rate-limited": Failure((RateLimited,), RETRY_AFTER_SECONDS),
    "rate-limited-no-header": Failure((RateLimited,)),
    "no-capacity": Failure((CapacityUnavailable,)),
    "loading": Failure((ModelLoading,)),
    "job-fails": Failure((UpstreamFailed,)),
    "error-in-200": Failure((UpstreamFailed,)),
    "error-frame-mid-stream": Failure((UpstreamFailed, StreamInterrupted), after_output=True),
    "dies-mid-stream": Failure((UpstreamFailed, StreamInterrupted), after_output=True),
    "malformed-frame": Failure((ProtocolViolation,), after_output=True),
}

WAITS: Mapping[str, str] = {
    "cold": "waits for a boot that the provider reports, then answers",
    "queued": "waits for a place in a queue that the provider reports, then answers",
    "unknown-status": "says a status that nobody documented (UNKNOWN_STATUS), then answers",
    "clock-skew": "as warm or cold; stamps run backwards, or seconds are negative",
}

HELD: Mapping[str, str] = {
    "never-answers": "takes the request and says nothing more",
    "stalls": "sends a first piece of output, and nothing more",
    "never-boots": "says that it boots, for as long as somebody waits or asks",
    "slow-create": "takes the request at once, and answers it LATE_SECONDS later",
}

SCENARIOS: tuple[str, ...] = (*SUCCESSES, *WAITS, *FAILURES, *HELD)
