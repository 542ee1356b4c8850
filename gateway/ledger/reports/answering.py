"""How a question is answered, as the ledger stands: ``planning``, with what the database says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select

from gateway.ledger.errors import BadQuery
from gateway.ledger.months.archive import EVER_US, Month, Snapshot
from gateway.ledger.reports.planning import Plan, Span, by_rows, plan
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.schema import attempts, charges
from gateway.ledger.sums import rolled
from gateway.ledger.sums.progress import begins, rolled_to
from gateway.ledger.sums.rollup import HOUR_US


def plan_of(
    snapshot: Snapshot,
    query: ReportQuery,
    most_rows_read: int | None = None,
    gaps_for: str | None = None,
) -> Plan:
    """How a question is answered. Raises BadQuery if it needs rows that were pruned, or more of
    them than may be read. ``gaps_for``: the parameter that takes sums by idle time or revision.
    """
    connection = snapshot.connection
    existing = rolled.existing_hours(connection)
    tag = rolled.tag_not_rolled(connection, query)
    if rolled_to(connection) or tag is not None:
        found = by_rows(query)
        if first_pruned(snapshot, found.rows) is None:
            if tag is not None and most_rows_read is not None:
                _check_size(connection, query, tag, most_rows_read)
            return found
        if not rolled_to(connection):
            raise _pruned(snapshot, found.rows, "group_by")
    elif existing is None:
        return by_rows(query)
    first, last = existing or (0, 0)
    from_us, gaps_from_us = begins(connection)
    if gaps_for is not None:
        from_us = EVER_US  # these have no sums by quarters
    old: list[int] = []
    if from_us and query.bucket_width == "1d":
        old = rolled.hours_of(connection, query.start_at_us, min(query.end_at_us, from_us))
    span = _whole_hours(snapshot, query)
    without: tuple[Span, ...] = ()
    if gaps_for is not None and span[0] < gaps_from_us:
        until_us = min(-(-gaps_from_us // HOUR_US) * HOUR_US, max(span))
        without = ((query.start_at_us, min(until_us, query.end_at_us)),)
        span = (until_us, span[1])
    found = plan(query, (first, last + HOUR_US), span, from_us, old)
    found = Plan(found.pieces, (*without, *found.rows))
    if first_pruned(snapshot, found.rows) is not None:
        raise _pruned(snapshot, found.rows, "start_time")
    if gaps_for is not None and most_rows_read is not None:
        why, way = "Idle times are summed up by whole hours of UTC", ", or by the hours of UTC"
        if without:
            why, way = "The past is still being summed up by idle time", " or wait"
        _check_spans(connection, query, found.rows, gaps_for, why, most_rows_read, way)
    return found


def check_rows(snapshot: Snapshot, query: ReportQuery) -> None:
    """Raises BadQuery if rows of the range were pruned."""
    spans = by_rows(query).rows
    if first_pruned(snapshot, spans) is not None:
        raise _pruned(snapshot, spans, "start_time")


def _check_spans(
    connection: Connection,
    query: ReportQuery,
    spans: Sequence[Span],
    param: str,
    why: str,
    most_rows: int,
    way: str,
) -> None:
    """Raises BadQuery where spans of rows are more than the ends of a range and too many rows."""
    if sum(end - start for start, end in spans) <= 2 * HOUR_US:
        return
    parts = (replace(query, start_at_us=start, end_at_us=end) for start, end in spans)
    rows = sum(rolled.attempts_in(connection, part) for part in parts)
    if rows > most_rows:
        raise _too_many(param, why, rows, most_rows, way)


def _check_size(connection: Connection, query: ReportQuery, tag: str, most_rows: int) -> None:
    """Raises BadQuery where a tag would have to be read from too many rows."""
    rows = rolled.attempts_in(connection, query)
    if rows <= most_rows:
        return
    if rolled.has_too_many_values(connection, tag):
        why, way = f"The tag {tag!r} has too many values to be summed up", ""
    elif rolled.is_being_rolled(connection, tag):
        why = f"The tag {tag!r} is still being summed up for what came before it was asked for"
        way = " or wait"
    else:
        why = f"The tag {tag!r} is not in ledger.rollup_tags"
        way = ", or add the tag there: the past is summed up as well"
    param = "group_by" if f"tag:{tag}" in query.group_by else f"tag:{tag}"
    raise _too_many(param, why, rows, most_rows, way)


def _too_many(param: str, why: str, rows: int, most_rows: int, way: str) -> BadQuery:
    return BadQuery(
        param,
        f"{why}, so that each of {rows:,} attempts would have to be read; that is done for "
        f"{most_rows:,} at most. Ask for a shorter range{way}.",
    )


def _whole_hours(snapshot: Snapshot, query: ReportQuery) -> tuple[int, int]:
    """The range up to the ends of its hours, as far as nothing lies there: mostly, its end is now,
    and there is nothing after that.
    """
    start, end = query.start_at_us, query.end_at_us
    before, after = start - start % HOUR_US, -(-end // HOUR_US) * HOUR_US
    if before < start and _is_empty(snapshot, before, start):
        start = before
    if end < after and _is_empty(snapshot, end, after):
        end = after
    return start, end


def _is_empty(snapshot: Snapshot, start: int, end: int) -> bool:
    if snapshot.is_pruned(start):
        return False  # nobody knows
    a, c = attempts.c, charges.c
    at, begin = a.operation_at_us, c.period_start_at_us
    some = select(a.attempt_id).where(at >= start, at < end).limit(1)
    paid = select(c.charge_id).where(begin >= start, begin < end).limit(1)
    return not any(snapshot.attempts(some, start, end)) and not any(
        snapshot.charges(paid, start, end)
    )


def first_pruned(snapshot: Snapshot, spans: Iterable[tuple[int, int]]) -> Month | None:
    """A month of some time spans whose rows are not there any more."""
    pruned = [month for month in snapshot.months.values() if month.pruned]
    for start, end in spans:
        for month in pruned:
            if month.span[0] < end and start < month.span[1]:
                return month
    return None


def _pruned(snapshot: Snapshot, spans: Iterable[tuple[int, int]], param: str) -> BadQuery:
    month = first_pruned(snapshot, spans)
    assert month is not None
    return BadQuery(
        param,
        f"The single attempts of {month.name} were pruned; sums are left, by whole hours of UTC "
        "and by the dimensions and tags that were rolled up.",
    )
