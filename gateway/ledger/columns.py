"""A release may add columns that can be null; older databases get them when they are opened."""

from __future__ import annotations

from sqlalchemy import Connection, inspect

from gateway.ledger.schema import attempts, charges


def add_missing_columns(connection: Connection) -> None:
    """Add the columns of rows that this database was made without; its rows say null there."""
    prepare = connection.dialect.identifier_preparer
    for table in (attempts, charges):
        there = {column["name"] for column in inspect(connection).get_columns(str(table.name))}
        for column in table.columns:
            if column.name not in there and column.nullable:
                name, kind = prepare.format_column(column), column.type.compile(connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {prepare.format_table(table)} ADD COLUMN {name} {kind}"
                )
