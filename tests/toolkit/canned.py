"""An ``Http`` that answers from memory, and short words for chat completions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from providers.contract import (
    Delta,
    Event,
    GenerateRequest,
    ProviderError,
)
from providers.toolkit.openai_chat import ChatEndpoint, chat_events

ENDPOINT = ChatEndpoint("http://127.0.0.1/v1/chat/completions", "m")


class Canned:
    """An ``Http`` that answers with what it is given, and remembers what it was asked."""

    def __init__(
        self, *chunks: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.pieces = chunks
        self.status = status
        self.headers = headers or {"content-type": "text/event-stream"}
        self.body: dict[str, Any] = {}
        self.closed = 0

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> AsyncIterator[Canned]:
        self.body = json.loads(content or b"{}")
        try:
            yield self
        finally:
            self.closed += 1

    async def read(self, max_bytes: int) -> bytes:
        return b"".join(self.pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    async def aclose(self) -> None: ...


def whole(body: Any, status: int = 200) -> Canned:
    return Canned(
        json.dumps(body).encode(), status=status, headers={"content-type": "application/json"}
    )


def sse(*frames: Any, done: bool = True) -> bytes:
    lines = [b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def text(content: str, index: int = 0) -> dict[str, Any]:
    return chunk({"content": content}, index=index)


async def ask(
    http: Any, request: GenerateRequest | None = None, endpoint: ChatEndpoint = ENDPOINT
) -> list[Event]:
    async with aclosing(chat_events(http, endpoint, request or GenerateRequest("hi"))) as events:
        return [event async for event in events]


async def failure(
    http: Any, request: GenerateRequest | None = None, endpoint: ChatEndpoint = ENDPOINT
) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await ask(http, request, endpoint)
    return caught.value


def joined(events: list[Event]) -> dict[tuple[int, str], str]:
    found: dict[tuple[int, str], str] = {}
    for event in events:
        if isinstance(event, Delta):
            key = (event.index, event.channel)
            found[key] = found.get(key, "") + event.text
    return found
