"""The tables, right for SQLite and for PostgreSQL. Import this only where SQL is spoken.

``attempts`` and ``charges`` have the columns of their row classes, one to one: a column is added
by adding a field (``migration`` adds it to what is there already). Money and instants are BIGINT,
so that sums are exact in both databases.

``rollups`` and the two tables beside it are sums of those rows by hour and series, and the three
tables of quarters are the same by quarter of an hour: for time zones whose days begin within an
hour of UTC. A sum of money or of a quantity stands in two columns, whole units and 10**-12ths of
one: each is added up by itself, so no sum runs over 64 bits.
"""

from __future__ import annotations

import dataclasses
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from gateway.ledger.dialects import Json, index_some
from gateway.ledger.rows import AttemptRow, ChargeRow

SCHEMA_VERSION = 4

metadata = MetaData()
json_type = Json()

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
index_some(
    "attempts_by_key",
    *(attempts.c.key_id, attempts.c.operation_at_us, attempts.c.operation_id),
    where=attempts.c.key_id.is_not(None),
)
Index("attempts_by_operation", attempts.c.operation_id)
Index("charges_by_time", charges.c.period_start_at_us)
index_some("charges_by_attempt", charges.c.attempt_id, where=charges.c.attempt_id.is_not(None))

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

# What the attempts of a rollup have in common. ``identity`` is all of it as JSON, since NULLs are
# never equal to each other. Charges take what is not theirs from their attempt, or NULL.
series = Table(
    "series",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("identity", Text, nullable=False, unique=True),
    Column("provider", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("model", Text),
    Column("key_id", Text),
    Column("verdict", Text),
    Column("evidence", Text),
    Column("status", Text),
    Column("origin", Text),
    Column("tags", json_type, nullable=False),  # those of ``rolled_tags``; false: some other value
)


def _counts(*names: str) -> list[Column[Any]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def _amounts(*names: str) -> list[Column[Any]]:
    return _counts(*(part for name in names for part in (name, f"pico_{name}")))


COUNTS = (
    *("attempts", "unknown_attempts", "charges", "unknown_charges", "unbounded", "boots"),
    *("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "images"),
    *("uncounted_input_attempts", "uncounted_output_attempts"),
)
AMOUNTS = ("known_usd", "measured_usd", "estimated_usd", "low_usd", "high_usd")


class Grain(NamedTuple):
    """Sums by stretches of one length: ``at`` is the name of the column with their begins."""

    us: int
    at: str
    totals: Table
    lines: Table
    seconds: Table


class GapSums(NamedTuple):
    """Sums by hour, series and something that only cold starts are asked by."""

    attempts: Table
    seconds: Table
    revisions: Table


def _by_series(name: str, at: str, *columns: Column[Any]) -> Table:
    place = [
        Column(at, BigInteger, primary_key=True, autoincrement=False),
        Column("series_id", BigInteger, primary_key=True, autoincrement=False),
    ]
    return Table(name, metadata, *place, *columns, sqlite_with_rowid=False)


def _sums(us: int, at: str, prefix: str) -> Grain:
    def table(name: str, *columns: Column[Any]) -> Table:
        return _by_series(prefix + name, at, *columns)

    return Grain(
        us,
        at,
        totals=table("rollups", *_counts(*COUNTS), *_amounts(*AMOUNTS)),
        # Cost lines of attempts, and charges, by kind. What is finer than 10**-12 is text.
        lines=table(
            "rollup_lines",
            Column("kind", Text, primary_key=True),
            *_counts("lines", "unknown_lines", "unquantified_lines"),
            *_amounts("quantity", "usd"),
            Column("finer_quantity", Text),
            Column("finer_usd", Text),
        ),
        # How long cold attempts waited: how many in each bucket of ``sketch``.
        seconds=table(
            "rollup_seconds",
            Column("what", Text, primary_key=True),  # boot or wait
            Column("bucket", BigInteger, primary_key=True, autoincrement=False),
            *_counts("attempts", "microseconds"),
        ),
    )


HOURS = _sums(3_600_000_000, "hour_at_us", "")
QUARTERS = _sums(900_000_000, "quarter_at_us", "quarter_")
GAPS = GapSums(
    # By idle time before the attempt; see ``gaps``.
    attempts=_by_series(
        "rollup_gaps",
        HOURS.at,
        Column("gap", BigInteger, primary_key=True, autoincrement=False),
        *_counts("attempts", "boots"),
    ),
    seconds=_by_series(
        "rollup_gap_seconds",
        HOURS.at,
        Column("gap", BigInteger, primary_key=True, autoincrement=False),
        Column("what", Text, primary_key=True),
        Column("bucket", BigInteger, primary_key=True, autoincrement=False),
        *_counts("attempts", "microseconds"),
    ),
    revisions=_by_series(
        "rollup_revisions",
        HOURS.at,
        Column("revision", Text, primary_key=True),  # of the model, as its provider told it
        *_counts("attempts"),
    ),
)
rollups = HOURS.totals

# Tags that are rolled up, for operations that came in between two whole hours.
rolled_tags = Table(
    "rolled_tags",
    metadata,
    Column("name", Text, primary_key=True),
    Column("from_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("until_at_us", BigInteger),
)
tag_values = Table(
    "tag_values",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
)

# Months whose rows lie in files of their own; see ``months``.
months = Table(
    "months",
    metadata,
    Column("month", Text, primary_key=True),  # 2026-01, UTC
    Column("file", Text, nullable=False),
    *_counts("attempts_rowid", "charges_rowid", "corrections_rowid"),  # rows beyond do not count
    Column("pruned_at_us", BigInteger),
)
overridden = Table(
    "overridden",
    metadata,
    Column("attempt_id", Text, primary_key=True),  # its row in the month's file does not count
    Column("month", Text, nullable=False, index=True),
)

# What corrections change of what attempts count for under budgets, for the gateway that runs.
spend_changes = Table(
    "spend_changes",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at_us", BigInteger, nullable=False),  # when it came into the database
    Column("operation_at_us", BigInteger, nullable=False),
    Column("key_id", Text),
    Column("tags", json_type, nullable=False),
    *_counts("pico_usd", "unknown_attempts"),
    sqlite_autoincrement=True,  # a number is never given twice, whatever is deleted
)

# What deleted attempts have counted for under budgets; see ``carried``.
spend_carried = Table(
    "spend_carried",
    metadata,
    Column("month", Text, primary_key=True),
    Column("identity", Text, primary_key=True),  # key and tags as JSON: NULLs equal nothing
    Column("key_id", Text),
    Column("tags", json_type, nullable=False),
    *_counts("pico_usd", "unknown_attempts"),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
