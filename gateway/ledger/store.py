"""The ledger's database: journal lines go in, each exactly once. SQLAlchemy Core, no ORM.

SQLite in WAL mode, or any database that SQLAlchemy has a PostgreSQL dialect for. Import it only
where it is used: the gateway's process starts and runs without SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from sqlalchemy import Connection, bindparam, create_engine, event, func, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from gateway.ledger.bulk import BulkInsert
from gateway.ledger.columns import add_missing_columns
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.fold import Batch
from gateway.ledger.schema import (
    SCHEMA_VERSION,
    attempts,
    charges,
    corrections,
    journal_files,
    meta,
    metadata,
)


class RejectedRows(Exception):
    """The database takes connections, but not these rows."""


class OffsetMoved(Exception):
    """Somebody else has shipped this file further."""


def engine_for(
    database: Path | str, *, read_only: bool = False, busy_timeout_seconds: float = 1.0
) -> Engine:
    """An engine for a SQLite file or a database URL. Nothing is opened yet."""
    if isinstance(database, str):
        return create_engine(database, json_serializer=_dumps, json_deserializer=orjson.loads)
    # "rw" does not make a file where there is none; "ro" could not follow a WAL nobody else has.
    mode = {"mode": "rw", "uri": "true"} if read_only else {}
    engine = create_engine(
        URL.create(
            "sqlite", database=f"file:{quote(str(database))}" if mode else str(database), query=mode
        ),
        connect_args={"timeout": busy_timeout_seconds},
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, below: reads get one snapshot too
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


class Store:
    """One connection pool to the ledger's database.

    Raises StoreUnavailable wherever the database is locked, full, away or damaged.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        dialect = engine.dialect
        insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        replacing = insert(attempts)
        others = [column.name for column in attempts.columns if not column.primary_key]
        self._begin = BulkInsert(
            insert(attempts).on_conflict_do_nothing(index_elements=["attempt_id"]),
            attempts,
            dialect,
        )
        self._end = BulkInsert(
            replacing.on_conflict_do_update(
                index_elements=["attempt_id"],
                set_={name: replacing.excluded[name] for name in others},
            ),
            attempts,
            dialect,
        )
        self._charge = BulkInsert(
            insert(charges).on_conflict_do_nothing(index_elements=["charge_id"]), charges, dialect
        )
        self._accepted = (
            update(attempts)
            .where(attempts.c.attempt_id == bindparam("of"), attempts.c.status == "running")
            .values(upstream_id=bindparam("given"))
        )
        self._correction = insert(corrections).on_conflict_do_nothing()
        self._file = insert(journal_files).on_conflict_do_nothing(index_elements=["name"])
        self._meta = insert(meta).on_conflict_do_nothing(index_elements=["name"])

    @classmethod
    def open(cls, database: Path | str, *, busy_timeout_seconds: float = 1.0) -> Store:
        """Connect, and make the tables where there are none. Raises SchemaMismatch."""
        store = cls(engine_for(database, busy_timeout_seconds=busy_timeout_seconds))
        try:
            with store._transaction() as connection:
                if not inspect(connection).has_table("meta"):
                    metadata.create_all(connection)
                    version = {"name": "schema_version", "value": str(SCHEMA_VERSION)}
                    connection.execute(store._meta, version)
                check_schema(connection)
                add_missing_columns(connection)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        self.engine.dispose()

    def shipped(self) -> dict[str, tuple[int, int]]:
        """How far each journal file is in the tables (bytes), and since when (microseconds)."""
        columns = (
            journal_files.c.name,
            journal_files.c.offset_bytes,
            journal_files.c.shipped_at_us,
        )
        with self._transaction() as connection:
            rows = connection.execute(select(*columns).order_by(journal_files.c.name))
            return {name: (offset, at_us) for name, offset, at_us in rows}

    def apply(
        self,
        name: str,
        start: int,
        end: int,
        batch: Batch,
        *,
        lines: int,
        rejected_lines: int = 0,
    ) -> int:
        """Write the rows of the lines between two offsets of a file, and the offset, as one.

        Returns the instant that was noted with them, in microseconds since the epoch.

        Raises OffsetMoved when ``start`` is not where the file stands, RejectedRows when a row
        can never be written, StoreUnavailable when none can now. Nothing has changed then.
        """
        with self._transaction() as connection:
            now_us = time.time_ns() // 1000
            fresh = {"name": name, "offset_bytes": 0, "lines": 0, "rejected_lines": 0}
            connection.execute(self._file, {**fresh, "shipped_at_us": now_us})
            moved = connection.execute(
                update(journal_files)
                .where(journal_files.c.name == name, journal_files.c.offset_bytes == start)
                .values(
                    offset_bytes=end,
                    lines=journal_files.c.lines + lines,
                    rejected_lines=journal_files.c.rejected_lines + rejected_lines,
                    shipped_at_us=now_us,
                )
            )
            if moved.rowcount != 1:
                raise OffsetMoved(name)
            self._write(connection, name, batch)
        return now_us

    def running(self, attempt_ids: Sequence[str]) -> set[str]:
        """Those of the attempts that the database does not know to have ended."""
        with self._transaction() as connection:
            ended: set[str] = set()
            for first in range(0, len(attempt_ids), 500):
                some = attempt_ids[first : first + 500]
                ended.update(
                    connection.scalars(
                        select(attempts.c.attempt_id).where(
                            attempts.c.attempt_id.in_(some), attempts.c.status != "running"
                        )
                    )
                )
            return set(attempt_ids) - ended

    def removed(self, name: str) -> None:
        """Note that a file, all of which is shipped, is about to be deleted."""
        with self._transaction() as connection:
            connection.execute(
                update(journal_files)
                .where(journal_files.c.name == name)
                .values(removed_at_us=time.time_ns() // 1000)
            )

    def rejected_lines(self, name: str) -> int:
        """Lines of a file that are not in the tables because they cannot be read or written."""
        with self._transaction() as connection:
            column = journal_files.c.rejected_lines
            found = select(func.coalesce(func.sum(column), 0)).where(journal_files.c.name == name)
            return int(connection.scalar(found) or 0)

    def _write(self, connection: Connection, name: str, batch: Batch) -> None:
        self._begin.execute(connection, batch.begun.values())
        if batch.accepted:
            given = [{"of": of, "given": upstream} for of, upstream in batch.accepted.items()]
            connection.execute(self._accepted, given)
        self._end.execute(connection, batch.ended.values())
        for said in batch.corrections:
            self._correct(connection, name, said)
        self._charge.execute(connection, batch.charges.values())

    def _correct(self, connection: Connection, name: str, said: dict[str, Any]) -> None:
        new = said["set"]
        this = attempts.c.attempt_id == said["attempt_id"]
        found = connection.execute(select(*(attempts.c[key] for key in new)).where(this)).first()
        connection.execute(
            self._correction,
            {
                "journal": name,
                "seq": said["seq"],
                "attempt_id": said["attempt_id"],
                "at_us": said["at_us"],
                "reason": said["reason"],
                "old": None if found is None else dict(zip(new, found, strict=True)),
                "new": new,
            },
        )
        connection.execute(update(attempts).where(this).values(new))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except (IntegrityError, DataError) as error:
            raise RejectedRows(type(error).__name__) from error
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.ProgrammingError) and "bind" in str(error.orig):
                raise RejectedRows(str(error.orig)) from error
            raise StoreUnavailable(str(error.orig)) from error
        except (SQLAlchemyError, OverflowError, TypeError, ValueError) as error:
            raise RejectedRows(type(error).__name__) from error


def check_schema(connection: Connection) -> int:
    """The schema's version. Raises SchemaMismatch if it is not ours."""
    version = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    if version != str(SCHEMA_VERSION):
        raise SchemaMismatch(f"the ledger has schema {version}, this release {SCHEMA_VERSION}")
    return SCHEMA_VERSION


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
