"""An endpoint's workers: which are up, since when, and how many it keeps.

Source: https://docs.runpod.io/api-reference-v2/openapi.json (2.0.0, as recorded 2026-08-20, read
2026-11-26; v1 was retired on 2026-11-15). ``listEndpointWorkers`` holds active workers alone, each
RUNNING ("actively processing a job"), IDLE ("ready and polling for jobs"), INITIALIZING ("starting
up, not yet ready"), THROTTLED ("waiting on compute capacity") or UNHEALTHY, with ``startedAt``:
"when the worker last started". The counts of ``/health`` are of less use: an ``idle`` worker there
is "scaled down, waiting for requests" (workers/overview), so that only a count of 0 proves
something, and what ``ready`` counts is said nowhere.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ValidationError

from providers.contract import Hardware, ProbeState, ProviderError, RequestRejected
from providers.runpod.api import Endpoint

UP = frozenset({"RUNNING", "IDLE"})
STARTING = "INITIALIZING"
_MOST_STARTS = 4096
_log = logging.getLogger(__name__)


class Worker(BaseModel):
    """One active worker, at the moment of the list."""

    id: str
    status: str = ""
    startedAt: AwareDatetime | None = None


class _Workers(BaseModel):
    workers: list[Worker]


async def read(endpoint: Endpoint) -> Sequence[Worker] | None:
    """The active workers; None where they could not be had, which fails no request."""
    try:
        return _Workers.model_validate(await endpoint.workers()).workers
    except (ProviderError, ValidationError) as error:
        _log.debug("the workers of an endpoint could not be read: %s", type(error).__name__)
        return None


async def probe(endpoint: Endpoint) -> ProbeState:
    """Reading wakes nothing."""
    workers = await read(endpoint)
    if workers is not None:
        states = {worker.status for worker in workers}
        return "ready" if states & UP else "booting" if STARTING in states else "down"
    try:
        counts = (await endpoint.health()).get("workers")
    except ProviderError:
        return "unknown"
    return _by_counts(counts if isinstance(counts, dict) else {})


def _by_counts(counts: Mapping[str, Any]) -> ProbeState:
    if counts.get("running"):
        return "ready"
    if "idle" not in counts or counts["idle"] or counts.get("ready"):
        return "unknown"
    return "booting" if counts.get("initializing") else "down"


async def scale(endpoint: Endpoint, minimum: int, maximum: int | None) -> None:
    """Keep ``minimum`` active workers, up to ``maximum``. Raises RequestRejected, ProviderError.

    The bounds that are not to change are sent as they stand: whether a PATCH leaves out what is
    inside ``workers`` is not said. RunPod sets ``max`` to 0 after a week without a request.
    """
    bounds = (await endpoint.settings()).get("workers")
    bounds = dict(bounds) if isinstance(bounds, dict) else {}
    bounds["min"] = minimum
    if maximum is not None:
        bounds["max"] = maximum
    most = bounds.get("max")
    if isinstance(most, int) and minimum > most:
        raise RequestRejected(f"The endpoint allows {most} workers; raise its maximum at RunPod.")
    await endpoint.change({"workers": bounds})


async def hardware(endpoint: Endpoint) -> Hardware:
    """The GPU pool that workers are placed in; of several any one may be taken."""
    gpu = (await endpoint.settings()).get("gpu")
    gpu = gpu if isinstance(gpu, dict) else {}
    pools, count = gpu.get("pools"), gpu.get("count")
    names = [pool for pool in pools if isinstance(pool, str)] if isinstance(pools, list) else []
    if not names:
        return Hardware()
    return Hardware(((" or ".join(names), count if isinstance(count, int) else 1),))


class Starts:
    """Which starts of workers were waited for, so that one boot is paid once: by the job that its
    worker took first, as far as was seen.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, datetime], None] = {}
        self._turns = itertools.count()
        self._taken: dict[str, set[int]] = {}  # by worker: jobs that are not done with here

    def __repr__(self) -> str:
        return f"Starts({len(self._known)})"

    def took(self, worker_id: str) -> int:
        """A worker was seen to have taken a job; gives its turn, to be handed to ``done``."""
        turn = next(self._turns)
        self._taken.setdefault(worker_id, set()).add(turn)
        return turn

    def done(self, worker_id: str, turn: int) -> None:
        """Nothing more will be said about that job."""
        turns = self._taken.get(worker_id, set())
        turns.discard(turn)
        if not turns:
            self._taken.pop(worker_id, None)

    def meet(self, worker_id: str, started_at: datetime, turn: int) -> bool:
        """A job waited for a start; True where that start is its own to pay."""
        start = (worker_id, started_at)
        if start in self._known or any(t < turn for t in self._taken.get(worker_id, ())):
            return False
        self._known[start] = None
        if len(self._known) > _MOST_STARTS:
            del self._known[next(iter(self._known))]
        return True
