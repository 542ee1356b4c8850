"""A bounded number of places, and a bounded queue before them."""

from __future__ import annotations

import asyncio
from collections import deque


class GateFull(Exception):
    """No place, and no room to wait for one."""


class Gate:
    """``limit`` holders at once, at most ``max_queued`` waiting, first come first served."""

    __slots__ = ("_limit", "_max_queued", "_waiting", "held")

    def __init__(self, limit: int, max_queued: int) -> None:
        self._limit = limit
        self._max_queued = max_queued
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.held = 0

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether one who came now would have to wait."""
        return self.held >= self._limit or bool(self._waiting)

    def try_enter(self) -> bool:
        """Take a place at once if there is one and nobody waits."""
        if self.held < self._limit and not self._waiting:
            self.held += 1
            return True
        return False

    async def enter(self) -> None:
        """Take a place, waiting for one. Raises GateFull."""
        if self.try_enter():
            return
        if len(self._waiting) >= self._max_queued:
            raise GateFull
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # the place came in the same moment as the cancel: pass it on
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give the place back; it goes to the one who waited longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.held -= 1
