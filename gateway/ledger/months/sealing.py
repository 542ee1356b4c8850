"""Months that are over go into files of their own, and out of the ledger when they are old.

``months`` says what counts at which moment, and why no death in between counts a row twice or
never. Steps are small; one process takes them at a time (``maintenance.lock``), while shippers and
reports go on: the main file is locked for some hundredths of a second a step.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from sqlalchemy import func, literal_column, select
from sqlalchemy.schema import CreateIndex, CreateTable

from gateway.ledger.engines import engine_for
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.months.archive import month_of, span_of
from gateway.ledger.reading.spend import counted_columns
from gateway.ledger.schema import attempts, charges, corrections
from gateway.ledger.sums.carried import Carried

logger = logging.getLogger(__name__)

KEEP_DAYS = 3  # after a month's end, its rows stay in the main file: late ends come in these
_STEP_ROWS = 2000
_DAY_US = 86_400_000_000
_PARTS = (  # table, key, the time that decides the month, what may be moved
    ("attempts", "attempt_id", "operation_at_us", "status != 'running'"),
    ("charges", "charge_id", "period_start_at_us", "1"),
)


class Sealer:
    """Moves and deletes months of the ledger ``database``, whose months lie in ``folder``.

    Raises StoreUnavailable when a file is locked, full or away; what was not finished is done over.
    """

    def __init__(self, database: Path, folder: Path, *, busy_timeout_seconds: float = 1.0) -> None:
        self._database = database
        self._folder = folder
        self._timeout = busy_timeout_seconds

    def seal_step(self, now_us: int) -> int:
        """Move some rows of the oldest month that is over; returns how many, 0 when none is left.

        Not before the rollups of an older ledger are made: they are made from the main file.
        """
        with self._writing() as main:
            if main.execute("SELECT 1 FROM meta WHERE name LIKE '%_rolled_to'").fetchone():
                return 0
            name = _oldest(main, now_us - KEEP_DAYS * _DAY_US)
            return 0 if name is None else self._move(main, name)

    def prune(self, before: str) -> list[str]:
        """Delete the files of the months before ``before`` ("2026-01"), and rows that are left of
        them in the main file. Returns the months. Rollups stay, and what budgets have counted.
        """
        with self._writing() as main:
            names = [
                name
                for (name,) in main.execute(
                    "SELECT month FROM months WHERE month < ? AND pruned_at_us IS NULL", (before,)
                )
            ]
        for name in names:
            self._prune_month(name)
        self.delete_pruned()
        return names

    def _prune_month(self, name: str) -> None:
        """Its sums are made before the main file is locked, which may take seconds, and made again
        in the rare case that a row of it has been changed meanwhile.
        """
        with self._writing() as main:
            seen = _counting(main, name)
        carried = self._carried(*seen)
        with self._writing() as main:
            if (now := _counting(main, name)) != seen:
                carried = self._carried(*now)
            carried.write(main)
            main.execute(
                "UPDATE months SET pruned_at_us = ? WHERE month = ?",
                (time.time_ns() // 1000, name),
            )
            main.execute("DELETE FROM overridden WHERE month = ?", (name,))

    def _carried(self, file: str, last_rowid: int, hidden: Sequence[str]) -> Carried:
        """What the rows of a month's file count for under budgets."""
        path = self._folder / file
        if not path.exists():
            logger.error("prune: %s is gone; budgets without an end lose what it held", file)
            return Carried()
        condition = "attempts.rowid <= ? AND attempt_id NOT IN (SELECT value FROM json_each(?))"
        given = (last_rowid, orjson.dumps(hidden).decode())
        try:
            month = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=self._timeout)
            try:
                return Carried.of(month.execute(_sums_of(condition), given))
            finally:
                month.close()
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error

    def prune_step(self, before: str) -> int:
        """Delete some rows of months before ``before`` that were never moved; returns how many."""
        end_us = span_of(before)[0]
        deleted = 0
        with self._writing() as main:
            for table, key, at, what in _PARTS:
                ids = [
                    row
                    for row in main.execute(
                        f"SELECT {key}, {at} FROM {table} WHERE {at} < ? AND {what} "  # noqa: S608
                        f"ORDER BY {at} LIMIT {_STEP_ROWS}",
                        (end_us,),
                    )
                ]
                for name in sorted({month_of(at_us) for _, at_us in ids}):
                    main.execute(
                        "INSERT INTO months VALUES (?, '', 0, 0, 0, ?) ON CONFLICT DO NOTHING",
                        (name, time.time_ns() // 1000),
                    )
                text = orjson.dumps([of for of, _ in ids]).decode()
                if table == "attempts":
                    of_these = "attempt_id IN (SELECT value FROM json_each(?))"
                    Carried.of(main.execute(_sums_of(of_these), (text,)).fetchall()).write(main)
                _delete(main, table, key, text)
                if table == "attempts":
                    _delete(main, "corrections", key, text)
                deleted += len(ids)
        return deleted

    def delete_pruned(self) -> None:
        """Delete files that are only named as pruned; a death in between left them."""
        with self._writing() as main:
            files = main.execute(
                "SELECT file FROM months WHERE pruned_at_us IS NOT NULL AND file != ''"
            ).fetchall()
            for (file,) in files:
                for ending in ("-wal", "-shm", ""):
                    (self._folder / f"{file}{ending}").unlink(missing_ok=True)
            main.execute("UPDATE months SET file = '' WHERE pruned_at_us IS NOT NULL")

    def _move(self, main: sqlite3.Connection, name: str) -> int:
        """One step: into the month's file, commit; out of the main file and noted there."""
        file, *rowids = self._named(main, name)
        start_us, end_us = span_of(name)
        moved = 0
        with self._month(main, name, file) as month:
            for at, (table, key, time_column, what) in enumerate(_PARTS):
                ids = [
                    of
                    for (of,) in main.execute(
                        f"SELECT {key} FROM {table} WHERE {time_column} >= ? "  # noqa: S608
                        f"AND {time_column} < ? AND {what} ORDER BY {time_column} "
                        f"LIMIT {_STEP_ROWS}",
                        (start_us, end_us),
                    )
                ]
                if not ids:
                    continue
                text = orjson.dumps(ids).decode()
                rowids[at] = _copy(month, table, key, text, rowids[at])
                _delete(main, table, key, text)
                if table == "attempts":
                    rowids[2] = _copy(month, "corrections", key, text, rowids[2])
                    _delete(main, "corrections", key, text)
                    _delete(main, "overridden", key, text)
                moved += len(ids)
            month.execute("COMMIT")  # on the platter before the main file says so
        main.execute(
            "UPDATE months SET attempts_rowid = ?, charges_rowid = ?, corrections_rowid = ? "
            "WHERE month = ?",
            (*rowids, name),
        )
        return moved

    def _named(self, main: sqlite3.Connection, name: str) -> tuple[str, int, int, int]:
        found = main.execute(
            "SELECT file, attempts_rowid, charges_rowid, corrections_rowid FROM months "
            "WHERE month = ?",
            (name,),
        ).fetchone()
        if found is not None:
            return found  # type: ignore[no-any-return]
        file, number = f"{name}.sqlite3", 1
        while (self._folder / file).exists() and not self._is_ours(main, file):
            number += 1  # the month of another ledger, whose main file was moved away
            file = f"{name}.{number}.sqlite3"
        main.execute("INSERT INTO months VALUES (?, ?, 0, 0, 0, NULL)", (name, file))
        return file, 0, 0, 0

    def _is_ours(self, main: sqlite3.Connection, file: str) -> bool:
        with suppress(sqlite3.DatabaseError):
            month = sqlite3.connect(self._folder / file)
            try:
                found = month.execute("SELECT value FROM meta WHERE name = 'ledger_id'").fetchone()
            finally:
                month.close()
            return found is None or found[0] == _ledger_id(main)
        return False

    @contextmanager
    def _month(
        self, main: sqlite3.Connection, name: str, file: str
    ) -> Iterator[sqlite3.Connection]:
        """The month's file with its tables, in a transaction, and the main file beside it."""
        self._folder.mkdir(exist_ok=True, mode=0o700)
        month = sqlite3.connect(
            self._folder / file, timeout=self._timeout, isolation_level=None, check_same_thread=True
        )
        try:
            month.execute("PRAGMA journal_mode=WAL")
            month.execute("PRAGMA synchronous=FULL")
            month.execute("ATTACH DATABASE ? AS live", (str(self._database),))
            month.execute("BEGIN")  # IMMEDIATE would ask for the main file's lock too
            _make_tables(month, _ledger_id(main), name)
            yield month
        finally:
            month.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The main file in a transaction that no other writer is in."""
        main = None
        try:
            main = sqlite3.connect(
                f"file:{self._database}?mode=rw",
                uri=True,
                timeout=self._timeout,
                isolation_level=None,
            )
            main.execute("PRAGMA synchronous=NORMAL")
            main.execute("BEGIN IMMEDIATE")
            yield main
            main.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            if main is not None:
                main.close()  # takes back what was not committed


def _counting(main: sqlite3.Connection, name: str) -> tuple[str, int, list[str]]:
    """A month's file, up to which rowid it counts, and the attempts that do not."""
    file, last_rowid = main.execute(
        "SELECT file, attempts_rowid FROM months WHERE month = ?", (name,)
    ).fetchone()
    hidden = main.execute(
        "SELECT attempt_id FROM overridden WHERE month = ? ORDER BY attempt_id", (name,)
    )
    return file, last_rowid, [attempt_id for (attempt_id,) in hidden]


def _sums_of(condition: str) -> str:
    """SQL that sums attempts up for ``Carried``; ``condition`` is SQL with its parameters."""
    a = attempts.c
    counted, unknown, those = counted_columns()
    month = func.strftime("%Y-%m", a.operation_at_us // 1_000_000, "unixepoch")
    wanted = (
        select(month, a.key_id, a.tags, func.sum(counted), func.sum(unknown))
        .where(*those, literal_column(f"({condition})"))
        .group_by(month, a.key_id, a.tags)
    )
    dialect = engine_for(Path()).dialect
    return str(wanted.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _oldest(main: sqlite3.Connection, over_us: int) -> str | None:
    """The oldest month that ended before ``over_us`` and has rows that can be moved.

    Not one that was pruned: a row that came for it later stays where it is until the next prune.
    """
    (pruned,) = main.execute(
        "SELECT max(month) FROM months WHERE pruned_at_us IS NOT NULL"
    ).fetchone()
    from_us = 0 if pruned is None else span_of(pruned)[1]
    found = []
    for table, _, at, what in _PARTS:
        row = main.execute(
            f"SELECT {at} FROM {table} WHERE {what} AND {at} >= ? "  # noqa: S608
            f"ORDER BY {at} LIMIT 1",
            (from_us,),
        ).fetchone()
        if row is not None and span_of(month_of(row[0]))[1] <= over_us:
            found.append(month_of(row[0]))
    return min(found, default=None)


def _copy(month: sqlite3.Connection, table: str, key: str, ids: str, last_rowid: int) -> int:
    """Copy rows behind those that count, and return where they end."""
    month.execute(f"DELETE FROM {table} WHERE rowid > ?", (last_rowid,))  # noqa: S608
    names = [row[1] for row in month.execute(f"PRAGMA table_info({table})")]
    there = {row[1] for row in month.execute(f"PRAGMA live.table_info({table})")}
    columns = ", ".join(f'"{name}"' for name in names if name in there)
    done = month.execute(
        f"INSERT OR REPLACE INTO {table} (rowid, {columns}) "  # noqa: S608
        f"SELECT ? + row_number() OVER (), {columns} FROM live.{table} "
        f"WHERE {key} IN (SELECT value FROM json_each(?))",
        (last_rowid, ids),
    )
    return last_rowid + max(0, done.rowcount)


def _delete(main: sqlite3.Connection, table: str, key: str, ids: str) -> None:
    main.execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT value FROM json_each(?))",  # noqa: S608
        (ids,),
    )


def _make_tables(month: sqlite3.Connection, ledger_id: str, name: str) -> None:
    """As in the main file; with what the rows have gained since, where they are older."""
    tables = (attempts, charges, corrections)
    if month.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'meta'").fetchone():
        return
    dialect = engine_for(Path()).dialect
    for table in tables:
        month.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            month.execute(str(CreateIndex(index).compile(dialect=dialect)))
    month.execute("CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
    month.executemany("INSERT INTO meta VALUES (?, ?)", [("ledger_id", ledger_id), ("month", name)])


def _ledger_id(main: sqlite3.Connection) -> str:
    (found,) = main.execute("SELECT value FROM meta WHERE name = 'ledger_id'").fetchone()
    return str(found)
