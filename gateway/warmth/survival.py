"""How long a deployment stays up without work: a monotone curve, learned from what came next.

Nobody sees a machine go. After an idle gap the next attempt finds it up (it stayed for longer than
the gap) or not (for less), and that is all: the data are interval-censored. The curve is the
monotone one of greatest likelihood over bins of the gap's logarithm (pool adjacent violators),
with a little prior weight in each bin, so that it is the prior where nothing was seen. Old
outcomes lose weight, nearly all of it once the latest ones do not fit them: providers change.

Units:  seconds.
Costs:  ``chance`` and ``halves_at`` are O(log bins); ``observe`` refits after an eighth of news.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from functools import lru_cache

from gateway.warmth.intervals import wilson
from gateway.warmth.outlook import CurvePoint
from gateway.warmth.priors import Prior

_STEP = 0.14
"""Width of a bin, in natural logarithms: 15 %."""
BINS = 88
"""The first holds all below a second, the last all above 51 hours."""
_PRIOR_WEIGHT = 0.05
_MOST_WEIGHT = 1500.0
_SURPRISE_LASTS = 0.97  # of one outcome to the next: about the latest thirty count
_MOST_SURPRISE = 5.0  # standard deviations
_FEWEST_TO_SURPRISE = 100.0
_KEPT_WHEN_SURPRISED = 0.05
_TOLD = 6  # of a curve that nothing was seen of, every so many bins
_LEAST, _MOST = 0.005, 0.995


def _bin(idle_seconds: float) -> int:
    if idle_seconds < 1.0:
        return 0
    return min(BINS - 1, 1 + int(math.log(idle_seconds) / _STEP))


def _centre(number: float) -> float:
    return math.exp((number - 0.5) * _STEP)


@lru_cache(maxsize=256)
def _prior_levels(prior: Prior) -> tuple[float, ...]:
    return tuple(prior.survival(_centre(number)) for number in range(BINS))


class Survival:
    """The chance to be up, by seconds without work."""

    __slots__ = (
        "_cold",
        "_expected",
        "_falls",
        "_news",
        "_prior",
        "_surprise",
        "_warm",
        "_weight",
        "observed",
    )

    def __init__(self, prior: Prior) -> None:
        self._prior = prior
        self._warm: array[float] | None = None
        self._cold: array[float] | None = None
        self._falls: array[float] | None = None  # the levels, negative: they rise, for bisection
        self._weight = 0.0
        self._news = 0.0
        self._surprise = 0.0  # square errors beyond those that the curve itself expects
        self._expected = 0.0  # their variance
        self.observed = 0

    def observe(self, idle_seconds: float, warm: bool) -> None:
        """After so long without work it was found up, or not."""
        if self._warm is None or self._cold is None:
            self._warm, self._cold = (array("f", bytes(4 * BINS)) for _ in range(2))
        if self._weight >= _MOST_WEIGHT:
            self._forget(0.5)
        elif self._is_surprised(idle_seconds, warm) and self._weight >= _FEWEST_TO_SURPRISE:
            self._forget(_KEPT_WHEN_SURPRISED)
        (self._warm if warm else self._cold)[_bin(idle_seconds)] += 1.0
        self.observed += 1
        self._weight += 1.0
        self._news += 1.0
        if self._news * 8 > self._weight:
            self._falls, self._news = None, 0.0

    def absorb(self, older: Survival) -> None:
        """Take in what another has seen."""
        if older._warm is None or older._cold is None:
            return
        if self._warm is None or self._cold is None:
            self._warm, self._cold = array("f", older._warm), array("f", older._cold)
        else:
            for number in range(BINS):
                self._warm[number] += older._warm[number]
                self._cold[number] += older._cold[number]
        self._weight += older._weight
        self.observed += older.observed
        self._falls = None

    def chance(self, idle_seconds: float) -> float:
        """The chance to be up after so long."""
        falls = self._falls or self._fit()
        place = math.log(idle_seconds) / _STEP + 0.5 if idle_seconds > 0 else 0.0
        if place <= 0.0:
            return -falls[0]
        number = int(place)
        if number >= BINS - 1:
            return -falls[BINS - 1]
        low = falls[number]
        return -(low + (falls[number + 1] - low) * (place - number))

    def halves_at(self, idle_seconds: float, share: float = 0.5) -> float | None:
        """Seconds without work at which the chance is ``share`` of that now; None: not in 51 h."""
        falls, level = self._falls or self._fit(), self.chance(idle_seconds) * share
        number = bisect_right(falls, -level)
        if number >= BINS:
            return None
        place = float(number)
        if number:
            above, below = -falls[number - 1], -falls[number]
            place = number - 1 + (above - level) / (above - below)
        return max(idle_seconds, _centre(place))

    def points(self) -> list[CurvePoint]:
        """The curve where outcomes were seen, with 95 % intervals (Wilson, of those pooled there).

        Where none was at all, the prior, whose interval is everything.
        """
        prior = _prior_levels(self._prior)
        if self._weight < 0.5:
            shown = range(0, BINS, _TOLD)
            return [CurvePoint(_centre(n), self.chance(_centre(n)), 0.0, 1.0, 0.0) for n in shown]
        found: list[CurvePoint] = []
        for first, last, total, weight in self._blocks():
            prior_weight = _PRIOR_WEIGHT * (last - first + 1)
            seen = weight - prior_weight
            if seen < 0.5:
                continue
            prior_total = _PRIOR_WEIGHT * sum(prior[first : last + 1])
            low, high = wilson(min(seen, max(0.0, total - prior_total)), seen)
            level = min(_MOST, max(_LEAST, total / weight))
            for number in sorted({first, last}):
                found.append(
                    CurvePoint(_centre(number), level, min(low, level), max(high, level), seen)
                )
        return found

    def _is_surprised(self, idle_seconds: float, warm: bool) -> bool:
        """Whether the latest outcomes are not those of this curve any more."""
        chance = self.chance(idle_seconds)
        spread = chance * (1.0 - chance)
        self._surprise = _SURPRISE_LASTS * self._surprise + (warm - chance) ** 2 - spread
        self._expected = _SURPRISE_LASTS**2 * self._expected + spread * (1 - 2 * chance) ** 2
        if self._surprise <= _MOST_SURPRISE * math.sqrt(self._expected + 0.25):
            return False
        self._surprise = self._expected = 0.0
        return True

    def _forget(self, kept: float) -> None:
        assert self._warm is not None and self._cold is not None
        for counts in (self._warm, self._cold):
            for number in range(BINS):
                counts[number] *= kept
        self._weight *= kept
        self._falls = None

    def _fit(self) -> array[float]:
        falls = array("f", bytes(4 * BINS))
        for first, last, total, weight in self._blocks():
            level = -min(_MOST, max(_LEAST, total / weight))
            for number in range(first, last + 1):
                falls[number] = level
        self._falls = falls
        return falls

    def _blocks(self) -> list[tuple[int, int, float, float]]:
        """Pooled bins: first, last, outcomes up, outcomes; their levels fall."""
        prior, warm, cold = _prior_levels(self._prior), self._warm, self._cold
        stack: list[tuple[int, int, float, float]] = []
        for number in range(BINS):
            first, total, weight = number, _PRIOR_WEIGHT * prior[number], _PRIOR_WEIGHT
            if warm is not None and cold is not None:
                total += warm[number]
                weight += warm[number] + cold[number]
            while stack and total * stack[-1][3] >= stack[-1][2] * weight:
                first, _, before, before_weight = stack.pop()
                total, weight = total + before, weight + before_weight
            stack.append((first, number, total, weight))
        return stack
