"""When to be up during an idle gap: the windows of least expected cost, and what they cost. Pure.

A gap begins when the last work ends. Up at time t it costs idle seconds; off, the next request pays
a boot and somebody waits for it; going up again before it comes (pre-warming) pays the boot ahead.
Which is cheapest, at every moment of the gap, follows from the chance of each length of the gap by
dynamic programming from its end.

Units:  seconds from the begin of the gap; costs in USD as floats: they choose and book nothing.
Source: expected-cost windows instead of the fifth and 99th percentile of "Serverless in the Wild"
        (Shahrad et al., ATC 2020), whose objective takes idle machines to be nearly free.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from gateway.warmth.gaps import BINS, EDGES_SECONDS

Windows: TypeAlias = tuple[tuple[float, float], ...]
"""Up from, up until; in order. The first begins at 0 and may be empty."""

_WIDTHS = tuple(b - a for a, b in pairwise(EDGES_SECONDS))


@dataclass(frozen=True, slots=True)
class Stakes:
    """What a second of each kind costs, and how long a boot takes."""

    boot_seconds: float
    idle_usd_per_second: float
    boot_usd_per_second: float
    wait_value_usd_per_second: float

    @property
    def boot_usd(self) -> float:
        """A boot's bill."""
        return self.boot_seconds * self.boot_usd_per_second

    @property
    def miss_usd(self) -> float:
        """What a request that finds it off costs: the boot, and the wait for it."""
        return self.boot_usd + self.boot_seconds * self.wait_value_usd_per_second

    @property
    def break_even_seconds(self) -> float | None:
        """Idle seconds that cost as much as a miss: C(1 + v); None: idle seconds cost nothing."""
        if self.idle_usd_per_second <= 0:
            return None
        return self.miss_usd / self.idle_usd_per_second


def plan(masses: Sequence[float], stakes: Stakes, callers: float = 1.0) -> Windows:
    """The windows of least expected cost, up to the last edge.

    ``callers``: how many wait for a boot, on average; those who come a little later wait less.
    """
    boot_usd, idle_usd = stakes.boot_usd, stakes.idle_usd_per_second
    miss_usd = boot_usd + callers * stakes.boot_seconds * stakes.wait_value_usd_per_second
    left = masses[BINS]  # the chance that the gap is at least this long
    up = off = left * miss_usd
    stays = [False] * BINS
    boots = [False] * BINS
    first = bisect_right(EDGES_SECONDS, stakes.boot_seconds - 1e-9)
    for number in range(BINS - 1, -1, -1):
        mass, width = masses[number], _WIDTHS[number]
        if_off = mass * miss_usd + off
        if_up = width * idle_usd * (left + mass / 2) + up
        left += mass
        if if_up < if_off:
            stays[number] = True
            up = if_up
            off = if_off
            if number >= first and boot_usd * left + if_up < if_off:
                boots[number] = True
                off = boot_usd * left + if_up
        else:
            up = off = if_off
    found: list[tuple[float, float]] = []
    begin: float | None = 0.0
    for number in range(BINS):
        if begin is not None and not stays[number]:
            found.append((begin, EDGES_SECONDS[number]))
            begin = None
        elif begin is None and boots[number]:
            begin = EDGES_SECONDS[number]
    if begin is not None:
        found.append((begin, EDGES_SECONDS[BINS]))
    return tuple(found)


def hold(masses: Sequence[float], stakes: Stakes) -> Windows:
    """The one window from the begin of the gap, of least expected cost: no boot ahead."""
    left, idle_usd = 1.0, 0.0
    best_usd, best = stakes.miss_usd, 0.0
    for number in range(BINS):
        mass, width = masses[number], _WIDTHS[number]
        left -= mass
        idle_usd += width * stakes.idle_usd_per_second * (left + mass / 2)
        usd = idle_usd + left * stakes.miss_usd
        if usd < best_usd:
            best_usd, best = usd, EDGES_SECONDS[number + 1]
    return ((0.0, best),)


def gap_parts(
    windows: Windows, gap_seconds: float, stakes: Stakes, callers: float = 1.0
) -> tuple[float, float]:
    """What a gap of this length costs under these windows, USD, and the seconds that are waited."""
    boot_seconds, usd = stakes.boot_seconds, 0.0
    for begin, end in windows:
        if begin > 0:
            if gap_seconds < begin - boot_seconds:
                break
            usd += stakes.boot_usd
            if gap_seconds < begin:  # it comes while that boot is under way
                return usd, begin - gap_seconds
        if gap_seconds <= end:
            return usd + (gap_seconds - begin) * stakes.idle_usd_per_second, 0.0
        usd += (end - begin) * stakes.idle_usd_per_second
    return usd + stakes.boot_usd, callers * boot_seconds


def gap_usd(windows: Windows, gap_seconds: float, stakes: Stakes, callers: float = 1.0) -> float:
    """The same in one figure, by what waiting is worth."""
    usd, waited_seconds = gap_parts(windows, gap_seconds, stakes, callers)
    return usd + waited_seconds * stakes.wait_value_usd_per_second


def worst_excess_usd(windows: Windows, stakes: Stakes) -> float:
    """The most by which a gap can cost more than twice what it costs who knows it.

    Who knows it pays the idle seconds of a gap shorter than the break-even, else one miss. The
    excess is greatest where a window has just ended, or is about to begin.
    """
    worst = 0.0
    for begin, end in windows:
        for gap in (max(0.0, begin - stakes.boot_seconds), begin, end, end + 1e-6):
            excess = gap_usd(windows, gap, stakes) - 2 * foreseen_usd(gap, stakes)
            worst = max(worst, excess)
    return worst


def foreseen_usd(gap_seconds: float, stakes: Stakes) -> float:
    """What a gap costs who knows its length but does not boot ahead."""
    return min(gap_seconds * stakes.idle_usd_per_second, stakes.miss_usd)
