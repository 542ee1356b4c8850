"""Report queries as SQL: which rows, and which of their columns. Right for both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_

from gateway.ledger.query import ReportQuery
from gateway.ledger.schema import attempts, charges, journal_files

_COLUMNS = {"key": "key_id"}  # where the public name is not the column's


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
    starts = charges.c.period_start_at_us
    return select(charges).where(starts >= query.start_at_us, starts < query.end_at_us)


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
    return conditions
