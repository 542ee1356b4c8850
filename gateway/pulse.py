"""The last half hour by ten seconds: how many calls came in, ran and waited. In memory alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gateway.execution.executor import Executor

BEAT_SECONDS = 10
KEPT_SECONDS = 1800


@dataclass(slots=True)
class Beat:
    """Ten seconds from ``start_at_us`` (wall clock); what ran and waited is the most at a time."""

    start_at_us: int
    calls: int = 0
    running: int = 0
    waiting: int = 0


class Pulse:
    """Looks at the executor each time that housekeeping comes round."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._begun = executor.begun
        self._beats: deque[Beat] = deque(maxlen=KEPT_SECONDS // BEAT_SECONDS)

    def tick(self) -> None:
        """Add what is so at this moment to the present ten seconds."""
        runs = self._executor.runs.values()
        now = self._present()
        now.calls += self._executor.begun - self._begun
        self._begun = self._executor.begun
        now.running = max(now.running, len(runs))
        now.waiting = max(now.waiting, sum(run.waits_for_boot for run in runs))

    def beats(self) -> list[Beat]:
        """Those of the last half hour, in order; there are gaps where the clock was moved."""
        since_us = self._executor.clock.wall_us() - KEPT_SECONDS * 1_000_000
        return [beat for beat in self._beats if beat.start_at_us >= since_us]

    def _present(self) -> Beat:
        length_us = BEAT_SECONDS * 1_000_000
        start_at_us = self._executor.clock.wall_us() // length_us * length_us
        if not self._beats or self._beats[-1].start_at_us < start_at_us:
            self._beats.append(Beat(start_at_us))
        return self._beats[-1]
