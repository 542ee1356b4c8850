from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import cast

from sqlalchemy import BigInteger, create_mock_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import Engine
from sqlalchemy.schema import CreateTable

from gateway.ledger.reports import selection
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.ledger.schema import attempts, charges, metadata
from gateway.ledger.shipping.store import Store

POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]
PSYCOPG = psycopg.dialect()  # type: ignore[no-untyped-call]


def test_the_columns_are_the_fields() -> None:
    assert [c.name for c in attempts.columns] == [f.name for f in fields(AttemptRow)]
    assert [c.name for c in charges.columns] == [f.name for f in fields(ChargeRow)]
    assert [c.name for c in attempts.primary_key] == ["attempt_id"]
    for table, row in ((attempts, AttemptRow), (charges, ChargeRow)):
        optional = {f.name for f in fields(row) if "None" in str(f.type)}
        assert {c.name for c in table.columns if c.nullable} == optional


def test_money_and_instants_are_bigints() -> None:
    for column in (*attempts.columns, *charges.columns):
        if column.name.endswith(("_pico_usd", "_at_us")):
            assert isinstance(column.type, BigInteger), column


def test_the_tables_are_right_for_postgresql() -> None:
    sql = str(CreateTable(attempts).compile(dialect=POSTGRES))
    assert "cost_pico_usd BIGINT" in sql
    assert "cost_lines JSONB NOT NULL" in sql
    assert "boot_seconds DOUBLE PRECISION" in sql
    assert "caused_boot BOOLEAN" in sql
    made: list[str] = []
    engine = create_mock_engine(
        "postgresql+psycopg://",
        lambda statement, *_: made.append(str(statement.compile(dialect=POSTGRES))),
    )
    metadata.create_all(engine, checkfirst=False)
    indexes = [sql for sql in made if sql.startswith("CREATE INDEX")]
    assert len(indexes) == sum(len(table.indexes) for table in metadata.sorted_tables)
    assert [sql.partition(" WHERE ")[2] for sql in indexes if " WHERE " in sql] == [
        "key_id IS NOT NULL",
        "attempt_id IS NOT NULL",
    ]


def test_the_statements_are_right_for_postgresql() -> None:
    store = Store(cast(Engine, SimpleNamespace(dialect=PSYCOPG)))
    end = str(store._applier.end._sql)
    assert "%(attempt_id)s" in end and "%(cost_lines)s::JSONB" in end
    assert "ON CONFLICT (attempt_id) DO UPDATE SET operation_id = excluded.operation_id" in end
    assert "ON CONFLICT (attempt_id) DO NOTHING" in store._applier.begin._sql
    assert "ON CONFLICT (charge_id) DO NOTHING" in store._applier.charge._sql
    query = ReportQuery(0, 1, group_by=("tag:team", "key"), filters={"tag:team": ("search",)})
    sql = str(selection.attempts_of(query, attempts.c.cost_lines).compile(dialect=POSTGRES))
    assert "attempts.tags ->> " in sql
    assert "(attempts.operation_at_us, attempts.operation_id) < (" in str(
        selection.operations_of(query, (1, "a")).compile(dialect=POSTGRES)
    )
