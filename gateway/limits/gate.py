"""A bounded number of places, and a bounded queue before them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

# Of many places that come free at once, so many are given at a time, and that is faster than the
# gateway works. All at once they would be served, and come free again, in waves that each hold up
# the event loop for as long as all of them take.
_AT_ONCE = 8
_PAUSE_SECONDS = 0.005


class GateFull(Exception):
    """No place, and no room to wait for one."""


class Waiter:
    """One in the queue. ``monotonic`` is its clock; ``until`` is when the place came.

    ``gate``: whose queue it stands in, or whose place it has; another one than at first where it
    was moved.
    """

    __slots__ = ("gate", "monotonic", "place", "since", "size_bytes", "until")

    def __init__(
        self, size_bytes: int = 0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.gate: Gate[Any] | None = None
        self.place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.size_bytes = size_bytes
        self.monotonic = monotonic
        self.since = monotonic()
        self.until: float | None = None


Queued = TypeVar("Queued", bound=Waiter)


class Gate(Generic[Queued]):
    """``limit`` holders at once, first come first served; ``narrow`` makes it fewer for a while.

    At most ``max_queued`` wait, and they weigh at most ``max_queued_bytes`` together.
    """

    __slots__ = (
        "_giving",
        "_limit",
        "_max_queued",
        "_max_queued_bytes",
        "_queued_bytes",
        "_waiting",
        "_width",
        "held",
    )

    def __init__(self, limit: int, max_queued: int, max_queued_bytes: int = 64 << 20) -> None:
        self._limit = self._width = limit
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._queued_bytes = 0
        self._waiting: deque[Queued] = deque()
        self._giving = False
        self.held = 0

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def queued_since(self) -> float | None:
        """When the one who waits longest began to, by its clock; None: nobody waits."""
        return min((waiter.since for waiter in self._waiting), default=None)

    @property
    def full(self) -> bool:
        """Whether one who came now would have to wait."""
        return self.held >= self._width or bool(self._waiting)

    @property
    def waiting(self) -> Iterable[Queued]:
        """Those who wait, in their order."""
        return self._waiting

    def narrow(self, width: int) -> None:
        """From now on no more than ``width`` are let in at once; who is in stays."""
        self._width = min(self._limit, width)

    def widen(self) -> None:
        """All of the places again."""
        self._width = self._limit
        self._give()

    def try_enter(self) -> bool:
        """Take a place at once if there is one and nobody waits."""
        if self.held < self._width and not self._waiting:
            self.held += 1
            return True
        return False

    def join(self, waiter: Queued) -> None:
        """Stand in the queue; ``wait`` comes next. Raises GateFull."""
        too_heavy = self._queued_bytes + waiter.size_bytes > self._max_queued_bytes
        if too_heavy or len(self._waiting) >= self._max_queued:
            raise GateFull
        waiter.gate = self
        self._waiting.append(waiter)
        self._queued_bytes += waiter.size_bytes

    def move(self, waiter: Queued, there: Gate[Queued]) -> None:
        """From this queue to the end of another. Raises GateFull: then it stays here."""
        there.join(waiter)
        self._drop(waiter)
        there._give()

    async def wait(self, waiter: Queued) -> None:
        """Until the place comes, here or where it was moved to; cancelling leaves the queue."""
        try:
            await waiter.place
        except asyncio.CancelledError:
            gate = waiter.gate
            assert gate is not None
            if waiter.until is not None:
                gate.leave()  # the place came in the same moment as the cancel: pass it on
            elif waiter in gate._waiting:
                gate._drop(waiter)
            raise

    def _drop(self, waiter: Queued) -> None:
        self._waiting.remove(waiter)
        self._queued_bytes -= waiter.size_bytes

    def leave(self) -> None:
        """Give the place back; it goes to the one who waited longest."""
        self.held -= 1
        self._give()

    def _give(self) -> None:
        if not self._giving:
            self._give_some()

    def _give_some(self) -> None:
        self._giving = False
        for _ in range(_AT_ONCE):
            if not self._waiting or self.held >= self._width:
                return
            waiter = self._waiting.popleft()
            self._queued_bytes -= waiter.size_bytes
            if not waiter.place.done():
                self.held += 1
                waiter.until = waiter.monotonic()
                waiter.place.set_result(None)
        self._giving = True
        asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._give_some)
