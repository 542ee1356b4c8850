"""One look at the ledger's database from beside the reports. Reads only; it blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.ledger import layout
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.writing.tail import read_lines

if TYPE_CHECKING:
    from gateway.ledger.months.archive import Snapshot

_MOST_AT_ONCE = 500


@contextmanager
def reading(data_dir: Path) -> Iterator[Snapshot | None]:
    """One snapshot; None while there is no database. Raises StoreUnavailable, SchemaMismatch."""
    from sqlalchemy import inspect
    from sqlalchemy.exc import DBAPIError

    from gateway.ledger.engines import engine_for
    from gateway.ledger.months.archive import Archive, Snapshot
    from gateway.ledger.months.migration import check_schema

    path = layout.database_path(data_dir)
    if not path.exists():
        yield None
        return
    engine, archive = engine_for(path, read_only=True), Archive(layout.archive_dir(data_dir))
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table("meta"):
                yield None
                return
            check_schema(connection)
            yield Snapshot(connection, archive)
    except DBAPIError as error:
        raise StoreUnavailable(str(error.orig)) from error
    finally:
        archive.close()
        engine.dispose()


def shipped_offsets(snapshot: Snapshot) -> dict[str, int]:
    """How far each journal file is in the tables, in bytes."""
    from sqlalchemy import select

    from gateway.ledger.schema import journal_files

    columns = (journal_files.c.name, journal_files.c.offset_bytes)
    return {name: offset for name, offset in snapshot.connection.execute(select(*columns))}


def is_behind(data_dir: Path, snapshot: Snapshot | None, before: str | None = None) -> bool:
    """Whether whole lines of the journal are not in the database yet.

    ``before``: only the files that come before this one.
    """
    shipped = {} if snapshot is None else shipped_offsets(snapshot)
    directory = layout.journal_dir(data_dir)
    return any(
        read_lines(directory / name, shipped.get(name, 0), 1)[0]
        for name in layout.journal_names(directory)
        if before is None or name < before
    )


def known_upstream_ids(
    snapshot: Snapshot, upstream_ids: Iterable[str], since_us: int, until_us: int
) -> set[str]:
    """Those of a provider's ids that attempts which came in between the two instants have."""
    from sqlalchemy import select

    from gateway.ledger.schema import attempts

    a = attempts.c
    wanted = list(upstream_ids)
    found: set[str] = set()
    for first in range(0, len(wanted), _MOST_AT_ONCE):
        some = wanted[first : first + _MOST_AT_ONCE]
        query = select(a.upstream_id).where(
            a.operation_at_us >= since_us,
            a.operation_at_us <= until_us,
            a.upstream_id.in_(some),
        )
        found.update(row[0] for row in snapshot.attempts(query, since_us, until_us + 1))
    return found
