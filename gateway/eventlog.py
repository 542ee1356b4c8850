"""The bounded event log of a run, and those who follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from providers.contract import Delta, Event, Output


class Entry(NamedTuple):
    """One event of a run: ``seq`` counts from 1, ``at`` is the event loop's clock in seconds."""

    seq: int
    at: float
    attempt_id: str
    event: Event


class EventLog:
    """Events in order, for any number of followers, each at its own pace.

    The log holds at most about ``cap_bytes`` of output that some follower has not read; beyond,
    ``room`` makes the writer wait, and so the upstream. What all have read is dropped past the
    cap, so a long stream costs no memory; without followers nothing is unread.
    """

    __slots__ = ("_bell", "_cap_bytes", "_closed", "_cursors", "_entries", "_first", "_size_bytes")

    def __init__(self, cap_bytes: int) -> None:
        self._cap_bytes = cap_bytes
        self._entries: list[Entry] = []
        self._first = 1  # seq of _entries[0]
        self._size_bytes = 0
        self._cursors: dict[object, int] = {}
        self._bell: asyncio.Future[None] | None = None
        self._closed = False

    def append(self, at: float, attempt_id: str, event: Event) -> None:
        """Add an event and wake the followers."""
        self._entries.append(Entry(self._first + len(self._entries), at, attempt_id, event))
        self._size_bytes += size_bytes(event)
        if self._size_bytes > self._cap_bytes:
            self._drop_read()
        self._ring()

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._ring()

    @property
    def full(self) -> bool:
        """Whether the writer has to wait."""
        return self._size_bytes > self._cap_bytes

    async def room(self) -> None:
        """Wait until the slowest follower has read on, or the last one has left."""
        while self.full and not self._closed:
            await self._wait()
            self._drop_read()

    async def follow(self) -> AsyncGenerator[list[Entry], None]:
        """All entries from the oldest still held, in batches as they come, until the close."""
        me = object()
        self._cursors[me] = self._first
        try:
            while True:
                start = self._cursors[me] - self._first
                batch = self._entries[start:]
                if batch:
                    self._cursors[me] = batch[-1].seq + 1
                    if self.full:
                        self._ring()
                    yield batch
                elif self._closed:
                    return
                else:
                    await self._wait()
        finally:
            del self._cursors[me]
            self._ring()

    def _drop_read(self) -> None:
        end = self._first + len(self._entries)
        unread_from = min(self._cursors.values(), default=end)
        read = unread_from - self._first
        if read > 0:
            self._size_bytes -= sum(size_bytes(entry.event) for entry in self._entries[:read])
            del self._entries[:read]
            self._first = unread_from

    async def _wait(self) -> None:
        if self._bell is None:
            self._bell = asyncio.get_running_loop().create_future()
        # Shielded: one waiter that is cancelled must not silence the bell of the others.
        await asyncio.shield(self._bell)

    def _ring(self) -> None:
        if self._bell is not None:
            bell, self._bell = self._bell, None
            if not bell.done():
                bell.set_result(None)


def size_bytes(event: Event) -> int:
    """What an event weighs, roughly: its text or data and some housekeeping."""
    if isinstance(event, Delta):
        return 200 + len(event.text) * (3 if event.native else 1) + 300 * len(event.native)
    if isinstance(event, Output):
        return 200 + len(event.data or b"") + (len(event.value) if event.kind == "text" else 0)
    return 200
