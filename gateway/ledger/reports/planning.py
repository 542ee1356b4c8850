"""Which part of a question the sums can answer, and which part needs the rows. Pure.

Sums by hour know whole hours of UTC, sums by quarter whole quarters of one. A time zone's offset is
a whole number of quarters; where it is no whole number of hours, each of its days begins within an
hour of UTC ("torn"), and that hour is answered by its quarters. Rows answer for what is shorter
than a quarter at the ends of a range, and for what came before there were sums by quarter. Tags are
in the sums only as far as ``rolled_tags`` says; a question about others is answered by rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.ledger.reports.query import ReportQuery, zone
from gateway.ledger.sums.rollup import HOUR_US, QUARTER_US

DAY_US = 24 * HOUR_US

Span = tuple[int, int]
Which = Literal["all", "torn", "untorn"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time that sums answer, by hours or by quarters: of all its hours, of those that
    hold a midnight within them, or of the others.

    The zone's clocks are ``ahead_us`` of UTC in all of it.
    """

    start_us: int
    end_us: int
    quarters: bool
    ahead_us: int = 0
    which: Which = "all"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of sums, and time spans that are asked of rows; nothing is in two of them."""

    pieces: tuple[Piece, ...]
    rows: tuple[Span, ...]


def by_rows(query: ReportQuery) -> Plan:
    """Everything by rows."""
    start, end = query.start_at_us, query.end_at_us
    return Plan((), ((start, end),) if start < end else ())


def plan(
    query: ReportQuery,
    existing: Span,
    span: Span,
    quarters_from_us: int = 0,
    hours_without: Sequence[int] = (),
) -> Plan:
    """By sums as far as they go.

    ``span`` is the range, made longer where nothing lies between its end and that of an hour.
    ``existing`` is from the first hour with a sum to the end of the last: before and after it there
    is nothing. Sums by quarter know all from ``quarters_from_us`` on; ``hours_without`` are those
    of the range before it that have a sum.
    """
    start, end = max(span[0], existing[0]), min(span[1], existing[1])
    pieces: list[Piece] = []
    rows: list[Span] = []
    fine_from = _up(quarters_from_us, HOUR_US)
    for begin, until, ahead in _stretches(query, start, end):
        first, last = _up(begin, HOUR_US), _down(until, HOUR_US)
        if first > last:  # within one hour
            first = last = until
        _fine((begin, first), ahead, fine_from, pieces, rows)
        _fine((last, until), ahead, fine_from, pieces, rows)
        if first == last:
            continue
        if not ahead % HOUR_US:
            pieces.append(Piece(first, last, quarters=False, ahead_us=ahead))
        elif query.bucket_width == "1h":
            _fine((first, last), ahead, fine_from, pieces, rows)
        else:
            pieces.append(Piece(first, last, quarters=False, ahead_us=ahead, which="untorn"))
            old_until = min(last, max(first, fine_from))
            if old_until < last:
                pieces.append(Piece(old_until, last, True, ahead, "torn"))
            old = (hour for hour in hours_without if first <= hour < old_until)
            rows += [(hour, hour + HOUR_US) for hour in old if _is_torn(hour, ahead)]
    return Plan(tuple(pieces), tuple(_joined(sorted(rows))))


def _fine(span: Span, ahead: int, from_us: int, pieces: list[Piece], rows: list[Span]) -> None:
    """By quarters, and by rows where there are none."""
    first, last = _up(max(span[0], from_us), QUARTER_US), _down(span[1], QUARTER_US)
    if first >= last:
        rows.append(span)
        return
    pieces.append(Piece(first, last, quarters=True, ahead_us=ahead))
    rows += [(span[0], first), (last, span[1])]


def _is_torn(hour: int, ahead: int) -> bool:
    return (hour + ahead) % DAY_US > DAY_US - HOUR_US


def _stretches(query: ReportQuery, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The range in parts in which the zone's clocks do not jump: begin, end, ahead of UTC."""
    if start >= end:
        return
    if query.bucket_width == "all" or query.time_zone == "UTC":
        yield start, end, 0
        return
    tz = zone(query.time_zone)
    begin, ahead = start, _ahead(tz, start)
    at = start
    while at < end:
        upcoming = min(_down(at, QUARTER_US) + DAY_US, end)
        changed = _ahead(tz, upcoming)
        if changed != ahead:
            jump = _jump(tz, at, upcoming)
            if begin < jump < end:
                yield begin, jump, ahead
                begin = jump
            ahead = changed
        at = upcoming
    if begin < end:
        yield begin, end, ahead


def _jump(tz: ZoneInfo, before: int, after: int) -> int:
    """The first quarter with another offset than ``before`` has."""
    offset = _ahead(tz, before)
    low, high = before // QUARTER_US, -(-after // QUARTER_US)
    while high - low > 1:
        middle = (low + high) // 2
        if _ahead(tz, middle * QUARTER_US) == offset:
            low = middle
        else:
            high = middle
    return high * QUARTER_US


def _ahead(tz: ZoneInfo, at_us: int) -> int:
    """What the zone's clocks are ahead of UTC, at the begin of an instant's quarter."""
    seconds = at_us // QUARTER_US * (QUARTER_US // 1_000_000)
    offset = datetime.fromtimestamp(seconds, tz).utcoffset() or timedelta()
    return _down(round(offset.total_seconds()) * 1_000_000, QUARTER_US)


def _up(at_us: int, length_us: int) -> int:
    return -(-at_us // length_us) * length_us


def _down(at_us: int, length_us: int) -> int:
    return at_us // length_us * length_us


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Neighbours as one; spans are in order and do not overlap. Empty ones are left out."""
    at: Span | None = None
    for span in spans:
        if span[0] >= span[1]:
            continue
        if at is not None and at[1] == span[0]:
            at = (at[0], span[1])
            continue
        if at is not None:
            yield at
        at = span
    if at is not None:
        yield at
