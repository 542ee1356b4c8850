"""Asks providers about attempts that ended without their word: off the path, a few at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol, TypeAlias

from gateway.clock import Clock
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.reading.unsettled import MOST_ROWS
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.reconciliation.lookups import Answer, Lookups, Patience
from gateway.reconciliation.matching import match, window
from gateway.reconciliation.options import ReconciliationSettings
from gateway.registry import Target
from providers.contract import Findable, JobReport, ProviderError, Reconcilable

Ask: TypeAlias = Callable[[Sequence[AttemptRow]], Awaitable[Mapping[str, Answer]]]

logger = logging.getLogger(__name__)

_BEHIND_PAUSE_SECONDS = 1.0
_ROUND_PAUSE_SECONDS = 0.2  # at least, however much is told
_LOOK_BACK_SECONDS = 7 * 86400.0  # further than the patience: for a gateway that was long away
_OVERLAP_SECONDS = 300.0  # attempts come into the database somewhat after they have ended


class Books(Protocol):
    """What is asked of the ledger's database, from a worker thread."""

    def read(
        self, deployments: Sequence[str], since_us: int, own_journal: str
    ) -> list[AttemptRow] | None: ...

    def known(self, upstream_ids: Sequence[str], since_us: int, until_us: int) -> set[str]: ...


class Reconciliation:
    """One task. ``asks`` is false where no deployment can be asked, so that nothing need run."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        books: Books,
        journal: Journal,
        clock: Clock,
        settings: ReconciliationSettings,
    ) -> None:
        self._targets = {
            name: target
            for name, target in targets.items()
            if isinstance(target.deployment, Reconcilable | Findable)
        }
        self._books = books
        self._journal = journal
        self._clock = clock
        self._settings = settings
        self._since_us: int | None = None
        self._places = asyncio.Semaphore(settings.at_once)
        self._told = asyncio.Event()
        self._lookups = Lookups(
            Patience(
                settings.first_pause_seconds,
                settings.longest_pause_seconds,
                settings.unknown_after_seconds,
                settings.give_up_after_seconds,
            )
        )

    @property
    def asks(self) -> bool:
        """Whether there is any deployment that can be asked."""
        return bool(self._targets)

    def notified(self, provider: str, job_id: str) -> None:
        """A provider has said that a job has ended which nothing here follows any more."""
        self._lookups.told(provider, job_id, self._clock.wall_us())
        self._told.set()

    async def run(self) -> None:
        """For ever: look for unsettled attempts, ask about those that are due."""
        while True:
            pause = self._settings.every_seconds
            try:
                if not await self._look():
                    pause = min(pause, _BEHIND_PAUSE_SECONDS)
                await self._ask_all()
            except (StoreUnavailable, SchemaMismatch) as error:
                logger.warning("reconciliation: the ledger cannot be read: %s", error)
            except Exception:
                logger.exception("reconciliation: a round failed")
            wakeup_us = self._lookups.next_wakeup_us()
            if wakeup_us is not None:
                until = max(0.0, (wakeup_us - self._clock.wall_us()) / 1e6)
                pause = min(pause, max(until, self._settings.every_seconds / 60))
            if self._lookups.expects(self._clock.wall_us()):
                pause = min(pause, _BEHIND_PAUSE_SECONDS)
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Until the next round is due, or a job is told of."""
        shortest = min(seconds, _ROUND_PAUSE_SECONDS)
        await asyncio.sleep(shortest)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - shortest):
                await self._told.wait()
        self._told.clear()

    async def _look(self) -> bool:
        """Read what is unsettled. False: the database has not caught up yet."""
        now_us = self._clock.wall_us()
        since_us = self._since_us
        if since_us is None:
            patience = self._settings.give_up_after_seconds
            since_us = now_us - round((patience + _LOOK_BACK_SECONDS) * 1e6)
        rows = await asyncio.to_thread(
            self._books.read, list(self._targets), since_us, self._journal.name
        )
        if rows is None:
            return False
        self._lookups.observe((row for row in rows if self._can_be_asked(row)), now_us)
        longest = max(target.timeouts.total_seconds for target in self._targets.values())
        self._since_us = now_us - round((longest + _OVERLAP_SECONDS) * 1e6)
        if len(rows) >= MOST_ROWS:  # there are more: go on behind these
            self._since_us = min(self._since_us, rows[-1].operation_at_us)
        return True

    def _can_be_asked(self, row: AttemptRow) -> bool:
        deployment = self._targets[row.deployment].deployment
        return isinstance(deployment, Findable if row.upstream_id is None else Reconcilable)

    async def _ask_all(self) -> None:
        now_us = self._clock.wall_us()
        without_id: dict[str, list[AttemptRow]] = {}
        asking = []
        for row in self._lookups.due(now_us):
            if row.upstream_id is None:
                without_id.setdefault(row.deployment, []).append(row)
            else:
                asking.append(self._ask((row,), self._look_up))
        asking += [self._ask(rows, self._find) for rows in without_id.values()]
        await asyncio.gather(*asking)

    async def _ask(self, rows: Sequence[AttemptRow], ask: Ask) -> None:
        """One question, within its time; its answers are written down."""
        async with self._places:
            if self._lookups.must_wait(rows[0].attempt_id, self._clock.wall_us()):
                for row in rows:
                    self._lookups.put_off(row.attempt_id)
                return
            answers: Mapping[str, Answer]
            try:
                async with asyncio.timeout(self._settings.timeout_seconds):
                    answers = await ask(rows)
            except (ProviderError, TimeoutError) as error:
                logger.warning(
                    "reconciliation: %s could not be asked about %d attempts (%s)",
                    rows[0].deployment,
                    len(rows),
                    type(error).__name__,
                )
                answers = {row.attempt_id: "failed" for row in rows}
            except Exception:
                logger.exception("reconciliation: the adapter of %s failed", rows[0].deployment)
                answers = {row.attempt_id: "failed" for row in rows}
        for attempt_id, answer in answers.items():
            self._write(attempt_id, answer)

    def _write(self, attempt_id: str, answer: Answer) -> None:
        now_us = self._clock.wall_us()
        try:
            correction = self._lookups.answered(attempt_id, answer, now_us)
        except Exception:
            # Strange figures leave what was booked; they will not be better next time.
            logger.exception("reconciliation: %s cannot be settled", attempt_id)
            correction = self._lookups.give_up(attempt_id)
        if correction is not None:
            self._journal.correct(attempt_id, now_us, correction.reason, correction.set)

    async def _look_up(self, rows: Sequence[AttemptRow]) -> dict[str, Answer]:
        (row,) = rows
        deployment = self._targets[row.deployment].deployment
        assert isinstance(deployment, Reconcilable) and row.upstream_id is not None
        found = await deployment.lookup(row.upstream_id)
        return {row.attempt_id: "unknown" if found is None else found}

    async def _find(self, rows: Sequence[AttemptRow]) -> dict[str, Answer]:
        """Jobs by their time; those that an attempt has already are nobody else's."""
        deployment = self._targets[rows[0].deployment].deployment
        assert isinstance(deployment, Findable)
        windows = [window(row) for row in rows]
        since, until = min(since for since, _ in windows), max(until for _, until in windows)
        jobs: list[JobReport] = []
        async with aclosing(deployment.find(since, until)) as found:
            async for job in found:
                if any(a <= job.created_at <= b for a, b in windows if job.created_at is not None):
                    jobs.append(job)
        around_us = round(self._settings.give_up_after_seconds * 1e6)
        taken = await asyncio.to_thread(
            self._books.known,
            [job.job_id for job in jobs],
            round(since.timestamp() * 1e6) - around_us,
            self._clock.wall_us(),
        )
        matched = match(rows, [job for job in jobs if job.job_id not in taken])
        return {row.attempt_id: matched.get(row.attempt_id, "unknown") for row in rows}
