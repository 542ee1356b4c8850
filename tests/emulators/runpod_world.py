"""A small RunPod behind the emulator's doors: endpoints, workers, jobs, and the truth about them.

Its clock (``tests.emulators.clock``) runs while a job is under way. What a job will do is planned
when it is submitted; what is shown depends on the clock alone.

A worker's life: it is placed (free), started, boots, works, idles for the endpoint's idle timeout
and is stopped. Billed is the time from its start to its stop, rounded up to a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.emulators.clock import DAY_ONE, Clock

FOREVER_SECONDS = 1e7
PICKUP_SECONDS = 0.06  # what a start takes when nobody has to wait
KEPT = timedelta(minutes=30)  # operation-reference: results of /run
RATE_USD = Decimal("0.00053")  # of an L40S


@dataclass(frozen=True, slots=True)
class Handler:
    """What an endpoint's handler does, and what may go wrong with it.

    ``pieces``: it is a generator of them, and ``aggregates`` what ``return_aggregate_stream`` says;
    otherwise ``output`` is what it gives back. ``end`` is the status of a job that has an
    ``error``. ``odd_status`` is said instead while a job is under way. ``frames``: how ``/stream``
    answers. ``chat``: a vLLM worker, whose pieces are of ``words``. ``boots_until_seen``: the last
    second of its boot begins when the list of workers is read while so many jobs wait.
    """

    pieces: tuple[Any, ...] | None = None
    output: Any = None
    aggregates: bool = True
    execute_seconds: float = 2.0
    piece_seconds: float | None = None
    boot_seconds: float | None = None
    pickup_seconds: float = PICKUP_SECONDS
    always_warm: bool = False
    create_seconds: float = 0.0
    progress: Any = None
    error: Any = None
    end: str = "FAILED"
    odd_status: str | None = None
    delay_off_seconds: float = 0.0
    frames: str = "whole"  # whole | bytes | broken | none
    chat: Mapping[str, Any] | None = None
    boots_until_seen: int = 0


@dataclass(slots=True)
class Worker:
    """One worker from its start to its stop. ``free_at``: when it has done what it was given."""

    id: str
    started_at: datetime
    ready_at: datetime
    free_at: datetime
    kept: bool = False
    stopped_at: datetime | None = None


@dataclass(slots=True)
class Place:
    """One endpoint."""

    handler: Handler
    minimum: int = 0
    maximum: int = 3
    idle_timeout: int = 5
    workers: list[Worker] = field(default_factory=list)
    releases: int = 0


@dataclass(slots=True)
class Made:
    """A job, planned; ``cold`` and the seconds are the truth, whatever is shown."""

    id: str
    place: str
    handler: Handler
    input: Any
    policy: Mapping[str, Any]
    created: datetime
    started: datetime | None
    completed: datetime
    status: str
    worker: Worker
    cold: bool
    caused_boot: bool
    queue_seconds: float
    boot_seconds: float
    gone_at: datetime | None = None
    told: int = 0
    looks: int = 0

    @property
    def execute_seconds(self) -> float:
        if self.started is None:
            return 0.0
        return max(0.0, (self.completed - self.started).total_seconds())

    @property
    def wait_seconds(self) -> float:
        return ((self.started or self.completed) - self.created).total_seconds()

    def pieces(self) -> tuple[Any, ...]:
        """What its handler yields."""
        return self.handler.pieces or ()

    def piece_at(self, index: int) -> datetime:
        """When a piece comes out; the last one a little before the end."""
        start = self.started or self.completed
        each = self.handler.piece_seconds
        if each is None:
            each = self.handler.execute_seconds / (len(self.pieces()) + 1)
        return start + timedelta(seconds=each * (index + 1))


class World(Clock):
    """The clock, the endpoints, and all jobs that were submitted."""

    def __init__(
        self,
        *,
        scale: float = 1000.0,
        place_seconds: float = 4.0,
        boot_seconds: float = 41.5,
        begins: datetime = DAY_ONE,
    ) -> None:
        super().__init__(scale, begins)
        self.place_seconds = place_seconds
        self.boot_seconds = boot_seconds
        self.places: dict[str, Place] = {}
        self.made: dict[str, Made] = {}
        self._started = 0

    # -- workers ------------------------------------------------------------------------------

    def live(self, place: Place) -> list[Worker]:
        """The workers that are not stopped; what the idle timeout ended is stopped first."""
        now = self.now
        for worker in place.workers:
            over = max(worker.free_at, worker.ready_at) + timedelta(seconds=place.idle_timeout)
            if worker.stopped_at is None and not worker.kept and over <= now:
                worker.stopped_at = over
        return [worker for worker in place.workers if worker.stopped_at is None]

    def scale_to(self, place: Place, minimum: int, maximum: int) -> None:
        """Change the bounds: active workers are started, and let go."""
        place.minimum, place.maximum = minimum, maximum
        live = self.live(place)
        while len(live) < minimum:
            live.append(self._start(place, self.now))
        for index, worker in enumerate(live):
            if worker.kept and index >= minimum:
                worker.free_at = max(worker.free_at, self.now)  # its idle time begins
            worker.kept = index < minimum

    def billed_usd(self, name: str) -> Decimal:
        """What RunPod bills for an endpoint, once its workers are stopped."""
        total = Decimal(0)
        for worker in self.places[name].workers:
            assert worker.stopped_at is not None, "let idle time pass first"
            seconds = (worker.stopped_at - worker.started_at).total_seconds()
            total += math.ceil(round(seconds, 6)) * RATE_USD
        return total

    def stop_all(self, name: str) -> None:
        """Let the idle timeout pass."""
        place = self.places[name]
        last = max((max(w.free_at, w.ready_at) for w in place.workers), default=self.now)
        self.advance(max(0.0, (last - self.now).total_seconds()) + place.idle_timeout + 1)
        self.live(place)

    def _start(self, place: Place, at: datetime) -> Worker:
        started = at + timedelta(seconds=self.place_seconds)
        boot = place.handler.boot_seconds
        ready = started + timedelta(seconds=self.boot_seconds if boot is None else boot)
        self._started += 1
        worker = Worker(f"w{self._started:03}k3q9dz1", started, ready, ready)
        place.workers.append(worker)
        self.extend(ready)
        if place.handler.boots_until_seen:
            self.stop_at(ready - timedelta(seconds=1))
        return worker

    def seen(self, name: str) -> None:
        """Somebody has read the list of workers."""
        jobs = [made for made in self.made.values() if made.place == name]
        waiting = sum(self.status_of(made) == "IN_QUEUE" for made in jobs)
        if waiting >= max(1, self.places[name].handler.boots_until_seen):
            self.stop_at(None)

    # -- jobs ---------------------------------------------------------------------------------

    def make(self, name: str, given: Any, policy: Mapping[str, Any]) -> Made:
        """Plan a job from now on."""
        place = self.places[name]
        now = self.now
        created = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._stand(now)
        handler = place.handler
        worker, caused = self._worker_for(place, now)
        free = max(created, worker.free_at)
        started: datetime | None = free + timedelta(seconds=handler.pickup_seconds)
        completed = free + timedelta(seconds=handler.pickup_seconds + handler.execute_seconds)
        status = "COMPLETED" if handler.error is None else handler.end
        if (limit := policy.get("executionTimeout")) is not None:
            last = free + timedelta(seconds=handler.pickup_seconds, milliseconds=limit)
            if last < completed:
                completed, status = last, "TIMED_OUT"
        gone_at = None
        if (life := policy.get("ttl")) is not None:
            end = created + timedelta(milliseconds=life)
            if end < completed:
                gone_at = end
                started = None if started is not None and end < started else started
                completed = max(free, end) if started is None else end
        boot = max(0.0, (worker.ready_at - max(created, worker.started_at)).total_seconds())
        made = Made(
            id=f"{len(self.made):08x}-6a92-4bb8-a911-f996ac5ea99d-u1",
            place=name,
            handler=handler,
            input=given,
            policy=policy,
            created=created,
            started=started,
            completed=completed,
            status=status,
            worker=worker,
            cold=worker.ready_at > created,
            caused_boot=caused,
            queue_seconds=max(0.0, (free - created).total_seconds() - boot),
            boot_seconds=boot,
            gone_at=gone_at,
        )
        worker.free_at = completed if started is not None else free
        self._horizon = max(self._horizon, completed)
        self.made[made.id] = made
        return made

    def cancel(self, made: Made) -> None:
        """End a job now, unless it has ended. A worker that boots for it boots all the same."""
        now = self.now
        if now >= made.completed:
            return
        made.status, made.completed = "CANCELLED", now
        if made.started is not None and made.started > now:
            made.started = None
        made.worker.free_at = max(now, made.worker.ready_at)
        self._stand(now)
        self._horizon = max(now, *(other.completed for other in self.made.values()))

    def status_of(self, made: Made) -> str | None:
        """None: it is not known any more."""
        now = self.now
        if made.gone_at is not None and now >= made.gone_at:
            return None
        if now >= made.completed:
            return made.status if now < made.completed + KEPT else None
        if made.started is not None and now >= made.started:
            return made.handler.odd_status or "IN_PROGRESS"
        return made.handler.odd_status or "IN_QUEUE"

    def _worker_for(self, place: Place, at: datetime) -> tuple[Worker, bool]:
        """The worker that will take the next job, and whether it is started for it."""
        if place.handler.always_warm:
            warm = Worker("w0warm", at, at, at, kept=True)
            if not place.workers:
                place.workers.append(warm)
            place.workers[0].free_at = at
            return place.workers[0], False
        live = self.live(place)
        free = [worker for worker in live if worker.free_at <= at]
        if free:
            return free[0], False
        unused = [worker for worker in live if worker.free_at == worker.ready_at]
        if unused:
            return unused[0], False
        if len(live) < place.maximum:
            return self._start(place, at), True
        return min(live, key=lambda worker: worker.free_at), False
