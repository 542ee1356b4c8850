"""Old months in files of their own: what is where, and how it is read as one ledger.

Why. A file that is deleted gives its room back at once, rows that are deleted do not. SQLite
attaches ten files at most and commits to several of them one by one, so rows and the journal's
offset stay in ONE file, ``ledger.sqlite3``: whatever is shipped goes there, rollups included, in
one transaction. A month that is over is moved out of it later, some thousand rows at a time
(``sealing``), into ``ledger/2026-01.sqlite3``.

A row that is in both places must count once, at every moment, whatever dies when:

* A step writes rows into the month's file and commits, then deletes them from the main file and
  notes there, in the same commit, up to which rowid the month's file counts. Rows beyond are a
  step that was not finished: nobody reads them, and the next step deletes them first.
* A row that changes after its month was moved (a correction, a late end) is copied up into the main
  file and named in ``overridden``: the month's row does not count any more. The next steps move it
  down again like any other row.

So the main file alone decides what counts. A reader takes its snapshot of the main file first and
reads months as that snapshot has them; a month's file only ever has more than that.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, Table, func, literal_column, select
from sqlalchemy.engine import Engine

from gateway.ledger.engines import engine_for
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.schema import attempts, charges, months, overridden

_SECOND_US = 1_000_000
EVER_US = 1 << 62
"""Later than anything."""


@dataclass(frozen=True, slots=True)
class Month:
    """A month that was moved, as one snapshot of the main file has it."""

    name: str
    file: str
    attempts_rowid: int
    charges_rowid: int
    corrections_rowid: int
    pruned: bool

    @property
    def span(self) -> tuple[int, int]:
        """Its begin and end, in microseconds since the epoch."""
        return span_of(self.name)


def month_of(at_us: int) -> str:
    """The month of an instant, UTC: ``2026-01``."""
    gone = time.gmtime(at_us // _SECOND_US)
    return f"{gone.tm_year:04d}-{gone.tm_mon:02d}"


def span_of(name: str) -> tuple[int, int]:
    """Begin and end of a month, in microseconds since the epoch. Raises ValueError."""
    start = datetime.strptime(name, "%Y-%m").replace(tzinfo=UTC)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return int(start.timestamp()) * _SECOND_US, int(end.timestamp()) * _SECOND_US


def listed(connection: Connection) -> dict[str, Month]:
    """The months that were moved, oldest first."""
    found = {}
    for row in connection.execute(select(months).order_by(months.c.month)).mappings():
        found[row["month"]] = Month(
            name=row["month"],
            file=row["file"],
            attempts_rowid=row["attempts_rowid"],
            charges_rowid=row["charges_rowid"],
            corrections_rowid=row["corrections_rowid"],
            pruned=row["pruned_at_us"] is not None,
        )
    return found


class Archive:
    """The files of months, opened when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._engines: dict[str, Engine] = {}

    def close(self) -> None:
        for engine in self._engines.values():
            engine.dispose()
        self._engines.clear()

    def add_columns(self, month: Month) -> None:
        """Give an older file the columns that rows have gained since."""
        from gateway.ledger.months.migration import add_columns

        engine = engine_for(self.folder / month.file)
        try:
            with engine.begin() as connection:
                add_columns(connection)
        finally:
            engine.dispose()

    @contextmanager
    def reading(self, month: Month) -> Iterator[Connection]:
        """One snapshot of a month's file. Raises StoreUnavailable when it is gone."""
        engine = self._engines.get(month.file)
        if engine is None:
            if not (self.folder / month.file).exists():
                raise StoreUnavailable(f"the file of {month.name} is missing")
            engine = self._engines[month.file] = engine_for(
                self.folder / month.file, read_only=True
            )
        with engine.begin() as connection:
            yield connection


class Snapshot:
    """Attempts and charges of the main file and all months, as of one snapshot of the main file.

    ``archive`` is None where the database is no file: there are no months then.
    """

    def __init__(
        self,
        connection: Connection,
        archive: Archive | None,
        known: dict[str, Month] | None = None,
    ) -> None:
        self.connection = connection
        self._archive = archive
        if known is None:
            known = listed(connection) if archive is not None else {}
        self.months = known
        self._hidden: dict[str, list[str]] = {}

    def within(self, start_us: int, end_us: int) -> list[Month]:
        """Months with rows of a range, newest first."""
        found = [
            month
            for month in self.months.values()
            if not month.pruned and month.span[0] < end_us and month.span[1] > start_us
        ]
        return found[::-1]

    def attempts(self, statement: Select[Any], start_us: int, end_us: int) -> Iterator[Any]:
        """Rows of a statement about attempts whose operations came in within a range."""
        yield from stream(self.connection, statement)
        for month in self.within(start_us, end_us):
            yield from self.of_month(month, statement)

    def in_order(self, statement: Select[Any], start_us: int, end_us: int) -> Iterator[Any]:
        """As ``attempts``, for a statement that is in the order of its first column."""
        sources = [stream(self.connection, statement)]
        sources += [self.of_month(month, statement) for month in self.within(start_us, end_us)]
        return heapq.merge(*sources, key=lambda row: row[0])

    def charges(self, statement: Select[Any], start_us: int, end_us: int) -> Iterator[Any]:
        """Rows of a statement about charges whose time begins within a range."""
        yield from stream(self.connection, statement)
        for month in self.within(start_us, end_us):
            yield from self.charges_of_month(month, statement)

    def charges_of_month(self, month: Month, statement: Select[Any]) -> Iterator[Any]:
        """Rows of a statement about charges, of one month's file."""
        with self._reading(month) as connection:
            yield from stream(connection, statement.where(_counts(charges, month)))

    def of_month(self, month: Month, statement: Select[Any]) -> Iterator[Any]:
        """Rows of a statement about attempts, of one month's file."""
        with self._reading(month) as connection:
            yield from stream(connection, statement.where(*self._visible(month)))

    def find(
        self, ids: Sequence[str], key: ColumnElement[str], statement: Select[Any]
    ) -> Iterator[Any]:
        """Rows of a statement about one table whose ``key`` is one of the ids, in any file."""
        (table,) = statement.get_final_froms()
        assert isinstance(table, Table)
        for some in _parts(ids):
            wanted = statement.where(key.in_(some))
            yield from self.connection.execute(wanted).all()
            for month in self.within(0, EVER_US):
                if table is attempts:
                    yield from self.of_month(month, wanted)
                    continue
                with self._reading(month) as connection:
                    yield from connection.execute(wanted.where(_counts(table, month))).all()

    def is_pruned(self, at_us: int) -> bool:
        """Whether the rows of an instant were deleted."""
        month = self.months.get(month_of(at_us))
        return month is not None and month.pruned

    def _reading(self, month: Month) -> Any:
        assert self._archive is not None
        return self._archive.reading(month)

    def _visible(self, month: Month) -> list[ColumnElement[bool]]:
        hidden = self._hidden.get(month.name)
        if hidden is None:
            of = select(overridden.c.attempt_id).where(overridden.c.month == month.name)
            hidden = self._hidden[month.name] = list(self.connection.scalars(of))
        conditions = [_counts(attempts, month)]
        if hidden:
            each = func.json_each(orjson.dumps(hidden).decode()).table_valued("value")
            conditions.append(attempts.c.attempt_id.not_in(select(each.c.value)))
        return conditions


def _counts(table: Table, month: Month) -> ColumnElement[bool]:
    last = {
        "attempts": month.attempts_rowid,
        "charges": month.charges_rowid,
        "corrections": month.corrections_rowid,
    }
    counts: ColumnElement[bool] = literal_column(f"{table.name}.rowid") <= last[table.name]
    return counts


def stream(connection: Connection, statement: Select[Any]) -> Iterator[Any]:
    """Rows one after the other, in constant memory."""
    result = connection.execution_options(yield_per=2000).execute(statement)
    for part in result.partitions():
        yield from part


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(ids), 500):
        yield ids[first : first + 500]
