"""Where the record lies in the data directory, and who holds which journal file.

A journal file belongs to the process that holds its ``flock``; the kernel gives the lock back
when that process dies, however it dies. Names sort by the time of their creation, and the order
of names is the order in which files are read.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path

SUFFIX = ".ndjson"
KEPT_SUFFIX = ".kept"  # appended to a file with lines that nobody could read: for a human


def journal_dir(data_dir: Path) -> Path:
    """The folder of journal files."""
    return data_dir / "journal"


def database_path(data_dir: Path) -> Path:
    """The SQLite database that the journal is shipped into."""
    return data_dir / "ledger.sqlite3"


def results_path(data_dir: Path) -> Path:
    """The SQLite file of the answers that are kept for a while."""
    return data_dir / "results.sqlite3"


def archive_dir(data_dir: Path) -> Path:
    """The folder of months that were moved out of the database."""
    return data_dir / "ledger"


def metrics_path(data_dir: Path) -> Path:
    """The metrics folded from the journal, in Prometheus text format."""
    return data_dir / "metrics.prom"


def keys_path(data_dir: Path) -> Path:
    """The keys that were made while a gateway ran, or by the command line."""
    return data_dir / "keys.sqlite3"


def journal_names(directory: Path) -> list[str]:
    """Names of the journal files, oldest first; none where there is no folder."""
    try:
        entries = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(name for name in entries if name.endswith(SUFFIX) and name[0] != ".")


def create_journal_file(directory: Path) -> tuple[str, int]:
    """A new file that sorts after all others: its name, and a descriptor that holds its lock.

    It is locked before it gets its name, so nobody ever sees one that looks abandoned.
    """
    at_us = time.time_ns() // 1000
    for newest in journal_names(directory)[-1:]:
        stamp = newest.partition("-")[0]
        if stamp.isdigit():  # wall time may have been set back since
            at_us = max(at_us, int(stamp) + 1)
    name = f"{at_us:016d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    unnamed = directory / f".{name}.new"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(unnamed, flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(unnamed, directory / name)
    except OSError:
        os.close(fd)
        unnamed.unlink(missing_ok=True)
        raise
    return name, fd


def take(path: Path, *, create: bool = False) -> int | None:
    """A descriptor that holds the file's lock; None if somebody else does or it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def take_folder(directory: Path) -> int | None:
    """The lock for adopting or deleting files: who does the one must not meet the other."""
    return take(directory / ".lock", create=True)


def backup_lock(directory: Path) -> Path:
    """Held by whoever copies the journal: nothing is deleted meanwhile."""
    return directory / ".backup"


def is_held(path: Path) -> bool:
    """Whether a living process writes this file.

    A probe is a shared lock for some microseconds, so that probes do not deceive each other.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
