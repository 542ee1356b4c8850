"""Questions to the rollups as SQL, and their answers as sums. Right for both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Table,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.sql.elements import KeyedColumnElement

from gateway.ledger.numbers import EXACT, PICO
from gateway.ledger.reports.grouping import Place
from gateway.ledger.reports.planning import DAY_US, Piece, Plan
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.schema import (
    AMOUNTS,
    GAPS,
    HOURS,
    QUARTERS,
    Grain,
    rolled_tags,
    rollups,
    series,
    tag_values,
)
from gateway.ledger.sums.gaps import UNKNOWN
from gateway.ledger.sums.rolled_tags import MOST_VALUES
from gateway.ledger.sums.rollup import HOUR_US, LineSums, Sums

_COLUMNS = {"key": "key_id"}  # where the public name is not the column's
_ENDED = series.c.status != "running"


def existing_hours(connection: Connection) -> tuple[int, int] | None:
    """The first hour that has a sum, and the last; None where there is none."""
    low = connection.scalar(select(func.min(rollups.c.hour_at_us)))
    high = connection.scalar(select(func.max(rollups.c.hour_at_us)))
    return None if low is None or high is None else (low, high)


def hours_of(connection: Connection, start_us: int, end_us: int) -> list[int]:
    """All hours of a range that have a sum."""
    hour = rollups.c.hour_at_us
    begin = start_us - start_us % HOUR_US
    wanted = select(hour).where(hour >= begin, hour < end_us).distinct().order_by(hour)
    return list(connection.scalars(wanted))


def attempts_by(
    connection: Connection, grain: Grain, query: ReportQuery, end_us: int, counted: str = "attempts"
) -> Iterator[tuple[int, int, int]]:
    """Stretches with an attempt that the filters let through, newest first: the begin, how many
    such attempts, how many in all. ``counted``: the column that counts those that are meant.
    """
    table = grain.totals
    return _stretches(
        connection, table, grain, query, end_us, table.c[counted], table.c.attempts, ()
    )


def charges_by(
    connection: Connection, grain: Grain, query: ReportQuery, end_us: int, kinds: Sequence[str]
) -> Iterator[tuple[int, int, int]]:
    """The same of charges of some kinds."""
    table = grain.lines
    count = table.c.lines
    meant = table.c.kind.in_(kinds)
    return _stretches(connection, table, grain, query, end_us, count, count, (meant,))


def _stretches(
    connection: Connection,
    table: Table,
    grain: Grain,
    query: ReportQuery,
    end_us: int,
    counted: ColumnElement[int],
    all_: ColumnElement[int],
    meant: Sequence[ColumnElement[bool]],
) -> Iterator[tuple[int, int, int]]:
    at = table.c[grain.at]
    matching = select(series.c.id).where(*_conditions(query))
    those = func.sum(case((table.c.series_id.in_(matching), counted), else_=0))
    begin = query.start_at_us - query.start_at_us % grain.us
    wanted = (
        select(at, those, func.sum(all_))
        .where(at >= begin, at < end_us, *meant)
        .group_by(at)
        .having(those > 0)
        .order_by(at.desc())
    )
    for at_us, matches, rows in connection.execute(wanted):
        yield at_us, int(matches), int(rows)


def tags_are_rolled(connection: Connection, query: ReportQuery) -> bool:
    """Whether the sums of the range tell the question's tags apart."""
    return tag_not_rolled(connection, query) is None


def tag_not_rolled(connection: Connection, query: ReportQuery) -> str | None:
    """A tag of the question that the sums of its range do not tell apart."""
    asked = dict.fromkeys(
        name.removeprefix("tag:")
        for name in (*query.group_by, *query.dimensions)
        if name.startswith("tag:")
    )
    for name in asked:
        if not tag_is_rolled(connection, name, query.start_at_us, query.end_at_us):
            return name
    return None


def tag_is_rolled(connection: Connection, tag: str, start_us: int, end_us: int) -> bool:
    """Whether the sums of a range tell all values of a tag apart."""
    covering = select(rolled_tags.c.name).where(
        rolled_tags.c.name == tag,
        rolled_tags.c.from_at_us <= start_us,
        or_(rolled_tags.c.until_at_us.is_(None), rolled_tags.c.until_at_us >= end_us),
    )
    return connection.scalar(covering) is not None and not has_too_many_values(connection, tag)


def has_too_many_values(connection: Connection, tag: str) -> bool:
    """Whether some values of a tag may have been put together."""
    values = select(func.count()).select_from(tag_values).where(tag_values.c.name == tag)
    return (connection.scalar(values) or 0) >= MOST_VALUES


def is_being_rolled(connection: Connection, tag: str) -> bool:
    """Whether a tag is summed up from now on, so that its past is going to be."""
    open_ = (rolled_tags.c.name == tag) & rolled_tags.c.until_at_us.is_(None)
    return connection.scalar(select(rolled_tags.c.name).where(open_)) is not None


def attempts_in(connection: Connection, query: ReportQuery) -> int:
    """How many attempts the hours of a range have, of whatever kind."""
    hour = rollups.c.hour_at_us
    begin = query.start_at_us - query.start_at_us % HOUR_US
    wanted = select(func.sum(rollups.c.attempts)).where(hour >= begin, hour < query.end_at_us)
    return int(connection.scalar(wanted) or 0)


def sums_of(
    connection: Connection, query: ReportQuery, plan: Plan, counted: Sequence[str]
) -> Iterator[tuple[Place, Sums]]:
    """Money and cost lines of everything the question is about, and the counts of these names.

    A place may come more than once.
    """
    for piece in plan.pieces:
        yield from _sums_of(_Asking(connection, query, piece), counted).items()


def _sums_of(asking: _Asking, counted: Sequence[str]) -> dict[Place, Sums]:
    table = asking.grain.totals
    counts = [func.sum(table.c[name]) for name in counted]
    amounts = [func.sum(table.c[part]) for name in AMOUNTS for part in (name, f"pico_{name}")]
    found: dict[Place, Sums] = {}
    for place, given in asking.rows(table, [], [*counts, *amounts]):
        money = given[len(counted) :]
        sums = Sums(**{name: int(given[at]) for at, name in enumerate(counted)})  # type: ignore[arg-type]
        for at, name in enumerate(AMOUNTS):
            setattr(sums, name, int(money[2 * at]) * PICO + int(money[2 * at + 1]))
        if sums.attempts or sums.charges:
            found[place] = sums
    for place, kind, line in _lines(asking):
        if place in found:
            found[place].lines[kind] = line
    return found


def seconds_of(
    connection: Connection, query: ReportQuery, plan: Plan, *, by_gap: bool
) -> Iterator[tuple[Place, int, str, int, int, int]]:
    """Idle gap (``gaps.UNKNOWN`` unless it is asked for, of a plan in hours alone), what was
    waited for, bucket, how many, and the sum of microseconds.
    """
    for piece in plan.pieces:
        asking = _Asking(connection, query, piece)
        table = GAPS.seconds if by_gap else asking.grain.seconds
        sums = [func.sum(table.c.attempts), func.sum(table.c.microseconds)]
        by = [*_gap(table, by_gap), table.c.what, table.c.bucket]
        for place, (*gap, what, bucket, count, microseconds) in asking.rows(table, by, sums):
            if count:
                yield place, gap[0] if gap else UNKNOWN, what, bucket, int(count), int(microseconds)


def cold_by_evidence(
    connection: Connection, query: ReportQuery, plan: Plan, *, by_gap: bool
) -> Iterator[tuple[Place, int, str, str | None, int, int]]:
    """Idle gap (as above), verdict, evidence, attempts that have ended, and boots they caused."""
    for piece in plan.pieces:
        asking = _Asking(connection, query, piece)
        table = GAPS.attempts if by_gap else asking.grain.totals
        by = [*_gap(table, by_gap), series.c.verdict, series.c.evidence]
        sums = [func.sum(table.c.attempts), func.sum(table.c.boots)]
        for place, (*gap, verdict, evidence, count, boots) in asking.rows(table, by, sums, _ENDED):
            if count:
                yield place, gap[0] if gap else UNKNOWN, verdict, evidence, int(count), int(boots)


def revisions_of(
    connection: Connection, query: ReportQuery, plan: Plan
) -> Iterator[tuple[str, str, int, int]]:
    """Deployment, revision, and the first stretch in which the sums have one of it: begin, end."""
    for piece in plan.pieces:
        asking = _Asking(connection, query, piece)
        table = GAPS.revisions
        at = table.c[HOURS.at]
        by = [series.c.deployment, table.c.revision]
        first = [func.min(case((table.c.attempts > 0, at)))]
        found = asking.rows(table, by, first, _ENDED, fold=func.min)
        for _, (deployment, revision, at_us) in found:
            yield deployment, revision, at_us, at_us + HOURS.us


def _gap(table: Table, asked: bool) -> list[KeyedColumnElement[Any]]:
    return [table.c.gap] if asked else []


def _lines(asking: _Asking) -> Iterator[tuple[Place, str, LineSums]]:
    table = asking.grain.lines
    names = (
        *("lines", "unknown_lines", "unquantified_lines"),
        *("quantity", "pico_quantity", "usd", "pico_usd"),
    )
    finer = [table.c.finer_quantity, table.c.finer_usd]
    sums = [func.sum(table.c[name]) for name in names]
    found: dict[tuple[Place, str], LineSums] = {}
    for place, (kind, *given) in asking.rows(table, [table.c.kind], sums):
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
    for place, (kind, *texts) in asking.rows(table, [table.c.kind, *finer], [], there):
        line = found[place, kind]
        line.finer_quantity = EXACT.add(line.finer_quantity, Decimal(texts[0] or 0))
        line.finer_usd = EXACT.add(line.finer_usd, Decimal(texts[1] or 0))
    for (place, kind), line in found.items():
        yield place, kind, line


class _Asking:
    """A question to the sums of one piece of time."""

    def __init__(self, connection: Connection, query: ReportQuery, piece: Piece) -> None:
        self.grain: Grain = QUARTERS if piece.quarters else HOURS
        self._connection = connection
        self._query = query
        self._piece = piece

    def rows(
        self,
        table: Table,
        by: Sequence[KeyedColumnElement[Any]],
        sums: Sequence[ColumnElement[Any]],
        *conditions: ColumnElement[bool],
        fold: Callable[[ColumnElement[Any]], ColumnElement[Any]] = func.sum,
    ) -> Iterator[tuple[Place, tuple[Any, ...]]]:
        """Rows of a table of sums, added up by place and ``by``; without sums, as they stand.

        ``fold`` puts together what ``sums`` are of several series.
        """
        query, piece = self._query, self._piece
        at = table.c[self.grain.at]
        place = self._bucket(at)
        values_at = len(place)
        within = (at >= piece.start_us, at < piece.end_us, *self._torn(at))
        wheres = (*conditions, *_conditions(query))
        dimensions = [_dimension(name) for name in query.group_by]
        if not sums or query.bucket_width == "1h":
            of: KeyedColumnElement[Any] = table.c.series_id
            wanted = [*place, *dimensions, *by, *sums]
            source: FromClause = table
            groups = [*place, *dimensions, *by]
            wheres = (*within, *wheres)
        else:
            # By series first, for those are numbers: what they stand for is text.
            own = [column for column in by if column.table is table]
            keys = [table.c.series_id, *place, *own]
            labels = [f"place_{n}" for n in range(values_at)]
            labelled = [one.label(label) for one, label in zip(place, labels, strict=True)]
            totals = [one.label(f"sum_{n}") for n, one in enumerate(sums)]
            first = select(table.c.series_id, *labelled, *own, *totals)
            if asked_of := _conditions(query):
                within = (*within, table.c.series_id.in_(select(series.c.id).where(*asked_of)))
            source = first.where(*within).group_by(*keys).subquery()
            of = source.c.series_id
            place = [source.c[label] for label in labels]
            by = [source.c[column.name] if column.table is table else column for column in by]
            folded = [fold(source.c[f"sum_{n}"]) for n in range(len(sums))]
            groups = [*place, *dimensions, *by]
            wanted = [*groups, *folded]
        asked = select(*wanted).select_from(source.join(series, series.c.id == of)).where(*wheres)
        if sums:
            asked = asked.group_by(*groups)
        end = values_at + len(dimensions)
        for row in self._connection.execute(asked):
            if sums and row[-1] is None:
                continue  # the sum of no rows at all
            # A day may have begun before the clocks jumped, and the piece with their jump.
            at_us = max(row[0], piece.start_us) if values_at else 0
            yield Place(at_us, tuple(row[values_at:end])), tuple(row[end:])

    def _bucket(self, at: ColumnElement[int]) -> list[ColumnElement[Any]]:
        """Where the bucket of a sum begins, were the clocks always as they are in the piece."""
        match self._query.bucket_width:
            case "1d":
                return [at - self._on_clock(at) % _whole(DAY_US)]
            case "1h" if self._piece.quarters:
                return [at - self._on_clock(at) % _whole(HOUR_US)]
            case "1h":
                return [at]
        return []

    def _torn(self, at: ColumnElement[int]) -> list[ColumnElement[bool]]:
        if self._piece.which == "all":
            return []
        hour = at - at % _whole(HOUR_US)
        begins = self._on_clock(hour) % _whole(DAY_US)
        torn = begins > _whole(DAY_US - HOUR_US)
        return [torn if self._piece.which == "torn" else ~torn]

    def _on_clock(self, at: ColumnElement[int]) -> ColumnElement[int]:
        # A day more, so that nothing is below 0 and has another remainder.
        return (at + _whole(self._piece.ahead_us + DAY_US)).self_group()


def _whole(number: int) -> ColumnElement[int]:
    # In the text of the statement: a parameter makes a GROUP BY another one than the SELECT's.
    return literal_column(str(number))


def _conditions(query: ReportQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [
        _dimension(name).in_(values) for name, values in query.filters.items()
    ]
    found += [_dimension(name).is_(None) for name in query.without]
    if query.key_id is not None:
        found.append(series.c.key_id == query.key_id)
    return found


def _dimension(name: str) -> ColumnElement[Any]:
    if name.startswith("tag:"):
        tag: ColumnElement[Any] = series.c.tags[name.removeprefix("tag:")].as_string()
        return tag
    return series.c[_COLUMNS.get(name, name)]
