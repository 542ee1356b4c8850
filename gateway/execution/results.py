"""Answers that are kept for a while: parked ones, and those of calls with an Idempotency-Key.

A small SQLite file beside the ledger, and not the ledger itself: outputs are not history. They are
erased on request and after ``keep_seconds``, while the attempts that made them stay. One worker
thread owns the connection, so that a large answer does not hold up the event loop; the file is
made when the first answer has to be kept. What the file does not take (its volume is full) waits in
memory, as far as there is room, and goes there once it does.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from gateway.errors import ResultsUnavailable

T = TypeVar("T")

_TABLE = """
CREATE TABLE IF NOT EXISTS results (
    operation_id TEXT PRIMARY KEY,
    key_id TEXT,
    scope TEXT UNIQUE,
    digest TEXT,
    kept_at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    frames BLOB
);
CREATE INDEX IF NOT EXISTS results_by_time ON results (kept_at_us);
"""
_WAITING_CAP_BYTES = 32 << 20
_WAITING_AT_ONCE = 16  # taken along by one that is written, whose caller waits for it
_COLUMNS = "operation_id, key_id, scope, digest, kept_at_us, body, frames"
_TOLD, _BEYOND_TOLD = "told ", "told!"  # scopes of answers that somebody was told to come back for
COME_BACK_SECONDS: Final = 120.0
"""For so long after its end such an answer waits for that: the longest ``Retry-After`` is a minute,
and a restart takes a while too."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """One answer. ``key_id``: whose it is; ``scope`` and ``digest``: the Idempotency-Key, hashed
    with all that it holds for, and the body that it was sent with. ``body`` is JSON, ``frames`` the
    events of a stream without its end; None: it was not streamed, or too long to be kept.

    Of one that somebody was told to come back for, without such a key, ``scope`` is ``told_scope``.
    """

    operation_id: str
    key_id: str | None
    scope: str | None
    digest: str | None
    kept_at_us: int
    body: bytes
    frames: bytes | None = None


def told_scope(call: str, operation_id: str) -> str:
    """``call`` is what the call and the same call, sent again, have in common; several may be."""
    return f"{_TOLD}{call} {operation_id}"


def is_told(scope: str | None) -> bool:
    """Whether it is of that kind."""
    return scope is not None and scope.startswith(_TOLD)


class Results:
    """The store in one file. Everything raises ResultsUnavailable (locked, full, damaged)."""

    def __init__(self, path: Path, *, keep_seconds: float) -> None:
        self._path = path
        self._keep_us = round(keep_seconds * 1e6)
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="results")
        self._waiting: dict[str, KeptAnswer] = {}  # by operation; the oldest first

    async def keep(self, answer: KeptAnswer) -> None:
        """Write an answer down; when this returns, the death of the process does not lose it.

        One that was kept under the same Idempotency-Key before, and is older than they are kept,
        gives way. When this raises, the answer waits in memory, if there is room for it.
        """
        self._waiting[answer.operation_id] = answer
        await self._write(answer)
        with suppress(ResultsUnavailable):
            await self._write_waiting(_WAITING_AT_ONCE)

    async def _write_waiting(self, most: int | None = None) -> None:
        for operation_id in list(islice(self._waiting, most)):
            answer = self._waiting.get(operation_id)  # it may have been erased meanwhile
            if answer is not None:
                await self._write(answer)

    async def _write(self, answer: KeptAnswer) -> None:
        row = (
            answer.operation_id,
            answer.key_id,
            answer.scope,
            answer.digest,
            answer.kept_at_us,
            answer.body,
            answer.frames,
        )
        sql = f"INSERT OR REPLACE INTO results ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        try:
            await self._run(lambda connection: connection.execute(sql, row))
        except ResultsUnavailable:
            size = sum(len(x.body) + len(x.frames or b"") for x in self._waiting.values())
            if size > _WAITING_CAP_BYTES:
                self._waiting.pop(answer.operation_id, None)
            raise
        if self._waiting.get(answer.operation_id) is answer:  # else it was handed out meanwhile
            del self._waiting[answer.operation_id]

    async def find(self, operation_id: str, now_us: int) -> KeptAnswer | None:
        """The answer of an operation."""
        waiting = self._waiting.get(operation_id)
        if waiting is not None and waiting.kept_at_us > now_us - self._keep_us:
            return waiting
        return await self._one("operation_id", operation_id, now_us)

    async def find_by_key(self, scope: str, now_us: int) -> KeptAnswer | None:
        """The answer that was given to this Idempotency-Key."""
        for waiting in self._waiting.values():
            if waiting.scope == scope and waiting.kept_at_us > now_us - self._keep_us:
                return waiting
        return await self._one("scope", scope, now_us)

    async def told(self, now_us: int) -> list[tuple[str, str]]:
        """Calls whose callers were told to come back and have not yet, and their operations.

        Those of an earlier gateway; the oldest first.
        """
        sql = (
            "SELECT scope, operation_id FROM results "
            "WHERE scope > ? AND scope < ? AND kept_at_us > ? ORDER BY kept_at_us"
        )
        given = (_TOLD, _BEYOND_TOLD, now_us - round(COME_BACK_SECONDS * 1e6))

        def there(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            return [(scope.split()[1], x) for scope, x in connection.execute(sql, given)]

        return await self._if_there(there, [])

    async def hand_out(self, operation_id: str, now_us: int) -> KeptAnswer | None:
        """The answer of an operation, to one who was told to come back: no other gets it so.

        None: it was erased, or has waited for too long.
        """
        answer = await self.find(operation_id, now_us)
        waits_since_us = now_us - round(COME_BACK_SECONDS * 1e6)
        if answer is None or not is_told(answer.scope) or answer.kept_at_us <= waits_since_us:
            return None
        if operation_id in self._waiting:
            self._waiting[operation_id] = replace(answer, scope=None)
            return answer
        sql = "UPDATE results SET scope = NULL WHERE operation_id = ?"
        await self._run(lambda connection: connection.execute(sql, (operation_id,)))
        return answer

    async def erase(self, operation_id: str) -> bool:
        """Forget an answer. False: there was none."""
        waited = self._waiting.pop(operation_id, None) is not None
        return await self._forget("operation_id = ?", operation_id) > 0 or waited

    async def expire(self, now_us: int) -> int:
        """Forget all that has been kept long enough; returns how many that were.

        What waits in memory is tried again.
        """
        for answer in list(self._waiting.values()):
            if answer.kept_at_us <= now_us - self._keep_us:
                del self._waiting[answer.operation_id]
        count = await self._forget("kept_at_us <= ?", now_us - self._keep_us)
        await self._write_waiting()
        return count

    async def aclose(self) -> None:
        """Let go of the file; what waits in memory gets a last try."""
        with suppress(ResultsUnavailable):
            await self._write_waiting()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _forget(self, which: str, value: str | int) -> int:
        def there(connection: sqlite3.Connection) -> int:
            sql = f"DELETE FROM results WHERE {which}"  # noqa: S608
            count = connection.execute(sql, (value,)).rowcount
            connection.commit()
            if count:  # the text would live on in the log of the database
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return count

        return await self._if_there(there, 0)

    async def _one(self, column: str, value: str, now_us: int) -> KeptAnswer | None:
        sql = f"SELECT {_COLUMNS} FROM results WHERE {column} = ? AND kept_at_us > ?"  # noqa: S608
        given = (value, now_us - self._keep_us)
        row = await self._if_there(lambda connection: connection.execute(sql, given).fetchone(), ())
        return KeptAnswer(*row) if row else None

    async def _if_there(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """As ``_run``, without making the file for a look."""
        if self._connection is None and not self._path.exists():
            return nothing
        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def there() -> T:
            try:
                with self._opened() as connection:  # commits, or takes back
                    return work(connection)
            except (sqlite3.Error, OSError) as error:
                raise ResultsUnavailable(retry_after_seconds=1.0) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, there)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.touch(mode=0o600)
            connection = sqlite3.connect(self._path, timeout=1.0, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")  # erased is erased
            connection.executescript(_TABLE)
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
