"""Questions to the rollups as SQL, and their answers as sums. Right for both databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select

from gateway.ledger.grouping import Place
from gateway.ledger.numbers import EXACT, PICO
from gateway.ledger.planning import Plan
from gateway.ledger.query import ReportQuery
from gateway.ledger.rolled_tags import MOST_VALUES
from gateway.ledger.rollup import LineSums, Sums
from gateway.ledger.schema import (
    AMOUNTS,
    rolled_tags,
    rollup_lines,
    rollup_seconds,
    rollups,
    series,
    tag_values,
)

_COLUMNS = {"key": "key_id"}  # where the public name is not the column's


def existing_hours(connection: Connection) -> tuple[int, int] | None:
    """The first hour that has a sum, and the last; None where there is none."""
    low = connection.scalar(select(func.min(rollups.c.hour_at_us)))
    high = connection.scalar(select(func.max(rollups.c.hour_at_us)))
    return None if low is None or high is None else (low, high)


def hours_of(connection: Connection, start_us: int, end_us: int) -> list[int]:
    """All hours of a range that have a sum."""
    hour = rollups.c.hour_at_us
    wanted = select(hour).where(hour >= start_us, hour < end_us).distinct().order_by(hour)
    return list(connection.scalars(wanted))


def tags_are_rolled(connection: Connection, query: ReportQuery) -> bool:
    """Whether the sums of the range tell the question's tags apart."""
    asked = {
        name.removeprefix("tag:")
        for name in (*query.group_by, *query.filters)
        if name.startswith("tag:")
    }
    for name in asked:
        covering = select(rolled_tags.c.name).where(
            rolled_tags.c.name == name,
            rolled_tags.c.from_at_us <= query.start_at_us,
            or_(
                rolled_tags.c.until_at_us.is_(None),
                rolled_tags.c.until_at_us >= query.end_at_us,
            ),
        )
        if connection.scalar(covering) is None:
            return False
        values = select(func.count()).select_from(tag_values).where(tag_values.c.name == name)
        if (connection.scalar(values) or 0) >= MOST_VALUES:
            return False  # some values may have been put together
    return True


def sums_of(
    connection: Connection, query: ReportQuery, plan: Plan, counted: Sequence[str]
) -> Iterator[tuple[Place, Sums]]:
    """Money and cost lines of everything the question is about, and the counts of these names."""
    counts = [func.sum(rollups.c[name]) for name in counted]
    amounts = [func.sum(rollups.c[part]) for name in AMOUNTS for part in (name, f"pico_{name}")]
    found: dict[Place, Sums] = {}
    for place, given in _rows(connection, query, plan, rollups, [], [*counts, *amounts]):
        money = given[len(counted) :]
        sums = Sums(**{name: int(given[at]) for at, name in enumerate(counted)})  # type: ignore[arg-type]
        for at, name in enumerate(AMOUNTS):
            setattr(sums, name, int(money[2 * at]) * PICO + int(money[2 * at + 1]))
        if sums.attempts or sums.charges:
            found[place] = sums
    for place, kind, line in _lines(connection, query, plan):
        if place in found:
            found[place].lines[kind] = line
    yield from found.items()


def seconds_of(
    connection: Connection, query: ReportQuery, plan: Plan
) -> Iterator[tuple[Place, str, int, int, int]]:
    """What was waited for, bucket, how many, and the sum of microseconds."""
    table = rollup_seconds
    sums = [func.sum(table.c.attempts), func.sum(table.c.microseconds)]
    by = [table.c.what, table.c.bucket]
    for place, (what, bucket, count, microseconds) in _rows(
        connection, query, plan, table, by, sums
    ):
        if count:
            yield place, what, bucket, int(count), int(microseconds)


def cold_by_evidence(
    connection: Connection, query: ReportQuery, plan: Plan
) -> Iterator[tuple[Place, str, str | None, int, int]]:
    """Verdict, evidence, attempts that have ended, and boots that they caused."""
    by = [series.c.verdict, series.c.evidence]
    sums = [func.sum(rollups.c.attempts), func.sum(rollups.c.boots)]
    ended = series.c.status != "running"
    for place, (verdict, evidence, count, boots) in _rows(
        connection, query, plan, rollups, by, sums, ended
    ):
        if count:
            yield place, verdict, evidence, int(count), int(boots)


def _lines(
    connection: Connection, query: ReportQuery, plan: Plan
) -> Iterator[tuple[Place, str, LineSums]]:
    table = rollup_lines
    names = (
        *("lines", "unknown_lines", "unquantified_lines"),
        *("quantity", "pico_quantity", "usd", "pico_usd"),
    )
    finer = [table.c.finer_quantity, table.c.finer_usd]
    sums = [func.sum(table.c[name]) for name in names]
    found: dict[tuple[Place, str], LineSums] = {}
    for place, (kind, *given) in _rows(connection, query, plan, table, [table.c.kind], sums):
        lines, unknown, unquantified, quantity, pico_quantity, usd, pico_usd = map(int, given)
        if lines:
            found[place, kind] = LineSums(
                lines,
                unknown,
                unquantified,
                quantity * PICO + pico_quantity,
                usd * PICO + pico_usd,
            )
    there = or_(*(column.is_not(None) for column in finer))
    for place, (kind, *texts) in _rows(
        connection, query, plan, table, [table.c.kind, *finer], [], there
    ):
        line = found[place, kind]
        line.finer_quantity = EXACT.add(line.finer_quantity, Decimal(texts[0] or 0))
        line.finer_usd = EXACT.add(line.finer_usd, Decimal(texts[1] or 0))
    for (place, kind), line in found.items():
        yield place, kind, line


def _rows(
    connection: Connection,
    query: ReportQuery,
    plan: Plan,
    table: Table,
    by: Sequence[ColumnElement[Any]],
    sums: Sequence[ColumnElement[Any]],
    *conditions: ColumnElement[bool],
) -> Iterator[tuple[Place, tuple[Any, ...]]]:
    """Rows of a table of sums, added up by place and ``by``; without sums, as they stand there."""
    if plan.hours[0] >= plan.hours[1]:
        return
    hour = table.c.hour_at_us
    place: list[ColumnElement[Any]] = [hour] if query.bucket_width != "all" else []
    place += [_dimension(name) for name in query.group_by]
    wanted = (
        select(*place, *by, *sums)
        .select_from(table.join(series, series.c.id == table.c.series_id))
        .where(hour >= plan.hours[0], hour < plan.hours[1], *conditions, *_conditions(query))
    )
    if plan.shared:
        wanted = wanted.where(hour.not_in(plan.shared))
    if sums:
        wanted = wanted.group_by(*place, *by)
    values_at = len(place) - len(query.group_by)
    for row in connection.execute(wanted):
        if sums and row[-1] is None:
            continue  # the sum of no rows at all
        yield (
            Place(row[0] if values_at else 0, tuple(row[values_at : len(place)])),
            tuple(row[len(place) :]),
        )


def _conditions(query: ReportQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        _dimension(name).in_(values) for name, values in query.filters.items()
    ]
    if query.key_id is not None:
        found.append(series.c.key_id == query.key_id)
    return found


def _dimension(name: str) -> ColumnElement[Any]:
    if name.startswith("tag:"):
        tag: ColumnElement[Any] = series.c.tags[name.removeprefix("tag:")].as_string()
        return tag
    return series.c[_COLUMNS.get(name, name)]
