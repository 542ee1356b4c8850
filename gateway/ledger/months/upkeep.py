"""What keeps a ledger in shape, in small steps: an older one is brought up to date, months that are
over are moved into files of their own, old ones are deleted.

The shipper takes a step now and then; ``gateway ledger migrate`` takes all there are. Whoever
takes one holds ``maintenance.lock``, so that two never work on the same month.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.ledger import layout
from gateway.ledger.months.archive import month_of
from gateway.ledger.months.migration import migrate_step
from gateway.ledger.months.sealing import Sealer
from gateway.ledger.shipping import spend_changes
from gateway.ledger.shipping.store import Store
from gateway.ledger.sums.rolling import Roller

_DAY_US = 86_400_000_000
_LOOK_EVERY_SECONDS = 60.0
_SURE_AFTER_SECONDS = 3600.0


@contextmanager
def maintenance(data_dir: Path) -> Iterator[bool]:
    """Hold the lock for the time of a ``with``; False if somebody else does."""
    fd = layout.take(data_dir / "maintenance.lock", create=True)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            os.close(fd)


def first_kept(now_us: int, keep_days: int) -> str:
    """The month before which everything is older than so many days."""
    return month_of(max(0, now_us - keep_days * _DAY_US))


class Upkeep:
    """Steps on the ledger in ``data_dir``.

    ``keep_days`` None keeps attempts for ever. A month is deleted only after this process has found
    it too old for an hour: a clock that is wrong for a moment after a boot must not delete a year.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        keep_days: int | None = None,
        busy_timeout_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._data_dir = data_dir
        self._keep_days = keep_days
        self._monotonic = monotonic
        self._wall_us = wall_us
        self._sealer = Sealer(
            layout.database_path(data_dir),
            layout.archive_dir(data_dir),
            busy_timeout_seconds=busy_timeout_seconds,
        )
        self._look_at = 0.0
        self._old_since: tuple[str, float] | None = None

    def step(self, store: Store) -> int:
        """One step, if there is one to take; how many rows it has moved. Raises StoreUnavailable.

        When there is nothing to do it looks again after a minute.
        """
        if self._monotonic() < self._look_at:
            return 0
        with maintenance(self._data_dir) as ours:
            done = self._step(store) if ours else 0
        if not done:
            self.rest()
        return done

    def rest(self) -> None:
        """Take no step for a minute."""
        self._look_at = self._monotonic() + _LOOK_EVERY_SECONDS

    def _step(self, store: Store) -> int:
        with store.transaction() as connection:
            done = migrate_step(connection, store.archive, Roller(store.engine.dialect))
            if not done:
                spend_changes.forget(connection, self._wall_us())
        done = done or self._sealer.seal_step(self._wall_us())
        if not done and self._keep_days is not None:
            done = self._prune(first_kept(self._wall_us(), self._keep_days))
        return done

    def _prune(self, before: str) -> int:
        now = self._monotonic()
        if self._old_since is None or before < self._old_since[0]:
            self._old_since = (before, now)
        sure, since = self._old_since
        if now - since < _SURE_AFTER_SECONDS:
            return 0
        if before > sure:
            self._old_since = (before, now)
        self._sealer.prune(sure)
        return self._sealer.prune_step(sure)
