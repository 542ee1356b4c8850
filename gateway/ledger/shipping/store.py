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

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from gateway.ledger.dialects import insert_for
from gateway.ledger.engines import engine_for
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.layout import archive_dir
from gateway.ledger.months.archive import Archive, Snapshot
from gateway.ledger.months.migration import prepare
from gateway.ledger.schema import attempts, journal_files
from gateway.ledger.shipping.applying import Applier
from gateway.ledger.shipping.bulk import Prepared
from gateway.ledger.shipping.fold import Batch
from gateway.ledger.sums.rolled_tags import set_rolled_tags


class RejectedRows(Exception):
    """The database takes connections, but not these rows."""


class OffsetMoved(Exception):
    """Somebody else has shipped this file further."""


class Store:
    """One connection pool to the ledger's database.

    Raises StoreUnavailable wherever the database is locked, full, away or damaged.
    """

    def __init__(self, engine: Engine, archive: Archive | None = None) -> None:
        self.engine = engine
        self.archive = archive
        self._applier = Applier(engine.dialect, archive)
        adding = insert_for(engine.dialect)
        self._file = adding(journal_files).on_conflict_do_nothing(index_elements=["name"])
        files = journal_files.c
        self._moved = Prepared(
            update(journal_files)
            .where(files.name == bindparam("of"), files.offset_bytes == bindparam("start"))
            .values(
                offset_bytes=bindparam("end"),
                lines=files.lines + bindparam("more"),
                rejected_lines=files.rejected_lines + bindparam("rejected"),
                shipped_at_us=bindparam("now_us"),
            ),
            engine.dialect,
        )

    @classmethod
    def open(
        cls,
        database: Path | str,
        *,
        rollup_tags: Sequence[str] | None = None,
        busy_timeout_seconds: float = 1.0,
    ) -> Store:
        """Connect, and make the tables where there are none; bring older ones up to date.

        ``rollup_tags`` None leaves the tags that are rolled up as they are. Raises SchemaMismatch
        when a later release has been here.
        """
        archive = None if isinstance(database, str) else Archive(archive_dir(database.parent))
        store = cls(engine_for(database, busy_timeout_seconds=busy_timeout_seconds), archive)
        try:
            with store.transaction() as connection:
                prepare(connection, archive)
                if rollup_tags is not None:
                    set_rolled_tags(connection, rollup_tags, time.time_ns() // 1000)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def last_change(self) -> int:
        """The last number of ``spend_changes`` that ``apply`` has given; 0: none so far."""
        return self._applier.last_change

    def close(self) -> None:
        self.engine.dispose()
        if self.archive is not None:
            self.archive.close()

    def shipped(self) -> dict[str, tuple[int, int]]:
        """How far each journal file is in the tables (bytes), and since when (microseconds)."""
        columns = (
            journal_files.c.name,
            journal_files.c.offset_bytes,
            journal_files.c.shipped_at_us,
        )
        with self.transaction() as connection:
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
            if not start:
                fresh = {"name": name, "offset_bytes": 0, "lines": 0, "rejected_lines": 0}
                connection.execute(self._file, {**fresh, "shipped_at_us": now_us})
            reached = {"of": name, "start": start, "end": end, "now_us": now_us}
            told = {"more": lines, "rejected": rejected_lines}
            if self._moved.execute(connection, {**reached, **told}) != 1:
                raise OffsetMoved(name)
            self._applier.write(connection, name, batch)
        return now_us

    def running(self, attempt_ids: Sequence[str]) -> set[str]:
        """Those of the attempts that the database does not know to have ended."""
        with self.transaction() as connection:
            statuses: dict[str, str] = {}
            for first in range(0, len(attempt_ids), 500):
                these = attempts.c.attempt_id.in_(attempt_ids[first : first + 500])
                found = select(attempts.c.attempt_id, attempts.c.status).where(these)
                statuses.update((of, status) for of, status in connection.execute(found))
            # What is nowhere in the main file may have ended in a month that was moved.
            nowhere = set(attempt_ids) - statuses.keys()
            snapshot = Snapshot(connection, self.archive)
            moved = snapshot.find(
                sorted(nowhere), attempts.c.attempt_id, select(attempts.c.attempt_id)
            )
            running = {of for of, status in statuses.items() if status == "running"}
            return running | (nowhere - {row[0] for row in moved})

    def removed(self, name: str) -> None:
        """Note that a file, all of which is shipped, is about to be deleted."""
        with self.transaction() as connection:
            connection.execute(
                update(journal_files)
                .where(journal_files.c.name == name)
                .values(removed_at_us=time.time_ns() // 1000)
            )

    def rejected_lines(self, name: str) -> int:
        """Lines of a file that are not in the tables because they cannot be read or written."""
        with self.transaction() as connection:
            column = journal_files.c.rejected_lines
            found = select(func.coalesce(func.sum(column), 0)).where(journal_files.c.name == name)
            return int(connection.scalar(found) or 0)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing."""
        self._applier.forget()
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            try:
                with self.engine.begin() as connection:
                    yield connection
            except BaseException:
                self._applier.forget()
                raise
        except (IntegrityError, DataError) as error:
            raise RejectedRows(type(error).__name__) from error
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.ProgrammingError) and "bind" in str(error.orig):
                raise RejectedRows(str(error.orig)) from error
            raise StoreUnavailable(str(error.orig)) from error
        except (
            *(SQLAlchemyError, OverflowError, TypeError, ValueError),
            *(LookupError, AttributeError, ArithmeticError),
        ) as error:
            raise RejectedRows(type(error).__name__) from error
