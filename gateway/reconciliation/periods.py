"""Which stretches of time the sums of a bill are about, and which of them a window holds. Pure.

A sum cannot be cut: of a day's 5 USD nobody knows what the morning's were. So a window holds a
stretch whole or not at all, and what lies in a stretch that reaches beyond an end of the window is
left out on both sides.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from gateway.reconciliation.bill import BillLine

Interval: TypeAlias = tuple[int, int]
"""Begin and end, in microseconds since the epoch."""

SLOT_US = 900_000_000  # clocks differ by whole quarter hours


@dataclass(frozen=True, slots=True)
class Window:
    """What is compared: ``intervals`` in order and without gaps; those of ``billed`` are the
    bill's own, the others lie between them. ``torn`` reach beyond an end of the window.
    """

    since_us: int
    until_us: int
    intervals: tuple[Interval, ...]
    billed: tuple[Interval, ...]
    torn: tuple[Interval, ...] = ()

    def holds(self, line: BillLine) -> bool:
        """Whether a line with a time is compared."""
        assert line.start is not None
        return containing(self.billed, micros(line.start)) is not None


def intervals_of(bill: Sequence[BillLine], since_us: int, until_us: int) -> list[Interval]:
    """The periods that a bill's lines are about, in order; the whole, where the lines are about
    instants, or there is one begin without an end.

    A line without an end lasts for a day where all begin at midnight, a month where all begin on a
    first, else an hour; where the clocks were changed, up to the next. Those that overlap are one.
    """
    dated = [line for line in bill if line.start is not None]
    starts = sorted({line.start for line in dated if line.start is not None})
    alone = len(starts) == 1 and not any(_lasts(line) for line in dated)
    if not starts or alone or any(micros(start) % SLOT_US for start in starts):
        return [(since_us, until_us)]
    at_midnight = all((start.hour, start.minute) == (0, 0) for start in starts)
    monthly = at_midnight and all(start.day == 1 for start in starts)

    def end_of(line: BillLine) -> int:
        start = line.start
        assert start is not None
        if _lasts(line):
            assert line.end is not None
            return micros(line.end)
        if monthly:
            end = (start + timedelta(days=32)).replace(day=1)
        else:
            end = start + (timedelta(days=1) if at_midnight else timedelta(hours=1))
        place = bisect_right(starts, start)
        following = starts[place] if place < len(starts) else None
        if at_midnight and following is not None and following.utcoffset() != start.utcoffset():
            return micros(following)  # one of the days until then was longer, or shorter
        return micros(end)

    def spans(traffic: bool) -> list[Interval]:
        some = (line for line in dated if line.traffic == traffic)
        return sorted((micros(line.start), end_of(line)) for line in some if line.start is not None)

    usage = list(_merged(spans(True)))
    # A tax may be of a whole year: it takes what usage leaves free, and cuts none of it in two.
    others = [span for span in _merged(spans(False)) if containing(usage, span[0]) is None]
    begins = [begin for begin, _ in usage]
    free = []
    for begin, end in others:
        place = bisect_right(begins, begin)
        free.append((begin, min(end, begins[place]) if place < len(begins) else end))
    return sorted([*usage, *free])


def window_of(every: Sequence[Interval], since_us: int, until_us: int) -> Window:
    """The part of a bill's intervals that lies within two instants whole."""
    whole = [span for span in every if since_us <= span[0] and span[1] <= until_us]
    torn = [
        (begin, end)
        for begin, end in every
        if begin < until_us and since_us < end and (begin < since_us or until_us < end)
    ]
    first = max([since_us, *(end for begin, end in torn if begin < since_us)])
    last = min([until_us, *(begin for begin, end in torn if until_us < end)])
    return Window(since_us, until_us, tuple(_filled(whole, first, last)), tuple(whole), tuple(torn))


def containing(intervals: Sequence[Interval], at_us: int) -> Interval | None:
    """The one of some intervals in order that an instant lies in."""
    place = bisect_right(intervals, (at_us, 1 << 62)) - 1
    if place >= 0 and intervals[place][0] <= at_us < intervals[place][1]:
        return intervals[place]
    return None


def micros(at: datetime) -> int:
    """Microseconds since the epoch."""
    return round(at.timestamp() * 1e6)


def _lasts(line: BillLine) -> bool:
    return line.start is not None and line.end is not None and line.end > line.start


def _merged(spans: Iterable[Interval]) -> Iterator[Interval]:
    at: Interval | None = None
    for span in spans:
        if at is not None and span[0] < at[1]:
            at = (at[0], max(at[1], span[1]))
            continue
        if at is not None:
            yield at
        at = span
    if at is not None:
        yield at


def _filled(spans: Sequence[Interval], first: int, last: int) -> Iterator[Interval]:
    """The spans, and what lies between them and the ends."""
    at = first
    for begin, end in spans:
        if at < begin:
            yield at, begin
        yield begin, end
        at = end
    if at < last:
        yield at, last
