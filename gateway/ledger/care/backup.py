"""A copy of journal and database that belong together, while a gateway runs.

The order is what makes it whole: first nobody may delete a journal file any more (``backup.lock``)
nor move a month (``maintenance.lock``); then the database is copied as of one moment; then the
journal, which by then holds all that the database has, and more. Started on the copy, a gateway
ships that more, and ends what was running as after any other death.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from gateway.ledger import layout
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.months.upkeep import maintenance

_PATIENCE_SECONDS = 10.0
# What a gateway started on the copy would miss: its first key, fetched prices, statements of bills.
_BESIDE = ("first-key.json", "prices", "statements")


class BackupRefused(Exception):
    """The backup could not be made; what was copied is incomplete."""


def backup(
    data_dir: Path, target: Path, say: Callable[[str, int], None] = lambda name, size: None
) -> int:
    """Copy the record into ``target``, a folder that must not be there yet; bytes copied.

    ``say`` is told each file and its bytes. The folder gets its name when all is in it. Raises
    BackupRefused, StoreUnavailable.
    """
    if target.exists():
        raise BackupRefused(f"{target} is there already")
    half = target.with_name(f"{target.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    with maintenance(data_dir) as ours:
        held = _hold_files(layout.journal_dir(data_dir)) if ours else None
        if held is None:
            raise BackupRefused("another backup or a migration is going on; try again")
        try:
            half.mkdir(parents=True, mode=0o700)
            copied = _copy(data_dir, half, say)
            os.replace(half, target)
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(str(error)) from error
        finally:
            os.close(held)
    return copied


def _hold_files(directory: Path) -> int | None:
    """From now on the shipper deletes no journal file; None if somebody else holds them."""
    held = layout.take(layout.backup_lock(directory), create=True)
    if held is None:
        return None
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (folder := layout.take_folder(directory)) is None:  # whoever deletes now ends first
        if time.monotonic() > deadline:
            os.close(held)
            return None
        time.sleep(0.005)
    os.close(folder)
    return held


def _copy(data_dir: Path, half: Path, say: Callable[[str, int], None]) -> int:
    copied = 0
    database = layout.database_path(data_dir)
    if database.exists():
        copied += _copy_database(database, half / database.name, say)
        archive = layout.archive_dir(half)
        for file in _month_files(half / database.name):
            archive.mkdir(exist_ok=True, mode=0o700)
            source = layout.archive_dir(data_dir) / file
            copied += _copy_database(source, archive / file, say)
    journal = layout.journal_dir(half)
    journal.mkdir(mode=0o700)
    for path in sorted(layout.journal_dir(data_dir).iterdir()):
        if path.suffix in (layout.SUFFIX, layout.KEPT_SUFFIX) and path.name[0] != ".":
            shutil.copyfile(path, journal / path.name)
            size = (journal / path.name).stat().st_size
            say(path.name, size)
            copied += size
    for kept in (layout.keys_path(data_dir), layout.results_path(data_dir)):
        if kept.exists():
            copied += _copy_database(kept, half / kept.name, say)
    for name in _BESIDE:
        path = data_dir / name
        if path.is_dir():
            shutil.copytree(path, half / name)
        elif path.exists():
            shutil.copy2(path, half / name)
    alive = data_dir / "alive"
    if alive.exists():  # until when the gateway lived: what ran is charged up to then
        shutil.copy2(alive, half / "alive")
    return copied


def _month_files(copied: Path) -> list[str]:
    database = sqlite3.connect(copied)
    try:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'months'").fetchone():
            return []
        named = database.execute("SELECT file FROM months WHERE pruned_at_us IS NULL")
        return [file for (file,) in named]
    finally:
        database.close()


def _copy_database(source: Path, target: Path, say: Callable[[str, int], None]) -> int:
    """In one go: a copy by parts begins anew whenever somebody writes."""
    read = sqlite3.connect(f"file:{source}?mode=rw", uri=True)
    try:
        write = sqlite3.connect(target)
        try:
            read.backup(write)
        finally:
            write.close()
    finally:
        read.close()
    size = target.stat().st_size
    say(target.name, size)
    return size
