"""Report queries as SQL: which rows, and which of their columns. Right for both databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, or_, select, tuple_

from gateway.ledger.reports import row_filters
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.schema import attempts, charges, journal_files

_COLUMNS = {"key": "key_id"}  # where the public name is not the column's
_OF_CHARGES = {"kind": "kind", "cost_status": "status", "rule": "rule"}


def attempt_dimension(name: str) -> ColumnElement[Any]:
    """The column behind a dimension or a tag."""
    if name.startswith("tag:"):
        tag: ColumnElement[Any] = attempts.c.tags[name.removeprefix("tag:")].as_string()
        return tag
    return attempts.c[_COLUMNS.get(name, name)]


def attempts_of(query: ReportQuery, *columns: ColumnElement[Any]) -> Select[Any]:
    """Columns and then dimensions of the attempts that a query is about."""
    dimensions = [attempt_dimension(name) for name in query.group_by]
    return select(*columns, *dimensions).where(*_conditions(query))


def charges_of(query: ReportQuery) -> Select[Any]:
    """Charges that begin within a query's range; see ``charge_rows`` for their dimensions."""
    c = charges.c
    starts = c.period_start_at_us
    own = [(c[name], query.filters.get(name)) for name in ("provider", "deployment")]
    own += [(c[_OF_CHARGES[name]], query.only.get(name)) for name in _OF_CHARGES]
    return select(charges).where(
        starts >= query.start_at_us,
        starts < query.end_at_us,
        *(column.in_(values) for column, values in own if values is not None),
        *([c.kind == "keep_warm"] if "stay" in query.only else []),
    )


def newest_charges(query: ReportQuery, before: tuple[int, str] | None) -> Select[Any]:
    """Charges that begin within a query's range, newest first, without a limit."""
    place = (charges.c.period_start_at_us, charges.c.charge_id)
    found = charges_of(query)
    if before is not None:
        found = found.where(tuple_(*place) < tuple_(*before))
    return found.order_by(place[0].desc(), place[1].desc())


def operations_of(query: ReportQuery, before: tuple[int, str] | None) -> Select[Any]:
    """Time and id of operations with an attempt that the query is about, newest first."""
    place = (attempts.c.operation_at_us, attempts.c.operation_id)
    found = select(*place).where(*_conditions(query)).distinct()
    if before is not None:
        found = found.where(tuple_(*place) < tuple_(*before))
    return found.order_by(place[0].desc(), place[1].desc()).limit(query.limit + 1)


def whole_operations(operation_ids: Sequence[str], key_id: str | None) -> Select[Any]:
    """Every attempt of some operations."""
    found = select(attempts).where(attempts.c.operation_id.in_(operation_ids))
    return found if key_id is None else found.where(attempts.c.key_id == key_id)


def shipped_at() -> Select[Any]:
    """When the last line came into the database."""
    return select(func.max(journal_files.c.shipped_at_us))


def _conditions(query: ReportQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        attempts.c.operation_at_us >= query.start_at_us,
        attempts.c.operation_at_us < query.end_at_us,
    ]
    if query.key_id is not None:
        conditions.append(attempts.c.key_id == query.key_id)
    conditions += [attempt_dimension(name).in_(values) for name, values in query.filters.items()]
    conditions += [attempt_dimension(name).is_(None) for name in query.without]
    for name, values in query.only.items():
        if name in _ROW_FILTERS:
            conditions.append(or_(*(_ROW_FILTERS[name](value) for value in values)))
    return conditions


def _caused_boot(value: str) -> ColumnElement[bool]:
    caused = attempts.c.caused_boot
    return caused.is_(None) if value == "unknown" else caused.is_(value == "true")


def _has_line(kind: str) -> ColumnElement[bool]:
    # As text: SQLite and PostgreSQL write the same JSON with and without a blank.
    lines = cast(attempts.c.cost_lines, Text)
    return or_(*(lines.contains(f'"kind":{gap}"{kind}"', autoescape=True) for gap in ("", " ")))


def _in_sample(which: str) -> ColumnElement[bool]:
    """As the distributions of cold starts are made, from sums and from rows."""
    a = attempts.c
    of = [a.verdict == "cold", a.status.not_in(("running", "lost_hedge"))]
    if which == "wait":
        return and_(*of, a.wait_seconds.is_not(None))
    caused = or_(a.caused_boot.is_(None), a.caused_boot.is_(True))
    return and_(*of, a.boot_seconds.is_not(None), caused)


def _in_bin(text: str) -> ColumnElement[bool]:
    low, high = row_filters.boot_bin(text)
    boot = attempts.c.boot_seconds
    above = boot > low if low else boot >= low
    return above if high is None else and_(above, boot <= high)


_ROW_FILTERS: Mapping[str, Callable[[str], ColumnElement[bool]]] = {
    "cost_status": lambda value: attempts.c.cost_status == value,
    "caused_boot": _caused_boot,
    "line": _has_line,
    "sample": _in_sample,
    "boot_seconds": _in_bin,
}
"""Those by ``hour`` are spans of time: see ``row_filters.spans``."""
