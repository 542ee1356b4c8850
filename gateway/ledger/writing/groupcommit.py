"""Many writers, one ``fdatasync``: whoever comes while one runs shares the next."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path


class GroupCommit:
    """Brings what was appended before the call onto the platter.

    ``current`` gives the descriptor being written. Retired descriptors are synced once more and
    then closed, which gives their lock back. The folder is synced when a file was added to it.
    A commit starts at once if none is running, so waiting costs at most two of them.
    """

    def __init__(self, directory: Path, current: Callable[[], int]) -> None:
        self._directory = directory
        self._current = current
        self._retired: list[int] = []
        self._folder_changed = True
        self._asked = 0
        self._done = 0
        self._running: asyncio.Task[None] | None = None

    def retire(self, fd: int) -> None:
        """Take over a descriptor that will not be written any more."""
        self._retired.append(fd)
        self._folder_changed = True

    async def wait(self) -> None:
        """Return once everything appended until now is durable. Raises OSError."""
        self._asked += 1
        mine = self._asked
        while self._done < mine:
            if self._running is None:
                self._running = asyncio.create_task(self._commit())
                self._running.add_done_callback(_look_at)
            # Shielded: one caller's cancellation must not take the commit away from the others.
            await asyncio.shield(self._running)

    async def _commit(self) -> None:
        covered = self._asked
        retired, self._retired = self._retired, []
        folder_changed, self._folder_changed = self._folder_changed, False
        fd = os.dup(self._current())  # the journal may rotate or close meanwhile
        try:
            await asyncio.to_thread(self._sync, [*retired, fd], folder_changed)
            self._done = covered
        except BaseException:
            self._retired[:0] = retired  # not synced yet, so not closed either
            self._folder_changed = self._folder_changed or folder_changed
            raise
        finally:
            os.close(fd)
            self._running = None
        for old in retired:
            os.close(old)

    def close(self) -> None:
        """Sync and close what is left; for the end of the process."""
        retired, self._retired = self._retired, []
        with contextlib.suppress(OSError):  # nobody waits for it any more
            self._sync([*retired, self._current()], self._folder_changed)
        for fd in retired:
            os.close(fd)

    def _sync(self, fds: list[int], folder_changed: bool) -> None:
        for fd in fds:
            os.fdatasync(fd)
        if folder_changed:
            folder = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _look_at(task: asyncio.Task[None]) -> None:
    """Its waiters may all have been cancelled; an error nobody looked at would be logged twice."""
    if not task.cancelled():
        task.exception()
