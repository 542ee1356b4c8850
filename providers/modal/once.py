"""One attempt for all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """The result of ``make``, made when it is first wanted and kept until ``forget``.

    Callers who come while it is being made share the attempt, and one who leaves does not end it.
    A failure is told to all who waited for it; the next caller tries anew.
    """

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The result. Raises what ``make`` raises."""
        task = self._task
        if task is None:
            task = self._task = asyncio.create_task(self._made())
            task.add_done_callback(_retrieved)
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._task is task:
                self._task = None
            raise

    def forget(self) -> None:
        """Make it anew next time."""
        self._task = None

    async def aclose(self) -> T | None:
        """End an attempt that is under way; gives what had been made."""
        task, self._task = self._task, None
        if task is None:
            return None
        task.cancel()
        await asyncio.wait({task})
        return None if task.cancelled() or task.exception() else task.result()

    async def _made(self) -> T:
        return await self._make()


def _retrieved(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited was told; nobody may have waited
