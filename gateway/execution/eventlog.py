"""The bounded event log of a run, and those who follow it."""

from __future__ import annotations

import asyncio
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

    __slots__ = (
        "_cap_bytes",
        "_entries",
        "_first_seq",
        "_followers",
        "_size_bytes",
        "_writer",
        "closed",
    )

    def __init__(self, cap_bytes: int) -> None:
        self._cap_bytes = cap_bytes
        self._entries: list[Entry] = []
        self._first_seq = 1
        self._size_bytes = 0
        self._followers: list[Follower] = []
        self._writer: asyncio.Future[None] | None = None
        self.closed = False

    def append(self, at: float, attempt_id: str, event: Event) -> None:
        """Add an event and wake the followers."""
        self._entries.append(Entry(self._first_seq + len(self._entries), at, attempt_id, event))
        self._size_bytes += size_bytes(event)
        if self.full:
            self._drop_read()
        for follower in self._followers:
            follower.wake()

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        self.wake()

    def wake(self) -> None:
        """Have the followers look: something else than an event has happened."""
        for follower in self._followers:
            follower.wake()

    @property
    def full(self) -> bool:
        """Whether the writer has to wait."""
        return self._size_bytes > self._cap_bytes

    async def room(self) -> None:
        """Wait until the slowest follower has read on, or the last one has left."""
        while self.full:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
            self._drop_read()

    def whole(self) -> list[Entry] | None:
        """Every event so far; None once the first ones have been dropped."""
        return self._entries if self._first_seq == 1 else None

    def follow(self) -> Follower:
        """Read along from the oldest entry still held; ``leave`` when done."""
        follower = Follower(self, self._first_seq)
        self._followers.append(follower)
        return follower

    def _since(self, seq: int) -> list[Entry]:
        return self._entries[seq - self._first_seq :]

    def _moved(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _drop_read(self) -> None:
        end = self._first_seq + len(self._entries)
        unread_from = min((follower.seq for follower in self._followers), default=end)
        read = unread_from - self._first_seq
        if read > 0:
            self._size_bytes -= sum(size_bytes(entry.event) for entry in self._entries[:read])
            del self._entries[:read]
            self._first_seq = unread_from


class Follower:
    """One reader of a log: ``take`` what is there, ``wait`` for more. For one task."""

    __slots__ = ("_bell", "_log", "seq")

    def __init__(self, log: EventLog, seq: int) -> None:
        self._log = log
        self._bell: asyncio.Future[None] | None = None
        self.seq = seq  # the next entry to read

    def take(self) -> list[Entry]:
        """All entries not yet taken."""
        batch = self._log._since(self.seq)
        if batch:
            self.seq = batch[-1].seq + 1
            self._log._moved()
        return batch

    async def wait(self) -> None:
        """Until the log has grown or was closed, or somebody called ``wake``."""
        if self._log.closed or self._log._since(self.seq):
            return
        self._bell = asyncio.get_running_loop().create_future()
        try:
            await self._bell
        finally:
            self._bell = None

    def wake(self) -> None:
        """End the present ``wait``."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def leave(self) -> None:
        """Stop counting as a reader."""
        self._log._followers.remove(self)
        self._log._moved()


def size_bytes(event: Event) -> int:
    """What an event weighs, roughly: its text or data and some housekeeping."""
    if isinstance(event, Delta):
        return 200 + len(event.text) * (3 if event.native else 1) + 300 * len(event.native)
    if isinstance(event, Output):
        return 200 + len(event.data or b"") + (len(event.value) if event.kind == "text" else 0)
    return 200
