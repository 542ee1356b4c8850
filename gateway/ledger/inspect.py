"""Looking at the record as it lies there: what there is, and whether it is sound. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import DBAPIError

from gateway.clock import rfc3339
from gateway.ledger import layout
from gateway.ledger.audit import Problem, audit_journal, audit_rows
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.schema import attempts, charges, corrections, journal_files, meta
from gateway.ledger.store import engine_for
from gateway.ledger.views import usd

__all__ = ["Problem", "info", "shipped_offsets", "verify"]


def info(data_dir: Path) -> dict[str, Any]:
    """Files, lag and totals, ready for JSON. Raises StoreUnavailable.

    ``lag_bytes`` is what the journal holds and the database does not; a torn last line counts.
    """
    directory = layout.journal_dir(data_dir)
    with _database(data_dir) as connection:
        found = {} if connection is None else _shipped(connection)
        files = []
        for name in layout.journal_names(directory):
            path = directory / name
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue
            shipped = found.get(name, 0)
            files.append(
                {
                    "name": name,
                    "bytes": size,
                    "shipped_bytes": shipped,
                    "lag_bytes": max(0, size - shipped),
                    "written_by_a_live_process": layout.is_held(path),
                }
            )
        return {
            "files": files,
            "kept_files": sorted(path.name for path in directory.glob(f"*{layout.KEPT_SUFFIX}")),
            "lag_bytes": sum(file["lag_bytes"] for file in files),
            **_totals(connection),
            "database_bytes": sum(
                path.stat().st_size
                for suffix in ("", "-wal")
                if (path := Path(f"{layout.database_path(data_dir)}{suffix}")).exists()
            ),
        }


def verify(data_dir: Path) -> list[Problem]:
    """Everything that is wrong with the record; none is the good answer.

    Journal:  each line parses, ``seq`` has no gap within a file, no attempt ends twice, and none
              is left without an end by a process that is gone.
    Database: it holds each shipped line, equal but for the columns that were corrected since.
    Money:    a cost is the sum of its lines, and lies within its bounds, to the last digit.
    Raises StoreUnavailable. A gateway may run meanwhile.
    """
    with _database(data_dir) as connection:
        if connection is None:
            return list(audit_journal(layout.journal_dir(data_dir), {}, None))
        problems = list(
            audit_journal(layout.journal_dir(data_dir), _shipped(connection), connection)
        )
        problems.extend(audit_rows(connection, layout.journal_dir(data_dir)))
        return problems


def shipped_offsets(data_dir: Path) -> dict[str, int]:
    """How many bytes of each journal file are in the database."""
    with _database(data_dir) as connection:
        return {} if connection is None else _shipped(connection)


def _totals(connection: Connection | None) -> dict[str, Any]:
    if connection is None:
        return {"schema_version": None, "rows": {}, "oldest": None, "newest": None}
    a = attempts.c
    tables = (attempts, charges, corrections, journal_files)
    oldest, newest, known = connection.execute(
        select(func.min(a.begun_at_us), func.max(a.begun_at_us), func.sum(a.known_pico_usd))
    ).one()
    by_status = connection.execute(select(a.status, func.count()).group_by(a.status)).all()
    shipped_at = connection.scalar(select(func.max(journal_files.c.shipped_at_us)))
    rejected = connection.scalar(select(func.sum(journal_files.c.rejected_lines)))
    version = connection.scalar(select(meta.c.value).where(meta.c.name == "schema_version"))
    return {
        "schema_version": None if version is None else int(version),
        "rows": {
            str(table.name): connection.scalar(select(func.count()).select_from(table))
            for table in tables
        },
        "attempts_by_status": {status: count for status, count in sorted(by_status)},
        "unpriced_attempts": connection.scalar(
            select(func.count()).where(a.cost_pico_usd.is_(None))
        ),
        "known_usd": usd(int(known or 0)),
        "rejected_lines": int(rejected or 0),
        "oldest": None if oldest is None else rfc3339(oldest),
        "newest": None if newest is None else rfc3339(newest),
        "shipped_at": None if shipped_at is None else rfc3339(shipped_at),
    }


def _shipped(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(journal_files.c.name, journal_files.c.offset_bytes))
    return {name: offset for name, offset in rows}


@contextmanager
def _database(data_dir: Path) -> Iterator[Connection | None]:
    """One snapshot; None where nothing has been shipped yet."""
    path = layout.database_path(data_dir)
    if not path.exists():
        yield None
        return
    engine = engine_for(path, read_only=True)
    try:
        with engine.begin() as connection:
            yield connection if inspect(connection).has_table("meta") else None
    except DBAPIError as error:
        raise StoreUnavailable(str(error.orig)) from error
    finally:
        engine.dispose()
