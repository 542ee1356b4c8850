"""A small Replicate behind the emulator's doors: machines, boots, queues, and the truth about them.

Its clock (``tests.emulators.clock``) runs while a prediction is under way. Every stamp is planned
when a prediction is made; what is shown depends on the clock alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.emulators.clock import DAY_ONE, Clock

FOREVER_SECONDS = 1e7
DISPATCH_SECONDS = 0.012  # what a start takes when nobody has to wait


@dataclass(frozen=True, slots=True)
class Model:
    """What a model does, and what may go wrong with it.

    ``pieces``: it yields text; otherwise ``output`` is its whole output. ``boot_seconds`` None: the
    world's. ``odd_status`` is what it says instead while it is under way, ``odd_end`` when it has
    ended. ``cuts``: the first connections to its stream break after so many pieces each;
    ``reopened`` says what the next one brings. ``late_seconds``: the stream ends that long before
    the prediction. ``record``: a real prediction to replay.
    """

    pieces: tuple[str, ...] | None = None
    output: Any = None
    execute_seconds: float = 2.0
    boot_seconds: float | None = None
    piece_seconds: float | None = None
    dispatch_seconds: float = DISPATCH_SECONDS
    always_warm: bool = False
    create_seconds: float = 0.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    odd_status: str | None = None
    odd_end: str | None = None
    skew_seconds: float = 0.0
    early_answer: bool = False
    cuts: tuple[int, ...] = ()
    reopened: str = "resumed"  # resumed | replayed | without-ids | gone
    frames: str = "whole"  # whole | bytes | broken | none
    cut_cleanly: bool = False
    late_seconds: float = 0.0
    logs: str = ""
    stream_url: str | None = None
    record: Mapping[str, Any] | None = None
    official: bool = True
    inputs: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            "prompt": {"type": "string"},
            "max_tokens": {"type": "integer", "minimum": 1},
            "temperature": {"type": "number"},
            "stop_sequences": {"type": "string"},
        }
    )
    required: tuple[str, ...] = ()
    usd_per_second: Decimal = Decimal("0.000975")


@dataclass(slots=True)
class Machine:
    """One worker of a model: busy until ``free_at``, warm for a while after."""

    free_at: datetime


@dataclass(slots=True)
class Deployed:
    """A deployment's configuration, with the number of its release."""

    model: str
    hardware: str = "gpu-l40s"
    min_instances: int = 0
    max_instances: int = 1
    release: int = 1


@dataclass(slots=True)
class Made:
    """A prediction, planned; ``cold`` and the seconds are the truth, whatever is shown."""

    id: str
    name: str
    model: Model
    input: dict[str, Any]
    created: datetime
    started: datetime | None
    completed: datetime
    status: str
    machine: Machine
    cold: bool
    queue_seconds: float
    boot_seconds: float
    run_seconds: float
    deployment: str | None = None
    deadline: str | None = None
    connections: int = 0
    looks: int = 0

    @property
    def execute_seconds(self) -> float:
        if self.started is None:
            return 0.0
        return max(0.0, (self.completed - self.started).total_seconds())

    @property
    def billed_usd(self) -> Decimal:
        """What Replicate would bill for a public model: the seconds that the model ran."""
        seconds = self.execute_seconds
        if self.model.record is not None:
            seconds = (self.model.record.get("metrics") or {}).get("predict_time", seconds)
        return Decimal(round(seconds * 1_000_000)) / 1_000_000 * self.model.usd_per_second

    def piece_at(self, index: int) -> datetime:
        """When a piece comes out; the last one a little before the end."""
        count = len(self.model.pieces or ())
        start = self.started or self.completed
        if self.model.piece_seconds is not None:
            return start + timedelta(seconds=self.model.piece_seconds * (index + 1))
        share = (index + 1) / (count + 1)
        return start + timedelta(seconds=self.run_seconds * share)


class World(Clock):
    """The clock, the machines of each model, and all predictions that were made."""

    def __init__(
        self,
        *,
        scale: float = 1000.0,
        boot_seconds: float = 90.0,
        keep_alive_seconds: float = 120.0,
        begins: datetime = DAY_ONE,
    ) -> None:
        super().__init__(scale, begins)
        self.boot_seconds = boot_seconds
        self.keep_alive_seconds = keep_alive_seconds
        self.max_instances = 2
        self.made: dict[str, Made] = {}
        self.deployments: dict[str, Deployed] = {}
        self._machines: dict[str, list[Machine]] = {}
        self.list_begins: datetime | None = None  # what was made before is not listed any more

    # -- predictions --------------------------------------------------------------------------

    def make(
        self,
        name: str,
        model: Model,
        given: dict[str, Any],
        *,
        deployment: str | None = None,
        deadline_seconds: float | None = None,
    ) -> Made:
        """Plan a prediction from now on."""
        now = self.now
        created = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as it is shown
        self._stand(now)
        prediction_id = _id(f"{name} {len(self.made)}")
        place = deployment or name
        machine, queue_seconds, boot_seconds = self._place(place, model, created)
        wait = queue_seconds + boot_seconds + model.dispatch_seconds
        started: datetime | None = created + timedelta(seconds=wait)
        execute = model.execute_seconds
        status = "failed" if model.error is not None else "succeeded"
        if model.record is not None:
            created, started, execute, status = _recorded(model.record, created)
            wait = 0.0 if started is None else (started - created).total_seconds()
        completed = (started or created) + timedelta(seconds=execute)
        if deadline_seconds is not None and model.record is None:
            limit = created + timedelta(seconds=deadline_seconds)
            if started is not None and limit < started:
                started, completed, status = None, limit, "aborted"
            elif limit < completed:
                completed, status = limit, "canceled"
        made = Made(
            id=prediction_id,
            name=name,
            model=model,
            input=given,
            created=created,
            started=started,
            completed=completed,
            status=status,
            machine=machine,
            cold=boot_seconds > 0 or (model.record is not None and wait >= 5.0),
            queue_seconds=queue_seconds,
            boot_seconds=boot_seconds,
            run_seconds=execute,
            deployment=deployment,
            deadline=None if deadline_seconds is None else f"{deadline_seconds:g}s",
        )
        machine.free_at = completed
        self._horizon = max(self._horizon, completed)
        self.made[prediction_id] = made
        return made

    def cancel(self, made: Made) -> None:
        """End a prediction now, unless it has ended."""
        now = self.now
        if now >= made.completed:
            return
        made.status, made.completed = "canceled", now
        if made.started is not None and made.started > now:
            made.started = None
        made.machine.free_at = now

    def status_of(self, made: Made) -> str:
        now = self.now
        if now >= made.completed:
            return made.model.odd_end or made.status
        if made.started is not None and now >= made.started:
            return made.model.odd_status or "processing"
        return "starting"

    def _place(self, place: str, model: Model, now: datetime) -> tuple[Machine, float, float]:
        """A machine, and the seconds to wait for its place in the queue and for its boot."""
        machines = self._machines.setdefault(place, [])
        keep_alive = timedelta(seconds=self.keep_alive_seconds)
        kept = self.deployments[place].min_instances if place in self.deployments else 0
        machines[:] = [
            machine
            for index, machine in enumerate(machines)
            if machine.free_at + keep_alive > now or index < kept
        ]
        free = [machine for machine in machines if machine.free_at <= now]
        if free:
            return free[0], 0.0, 0.0
        if model.always_warm:
            return Machine(now), 0.0, 0.0
        most = self.max_instances
        if place in self.deployments:
            most = self.deployments[place].max_instances
        if len(machines) < most:
            machines.append(Machine(now))
            boot = self.boot_seconds if model.boot_seconds is None else model.boot_seconds
            return machines[-1], 0.0, boot
        first = min(machines, key=lambda machine: machine.free_at)
        return first, (first.free_at - now).total_seconds(), 0.0


def _recorded(
    record: Mapping[str, Any], now: datetime
) -> tuple[datetime, datetime | None, float, str]:
    """The plan of a real prediction, with its own spans."""
    created, started, completed = (
        None if record.get(name) is None else datetime.fromisoformat(record[name])
        for name in ("created_at", "started_at", "completed_at")
    )
    if created is None or started is None:
        return now, None, 0.0, record["status"]
    if completed is not None and started > completed:
        return now, now, max(0.0, (completed - created).total_seconds()), record["status"]
    execute = 0.0 if completed is None else (completed - started).total_seconds()
    return now, now + max(timedelta(0), started - created), execute, record["status"]


def version_of(name: str) -> str:
    """The one version of a model."""
    return hashlib.sha256(name.encode()).hexdigest()


def stamp(at: datetime | None, digits: int = 6) -> str | None:
    """As Replicate writes instants: milliseconds or, of a worker, nanoseconds."""
    if at is None:
        return None
    text = at.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return (text[:-3] if digits == 3 else text + "000" if digits == 9 else text) + "Z"


def _id(seed: str) -> str:
    """26 characters, as all of theirs."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest())
    letters = "0123456789abcdefghjkmnpqrstvwxyz"
    return "".join(letters[(number >> 5 * place) & 31] for place in range(26))
