"""Answers in OpenAI's dialect."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from gateway.http.openapi.base import Count, Shown
from gateway.http.openapi.operations import ColdStart, Cost


class ChatUsage(Shown):
    """Usage with OpenAI's names, and the bill."""

    model_config = ConfigDict(extra="allow")

    prompt_tokens: Count | None
    """Tokens of the input."""
    completion_tokens: Count | None
    """Tokens of the output."""
    total_tokens: Count | None
    """Tokens of both."""
    cost: float | None
    """US dollars as a number, as others give it; null: not known. Exact: ``cost_details``."""
    cost_details: Cost
    """The bill, exact."""
    cold_start: ColdStart
    """The verdict."""
    replayed_from: str | None = None
    """The operation whose kept answer this is."""


class ChatCompletion(Shown):
    """A completion as OpenAI has it; what a provider of this dialect adds is passed on."""

    model_config = ConfigDict(extra="allow")

    id: str
    """The operation's id, ``gen_...``."""
    object: Literal["chat.completion"]
    """What this is."""
    created: int
    """Seconds since the epoch, UTC."""
    model: str
    """The model that was asked for."""
    choices: list[dict[str, Any]]
    """As OpenAI has them: ``index``, ``message``, ``finish_reason``, ``logprobs``."""
    usage: ChatUsage
    """What was used, and what it cost."""


class ChatChunk(Shown):
    """One event of a streamed completion; ``[DONE]`` comes after the last."""

    model_config = ConfigDict(extra="allow")

    id: str
    """The operation's id, ``gen_...``."""
    object: Literal["chat.completion.chunk"]
    """What this is."""
    created: int
    """Seconds since the epoch, UTC."""
    model: str
    """The model that was asked for."""
    choices: list[dict[str, Any]]
    """As OpenAI has them: ``index``, ``delta``, ``finish_reason``."""
    usage: ChatUsage | None = None
    """In the last one, where ``stream_options.include_usage`` asks for it."""
