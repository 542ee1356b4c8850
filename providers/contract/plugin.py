"""How a provider comes into the gateway: built-in or a stranger's, through the same door.

A distribution names one ``ProviderPlugin`` in the entry point group
``serverless_inference_gateway.providers``. Only plugins named in the configuration are loaded.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from providers.contract.errors import ProviderError
from providers.contract.events import Event, Phases
from providers.contract.request import GenerateRequest, Task
from providers.contract.settings import DeploymentOptions, ProviderSettings
from providers.contract.transport import Http
from providers.contract.usage import Usage

CONTRACT_VERSION = 1
ENTRY_POINT_GROUP = "serverless_inference_gateway.providers"

Status: TypeAlias = Literal[
    "emulator and real software", "emulator only", "real software", "service ended"
]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a deployment can do, as plain data; each flag has a reader in the gateway.

    ``dialect``: requests of this dialect pass through unchanged, and so do its native frames.
    ``cancels``: closing the generator ends the upstream work, so it stops costing.
    ``cancels_whole``: the same of a request whose ``stream`` is False, whatever holds for streams;
    the gateway then asks for a stream only where its caller wants one.
    ``reports_seconds``: the provider itself says how long its work took (``Phases``) and bills by
    that; where it has not said so, the gateway's own clock is an estimate and no measure.
    ``keep_alive_seconds``: how long it stays up when idle, where it is known.
    ``ends_boots``: the last who stops waiting for ``Warmable.warm`` ends the boot, and has left
    when that is over; else it goes on, and bills. One that a ``generate`` waits for is not ended.
    """

    tasks: frozenset[Task] = frozenset({"generate"})
    dialect: str | None = None
    cancels: bool = True
    cancels_whole: bool = False
    reports_seconds: bool = False
    keep_alive_seconds: float | None = None
    ends_boots: bool = False


@runtime_checkable
class Deployment(Protocol):
    """One model at one provider, ready to be asked.

    Closing the generator must end the upstream work (shielded, see ``toolkit.jobs``).
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]: ...


class Provider(Protocol):
    """One account at one provider. ``bind`` raises ValueError with a message for the operator."""

    def bind(self, model: str, options: Any) -> Deployment: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Probeable(Protocol):
    """A deployment whose state can be read without waking it."""

    async def probe(self) -> ProbeState: ...


ProbeState: TypeAlias = Literal["down", "booting", "ready", "unknown"]


@runtime_checkable
class Supervised(Protocol):
    """A deployment whose process the gateway runs itself: where it stands is known unasked."""

    def watch(self, tell: Callable[[ProbeState], None]) -> None:
        """``tell`` hears where it stands: at once, and on the event loop whenever that changes."""


@runtime_checkable
class Warmable(Protocol):
    """A deployment that can be asked to boot without doing any work.

    Who stops waiting for ``warm`` ends no boot, unless ``capabilities.ends_boots``: it goes on,
    bills as any other, and serves whoever comes next. One that has ended is up, and stays so.
    """

    async def warm(self) -> None: ...


@runtime_checkable
class Scalable(Protocol):
    """A deployment whose provider keeps between ``minimum`` and ``maximum`` replicas on request.

    ``maximum`` None leaves it as it is.
    """

    async def scale(self, minimum: int, maximum: int | None = None) -> None: ...


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one machine of a deployment was asked to have. None: nothing was asked.

    ``gpus`` are kinds, in the provider's own words, each with its number.
    """

    gpus: tuple[tuple[str, int], ...] = ()
    cpu_cores: float | None = None
    memory_mib: float | None = None


@runtime_checkable
class Describable(Protocol):
    """A deployment whose provider says what it runs on, without waking it."""

    async def hardware(self) -> Hardware: ...


@runtime_checkable
class Bounded(Protocol):
    """A deployment that can know the most output tokens of a request that states no maximum.

    Asked in the event loop before each such attempt, so it waits for nothing; it may begin to find
    out for the next one. The model must keep to it: budgets set aside so much and no more. None:
    there is no bound, or it is not known yet.
    """

    def most_output_tokens(self, request: GenerateRequest) -> int | None: ...


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a provider says later about a job: how it ended, what it used, where its time went.

    ``model`` and ``deployment`` are the provider's own names. ``failure``: the error that
    ``generate`` would have raised for a job that ended so.
    """

    job_id: str
    status: Literal["running", "succeeded", "failed", "cancelled", "unknown"]
    usage: Usage | None = None
    phases: Phases | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    model: str | None = None
    deployment: str | None = None
    failure: ProviderError | None = None


@runtime_checkable
class Reconcilable(Protocol):
    """A deployment that can be asked about a job afterwards, by its id. None: it knows no such."""

    async def lookup(self, job_id: str) -> JobReport | None: ...


@runtime_checkable
class EndsWithGateway(Protocol):
    """A deployment whose work ends when its gateway's process does, however that one ends."""

    def ended_by(self, now: datetime) -> datetime | None:
        """When all work of earlier gateways had ended, at the latest; None: not known.

        A starting gateway asks at ``now``, before it sends any work. Must not block.
        """


@runtime_checkable
class Findable(Protocol):
    """Past jobs, newest first, by the time of their creation: from ``since`` to before ``until``.

    Of a deployment: its own; of a provider: all of the account. A provider may remember less.
    """

    def find(self, since: datetime, until: datetime) -> AsyncGenerator[JobReport, None]: ...


@dataclass(frozen=True, slots=True)
class BilledSum:
    """What an account was billed in one stretch of time for one thing, by the provider's own name
    of it. USD, exact.
    """

    name: str
    start: datetime
    end: datetime
    usd: Decimal


@runtime_checkable
class Billing(Protocol):
    """A provider that says what its account was billed between two instants, of what is over."""

    async def billed(self, since: datetime, until: datetime) -> Sequence[BilledSum]: ...


class WebhookRejected(Exception):
    """A message that is not the provider's, or is too old. The reason is for the log alone."""


@runtime_checkable
class Notifiable(Protocol):
    """A provider whose service posts a message to the gateway when a job has ended.

    Anybody can post there, and a message comes late, more than once, in any order or never:
    ``notified`` checks that it is genuine and was sent about ``now``, and wakes what follows the
    job here. It gives the job's id where nothing does, so that an attempt that broke off can be
    settled: a ``lookup`` of it then needs no call. None: nothing is left to do.
    Raises: WebhookRejected; ProviderError where it could not be checked.
    """

    async def notified(
        self, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Host:
    """What the gateway lends to a provider: its pooled HTTP client and a folder of its own.

    ``webhook_path`` is where a provider that is ``Notifiable`` gets its messages, at whatever
    address the gateway has in the world.
    """

    http: Http
    data_dir: Path
    webhook_path: str = ""


@dataclass(frozen=True, slots=True)
class ProviderPlugin:
    """A provider's name, its configuration models and how to build it.

    ``settings`` validates the provider block, ``options`` the deployment keys that are not the
    gateway's. ``presets`` are named provider blocks kept as data (address and the like): a
    provider block whose name is a preset's takes its keys as defaults. ``read_export`` reads the
    jobs in a file that the provider's own tools wrote; ValueError says what is wrong with the file.
    """

    name: str
    settings: type[ProviderSettings]
    options: type[DeploymentOptions]
    build: Callable[[Any, Host], Provider]
    summary: str
    status: Status
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    read_export: Callable[[bytes], Sequence[JobReport]] | None = None
    contract_version: int = CONTRACT_VERSION
