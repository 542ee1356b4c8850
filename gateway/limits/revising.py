"""What is heard later of money that was booked as spent: a provider's word on an attempt that was
cut off, another price, a correction by another process.

The shipper says that there is something new; what it is stands in the ledger (``spend_changes``),
numbered, so that no account takes a change twice, nor one that its first sum held already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.shipping.spend_changes import SpendChange
from gateway.limits.book import Book
from gateway.limits.windows import Window

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0

ReadChanges = Callable[[int], Awaitable[Sequence[SpendChange]]]
"""The changes after a number, oldest first; maybe not all of them."""


class Covers(Protocol):
    """A budget, as far as it says what it is about."""

    def covers(self, key_id: str | None, tags: Mapping[str, str]) -> bool: ...


@dataclass(slots=True)
class _Watched:
    budget: Covers
    window: Window
    seen: int

    def is_about(self, change: SpendChange) -> bool:
        return self.window.holds(change.operation_at_us) and self.budget.covers(
            change.key_id, change.tags
        )


class Revising:
    """Carries later words into the open accounts of a book."""

    def __init__(self, book: Book, read: ReadChanges) -> None:
        self._book = book
        self._read = read
        self._watched: dict[str, _Watched] = {}
        self._newest = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def watch(self, account: str, budget: Covers, window: Window, as_of: int | None) -> None:
        """An account is open; its sum holds the changes up to ``as_of``, None: all so far."""
        seen = self._newest if as_of is None else as_of
        self._watched[account] = _Watched(budget, window, seen)
        self._go_on()

    def forget(self, account: str) -> None:
        """An account is closed."""
        self._watched.pop(account, None)

    def heard(self, number: int) -> None:
        """The ledger has changes up to this number."""
        self._newest = max(self._newest, number)
        self._go_on()

    async def aclose(self) -> None:
        """Stop reading, for good."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _go_on(self) -> None:
        if self._task is None and not self._closed and self._first_seen() < self._newest:
            self._task = asyncio.get_running_loop().create_task(self._revise())

    def _first_seen(self) -> int:
        return min((one.seen for one in self._watched.values()), default=self._newest)

    async def _revise(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        try:
            while (after := self._first_seen()) < (newest := self._newest):
                try:
                    changes = await self._read(after)
                except (StoreUnavailable, SchemaMismatch) as error:
                    logger.warning("budgets: what was heard later cannot be read yet: %s", error)
                    await asyncio.sleep(pause_seconds)
                    pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)
                    continue
                self._take(after, changes, changes[-1].number if changes else newest)
        finally:
            self._task = None

    def _take(self, after: int, changes: Sequence[SpendChange], until: int) -> None:
        for account, one in self._watched.items():
            if one.seen < after:
                continue  # opened meanwhile: its turn comes
            for change in changes:
                if change.number > one.seen and one.is_about(change):
                    self._book.revise(account, change.pico_usd, change.unknown_attempts)
            one.seen = max(one.seen, until)
