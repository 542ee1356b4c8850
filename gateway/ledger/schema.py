"""The tables, right for SQLite and for PostgreSQL. Import this only where SQL is spoken.

``attempts`` and ``charges`` have the columns of their row classes, one to one: a column is added
by adding a field. Money and instants are BIGINT, so that sums are exact in both databases.
"""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from gateway.ledger.rows import AttemptRow, ChargeRow

SCHEMA_VERSION = 1

metadata = MetaData()
json_type = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

_TYPES: dict[Any, TypeEngine[Any]] = {
    str: Text(),
    Literal: Text(),
    int: BigInteger(),
    float: Double(),
    bool: Boolean(create_constraint=False),
    dict: json_type,
    list: json_type,
}


def _columns(row: type[AttemptRow] | type[ChargeRow], primary_key: str) -> list[Column[Any]]:
    hints = get_type_hints(row)
    columns = []
    for field in dataclasses.fields(row):
        hint = hints[field.name]
        nullable = get_origin(hint) in (Union, UnionType)
        if nullable:
            (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
        columns.append(
            Column(
                field.name,
                _TYPES[get_origin(hint) or hint],
                nullable=nullable,
                primary_key=field.name == primary_key,
            )
        )
    return columns


attempts = Table("attempts", metadata, *_columns(AttemptRow, "attempt_id"))
charges = Table("charges", metadata, *_columns(ChargeRow, "charge_id"))

# Reports go by the operation's time, so that the attempts of one operation are never parted.
Index("attempts_by_time", attempts.c.operation_at_us, attempts.c.operation_id)
_has_key = attempts.c.key_id.is_not(None)
Index(
    "attempts_by_key",
    *(attempts.c.key_id, attempts.c.operation_at_us, attempts.c.operation_id),
    sqlite_where=_has_key,
    postgresql_where=_has_key,
)
Index("attempts_by_operation", attempts.c.operation_id)
Index("charges_by_time", charges.c.period_start_at_us)

corrections = Table(
    "corrections",
    metadata,
    Column("journal", Text, nullable=False),  # which line of which file it was
    Column("seq", BigInteger, nullable=False),
    Column("attempt_id", Text, nullable=False, index=True),
    Column("at_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("old", json_type),  # None: the attempt was not known
    Column("new", json_type, nullable=False),
    PrimaryKeyConstraint("journal", "seq"),
)

journal_files = Table(
    "journal_files",
    metadata,
    Column("name", Text, primary_key=True),
    Column("offset_bytes", BigInteger, nullable=False),  # all before it is in the tables
    Column("lines", BigInteger, nullable=False),
    Column("rejected_lines", BigInteger, nullable=False),
    Column("shipped_at_us", BigInteger, nullable=False),
    Column("removed_at_us", BigInteger),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
