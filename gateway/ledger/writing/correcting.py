"""Corrections from outside of a gateway, whether or not one runs on the data folder.

They go into a journal file of their own, held while it is written: a journal file belongs to one
process. Whoever ships the folder's journal ships it too: the running gateway's shipper, or, where
there is none, this process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.ledger import codec, layout
from gateway.ledger.care.inspect import shipped_offsets
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.reading.signs import NoSign
from gateway.ledger.shipping.shipper import Shipper

_PATIENCE_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 0.05


def catch_up(data_dir: Path, patience_seconds: float = _PATIENCE_SECONDS) -> None:
    """Return when all that was in the journal is in the database.

    Raises LedgerUnavailable when the database has not come nearer for so many seconds.
    """
    wanted = _whole_bytes(layout.journal_dir(data_dir))
    nearest, deadline = sum(wanted.values()) + 1, 0.0
    while True:
        lock = layout.take(data_dir / "shipper.lock", create=True)
        if lock is not None:
            try:
                _ship(data_dir)
            finally:
                os.close(lock)
            return
        shipped = shipped_offsets(data_dir)
        missing = sum(max(0, size - shipped.get(name, 0)) for name, size in wanted.items())
        if not missing:
            return
        if missing < nearest:
            nearest, deadline = missing, time.monotonic() + patience_seconds
        elif time.monotonic() > deadline:
            raise LedgerUnavailable("The database is behind the journal; try again later.")
        time.sleep(_LOOK_EVERY_SECONDS)


def correct(
    data_dir: Path,
    changes: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    at_us: int,
    reason: str,
    rotate_bytes: int,
) -> int:
    """Write a ``correct`` line for each (attempt id, changed columns), durably; returns how many.

    The old values stay: in the journal until it is shipped, then in the table of corrections.
    Raises LedgerUnavailable when there is no room; whole lines written before that count.
    """
    directory, no_sign = layout.journal_dir(data_dir), NoSign(data_dir)
    count = 0
    out: _Out | None = None
    try:
        for attempt_id, columns in changes:
            if columns.keys() - codec.CORRECTABLE:
                raise ValueError("a column that cannot be corrected")
            if out is None or out.size_bytes > rotate_bytes:
                if out is not None:
                    out.close()
                out = _Out(directory, no_sign)
            out.write(codec.correct_body(attempt_id, at_us, reason, columns))
            count += 1
    except OSError as error:
        raise LedgerUnavailable from error
    finally:
        if out is not None:
            out.close()
    return count


class _Out:
    """A journal file of ours, open."""

    def __init__(self, directory: Path, no_sign: NoSign) -> None:
        self._fd = layout.create_journal_file(directory)[1]
        self._no_sign = no_sign
        no_sign.date(self._fd)
        self._seq = 0
        self.size_bytes = 0

    def write(self, body: bytes) -> None:
        raw = codec.line(self._seq + 1, body)
        try:
            if os.write(self._fd, raw) != len(raw):
                raise OSError("a short write")
        except OSError:
            os.ftruncate(self._fd, self.size_bytes)
            raise
        finally:
            self._no_sign.date(self._fd)
        self._seq += 1
        self.size_bytes += len(raw)

    def close(self) -> None:
        try:
            os.fsync(self._fd)
        finally:
            os.close(self._fd)


def _ship(data_dir: Path) -> None:
    shipper = Shipper(data_dir)
    try:
        shipper.ship()
    finally:
        shipper.close()


def _whole_bytes(directory: Path) -> dict[str, int]:
    """How long each file is up to its last line break: a torn line is never shipped."""
    sizes = {}
    for name in layout.journal_names(directory):
        with suppress(FileNotFoundError):
            sizes[name] = (directory / name).read_bytes().rfind(b"\n") + 1
    return sizes
