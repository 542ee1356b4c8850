"""Which part of a question the rollups can answer, and which part needs the rows. Pure.

Rollups know whole hours. Rows answer for the ragged ends of a range, and for hours that two of the
asked-for buckets share (a time zone whose offset is no whole hour). Tags are in the rollups only
as far as ``rolled_tags`` says; a question about others is answered from rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.ledger.query import ReportQuery, bucketing
from gateway.ledger.rollup import HOUR_US


@dataclass(frozen=True, slots=True)
class Plan:
    """``hours`` by rollups (whole ones, the end is not part), but not those in ``shared``; rows for
    the time spans in ``rows``.
    """

    hours: tuple[int, int]
    shared: tuple[int, ...]
    rows: tuple[tuple[int, int], ...]


def by_rows(query: ReportQuery) -> Plan:
    """Everything by rows."""
    start, end = query.start_at_us, query.end_at_us
    return Plan((start, start), (), ((start, end),) if start < end else ())


def plan(
    query: ReportQuery,
    existing: tuple[int, int],
    hours_with_sums: Sequence[int],
    span: tuple[int, int],
) -> Plan:
    """By rollups as far as they go.

    ``span`` is the range, made longer where nothing lies between its end and that of an hour.
    ``existing`` is from the first hour with a sum to the end of the last: before and after it there
    is nothing. ``hours_with_sums`` are all of the range where buckets may share hours; otherwise
    it may be empty.
    """
    start = -(-span[0] // HOUR_US) * HOUR_US
    end = span[1] // HOUR_US * HOUR_US
    if start > end:  # within one hour
        return by_rows(query)
    bucket = bucketing(query)
    shared = tuple(
        hour
        for hour in hours_with_sums
        if start <= hour < end and bucket(hour) != bucket(hour + HOUR_US - 1)
    )
    spans = [(span[0], start), (end, span[1])]
    spans += [(hour, hour + HOUR_US) for hour in shared]
    rows = tuple(_joined(sorted(span for span in spans if _meet(span, existing))))
    return Plan((start, end), shared, rows)


def may_share_hours(query: ReportQuery) -> bool:
    """Whether a bucket can end within an hour of UTC."""
    return query.bucket_width != "all" and query.time_zone != "UTC"


def _meet(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span[0] < span[1] and span[0] < other[1] and other[0] < span[1]


def _joined(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Neighbours as one; spans are in order and do not overlap."""
    at: tuple[int, int] | None = None
    for span in spans:
        if at is not None and at[1] == span[0]:
            at = (at[0], span[1])
            continue
        if at is not None:
            yield at
        at = span
    if at is not None:
        yield at
