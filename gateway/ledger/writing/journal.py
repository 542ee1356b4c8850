"""The journal: what is written before anything else happens. See ``rows`` for its lines.

One ``write(2)`` a line, so the death of the process loses nothing that was acknowledged; with
``fsync="group"`` neither does a power loss, once ``durable()`` has returned. Used from one
thread, the event loop's: nothing here locks.

Full volume: a line that did not fit is cut off again. New work is refused; lines about work that
runs are written into the room of a ballast file, and kept in memory if even that is used up.
When there is room again the journal heals by itself: at the next ``begin`` or ``tick``.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from gateway.ledger import codec
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import create_journal_file
from gateway.ledger.reading.opened import Opened
from gateway.ledger.rows import AttemptRow, ChargeRow, OpenCharge
from gateway.ledger.writing.ballast import Ballast
from gateway.ledger.writing.groupcommit import GroupCommit

logger = logging.getLogger(__name__)

_HEAL_EVERY_SECONDS = 0.25  # refusing work must stay cheap while the volume is full
_RETRY_ROTATION_BYTES = 1 << 20


class Journal:
    """This process's journal file. ``Journal.open`` makes one."""

    def __init__(
        self,
        directory: Path,
        *,
        fsync: Literal["never", "group"],
        rotate_bytes: int,
        ballast_bytes: int,
        write: Callable[[int, bytes], int],
        monotonic: Callable[[], float],
    ) -> None:
        self.directory = directory
        self._rotate_bytes = self._rotate_at_bytes = rotate_bytes
        self._write = write
        self._monotonic = monotonic
        self._ballast = Ballast(directory / "ballast", ballast_bytes, write)
        self._name, self._fd = create_journal_file(directory)
        self._seq = 0
        self._offset = 0
        self._torn = False
        self._open: dict[str, list[bytes]] = {}  # attempt id -> bodies that a new file repeats
        self._opened = Opened()  # charges that go on: repeated as well
        self._backlog: list[bytes] = []
        self._heal_at = 0.0
        self._refused = False  # a begin did not fit, and no try since has shown that one would
        self._commit = GroupCommit(directory, lambda: self._fd) if fsync == "group" else None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        fsync: Literal["never", "group"] = "never",
        rotate_bytes: int = 64 << 20,
        ballast_bytes: int = 1 << 20,
        write: Callable[[int, bytes], int] = os.write,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Journal:
        """A new file in ``directory``, held until ``close``.

        Raises LedgerUnavailable when there is no room for a file, or no right to make one.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            journal = cls(
                directory,
                fsync=fsync,
                rotate_bytes=rotate_bytes,
                ballast_bytes=ballast_bytes,
                write=write,
                monotonic=monotonic,
            )
        except OSError as error:
            raise LedgerUnavailable from error
        journal._ballast.restore()
        return journal

    @property
    def name(self) -> str:
        """The name of the file now written."""
        return self._name

    @property
    def open_attempts(self) -> int:
        """Attempts begun here that have not ended."""
        return len(self._open)

    @property
    def backlog(self) -> int:
        """Lines that wait in memory for room on the volume."""
        return len(self._backlog)

    @property
    def accepts_work(self) -> bool:
        """Whether ``begin`` can be expected to succeed."""
        return not self._backlog and self._ballast.ready and not self._refused

    def position(self) -> tuple[str, int]:
        """File name and offset after the last line written: what a report has to wait for."""
        return self._name, self._offset

    def begin(self, row: AttemptRow) -> None:
        """Record an attempt before its provider is called. Raises LedgerUnavailable."""
        if not self.accepts_work and not self._heal():
            raise LedgerUnavailable
        body = codec.begin_body(row)
        try:
            self._append(body)
        except OSError as error:
            logger.warning("journal: no room for new work: %s", error)
            self._refused = True
            raise LedgerUnavailable from error
        self._open[row.attempt_id] = [body]
        self._opened.begin(row.deployment, row.begun_at_us)

    def accepted(self, attempt_id: str, upstream_id: str, at_us: int) -> None:
        """Record the provider's id of the job as soon as there is one."""
        body = codec.accepted_body(attempt_id, upstream_id, at_us)
        running = self._open.get(attempt_id)
        if running is not None:
            running.append(body)
        self._keep(body)

    def end(self, row: AttemptRow) -> None:
        """Record how an attempt ended: the whole row."""
        body = codec.end_body(row)
        self._open.pop(row.attempt_id, None)
        self._keep(body)

    def correct(self, attempt_id: str, at_us: int, reason: str, set: Mapping[str, Any]) -> None:
        """Record a later, better truth about an attempt. Raises ValueError on a column
        that is none or that names the attempt.
        """
        strange = set.keys() - codec.CORRECTABLE
        if strange:
            raise ValueError(f"cannot be corrected: {', '.join(sorted(strange))}")
        body = codec.correct_body(attempt_id, at_us, reason, set)
        running = self._open.get(attempt_id)
        if running is not None:
            running.append(body)
        self._keep(body)

    def charge(self, row: ChargeRow) -> None:
        """Record money that belongs to no single attempt."""
        self._keep(codec.charge_body(row))
        period_us = (row.period_start_at_us, row.period_end_at_us)
        self._opened.charge((row.kind, row.deployment), period_us, row.rule)

    def goes_on(self, row: OpenCharge) -> None:
        """Record, before it costs, that time is going to be charged; or until when it will be."""
        self._keep(codec.open_body(row))
        self._opened.open(row)

    async def durable(self) -> None:
        """Return when everything written is safe from a power loss, as far as was asked for.

        Raises LedgerUnavailable when the volume fails to sync: what was begun is then to be ended
        by its caller, as after any other failure.
        """
        if self._commit is None:
            return
        try:
            await self._commit.wait()
        except OSError as error:
            logger.error("journal: cannot sync: %s", error)
            # After a failed sync the kernel may have dropped pages: do not build on this file.
            self._rotate()
            raise LedgerUnavailable from error

    def tick(self) -> bool:
        """Write what waits in memory and take room for the next emergency, if there is room.

        True when the journal is whole again. Call it about once a second.
        """
        self._drain()
        whole = not self._backlog and self._ballast.restore()
        if whole and self._refused and self._ballast.room_beside():
            logger.warning("journal: there is room for new work again")
            self._refused = False
        return whole and not self._refused

    def close(self) -> None:
        """Write what waits, give the lock back. Attempts still open are left to ``recover``."""
        self._drain()
        if self._backlog:
            logger.error("journal: %d lines are lost: no room on the volume", len(self._backlog))
        if self._commit is not None:
            self._commit.close()
        os.close(self._fd)

    def _heal(self) -> bool:
        now = self._monotonic()
        if now < self._heal_at:
            return False
        self._heal_at = now + _HEAL_EVERY_SECONDS
        return self.tick()

    def _keep(self, body: bytes) -> None:
        """Write a line that must not be lost: from the ballast, or later from memory."""
        if self._backlog:
            self._backlog.append(body)
            self._drain()
            return
        try:
            self._append(body)
            return
        except OSError as error:
            logger.error("journal: the volume is full: %s", error)
        if self._ballast.release():
            try:
                self._append(body)
                return
            except OSError:
                logger.error("journal: not even the ballast makes room; lines wait in memory")
        self._backlog.append(body)

    def _drain(self) -> None:
        while self._backlog:
            try:
                self._append(self._backlog[0])
            except OSError:
                return  # still no room: the rest goes on waiting, in order
            self._backlog.pop(0)

    def _append(self, body: bytes) -> None:
        if self._offset >= self._rotate_at_bytes:
            self._rotate()
        if self._torn:
            self._cut()
        raw = codec.line(self._seq + 1, body)
        try:
            if self._write(self._fd, raw) != len(raw):
                raise OSError("a short write")
        except OSError:
            self._torn = True
            self._cut()
            raise
        self._seq += 1
        self._offset += len(raw)

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._offset)
        self._torn = False

    def _rotate(self) -> None:
        """Go on in a new file that repeats what is open, so that each file stands by itself."""
        bodies = [body for said in self._open.values() for body in said]
        bodies += map(codec.open_body, self._opened.left())
        raw = b"".join(codec.line(seq, body) for seq, body in enumerate(bodies, 1))
        try:
            name, fd = create_journal_file(self.directory)
            try:
                if raw and self._write(fd, raw) != len(raw):
                    raise OSError("a short write")
            except OSError:
                (self.directory / name).unlink()
                os.close(fd)
                raise
        except OSError as error:
            logger.warning("journal: cannot rotate yet: %s", error)
            self._rotate_at_bytes = self._offset + _RETRY_ROTATION_BYTES
            return
        retired = self._fd
        self._name, self._fd, self._seq, self._offset = name, fd, len(bodies), len(raw)
        self._torn = False
        self._rotate_at_bytes = max(self._rotate_bytes, 2 * len(raw))
        if self._commit is None:
            os.close(retired)
        else:
            self._commit.retire(retired)
