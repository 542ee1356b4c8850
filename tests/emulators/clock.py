"""The clock of an emulator: it runs ``scale`` times as fast as ours, while something is under way.

When nothing is, it stands, so that a busy test machine does not let machines go cold.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

DAY_ONE = datetime(2026, 11, 1, tzinfo=UTC)


class Clock:
    """Instants of the emulated provider."""

    def __init__(self, scale: float, begins: datetime = DAY_ONE) -> None:
        self.scale = scale
        self._anchor = (time.monotonic(), begins)
        self._horizon = begins
        self._stops_at: datetime | None = None

    @property
    def now(self) -> datetime:
        real, then = self._anchor
        at = min(then + timedelta(seconds=(time.monotonic() - real) * self.scale), self._horizon)
        return at if self._stops_at is None else min(at, max(then, self._stops_at))

    def stop_at(self, instant: datetime | None) -> None:
        """Stand still at an instant, until it is called again; None: go on."""
        self._stand(self.now)
        self._stops_at = instant

    def advance(self, seconds: float) -> None:
        """Let idle time pass."""
        self._stand(self.now + timedelta(seconds=seconds))

    def extend(self, until: datetime) -> None:
        """Something goes on until then."""
        self._stand(self.now)
        self._horizon = max(self._horizon, until)

    def _stand(self, at: datetime) -> None:
        self._anchor = (time.monotonic(), at)
        self._horizon = max(self._horizon, at)

    async def until(self, instant: Callable[[], datetime]) -> None:
        """Wait for an instant that may move meanwhile, as cancelling moves the end."""
        while True:
            left = (instant() - self.now).total_seconds() / self.scale
            if left <= 0:
                return
            await asyncio.sleep(min(0.01, max(left, 0.0005)))
