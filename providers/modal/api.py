"""What this adapter needs of Modal, as a seam: few methods, plain values, our own errors.

``sdk`` implements it with Modal's SDK; nothing outside it and ``billing`` names the SDK.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from providers.contract import BilledSum, Hardware, ProviderError

Bill: TypeAlias = Sequence[BilledSum]


@dataclass(frozen=True, slots=True)
class Ref:
    """A deployed function, or a method of a deployed class, by its names."""

    app: str
    function: str | None = None
    cls: str | None = None
    method: str | None = None
    environment: str | None = None
    parameters: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What Modal says of a deployed function when it is looked up."""

    yields: bool
    speaks_cbor: bool
    is_web: bool
    hardware: Hardware


@dataclass(frozen=True, slots=True)
class Scale:
    """Modal's ``get_current_stats``: a snapshot, a little old by the time it is read.

    ``headroom``: inputs that the containers that are up could take besides what they run.
    """

    backlog: int
    containers: int
    running: int
    headroom: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended: ``value``, unless there is an ``error``; stamps are Modal's own."""

    value: Any = None
    error: ProviderError | None = None
    cancelled: bool = False
    container_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    retries: int = 0


class Target(Protocol):
    """One function that was looked up."""

    @property
    def facts(self) -> Facts: ...

    async def scale(self) -> Scale: ...

    async def set_scale(self, minimum: int, maximum: int | None) -> None: ...

    async def spawn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Begin a call; gives its id."""
        ...

    def stream(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """Call a generator. Leaving it early does not end the work at Modal."""
        ...


class Api(Protocol):
    """One account at Modal. All methods raise a ProviderError, and nothing else."""

    async def find(self, ref: Ref) -> Target: ...

    async def outcome(
        self, call_id: str, *, wait: bool, allow_pickle: bool = False
    ) -> Outcome | None:
        """How a call ended; None: it has not. Without ``wait`` it is only looked at."""
        ...

    async def cancel(self, call_id: str) -> None: ...

    async def billed(self, since: datetime, until: datetime) -> Bill:
        """The cost of each object of the account in each whole hour, by what it is called."""
        ...

    async def aclose(self) -> None: ...
