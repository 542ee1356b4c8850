"""Attempts and charges as CSV: as they are, or as FOCUS rows. Streams; memory stays constant."""

from __future__ import annotations

import csv
import heapq
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import orjson
from sqlalchemy import Select, Table, inspect, select
from sqlalchemy.exc import DBAPIError

from gateway.ledger import layout
from gateway.ledger.codec import ATTEMPT_COLUMNS, CHARGE_COLUMNS
from gateway.ledger.engines import engine_for
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.months.archive import Archive, Snapshot, stream
from gateway.ledger.months.migration import check_schema
from gateway.ledger.reports import focus
from gateway.ledger.schema import attempts, charges

Format: TypeAlias = Literal["csv", "focus"]
_KINDS = (
    (attempts, "operation_at_us", "attempt_id"),
    (charges, "period_start_at_us", "charge_id"),
)
_OWNERS = select(
    *(attempts.c[name] for name in ("attempt_id", "operation_id", "key_id")),
    *(attempts.c[name] for name in ("tags", "model", "origin")),
)
_PART = 500
PLAIN = ("record", *dict.fromkeys((*ATTEMPT_COLUMNS, *CHARGE_COLUMNS)))


class Out(Protocol):
    """Something that text can be written to."""

    def write(self, text: str, /) -> object:
        """Take more of it."""


def export(data_dir: Path, out: Out, *, form: Format, start_at_us: int, end_at_us: int) -> int:
    """Write what came in within the range, in the order of time; returns how many lines of data.

    Attempts count by the time of their operation, charges by their begin, as in the reports. An
    empty cell is "not known". Raises StoreUnavailable, SchemaMismatch.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(PLAIN if form == "csv" else focus.COLUMNS)
    path = layout.database_path(data_dir)
    if not path.exists():
        return 0
    written = 0
    engine, archive = engine_for(path, read_only=True), Archive(layout.archive_dir(data_dir))
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table("meta"):
                return 0
            check_schema(connection)
            snapshot = Snapshot(connection, archive)
            rows = _rows(snapshot, start_at_us, end_at_us)
            plain = (_plain(kind, row) for kind, row in rows)
            for line in plain if form == "csv" else _focus(snapshot, rows):
                writer.writerow(line)
                written += 1
    except DBAPIError as error:
        raise StoreUnavailable(str(error.orig)) from error
    finally:
        archive.close()
        engine.dispose()
    return written


def _focus(snapshot: Snapshot, rows: Iterator[tuple[str, Any]]) -> Iterator[Sequence[object]]:
    """Charges with the key and the tags of their attempts, as the reports count them."""
    while part := list(itertools.islice(rows, _PART)):
        ids = [row["attempt_id"] for kind, row in part if kind == "charge" and row["attempt_id"]]
        owners: dict[str, Any] = {}
        for found in snapshot.find(ids, attempts.c.attempt_id, _OWNERS):
            owners[found.attempt_id] = found._mapping
        for kind, row in part:
            if kind == "attempt":
                yield from focus.attempt(row)
            else:
                yield from focus.charge(row, owners.get(row["attempt_id"]))


def _rows(snapshot: Snapshot, start: int, end: int) -> Iterator[tuple[str, Any]]:
    """All rows of a range, month by month where they lie in files of their own."""
    spans: list[tuple[int, int]] = []
    at = start
    for month in sorted(snapshot.within(start, end), key=lambda month: month.name):
        first, last = max(start, month.span[0]), min(end, month.span[1])
        spans += [span for span in ((at, first), (first, last)) if span[0] < span[1]]
        at = last
    spans += [(at, end)] if at < end else []
    for span in spans:
        sources = [
            _keyed(name, time_column, key, found)
            for table, time_column, key in _KINDS
            for name in [str(table.name).removesuffix("s")]
            for found in _sources(snapshot, table, time_column, key, *span)
        ]
        for _, _, name, row in heapq.merge(*sources, key=lambda item: item[:2]):
            yield name, row


def _sources(
    snapshot: Snapshot, table: Table, time_column: str, key: str, start: int, end: int
) -> Iterator[Iterator[Any]]:
    at = table.c[time_column]
    wanted: Select[Any] = select(table).where(at >= start, at < end).order_by(at, table.c[key])
    # An iterator of its own for each file, so that they can be merged.
    yield stream(snapshot.connection, wanted)
    for month in snapshot.within(start, end):
        if table is attempts:
            yield snapshot.of_month(month, wanted)
        else:
            yield snapshot.charges_of_month(month, wanted)


def _keyed(
    name: str, time_column: str, key: str, found: Iterator[Any]
) -> Iterator[tuple[int, str, str, Any]]:
    for row in found:
        given = row._mapping
        yield given[time_column], given[key], name, given


def _plain(kind: str, row: Any) -> Sequence[object]:
    return [kind, *(_cell(row.get(name)) for name in PLAIN[1:])]


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value
