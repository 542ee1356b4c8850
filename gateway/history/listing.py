"""A provider's own list of jobs, read to its end; an import that broke off is gone on with.

Lists come newest first. What a run has done is remembered in a small file: from its start back to
the oldest job that was written. The next run takes what has come since, and goes on from there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.history.importing import Importer
from gateway.ledger.shipping.housekeeping import write_whole
from providers.contract import Findable, RateLimited

_MOST_WAITS = 10
_LONGEST_WAIT_SECONDS = 60.0
_AGAIN = timedelta(seconds=1)  # read once more, so that equal stamps are not parted


@dataclass(frozen=True, slots=True)
class Done:
    """What an earlier run that did not come to its end has read, in microseconds since 1970."""

    from_us: int
    until_us: int


class Progress:
    """The file of one provider's unfinished import."""

    def __init__(self, data_dir: Path, provider: str) -> None:
        self._path = data_dir / "imports" / f"{provider}.json"

    def read(self) -> Done | None:
        """What was done; None: nothing, or all of it."""
        try:
            said = json.loads(self._path.read_text(encoding="utf-8"))
            return Done(int(said["from_us"]), int(said["until_us"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, done: Done) -> None:
        """Remember; failing to costs only time."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(asdict(done)).encode())

    def finish(self) -> None:
        """All was read."""
        self._path.unlink(missing_ok=True)


async def read_list(
    source: Findable, importer: Importer, progress: Progress, since: datetime, until: datetime
) -> None:
    """Take in all jobs that were made from ``since`` to before ``until``. Raises ProviderError."""
    done = progress.read()
    last = until
    if done is not None and since <= _at(done.from_us) and _at(done.until_us) <= until:
        await _read(source, importer, _at(done.until_us) - _AGAIN, until, lambda reached: None)
        importer.flush()
        last = _at(done.from_us) + _AGAIN

    def remember(reached: datetime) -> None:
        progress.write(Done(_micros(reached), _micros(until)))

    remember(last)
    await _read(source, importer, since, last, remember)
    importer.flush()
    progress.finish()


async def _read(
    source: Findable,
    importer: Importer,
    since: datetime,
    until: datetime,
    remember: Callable[[datetime], None],
) -> None:
    """One stretch, waiting where the provider asks for it; ``remember``: all since is written."""
    waits, reached = 0, until
    while True:
        try:
            async with aclosing(source.find(since, reached)) as jobs:
                async for job in jobs:
                    importer.take(job)
                    if job.created_at is not None:
                        reached = min(reached, job.created_at + _AGAIN)
                    if not importer.pending:
                        remember(reached)
            return
        except RateLimited as error:
            waits += 1
            if waits > _MOST_WAITS:
                raise
            await asyncio.sleep(min(error.retry_after_seconds or 1.0, _LONGEST_WAIT_SECONDS))


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1e6)
