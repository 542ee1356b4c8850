"""Whether cold starts have become more, or boots slower: now against before. Sans-I/O.

``observe`` takes running totals, ``decide`` says what has worsened, ``next_wakeup`` when to ask
again. Nothing is read anew: two totals and their difference are all that is needed.

Units:  seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.warmth.intervals import wilson

_STEPS = 12  # totals kept in a window
_MOST_KEPT = 400  # totals of a deployment

What: TypeAlias = Literal["cold_rate", "boot_p90"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a deployment, since anything is known. ``boot_p90_seconds``: of its latest boots."""

    cold: int = 0
    warm: int = 0
    boots: int = 0
    boot_p90_seconds: float | None = None

    @property
    def known(self) -> int:
        """Attempts with a verdict."""
        return self.cold + self.warm


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to tell; see ``AlertSettings``."""

    cold_rate_increase: float | None
    boot_p90_increase: float | None
    window_seconds: float
    against_seconds: float
    fewest_attempts: int
    fewest_boots: int
    repeat_after_seconds: float


@dataclass(frozen=True, slots=True)
class Worsening:
    """What has worsened at a deployment: a rate, or seconds; from how many attempts or boots."""

    deployment: str
    what: What
    before: float
    now: float
    count_before: int
    count_now: int


class Alarm:
    """One alert's watch over deployments."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._at = thresholds
        self._kept: dict[str, list[tuple[float, Totals]]] = {}
        self._newest: dict[str, Totals] = {}
        self._told_at: dict[tuple[str, What], float] = {}
        self._step_seconds = thresholds.window_seconds / _STEPS

    def observe(self, deployment: str, at: float, totals: Totals) -> None:
        """The totals of a deployment at this instant."""
        kept = self._kept.setdefault(deployment, [])
        if not kept or at - kept[-1][0] >= self._step_seconds:
            kept.append((at, totals))
            if len(kept) > _MOST_KEPT:  # the far past is told apart less finely
                del kept[: -2 * _STEPS : 2]
        self._newest[deployment] = totals

    def decide(self, at: float) -> list[Worsening]:
        """What is worse than before and was not told lately."""
        found = []
        for deployment, now in self._newest.items():
            for worse in self._compared(deployment, now, at):
                key = (deployment, worse.what)
                told_at = self._told_at.get(key)
                if told_at is None or at - told_at >= self._at.repeat_after_seconds:
                    self._told_at[key] = at
                    found.append(worse)
        return found

    def next_wakeup(self, at: float) -> float:
        """When to look again."""
        return at + self._step_seconds

    def _compared(self, deployment: str, now: Totals, at: float) -> list[Worsening]:
        limits, kept = self._at, self._kept[deployment]
        turn = _latest(kept, at - limits.window_seconds)
        if turn is None:
            return []
        begin = at - limits.window_seconds - limits.against_seconds
        start = _latest(kept, begin) or Totals()
        found = []
        old, new = turn.known - start.known, now.known - turn.known
        enough = min(old, new) >= limits.fewest_attempts
        if limits.cold_rate_increase is not None and enough:
            cold_old, cold_new = turn.cold - start.cold, now.cold - turn.cold
            before, rate = cold_old / old, cold_new / new
            sure = wilson(cold_new, new)[0] > wilson(cold_old, old)[1]
            if sure and rate - before >= limits.cold_rate_increase:
                found.append(Worsening(deployment, "cold_rate", before, rate, old, new))
        old, new = turn.boots - start.boots, now.boots - turn.boots
        p90_before, p90 = turn.boot_p90_seconds, now.boot_p90_seconds
        if limits.boot_p90_increase is None or p90_before is None or p90 is None:
            return found
        enough = min(old, new) >= limits.fewest_boots
        if enough and p90 >= p90_before * (1 + limits.boot_p90_increase):
            found.append(Worsening(deployment, "boot_p90", p90_before, p90, old, new))
        return found


def _latest(kept: list[tuple[float, Totals]], until: float) -> Totals | None:
    """The newest totals no later than ``until``."""
    for at, totals in reversed(kept):
        if at <= until:
            return totals
    return None
