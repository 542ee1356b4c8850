"""How a server that runs already is asked: OpenAI's dialect here, two native ones beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from providers.contract import Event, Finished, GenerateRequest, Http
from providers.local.dialects import Dialect
from providers.local.frames import as_unstreamed, without_progress
from providers.local.server import State
from providers.local.timings import NotingHttp
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, chat_events, request_body


class Speech(Protocol):
    """A way to ask."""

    @property
    def dialect(self) -> str | None: ...

    def check(self, request: GenerateRequest) -> None:
        """Raise RequestRejected for what cannot be said, before anything is touched."""
        ...

    def tells_boots(self, request: GenerateRequest) -> bool:
        """Whether the answer itself says what was booted, so that nobody needs to look first."""
        ...

    def ask(
        self, http: Http, request: GenerateRequest, state: State
    ) -> AsyncGenerator[Event, None]:
        """The answer; ``state`` is where the server stood just before."""
        ...


def chat(
    http: Http, endpoint: ChatEndpoint, request: GenerateRequest, *, always_streams: bool = True
) -> AsyncGenerator[Event, None]:
    """Chat completions; streamed where the caller wants no stream too, unless told otherwise."""
    streamed = replace(request, stream=True) if always_streams else request
    events = chat_events(http, endpoint, streamed)
    if endpoint.extra_body.get("return_progress") and not request.extra.get("return_progress"):
        events = without_progress(events)
    return events if request.stream or not always_streams else as_unstreamed(events)


class ChatSpeech:
    """OpenAI's chat completions, with the seconds that the server's dialect reports."""

    dialect: str | None = DIALECT

    def __init__(self, endpoint: ChatEndpoint, server: Dialect) -> None:
        self._endpoint = endpoint
        self._server = server

    def check(self, request: GenerateRequest) -> None:
        request_body(self._endpoint, request)

    def tells_boots(self, request: GenerateRequest) -> bool:
        return False

    async def ask(
        self, http: Http, request: GenerateRequest, state: State
    ) -> AsyncGenerator[Event, None]:
        timing, always_streams = self._server.timing, self._server.always_streams
        noting = NotingHttp(http)
        events = chat(noting, self._endpoint, request, always_streams=always_streams)
        async with aclosing(events):
            async for event in events:
                if timing is not None and isinstance(event, Finished):
                    event = replace(event, phases=timing(event.native, noting.headers))
                yield event
