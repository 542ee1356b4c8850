"""An older ledger becomes one of this release: at once as far as writing goes, then in steps.

At once (milliseconds, however large it is): new tables, and a nullable column for each field that
the rows have gained. That is all that shipping needs. Then, in steps of some thousand rows with a
commit each, the sums of what was there before: those by hour (a ledger of schema 1), those by
quarters of one (schema 2; see ``quarters``), those by idle time (schema 3), and those by tags that
were added since (``tag_history``). Reports read rows as far as they are not complete. A step that
is killed has not happened. Gateways may run meanwhile: a step holds the database for some
hundredths of a second, and the journal waits for nobody.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from sqlalchemy import Connection, Table, func, inspect, select, text
from sqlalchemy.schema import CreateColumn

from gateway.ledger.errors import SchemaMismatch
from gateway.ledger.months.archive import Archive, Snapshot, listed
from gateway.ledger.schema import SCHEMA_VERSION, attempts, charges, meta, metadata
from gateway.ledger.sums.looking_back import paying_for
from gateway.ledger.sums.progress import WHICH, begins, mark, mark_gaps, mark_quarters, rolled_to
from gateway.ledger.sums.quarters import gaps_step, quarters_step
from gateway.ledger.sums.rolled_tags import RolledTags
from gateway.ledger.sums.rolling import Roller
from gateway.ledger.sums.rollup import ROLLED, Rollup
from gateway.ledger.sums.tag_history import tags_step

_FIRST_VERSION = 1
_LAST_WITHOUT_QUARTERS = 2
_LAST_WITHOUT_GAPS = 3
_ROWED = (attempts, charges)
_STEP_ROWS = 4000


def check_schema(connection: Connection) -> int:
    """The schema's version. Raises SchemaMismatch if it is not ours."""
    version = version_of(connection)
    if version != SCHEMA_VERSION:
        done = "" if (version or 0) > SCHEMA_VERSION else "; 'gateway ledger migrate' changes that"
        raise SchemaMismatch(
            f"the ledger has schema {version}, this release {SCHEMA_VERSION}{done}"
        )
    if _missing(connection) or _missing_tables(connection):
        raise SchemaMismatch("the ledger lacks columns; 'gateway ledger migrate' adds them")
    return SCHEMA_VERSION


def version_of(connection: Connection) -> int | None:
    """The schema's version as it stands there."""
    value = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    return int(value) if value is not None and value.isdigit() else None


def prepare(connection: Connection, archive: Archive | None) -> None:
    """Bring tables and columns up to date. Raises SchemaMismatch."""
    if not inspect(connection).has_table("meta"):
        metadata.create_all(connection)
        _remember(connection, "schema_version", str(SCHEMA_VERSION))
        _remember(connection, "ledger_id", secrets.token_hex(8))
        return
    version = version_of(connection)
    if version is None or not _FIRST_VERSION <= version <= SCHEMA_VERSION:
        check_schema(connection)
    if version == SCHEMA_VERSION and not _missing(connection):
        if _missing_tables(connection):
            metadata.create_all(connection)
        return
    if version != _FIRST_VERSION and archive is not None and _missing(connection):
        for month in listed(connection).values():
            if not month.pruned:
                archive.add_columns(month)  # before the main file: it says that all is done
    add_columns(connection)
    metadata.create_all(connection)
    if version == _FIRST_VERSION:
        for table in _ROWED:
            for index in table.indexes:
                index.create(connection, checkfirst=True)
        for which in WHICH:
            mark(connection, which, "")
        _remember(connection, "ledger_id", secrets.token_hex(8))
    elif version in (_LAST_WITHOUT_QUARTERS, _LAST_WITHOUT_GAPS):
        after_us = _after_all(connection)
        mark_gaps(connection, after_us)
        if version == _LAST_WITHOUT_QUARTERS:
            mark_quarters(connection, after_us)
    changed = meta.update().where(meta.c.name == "schema_version")
    connection.execute(changed.values(value=str(SCHEMA_VERSION)))


def add_columns(connection: Connection) -> None:
    """A nullable column for each field that the rows have gained."""
    for name, column in _missing(connection):
        made = CreateColumn(column).compile(dialect=connection.dialect)
        spelt = str(made).replace(" NOT NULL", "")
        connection.execute(text(f"ALTER TABLE {name} ADD COLUMN {spelt}"))


def migrate_step(connection: Connection, archive: Archive | None, roller: Roller) -> int:
    """Sum up some more rows of an older ledger; returns how many, 0 when all are summed up."""
    marks = rolled_to(connection)
    snapshot = Snapshot(connection, archive)
    if not marks:
        return (
            quarters_step(snapshot, roller)
            or gaps_step(snapshot, roller)
            or tags_step(snapshot, roller)
        )
    which = next(iter(marks))
    table, key = (attempts, "attempt_id") if which == WHICH[0] else (charges, "charge_id")
    columns = [attempts.c[name] for name in ROLLED] if table is attempts else [charges]
    statement = select(*columns).where(table.c[key] > marks[which]).order_by(table.c[key])
    rows: list[Any] = list(connection.execute(statement.limit(_STEP_ROWS)).mappings())
    if not rows:
        mark(connection, which, None)
        return 1
    rollup = Rollup(RolledTags(connection).of, *begins(connection))
    paying = paying_for(snapshot, rows) if table is charges else {}
    for row in rows:
        if table is attempts:
            rollup.attempt(row)
        else:
            rollup.charge(row, paying.get(row["attempt_id"]))
    roller.write(connection, rollup)
    mark(connection, which, rows[-1][key])
    return len(rows)


def _after_all(connection: Connection) -> int:
    """An instant after every row that is there, also after what a wrong clock has written."""
    newest = [
        connection.scalar(select(func.max(column))) or 0
        for column in (attempts.c.operation_at_us, charges.c.period_start_at_us)
    ]
    return max(time.time_ns() // 1000, *newest) + 1


def _missing(connection: Connection) -> list[tuple[str, Any]]:
    found = inspect(connection)
    return [
        (table.name, column)
        for table in _ROWED
        for there in [_names(found, table)]
        for column in table.columns
        if column.name not in there
    ]


def _missing_tables(connection: Connection) -> bool:
    return not metadata.tables.keys() <= set(inspect(connection).get_table_names())


def _names(found: Any, table: Table) -> set[str]:
    return {column["name"] for column in found.get_columns(table.name)}


def _remember(connection: Connection, name: str, value: str) -> None:
    connection.execute(meta.insert(), {"name": name, "value": value})
