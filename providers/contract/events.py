"""What an adapter yields: the life of one attempt, as values.

Grammar: ``Accepted? Queued? Booting? Started? (Delta | Output)* Finished``. A phase may be
missing and never comes back. The only other ending is one raised ``ProviderError``.
``reported_at`` is what the provider says (aware UTC); the gateway puts its own stamps on events
and never mixes the two clocks. ``None`` means "the provider did not say".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from providers.contract.usage import Usage

Evidence: TypeAlias = Literal[
    "process_started",  # we started the process that served the attempt
    "phase_reported",  # the provider named a boot phase
    "delay_reported",  # the provider reported the seconds of a boot
    "instance_first_seen",  # an instance id nobody saw before
    "timestamps_reported",  # the provider's own timestamps
    "scale_state",  # the provider's replica count or process state, read before the call
    "loading_reported",  # an answer "the model is loading"
    "connection_refused",  # nobody listened, at a server known to be starting
    "latency_only",  # suggests, never asserts
]
Channel: TypeAlias = Literal["text", "reasoning", "tool_call"]
OutputKind: TypeAlias = Literal["text", "json", "image", "audio", "video", "file", "embedding"]


@dataclass(frozen=True, slots=True)
class Phases:
    """What the provider itself says, after the fact, about how the attempt spent its time.

    Units: seconds of the provider's clock. ``wait_seconds`` is for providers that cannot tell
    queueing from booting; it is then the only account of either, and our own stamps are no better.
    ``evidence`` names what ``boot_seconds`` (0 = warm) rests on, or ``waited_for_boot``: True where
    a boot was waited for whose seconds the provider does not tell.
    """

    queue_seconds: float | None = None
    boot_seconds: float | None = None
    wait_seconds: float | None = None
    execute_seconds: float | None = None
    evidence: Evidence | None = None
    caused_boot: bool | None = None
    instance_id: str | None = None
    revision: str | None = None
    waited_for_boot: bool | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has given the work an id: from here it can be looked up and cancelled."""

    job_id: str
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """The work waits for a place; nothing says that anything boots."""

    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Booting:
    """The attempt waits for a boot. ``caused_boot``: whether this attempt is why it happens."""

    evidence: Evidence
    caused_boot: bool | None = None
    detail: str = ""
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """Work begins. ``evidence`` is set only where it proves that no boot was waited for."""

    instance_id: str | None = None
    evidence: Evidence | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """Text from one upstream read and choice, not from one token.

    ``native`` holds the upstream's own frames behind this text (parsed JSON, in order), so that
    a caller of the same dialect loses nothing. A frame stands in exactly one event.
    """

    text: str
    index: int = 0
    channel: Channel = "text"
    native: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One whole output: exactly one of ``value``, ``url`` and ``data`` is set.

    ``expires_at``: when a ``url`` stops leading anywhere, at the earliest; None: not known.
    """

    kind: OutputKind
    value: Any = None
    url: str | None = None
    data: bytes | None = None
    media_type: str | None = None
    index: int = 0
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of work that succeeded; ``reasons`` has one finish reason per choice."""

    reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    phases: Phases | None = None
    native: tuple[Mapping[str, Any], ...] = ()


Event: TypeAlias = Accepted | Queued | Booting | Started | Delta | Output | Finished
