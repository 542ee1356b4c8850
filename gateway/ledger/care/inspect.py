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
from gateway.ledger.care.audit import Problem, audit_journal, audit_rows
from gateway.ledger.engines import engine_for
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.months.archive import Archive, Snapshot, listed
from gateway.ledger.months.migration import check_schema, version_of
from gateway.ledger.numbers import PICO
from gateway.ledger.reports.views import usd
from gateway.ledger.schema import (
    SCHEMA_VERSION,
    attempts,
    charges,
    corrections,
    journal_files,
    rollups,
    series,
)
from gateway.ledger.sums.looking_back import kept_from_us
from gateway.ledger.sums.progress import begins, rolled_to
from gateway.ledger.sums.rolled import existing_hours
from gateway.ledger.sums.tag_history import unfinished

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
            **_totals(connection, data_dir),
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
    Sums:     the rollups of each hour are those of the rows, as far as rows are there.
    Raises StoreUnavailable. A gateway may run meanwhile.
    """
    with _database(data_dir) as connection:
        if connection is None:
            return list(audit_journal(layout.journal_dir(data_dir), {}, None))
        check_schema(connection)
        archive = Archive(layout.archive_dir(data_dir))
        try:
            snapshot = Snapshot(connection, archive)
            directory = layout.journal_dir(data_dir)
            problems = list(audit_journal(directory, _shipped(connection), snapshot))
            problems.extend(audit_rows(snapshot, directory))
        finally:
            archive.close()
        return problems


def shipped_offsets(data_dir: Path) -> dict[str, int]:
    """How many bytes of each journal file are in the database."""
    with _database(data_dir) as connection:
        return {} if connection is None else _shipped(connection)


def _totals(connection: Connection | None, data_dir: Path) -> dict[str, Any]:
    if connection is None:
        return {"schema_version": None, "rows": {}, "oldest": None, "newest": None}
    version = version_of(connection)
    shipped_at = connection.scalar(select(func.max(journal_files.c.shipped_at_us)))
    rejected = connection.scalar(select(func.sum(journal_files.c.rejected_lines)))
    tables = (attempts, charges, corrections, journal_files)
    ours = version == SCHEMA_VERSION
    return {
        "schema_version": version,
        "rollups_complete": ours and _all_summed_up(connection, data_dir),
        "rows": {
            str(table.name): connection.scalar(select(func.count()).select_from(table))
            for table in tables
        },
        **(_sums(connection) if ours else {}),
        "rejected_lines": int(rejected or 0),
        "shipped_at": None if shipped_at is None else rfc3339(shipped_at),
        "months": _months(connection, data_dir) if ours else [],
    }


def _all_summed_up(connection: Connection, data_dir: Path) -> bool:
    snapshot = Snapshot(connection, Archive(layout.archive_dir(data_dir)))
    return (
        not rolled_to(connection)
        and max(begins(connection)) <= kept_from_us(snapshot)
        and not any(unfinished(snapshot))
    )


def _sums(connection: Connection) -> dict[str, Any]:
    """Of attempts in all months, and of charges, by the rollups: also of what was pruned."""
    sums = [func.sum(rollups.c[name]) for name in ("attempts", "unknown_attempts")]
    money = [func.sum(rollups.c[name]) for name in ("known_usd", "pico_known_usd")]
    wanted = (
        select(series.c.status, *sums, *money)
        .select_from(rollups.join(series, series.c.id == rollups.c.series_id))
        .group_by(series.c.status)
    )
    found = connection.execute(wanted).all()
    hours = existing_hours(connection)
    return {
        "attempts_by_status": {
            status: int(count)
            for status, count, *_ in sorted(found, key=lambda row: row[0] or "")
            if count
        },
        "unpriced_attempts": sum(int(row[2]) for row in found),
        "known_usd": usd(sum(int(row[3]) * PICO + int(row[4]) for row in found)),
        "oldest_hour": None if hours is None else rfc3339(hours[0]),
        "newest_hour": None if hours is None else rfc3339(hours[1]),
    }


def _months(connection: Connection, data_dir: Path) -> list[dict[str, Any]]:
    found = []
    for month in listed(connection).values():
        path = layout.archive_dir(data_dir) / month.file
        size = path.stat().st_size if month.file and path.exists() else 0
        found.append({"month": month.name, "bytes": size, "pruned": month.pruned})
    return found


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
