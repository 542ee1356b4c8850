"""The OpenAI chat completions dialect, spoken from the asking side."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.contract import Event, GenerateRequest, Http

DIALECT = "openai_chat"


@dataclass(frozen=True, slots=True)
class ColdWhen:
    """An error answer that means "the model is being loaded", recognised by its status and text."""

    status: int
    contains: str = ""


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """Where and how one model is asked.

    ``url`` is the full URL of ``.../chat/completions``, ``model`` the provider's own model name,
    ``extra_body`` holds options that are always sent.
    """

    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cold_when: tuple[ColdWhen, ...] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)


async def chat_events(
    http: Http, endpoint: ChatEndpoint, request: GenerateRequest
) -> AsyncGenerator[Event, None]:
    """Ask, and yield ``Delta* Finished``; no phases, for the plain dialect reports none.

    Raises: the subclass of ProviderError that says who must act.
    """
    raise NotImplementedError
    yield
