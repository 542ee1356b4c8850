"""Full hours of the clock (UTC): where time that goes on is cut into charges.

All instants are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

HOUR_US: Final = 3_600_000_000


def hour_before(at_us: int) -> int:
    """The last full hour up to an instant, itself included."""
    return at_us // HOUR_US * HOUR_US


def hour_after(at_us: int) -> int:
    """The first full hour after an instant."""
    return hour_before(at_us) + HOUR_US


def hours_of(begin_us: int, end_us: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each part between full hours; the first and the last may be shorter, none is
    empty.
    """
    while begin_us < end_us:
        cut_us = min(hour_after(begin_us), end_us)
        yield begin_us, cut_us
        begin_us = cut_us
