"""Time, injected: monotonic stamps for durations, wall time for the ledger."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

_READINGS = 10
_CLOSE_SECONDS = 20e-6


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

    def ahead_us(self) -> int:
        """By how much the wall clock is ahead of the monotonic one, in microseconds.

        A process that is held up between two readings would take the pause for a difference: of a
        few pairs of readings the closest counts.
        """
        closest, ahead_us = math.inf, 0
        for _ in range(_READINGS):
            before = self.monotonic()
            wall_us = self.wall_us()
            after = self.monotonic()
            if after - before < closest:
                closest, ahead_us = after - before, wall_us - round((before + after) * 5e5)
            if closest < _CLOSE_SECONDS:
                break
        return ahead_us


def rfc3339(at_us: int) -> str:
    """An instant as UTC RFC 3339 with microseconds: ``2026-11-23T18:25:10.000001Z``."""
    return f"{_second(at_us // 1_000_000)}.{at_us % 1_000_000:06d}Z"


@lru_cache(maxsize=16)  # formatting costs 5 microseconds, and most instants share their second
def _second(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"
