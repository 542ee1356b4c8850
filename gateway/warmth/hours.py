"""What the hour of the day changes in the chance to be up, and only where outcomes show it.

Others' requests keep shared machines warm, and others sleep at night. Per hour (UTC) the outcomes
are held against the curve's predictions; where they differ by more than chance does, the
prediction is moved by a step in log-odds, drawn towards none.
"""

from __future__ import annotations

import math
from array import array

_FEWEST = 30
_SURE = 3.5  # standard deviations: one hour in 24 passes by chance once in 90 deployments
_DRAW = 5.0  # variance that stands for "no difference"
_MOST_STEP = 3.0
_MOST_COUNT = 600


class Hours:
    """Residuals by hour of the day, in UTC."""

    __slots__ = ("_counts", "_residuals", "_variances")

    def __init__(self) -> None:
        self._counts: array[float] | None = None
        self._residuals: array[float] | None = None
        self._variances: array[float] | None = None

    def observe(self, hour: int, p_curve: float, warm: bool) -> None:
        """The curve said so, and that came."""
        if self._counts is None or self._residuals is None or self._variances is None:
            self._counts, self._residuals, self._variances = (
                array("f", bytes(4 * 24)) for _ in range(3)
            )
        if self._counts[hour] >= _MOST_COUNT:
            for values in (self._counts, self._residuals, self._variances):
                values[hour] *= 0.5
        self._counts[hour] += 1.0
        self._residuals[hour] += warm - p_curve
        self._variances[hour] += p_curve * (1.0 - p_curve)

    def absorb(self, older: Hours) -> None:
        """Take in what another has seen."""
        if older._counts is None or older._residuals is None or older._variances is None:
            return
        if self._counts is None or self._residuals is None or self._variances is None:
            self._counts = array("f", older._counts)
            self._residuals = array("f", older._residuals)
            self._variances = array("f", older._variances)
            return
        for hour in range(24):
            self._counts[hour] += older._counts[hour]
            self._residuals[hour] += older._residuals[hour]
            self._variances[hour] += older._variances[hour]

    def step(self, hour: int) -> float:
        """The hour's own difference, in log-odds; 0 where nothing shows one."""
        if self._counts is None or self._residuals is None or self._variances is None:
            return 0.0
        residual, variance = self._residuals[hour], self._variances[hour]
        if self._counts[hour] < _FEWEST or residual * residual <= _SURE * _SURE * variance:
            return 0.0
        return min(_MOST_STEP, max(-_MOST_STEP, residual / (variance + _DRAW)))

    def adjusted(self, p_curve: float, hour: int) -> float:
        """The curve's prediction, moved by the hour's difference."""
        step = self.step(hour)
        if step == 0.0:
            return p_curve
        odds = p_curve / (1.0 - p_curve) * math.exp(step)
        return odds / (1.0 + odds)
