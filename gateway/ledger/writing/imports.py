"""Rows from outside into the ledger: through a journal file of one's own, beside a gateway's.

The database keeps its one writer, the shipper. Where no gateway runs, its work is done here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from gateway.ledger import codec, layout
from gateway.ledger.errors import LedgerUnavailable, StoreUnavailable
from gateway.ledger.reading.looking import reading, shipped_offsets
from gateway.ledger.reading.signs import NoSign
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.ledger.writing.tail import read_lines

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from gateway.ledger.months.archive import Archive

_PAUSE_SECONDS = 0.05


class ImportJournal:
    """A journal file of this process, a context. Nothing is taken from a gateway's ballast:
    what does not fit is cut off again and refused; and it is no gateway's sign of life. Raises
    LedgerUnavailable.
    """

    def __init__(self, data_dir: Path) -> None:
        self._directory = layout.journal_dir(data_dir)
        self._no_sign = NoSign(data_dir)
        self._fd: int | None = None
        self._seq = 0
        self._offset = 0

    def __enter__(self) -> ImportJournal:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def write(self, attempts: Iterable[AttemptRow], charges: Iterable[ChargeRow] = ()) -> None:
        """All of them or none. The file is made by the first."""
        bodies = [codec.end_body(row) for row in attempts]
        bodies += [codec.charge_body(row) for row in charges]
        if not bodies:
            return
        raw = b"".join(codec.line(self._seq + n, body) for n, body in enumerate(bodies, 1))
        try:
            if self._fd is None:
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                _, self._fd = layout.create_journal_file(self._directory)
            try:
                if os.write(self._fd, raw) != len(raw):
                    raise OSError("a short write")
            except OSError:
                os.ftruncate(self._fd, self._offset)
                raise
            finally:
                self._no_sign.date(self._fd)
        except OSError as error:
            raise LedgerUnavailable("There is no room for the journal.") from error
        self._seq += len(bodies)
        self._offset += len(raw)


def bring_in(data_dir: Path, wait_seconds: float = 15.0) -> bool:
    """Have in the database what the journal holds now. False: a gateway's shipper is behind.

    Raises StoreUnavailable and SchemaMismatch.
    """
    directory = layout.journal_dir(data_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = layout.take(data_dir / "shipper.lock", create=True)
    if lock is not None:
        from gateway.ledger.shipping.shipper import Shipper

        shipper = Shipper(data_dir)
        try:
            while shipper.ship():
                pass
        finally:
            shipper.close()
            os.close(lock)
        return True
    wanted = {name: (directory / name).stat().st_size for name in layout.journal_names(directory)}
    deadline = time.monotonic() + wait_seconds
    while not _holds(data_dir, wanted):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


class Origins:
    """Which jobs the ledger has already, and from where. A context. Raises StoreUnavailable."""

    def __init__(self, data_dir: Path) -> None:
        self._path = layout.database_path(data_dir)
        self._engine: Engine | None = None
        self._archive: Archive | None = None

    def __enter__(self) -> Origins:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._engine is not None:
            self._engine.dispose()
        if self._archive is not None:
            self._archive.close()

    def of(self, upstream_ids: Sequence[str], since_us: int, until_us: int) -> dict[str, str]:
        """Those of a provider's ids that attempts of that time have, with the attempts' origin."""
        from sqlalchemy import select
        from sqlalchemy.exc import DBAPIError

        from gateway.ledger.engines import engine_for
        from gateway.ledger.months.archive import Archive, Snapshot
        from gateway.ledger.schema import attempts

        if not self._path.exists():
            return {}
        self._engine = self._engine or engine_for(self._path, read_only=True)
        if self._archive is None:
            self._archive = Archive(layout.archive_dir(self._path.parent))
        a = attempts.c
        query = select(a.upstream_id, a.origin).where(
            a.operation_at_us >= since_us,
            a.operation_at_us <= until_us,
            a.upstream_id.in_(upstream_ids),
        )
        try:
            with self._engine.begin() as connection:
                found = Snapshot(connection, self._archive).attempts(query, since_us, until_us + 1)
                return {row[0]: row[1] for row in found}
        except DBAPIError as error:
            raise StoreUnavailable(str(error.orig)) from error


def _holds(data_dir: Path, wanted: Mapping[str, int]) -> bool:
    with reading(data_dir) as snapshot:
        shipped = {} if snapshot is None else shipped_offsets(snapshot)
    directory = layout.journal_dir(data_dir)
    return all(
        (offset := shipped.get(name, 0)) >= size or not read_lines(directory / name, offset, 1)[0]
        for name, size in wanted.items()
    )
