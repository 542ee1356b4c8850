"""How good the predictions were: each was made before its outcome was known."""

from __future__ import annotations

from array import array
from typing import Any

_BINS = 10


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

    def table(self) -> list[dict[str, Any]]:
        """The reliability table; null where a bin is empty."""
        counts = self._counts or [0] * _BINS
        expected = self._expected or [0.0] * _BINS
        warm = self._warm or [0] * _BINS
        return [
            {
                "from": place / _BINS,
                "to": (place + 1) / _BINS,
                "count": counts[place],
                "predicted": round(expected[place] / counts[place], 6) if counts[place] else None,
                "happened": round(warm[place] / counts[place], 6) if counts[place] else None,
            }
            for place in range(_BINS)
        ]
