"""Notices within a second what was changed in the key store, off the way of the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from gateway.limits.keystore import KeyStore, StoredKey

logger = logging.getLogger(__name__)

_LOOK_EVERY_SECONDS = 0.4


class KeyWatch:
    """Calls ``changed`` with all keys: at ``start``, and whenever somebody has written."""

    def __init__(self, store: KeyStore, changed: Callable[[Sequence[StoredKey]], None]) -> None:
        self._store = store
        self._changed = changed
        self._seen: int | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the keys, and look after them from now on. Raises KeyStoreUnusable."""
        self._seen = await asyncio.to_thread(self._store.changes)
        await self.reload()
        self._task = asyncio.create_task(self._watch())

    async def reload(self) -> None:
        """Take over what the store holds now: after a change of our own."""
        self._changed(await asyncio.to_thread(self._store.keys))

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        self._store.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            try:
                await self._look()
            except (OSError, ValueError) as error:
                # The keys that are known go on; nobody is let in by a file that cannot be read.
                logger.error("keys: the changes cannot be read: %s", error)

    async def _look(self) -> None:
        seen = await asyncio.to_thread(self._store.changes)
        if seen == self._seen:
            return
        self._changed(await asyncio.to_thread(self._store.keys))
        self._seen = seen
