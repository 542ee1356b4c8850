"""How long a deployment was idle between two requests, counted in bins. Pure.

The bins are finest where a keep-alive window ends, ten seconds wide in the first two minutes, and a
gap of more than four hours is only known to be longer: nothing is kept warm for that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

EDGES_SECONDS: tuple[float, ...] = (
    *(float(at) for at in range(0, 120, 10)),
    *(float(at) for at in range(120, 1200, 30)),
    *(float(at) for at in range(1200, 3600, 60)),
    *(float(at) for at in range(3600, 14401, 300)),
)
BINS = len(EDGES_SECONDS) - 1
"""Bins with an end; one more, the last, is for what is longer."""

_HALF_SECONDS, _POWER = 60.0, 0.6


def bin_of(seconds: float) -> int:
    """The bin that a gap falls into; ``BINS`` for one that is longer than all."""
    return min(bisect_right(EDGES_SECONDS, seconds) - 1, BINS)


def _prior() -> tuple[float, ...]:
    left = [(1 + at / _HALF_SECONDS) ** -_POWER for at in EDGES_SECONDS]
    return (*(a - b for a, b in pairwise(left)), left[-1])


PRIOR = _prior()
"""What is thought of a deployment that was never seen: any gap, shorter ones sooner."""


class GapHistogram:
    """Counts of one deployment's gaps; what lies ``1 / (1 - decay)`` gaps back counts a third."""

    __slots__ = ("_counts", "_decay", "_unit", "seen")

    def __init__(self, decay: float = 0.995, counts: Sequence[float] | None = None) -> None:
        self._counts = [0.0] * (BINS + 1) if counts is None else list(counts)
        self._decay = decay
        self._unit = 1.0  # of the newest gap: it grows, instead of all the others shrinking
        self.seen = 0
        """Gaps counted here, without those that it began with."""

    def add(self, seconds: float) -> None:
        """One more gap."""
        self.seen += 1
        self._unit /= self._decay
        if self._unit > 1e100:
            self._counts = [count / self._unit for count in self._counts]
            self._unit = 1.0
        self._counts[bin_of(seconds)] += self._unit

    def counts(self) -> list[float]:
        """Each bin's weight; the newest gap weighs 1."""
        return [count / self._unit for count in self._counts]

    def masses(self, prior: Sequence[float], prior_gaps: float) -> list[float]:
        """The chance of each bin, with a prior that weighs as much as so many gaps."""
        total = sum(self._counts) / self._unit + prior_gaps
        unit = self._unit
        return [
            (count / unit + prior_gaps * mass) / total
            for count, mass in zip(self._counts, prior, strict=True)
        ]
