"""The newest operations that a question is about, a page at a time. Reads only.

The rows have an index by time and none by each thing that they can be filtered by. Where to look is
told by their sums: an hour, or a quarter of one, without a matching attempt is passed over unread.
What the sums do not tell apart has to be read, and a page reads ``MOST_ROWS_READ`` attempts, or one
quarter of an hour, before it ends: it may have fewer operations than it could, or none, and leads
on from where it has stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from gateway.ledger import rolled, selection
from gateway.ledger.looking_back import stretch_before
from gateway.ledger.months import Snapshot
from gateway.ledger.progress import quarters_from_us, rolled_to
from gateway.ledger.query import ReportQuery
from gateway.ledger.rollup import HOUR_US
from gateway.ledger.schema import HOURS, QUARTERS

MOST_ROWS_READ = 100_000

Operation = tuple[int, str]
"""When it came in, and its id."""


class _Stretch(NamedTuple):
    """Where to look, and about how many attempts that means to read."""

    start_us: int
    end_us: int
    rows: int


def newest(
    snapshot: Snapshot, query: ReportQuery, before: Operation | None
) -> tuple[list[Operation], Operation | None]:
    """Operations, newest first, and the place before which the next page begins; None: no more."""
    end_us = query.end_at_us
    if before is not None:  # others of its instant may follow; none where a stretch has ended
        end_us = min(end_us, before[0] + 1 if before[1] else before[0])
    found: list[Operation] = []
    rows = 0
    for part in _stretches(snapshot, query, end_us):
        if rows and rows + part.rows > MOST_ROWS_READ:
            return found, (part.end_us, "")
        rows += part.rows
        found += _within(snapshot, replace(query, start_at_us=part[0], end_at_us=part[1]), before)
        if len(found) > query.limit:
            return found[: query.limit], found[query.limit - 1]
    return found, None


def _within(snapshot: Snapshot, query: ReportQuery, before: Operation | None) -> list[Operation]:
    """The newest of a stretch, one more than the limit if there are more."""
    statement = selection.operations_of(query, before)
    found = {(row[0], row[1]) for row in snapshot.connection.execute(statement)}
    for month in snapshot.within(query.start_at_us, query.end_at_us):
        best = sorted(found, reverse=True)
        if len(best) > query.limit and best[query.limit][0] >= month.span[1]:
            break  # all that is older is not shown
        found.update((row[0], row[1]) for row in snapshot.of_month(month, statement))
    return sorted(found, reverse=True)[: query.limit + 1]


def _stretches(snapshot: Snapshot, query: ReportQuery, end_us: int) -> Iterator[_Stretch]:
    """All that may hold what is asked for, newest first."""
    if not query.filters:  # there are indexes by time, and by key and time
        yield _Stretch(query.start_at_us, end_us, 0)
    elif rolled_to(snapshot.connection):
        yield from _blindly(snapshot, query, end_us)
    else:
        yield from _by_sums(snapshot, query, end_us)


def _blindly(snapshot: Snapshot, query: ReportQuery, end_us: int) -> Iterator[_Stretch]:
    """While an older ledger has no sums yet."""
    while True:
        start = stretch_before(snapshot, end_us, query.start_at_us, MOST_ROWS_READ)
        if start is None:
            return
        yield _Stretch(start, end_us, MOST_ROWS_READ)
        end_us = start


def _by_sums(snapshot: Snapshot, query: ReportQuery, end_us: int) -> Iterator[_Stretch]:
    connection = snapshot.connection
    known = {
        name: values
        for name, values in query.filters.items()
        if not name.startswith("tag:")
        or rolled.tags_are_rolled(connection, replace(query, group_by=(), filters={name: values}))
    }
    told_apart = len(known) == len(query.filters)
    asked = replace(query, filters=known)
    fine_from_us = quarters_from_us(connection)
    for hour, matching, all_ in rolled.attempts_by(connection, HOURS, asked, end_us):
        if snapshot.is_pruned(hour):
            return
        parts = [(hour, matching, all_)]
        length = HOUR_US
        if all_ > query.limit and hour >= fine_from_us:
            within = replace(asked, start_at_us=hour)
            last_us = min(end_us, hour + HOUR_US)
            parts = list(rolled.attempts_by(connection, QUARTERS, within, last_us))
            length = QUARTERS.us
        for at_us, matches, rows in parts:
            if told_apart and matches > query.limit:  # it ends with the page
                rows = rows * (query.limit + 1) // matches
            start, end = max(at_us, query.start_at_us), min(at_us + length, end_us)
            if start < end:
                yield _Stretch(start, end, max(1, rows))
