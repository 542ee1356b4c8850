"""How good the predictions were: each was made before its outcome was known."""

from __future__ import annotations

import math
from array import array
from typing import Any, Literal, TypeAlias

from gateway.warmth.intervals import wilson

Verdict: TypeAlias = Literal["too_few", "within_chance", "beyond_chance"]

WORTH_KNOWING = 0.05
"""An error from which on predictions are no good: fewer than show one say nothing of them."""
_BINS = 10
_ONE_SIDED = 1.6448536269514722  # 95 %


class Calibration:
    """Brier score, reliability table and expected calibration error of P(warm)."""

    __slots__ = ("_counts", "_expected", "_squares", "_warm")

    def __init__(self) -> None:
        self._counts: array[int] | None = None
        self._expected: array[float] | None = None
        self._warm: array[int] | None = None
        self._squares = 0.0

    def observe(self, p_warm: float, warm: bool) -> None:
        """This was predicted, and that came."""
        if self._counts is None or self._expected is None or self._warm is None:
            self._counts, self._warm = array("l", [0] * _BINS), array("l", [0] * _BINS)
            self._expected = array("d", [0.0] * _BINS)
        place = min(_BINS - 1, int(p_warm * _BINS))
        self._counts[place] += 1
        self._expected[place] += p_warm
        self._warm[place] += warm
        self._squares += (p_warm - warm) ** 2

    def absorb(self, older: Calibration) -> None:
        """Take in what another has seen."""
        if older._counts is None or older._expected is None or older._warm is None:
            return
        if self._counts is None or self._expected is None or self._warm is None:
            self._counts, self._warm = array("l", [0] * _BINS), array("l", [0] * _BINS)
            self._expected = array("d", [0.0] * _BINS)
        for place in range(_BINS):
            self._counts[place] += older._counts[place]
            self._expected[place] += older._expected[place]
            self._warm[place] += older._warm[place]
        self._squares += older._squares

    @property
    def count(self) -> int:
        """Predictions whose outcome is known."""
        return 0 if self._counts is None else sum(self._counts)

    @property
    def brier(self) -> float | None:
        """Mean square of prediction less outcome; None: none."""
        return self._squares / self.count if self.count else None

    @property
    def error(self) -> float | None:
        """Expected calibration error: over ten bins, |predicted - happened|, by count."""
        if self._counts is None or self._expected is None or self._warm is None:
            return None
        gaps = (abs(e - w) for e, w in zip(self._expected, self._warm, strict=True))
        return sum(gaps) / self.count

    @property
    def error_by_chance(self) -> float | None:
        """What ``error`` comes to at most, in 95 of 100 times, where every chance is right.

        So many outcomes miss their chances by accident: in each bin by the size of a normal error,
        whose variance is at most that of its mean chance.
        """
        if self._counts is None or self._expected is None:
            return None
        variances = [
            e * (1.0 - e / n) for e, n in zip(self._expected, self._counts, strict=True) if n
        ]
        mean = math.sqrt(2.0 / math.pi) * sum(map(math.sqrt, variances))
        spread = math.sqrt((1.0 - 2.0 / math.pi) * sum(variances))
        return (mean + _ONE_SIDED * spread) / self.count

    @property
    def verdict(self) -> Verdict | None:
        """What the error says of the predictions; None: there were none."""
        error, by_chance = self.error, self.error_by_chance
        if error is None or by_chance is None:
            return None
        if error > by_chance:
            return "beyond_chance"
        return "too_few" if by_chance > WORTH_KNOWING else "within_chance"

    def json(self) -> dict[str, Any]:
        """All of it; null where there were no predictions."""
        return {
            "predictions": self.count,
            "brier_score": _micro(self.brier),
            "error": _micro(self.error),
            "error_by_chance": _micro(self.error_by_chance),
            "verdict": self.verdict,
            "reliability": self.table(),
        }

    def table(self) -> list[dict[str, Any]]:
        """The reliability table; null where a bin is empty."""
        counts = self._counts or [0] * _BINS
        expected = self._expected or [0.0] * _BINS
        warm = self._warm or [0] * _BINS
        return [
            _row(place, n, e, w)
            for place, (n, e, w) in enumerate(zip(counts, expected, warm, strict=True))
        ]


def _row(place: int, count: int, expected: float, warm: int) -> dict[str, Any]:
    low, high = wilson(warm, count) if count else (None, None)
    return {
        "from": place / _BINS,
        "to": (place + 1) / _BINS,
        "count": count,
        "predicted": round(expected / count, 6) if count else None,
        "happened": round(warm / count, 6) if count else None,
        "low": _micro(low),
        "high": _micro(high),
    }


def _micro(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
