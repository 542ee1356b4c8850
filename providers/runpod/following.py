"""A job under way, followed by looking at it until it has ended.

``/stream`` gives each piece once, so only one reader may ask, and a look that broke may have
taken pieces with it. From then on ``/status`` alone is read; what was lost is taken from the whole
output, where the worker keeps one (``return_aggregate_stream``), or the answer is
``StreamInterrupted``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Any

import anyio

from providers.contract import (
    Booting,
    CredentialsRejected,
    Event,
    Phases,
    ProviderError,
    Queued,
    RateLimited,
    Started,
    UpstreamUnreachable,
)
from providers.runpod.api import Endpoint
from providers.runpod.errors import gone
from providers.runpod.evidence import Sightings, phases_of
from providers.runpod.job import QUEUED, WORKING, Job
from providers.runpod.output import Told
from providers.runpod.workers import Starts, read
from providers.toolkit.jobs import backoff_seconds

FAILED_LOOKS = 5  # in a row; each is one GET
FIRST_LIST = 3  # of the looks at a queued job, then twice as many each time
_FIRST_PAUSE = 1 / 8  # of the longest


class Following:
    """``events`` ends when the job has; ``job`` is then what was said of it last."""

    def __init__(
        self,
        endpoint: Endpoint,
        job: Job,
        told: Told,
        *,
        streams: bool,
        poll_seconds: float,
        warm_below_seconds: float,
        starts: Starts | None,
    ) -> None:
        self.job = job
        self._id = job.id
        self._created_at = job.answered_at
        self._endpoint = endpoint
        self._told = told
        self._streams = streams
        self._poll_seconds = poll_seconds
        self._pauses = self._new_pauses()
        self._warm_below_seconds = warm_below_seconds
        self._starts = starts  # None: the workers are not asked for
        self._sightings = Sightings()
        self._reads_workers = starts is not None
        self._queued_looks = 0
        self._list_at = FIRST_LIST
        self._failed_looks = 0
        self._phase = 0  # 1 Queued, 2 Booting, 3 Started
        self._gap: ProviderError | None = None  # a look at the stream that broke
        self._drained = False
        self._turn: tuple[str, int] | None = None  # of its worker
        self._caused_boot: bool | None = None

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        if self._starts is not None and self._turn is not None:
            self._starts.done(*self._turn)

    async def events(self) -> AsyncGenerator[Event, None]:
        for event in self._phases():
            yield event
        while not self.job.ended:
            await anyio.sleep(next(self._pauses))
            if self._streams and self._phase == 3:
                for event in self._told.pieces(await self._read_stream()):
                    yield event
            else:
                await self._look()
                for event in self._phases():
                    yield event
                booting = await self._list_workers()
                if booting is not None and self._phase < 2:
                    self._phase = 2
                    yield booting
        if self.job.status == "COMPLETED":
            if self._streams and not self._drained and not self._told.is_held_by(self.job.output):
                while pieces := await self._read_rest():
                    for event in self._told.pieces(pieces):
                        yield event
            for event in self._told.rest(self.job.output, self._gap):
                yield event

    async def phases(self) -> Phases:
        """RunPod's account of the job that has ended; a wait of some length is looked into."""
        job, seen = self.job, self._sightings
        long = job.wait_seconds is not None and job.wait_seconds >= self._warm_below_seconds
        if long and self._reads_workers and seen.started_at(job.worker_id) is None:
            workers = await read(self._endpoint)
            if workers is not None:
                seen.take(workers, while_queued=False)
        phases = phases_of(job, self._warm_below_seconds, seen, self._created_at)
        if self._starts is None or self._turn is None or phases.evidence != "timestamps_reported":
            return phases
        worker_id, turn = self._turn
        started_at = seen.started_at(worker_id)
        if self._caused_boot is None and started_at is not None:
            self._caused_boot = self._starts.meet(worker_id, started_at, turn)
        return replace(phases, caused_boot=self._caused_boot)

    # -- looking ------------------------------------------------------------------------------

    async def _look(self) -> None:
        """See how it stands, by one GET. Raises where that fails for good."""
        try:
            found = await self._endpoint.status(self._id)
        except ProviderError as error:
            await self._bear(error)
            return
        if found is None:
            await self._bear(gone(self._id))
            return
        self._failed_looks = 0
        self.job = found
        if self._starts is not None and self._turn is None and found.worker_id is not None:
            self._turn = (found.worker_id, self._starts.took(found.worker_id))
        self._sightings.looked(still_queued=found.status == QUEUED)

    async def _read_stream(self) -> list[Any]:
        """The next pieces. Where it says that the job has ended, the job itself is looked at."""
        try:
            answer = await self._endpoint.stream(self._id)
        except (RateLimited, UpstreamUnreachable) as error:
            await self._bear(error)  # nothing was read
            return []
        except CredentialsRejected:
            raise
        except ProviderError as error:
            self._streams, self._gap = False, error
            return []
        self._failed_looks = 0
        pieces = answer.pieces()
        if pieces:
            self._pauses = self._new_pauses()
        elif answer.status not in WORKING:
            self._drained = answer.ended
            await self._look()
        return pieces

    async def _read_rest(self) -> list[Any]:
        """More of what was not read of a job that has ended; none: that was all."""
        try:
            return (await self._endpoint.stream(self._id)).pieces()
        except ProviderError as error:
            self._gap = error
            return []

    async def _bear(self, error: ProviderError) -> None:
        self._failed_looks += 1
        if not error.retryable or self._failed_looks >= FAILED_LOOKS:
            error.job_id = self._id
            error.may_have_run = True  # out of sight, and perhaps out of reach of a cancel
            raise error
        await anyio.sleep(error.retry_after_seconds or 0.0)

    async def _list_workers(self) -> Booting | None:
        """Now and then, while the job is queued: the boot that it waits for."""
        if self.job.status != QUEUED or not self._reads_workers:
            return None
        self._queued_looks += 1
        if self._queued_looks < self._list_at:
            return None
        self._list_at *= 2
        workers = await read(self._endpoint)
        if workers is None:
            self._reads_workers = False
            return None
        return self._sightings.take(workers, while_queued=True)

    def _phases(self) -> Iterator[Event]:
        """What is new about the start. A status that nobody knows is none."""
        job = self.job
        if self._phase < 1 and job.status == QUEUED:
            self._phase = 1
            yield Queued()
        if self._phase < 3 and (job.status in WORKING or job.status == "COMPLETED"):
            booted = self._phase == 2
            self._phase = 3
            wait_seconds = job.wait_seconds
            warm = wait_seconds is not None and wait_seconds < self._warm_below_seconds
            yield Started(job.worker_id, "delay_reported" if warm and not booted else None)

    def _new_pauses(self) -> Iterator[float]:
        return backoff_seconds(self._poll_seconds * _FIRST_PAUSE, 1.5, self._poll_seconds)
