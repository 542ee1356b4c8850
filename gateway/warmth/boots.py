"""How long a deployment boots: a mixture of two, cached and uncached, of the latest boots.

Where weights or an image lie in a cache, a boot takes seconds, otherwise minutes, and one average
describes neither. The latest boots are split in two where that makes them likeliest (lognormal
parts, the split of greatest likelihood), if the Bayesian information criterion pays for it.

Units:  seconds. The boots are those that an attempt caused and waited out: who joins sees a part.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from gateway.warmth.priors import GUESS_BOOT_SECONDS, Prior

_KEPT = 128
_PRIOR_BOOTS = 2.0
_PRIOR_SPREAD, _GUESS_SPREAD = 0.4, 1.2
_LEAST_SPREAD = 0.02
_FEWEST = 3  # boots in a part
LONGER_YET = 0.25  # more of what a boot has taken that is longer than any
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """A lognormal part of the mixture. ``share`` of the boots; ``spread`` of the logarithm."""

    share: float
    median_seconds: float
    spread: float

    def below(self, seconds: float) -> float:
        """The share of its boots that take no longer."""
        if seconds <= 0:
            return 0.0
        far = math.log(seconds / self.median_seconds) / self.spread
        return 0.5 * math.erfc(-far / math.sqrt(2.0))


class Boots:
    """Boot times. ``expected_seconds`` and ``left_seconds`` are O(log n)."""

    __slots__ = (
        *("_expected", "_fitted", "_ordered", "_parts", "_prior", "_recent", "_sums", "_total"),
        "count",
    )

    def __init__(self, prior: Prior) -> None:
        self._prior = prior.boot_seconds
        self._recent: array[float] | None = None
        self._total = 0.0
        self._expected: float | None = None
        self.count = 0
        self._fitted = -1
        self._ordered: Sequence[float] = ()
        self._sums: Sequence[float] = ()
        self._parts: tuple[Part, ...] = ()

    def observe(self, seconds: float) -> None:
        """A boot took so long."""
        if self._recent is None:
            self._recent = array("d")
        if len(self._recent) < _KEPT:
            self._recent.append(seconds)
        else:
            place = self.count % _KEPT
            self._total -= self._recent[place]
            self._recent[place] = seconds
        self._total += seconds
        self._expected = None
        self.count += 1

    def absorb(self, older: Boots) -> None:
        """Take in what another has seen before."""
        newer, count = self._recent or (), self.count
        self._recent, self._total, self._expected, self._fitted = None, 0.0, None, -1
        self.count = 0
        for seconds in (*(older._recent or ()), *newer):
            self.observe(seconds)
        self.count = max(self.count, older.count + count)

    @property
    def expected_seconds(self) -> float:
        """The mean; where little was seen, drawn towards the prior's."""
        if self._expected is None:
            known = len(self._recent or ())
            prior = GUESS_BOOT_SECONDS if self._prior is None else sum(self._prior) / 2
            self._expected = (self._total + _PRIOR_BOOTS * prior) / (known + _PRIOR_BOOTS)
        return self._expected

    def left_seconds(self, elapsed_seconds: float) -> float:
        """What is left, on average, of a boot that has taken so long already."""
        self._fit()
        place = bisect_right(self._ordered, elapsed_seconds)
        longer = len(self._ordered) - place
        prior = self._prior or (GUESS_BOOT_SECONDS, GUESS_BOOT_SECONDS)
        guesses = [length for length in prior if length > elapsed_seconds]
        weight = _PRIOR_BOOTS * len(guesses) / 2
        if not longer and not guesses:
            return LONGER_YET * elapsed_seconds  # longer than any: nothing is known but that
        total = sum(guesses) * _PRIOR_BOOTS / 2
        if longer:
            total += self._sums[-1] - (self._sums[place - 1] if place else 0.0)
        return total / (longer + weight) - elapsed_seconds

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mixture, the quicker part first; empty: nothing is known."""
        self._fit()
        return self._parts

    def quantile(self, share: float) -> float | None:
        """So many boots take no longer; None: nothing is known."""
        return quantile(self.parts, share)

    def left_quantile(self, share: float, elapsed_seconds: float) -> float | None:
        """So many of the boots that have taken so long already are over after so much more.

        None: nothing is known. One that takes longer than any is expected to takes a quarter more.
        """
        if elapsed_seconds <= 0:
            return self.quantile(share)
        if not self.parts:
            return None
        longer = 1.0 - sum(part.share * part.below(elapsed_seconds) for part in self.parts)
        if longer <= _LEAST_SHARE:
            return LONGER_YET * elapsed_seconds
        end = self.quantile(1.0 - (1.0 - share) * longer)
        return None if end is None else max(0.0, end - elapsed_seconds)

    def _fit(self) -> None:
        """Anew after an eighth of news."""
        known = len(self._recent or ())
        if self._fitted >= 0 and (self.count - self._fitted) * 8 <= known:
            return
        self._fitted = self.count
        self._ordered = array("d", sorted(self._recent or ()))
        self._sums = array("d", accumulate(self._ordered))
        parts = mixture(self._ordered)
        if self._prior is not None:
            prior_share = _PRIOR_BOOTS / (known + _PRIOR_BOOTS)
            told = [Part(prior_share / 2, length, _PRIOR_SPREAD) for length in self._prior]
            if known < _FEWEST:
                seen = [
                    Part(p.share * (1 - prior_share), p.median_seconds, p.spread) for p in parts
                ]
                parts = (*sorted((*seen, *told), key=lambda part: part.median_seconds),)
        self._parts = parts


def quantile(parts: Sequence[Part], share: float) -> float | None:
    """So many boots of a mixture take no longer, in seconds; None: it is empty."""
    if not parts:
        return None
    low = min(p.median_seconds * math.exp(-6 * p.spread) for p in parts)
    high = max(p.median_seconds * math.exp(6 * p.spread) for p in parts)
    for _ in range(40):
        middle = math.sqrt(low * high)
        if sum(part.share * part.below(middle) for part in parts) < share:
            low = middle
        else:
            high = middle
    return high


def mixture(ordered: Sequence[float]) -> tuple[Part, ...]:
    """One lognormal or two, by likelihood; ``ordered`` rises. Empty where nothing was seen."""
    logs = [math.log(max(seconds, 1e-3)) for seconds in ordered]
    count = len(logs)
    if not count:
        return ()
    if count < _FEWEST:
        return (Part(1.0, math.exp(sum(logs) / count), _GUESS_SPREAD / count),)
    sums = [0.0, *accumulate(logs)]
    squares = [0.0, *accumulate(x * x for x in logs)]

    def part(first: int, last: int) -> tuple[float, float]:
        """Mean and spread of the logarithms."""
        size = last - first
        mean = (sums[last] - sums[first]) / size
        return mean, max(
            _LEAST_SPREAD, math.sqrt(max(0.0, (squares[last] - squares[first]) / size - mean**2))
        )

    whole = part(0, count)
    best, best_score = None, -count * math.log(whole[1])
    price = 1.5 * math.log(count)  # three more parameters
    for middle in range(_FEWEST, count - _FEWEST + 1):
        score = -price
        for first, last in ((0, middle), (middle, count)):
            size = last - first
            score += size * (math.log(size / count) - math.log(part(first, last)[1]))
        if score > best_score:
            best, best_score = middle, score
    if best is None:
        return (Part(1.0, math.exp(whole[0]), whole[1]),)
    return tuple(
        Part((last - first) / count, math.exp(part(first, last)[0]), part(first, last)[1])
        for first, last in ((0, best), (best, count))
    )
