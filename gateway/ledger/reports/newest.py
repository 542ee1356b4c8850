"""The newest operations that a question is about, a page at a time. Reads only.

Where to look is told by ``stretches``. A page may have fewer operations than it could, or none,
where it has read enough, and leads on from where it has stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection

from gateway.ledger.months.archive import Snapshot
from gateway.ledger.reports import selection
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.row_filters import spans
from gateway.ledger.schema import Grain
from gateway.ledger.sums import rolled
from gateway.ledger.sums.stretches import MOST_ROWS_READ, Place, end_of, stretches

Operation = Place
"""When it came in, and its id."""


def newest(
    snapshot: Snapshot, query: ReportQuery, before: Operation | None
) -> tuple[list[Operation], Operation | None]:
    """Operations, newest first, and the place before which the next page begins; None: no more."""
    counted, exact = _counted(query)

    def counts(
        connection: Connection, grain: Grain, asked: ReportQuery, end_us: int
    ) -> Iterator[tuple[int, int, int]]:
        return rolled.attempts_by(connection, grain, asked, end_us, counted)

    found: list[Operation] = []
    rows = 0
    end_us = end_of(query, before)
    for part in stretches(snapshot, query, end_us, counts, told_apart=exact):
        wanted = list(spans(query, part.start_us, part.end_us))
        if not wanted:
            continue
        if rows and rows + part.rows > MOST_ROWS_READ:
            return found, (part.end_us, "")
        rows += part.rows
        for start_us, until_us in wanted:
            asked = replace(query, start_at_us=start_us, end_at_us=until_us)
            found += _within(snapshot, asked, before)
            if len(found) > query.limit:
                return found[: query.limit], found[query.limit - 1]
    return found, None


def _counted(query: ReportQuery) -> tuple[str, bool]:
    """The column of the sums that counts what is asked for, and whether it counts no other."""
    only = {name: values for name, values in query.only.items() if name != "hour"}
    for name, value, column in (
        ("cost_status", "unknown", "unknown_attempts"),
        ("caused_boot", "true", "boots"),
    ):
        if only.get(name) == (value,):
            return column, len(only) == 1
    return "attempts", not only


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
