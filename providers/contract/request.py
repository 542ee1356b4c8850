"""What the gateway asks of a deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Task: TypeAlias = Literal["generate", "embed"]
Input: TypeAlias = str | Sequence[Mapping[str, Any]] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The common knobs. ``None``: the caller did not say, and the provider's default holds."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One request, with nothing of the caller's lost.

    ``input`` is text, a list of chat messages, or an object in the provider's own words.
    ``dialect`` names the wire dialect that the caller spoke, ``None`` for the gateway's own.
    ``extra`` is then the rest of the caller's JSON, verbatim, and ``parameters`` only a view of
    what stands in it: a deployment of the same dialect sends ``extra`` as it is, another one
    reads ``parameters``, names the keys of ``extra`` that it honours and refuses the others with
    ``RequestRejected(param=...)``.
    ``stream`` asks for output as it comes; a provider that cannot yields one ``Delta``. The gateway
    asks for it where its caller does not, too, to see the work begin and stall.
    ``deadline_seconds`` is what is left of the operation's time, for providers that can end a
    job by themselves; bounding the attempt stays the gateway's work.
    """

    input: Input
    parameters: Parameters = Parameters()
    task: Task = "generate"
    stream: bool = True
    dialect: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    deadline_seconds: float | None = None
