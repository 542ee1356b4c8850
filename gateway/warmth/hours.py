"""What the hour of the day changes in the chance to be up, and only where outcomes show it.

Others' requests keep shared machines warm, and others sleep at night. Each hour (UTC) has a step in
log-odds, learned online (a logistic regression by stochastic Newton steps, drawn towards none). It
is used only where the curve without it is off by more than chance explains.
"""

from __future__ import annotations

import math
from array import array

_FEWEST = 30
_SURE = 3.5  # standard deviations: one hour in 24 passes by chance once in 90 deployments
_DRAW = 4.0  # variance that stands for "no difference"
_MOST_VARIANCE = 40.0  # of what is remembered: later outcomes keep their say
_MOST_STEP = 5.0
_MOST_COUNT = 600


class Hours:
    """Residuals of the curve, and the step that takes them away, by hour of the day in UTC."""

    __slots__ = ("_values", "differ")

    def __init__(self) -> None:
        self.differ = 0
        """Which hours show a difference, a bit for each; 0: none does."""
        self._values: array[float] | None = None
        """Five runs of 24: outcomes, residuals, variances, steps, variances behind the steps."""

    def observe(self, hour: int, p_curve: float, warm: bool) -> None:
        """The curve said so, and that came."""
        values = self._values
        if values is None:
            values = self._values = array("f", bytes(4 * 5 * 24))
        if values[hour] >= _MOST_COUNT:
            for run in range(3):
                values[run * 24 + hour] *= 0.5
        values[hour] += 1.0
        values[24 + hour] += warm - p_curve
        values[48 + hour] += p_curve * (1.0 - p_curve)
        chance = _moved(p_curve, values[72 + hour])
        variance = min(_MOST_VARIANCE, values[96 + hour] + chance * (1.0 - chance))
        values[96 + hour] = variance
        step = values[72 + hour] + (warm - chance) / (variance + _DRAW)
        values[72 + hour] = min(_MOST_STEP, max(-_MOST_STEP, step))
        self._judge(hour)

    def absorb(self, older: Hours) -> None:
        """Take in what another has seen; of the steps, those of whom more is behind."""
        theirs = older._values
        if theirs is None:
            return
        mine = self._values
        if mine is None:
            self._values = array("f", theirs)
            self.differ = older.differ
            return
        for place in range(3 * 24):
            mine[place] += theirs[place]
        for hour in range(24):
            if theirs[96 + hour] > mine[96 + hour]:
                mine[72 + hour], mine[96 + hour] = theirs[72 + hour], theirs[96 + hour]
            self._judge(hour)

    def step(self, hour: int) -> float:
        """The hour's own difference, in log-odds; 0 where nothing shows one."""
        values = self._values
        return values[72 + hour] if values is not None and self.differ >> hour & 1 else 0.0

    def adjusted(self, p_curve: float, hour: int) -> float:
        """The curve's prediction, moved by the hour's difference."""
        step = self.step(hour)
        return p_curve if step == 0.0 else _moved(p_curve, step)

    def _judge(self, hour: int) -> None:
        """Whether enough was seen of an hour, and the curve is off by more than chance explains."""
        values = self._values
        assert values is not None
        residual, variance = values[24 + hour], values[48 + hour]
        if values[hour] >= _FEWEST and residual * residual > _SURE * _SURE * variance:
            self.differ |= 1 << hour
        else:
            self.differ &= ~(1 << hour)


def _moved(chance: float, step: float) -> float:
    odds = chance / (1.0 - chance) * math.exp(step)
    return odds / (1.0 + odds)
