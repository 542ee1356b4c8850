"""Idle times before attempts, in the ranges that reports and sums tell apart. Pure.

A range is known by its lower edge in whole seconds. So sums by range are exact, whatever lay in
them; two things are no range and have a number of their own.
"""

from __future__ import annotations

from bisect import bisect_right

EDGES_SECONDS = (
    *(0, 1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400),
)
"""Lower edges; the last range is open. Sums are kept by them: one that is added splits a range for
what comes from then on."""
UNKNOWN = -2
"""Nothing came before, as far as anybody knows."""
BESIDE = -1
"""None at all: it came while others ran."""


def gap_of(idle_seconds: float | None) -> int:
    """The number of a gap: its range's lower edge, ``BESIDE`` or ``UNKNOWN``."""
    if idle_seconds is None:
        return UNKNOWN
    if idle_seconds == 0:
        return BESIDE
    return EDGES_SECONDS[max(0, bisect_right(EDGES_SECONDS, idle_seconds) - 1)]


def edge_of(gap: int) -> int | None:
    """The lower edge that a report shows; None for ``UNKNOWN``."""
    return None if gap == UNKNOWN else max(0, gap)
