"""Where to look for the newest rows that a question is about, told by their sums. Reads only.

The rows have an index by time and none by each thing that they can be filtered by. An hour, or a
quarter of one, without a matching row is passed over unread. What the sums do not tell apart has to
be read, and a page reads ``MOST_ROWS_READ`` rows, or one quarter of an hour, before it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection

from gateway.ledger.months.archive import Snapshot
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.schema import HOURS, QUARTERS, Grain
from gateway.ledger.sums import rolled
from gateway.ledger.sums.looking_back import stretch_before
from gateway.ledger.sums.progress import quarters_from_us, rolled_to
from gateway.ledger.sums.rollup import HOUR_US

MOST_ROWS_READ = 100_000

Place: TypeAlias = tuple[int, str]
"""When a row is from, and its id; an empty id: all before that instant."""
Counts: TypeAlias = Callable[[Connection, Grain, ReportQuery, int], Iterator[tuple[int, int, int]]]
"""As ``rolled.attempts_by``."""


class Stretch(NamedTuple):
    """Where to look, and about how many rows that means to read."""

    start_us: int
    end_us: int
    rows: int


def end_of(query: ReportQuery, before: Place | None) -> int:
    """Up to where a page has to look: others of the instant of a place may follow on it."""
    if before is None:
        return query.end_at_us
    return min(query.end_at_us, before[0] + 1 if before[1] else before[0])


def stretches(
    snapshot: Snapshot, query: ReportQuery, end_us: int, counts: Counts, *, told_apart: bool
) -> Iterator[Stretch]:
    """All that may hold what is asked for, newest first.

    ``told_apart``: the sums that ``counts`` reads tell all of it apart, but for tags.
    """
    if not query.dimensions and not query.only:  # there are indexes by time, and by key and time
        yield Stretch(query.start_at_us, end_us, 0)
    elif rolled_to(snapshot.connection):
        yield from _blindly(snapshot, query, end_us)
    else:
        yield from _by_sums(snapshot, query, end_us, counts, told_apart)


def _blindly(snapshot: Snapshot, query: ReportQuery, end_us: int) -> Iterator[Stretch]:
    """While an older ledger has no sums yet."""
    while True:
        start = stretch_before(snapshot, end_us, query.start_at_us, MOST_ROWS_READ)
        if start is None:
            return
        yield Stretch(start, end_us, MOST_ROWS_READ)
        end_us = start


def _by_sums(
    snapshot: Snapshot, query: ReportQuery, end_us: int, counts: Counts, told_apart: bool
) -> Iterator[Stretch]:
    connection = snapshot.connection
    plain = replace(query, group_by=(), filters={}, without=())
    known = {
        name
        for name in query.dimensions
        if not name.startswith("tag:")
        or rolled.tags_are_rolled(connection, replace(plain, without=(name,)))
    }
    told_apart = told_apart and len(known) == len(query.dimensions)
    asked = replace(
        query,
        filters={name: values for name, values in query.filters.items() if name in known},
        without=tuple(name for name in query.without if name in known),
    )
    fine_from_us = quarters_from_us(connection)
    for hour, matching, all_ in counts(connection, HOURS, asked, end_us):
        if snapshot.is_pruned(hour):
            return
        parts = [(hour, matching, all_)]
        length = HOUR_US
        if all_ > query.limit and hour >= fine_from_us:
            within = replace(asked, start_at_us=hour)
            last_us = min(end_us, hour + HOUR_US)
            parts = list(counts(connection, QUARTERS, within, last_us))
            length = QUARTERS.us
        for at_us, matches, rows in parts:
            if told_apart and matches > query.limit:  # it ends with the page
                rows = rows * (query.limit + 1) // matches
            start, end = max(at_us, query.start_at_us), min(at_us + length, end_us)
            if start < end:
                yield Stretch(start, end, max(1, rows))
