"""What SQLite and PostgreSQL say each in its own way.

Most ledgers are SQLite files, and SQLAlchemy's half for PostgreSQL is a tenth of what the shipper
would import: it is imported where it is spoken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import JSON, ColumnElement, Connection, Dialect, Index, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine


def insert_for(dialect: Dialect) -> Callable[[Table], sqlite.Insert]:
    """Inserts that may meet a row; both databases say ``ON CONFLICT`` by the same methods."""
    if dialect.name != "postgresql":
        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return cast(Callable[[Table], sqlite.Insert], postgresql.insert)


def index_some(name: str, *columns: ColumnElement[Any], where: ColumnElement[bool]) -> None:
    """An index of a table's rows for which ``where`` holds."""

    def say_it(index: Index, connection: Connection, **_: object) -> None:
        if connection.dialect.name == "postgresql":
            index.dialect_options["postgresql"]["where"] = where

    index = Index(name, *columns, sqlite_where=where)
    event.listen(index, "before_create", say_it)  # ``postgresql_where`` imports it right here


class Json(TypeDecorator[Any]):
    """JSON, or JSONB where there is such a thing; None is NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type as a dialect has it."""
        if dialect.name != "postgresql":
            return super().load_dialect_impl(dialect)
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> Any:
        """A key into it is no JSON itself."""
        return self.impl_instance.coerce_compared_value(op, value)
