"""Time, injected: monotonic stamps for durations, wall time for the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """The two clocks of this process.

    ``monotonic`` returns seconds and is the event loop's own clock; ``wall_us`` returns integer
    microseconds since the epoch, UTC. Durations never come from wall time.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.monotonic = monotonic
        self.wall_us = wall_us


def rfc3339(at_us: int) -> str:
    """An instant as UTC RFC 3339 with microseconds: ``2026-11-23T18:25:10.000001Z``."""
    instant = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{at_us % 1_000_000:06d}Z"
