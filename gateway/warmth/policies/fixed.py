"""Keep it up for so long after its last work; the window is given or follows from the stakes."""

from __future__ import annotations

import math
import random

from gateway.warmth.policies.base import WindowPolicy
from gateway.warmth.windows import Stakes, Windows


class Fixed(WindowPolicy):
    """The same window for each gap."""

    __slots__ = ("_windows",)

    def __init__(self, stakes: Stakes, window_seconds: float) -> None:
        super().__init__(stakes)
        self._windows: Windows = ((0.0, window_seconds),)

    def _plan(self, now_us: int) -> Windows:
        return self._windows


class SkiRental(WindowPolicy):
    """Hold until holding has cost as much as a miss: tau = C(1 + v), v the worth of a second.

    Deterministic, it costs at most twice what it costs who knows each gap. ``dice``: the window is
    drawn for each gap, with density e^(x / tau) / (tau (e - 1)); then it is e / (e - 1) in
    expectation (Karlin et al., 1994), against traffic that does not know the draw.
    """

    __slots__ = ("_dice", "_tau")

    def __init__(self, stakes: Stakes, dice: random.Random | None = None) -> None:
        super().__init__(stakes)
        tau = stakes.break_even_seconds
        self._tau = math.inf if tau is None else tau
        self._dice = dice

    def _plan(self, now_us: int) -> Windows:
        if self._dice is None or self._tau == math.inf:
            return ((0.0, self._tau),)
        return ((0.0, self._tau * math.log1p(self._dice.random() * (math.e - 1))),)
