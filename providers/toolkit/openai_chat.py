"""The OpenAI chat completions dialect, spoken from the asking side.

Source: https://platform.openai.com/docs/api-reference/chat (read 2026-11-23). A caller of the same
dialect loses nothing: the rest of its JSON goes out verbatim, and every upstream frame comes back
in ``native``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import orjson

from providers.contract import (
    Event,
    GenerateRequest,
    Http,
    HttpResponse,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    UpstreamFailed,
)
from providers.toolkit.openai_errors import ERROR_BODY_BYTES, ColdWhen, error_from_answer
from providers.toolkit.openai_frames import StreamFold, whole_answer
from providers.toolkit.sse import SseParser

__all__ = ["DIALECT", "ChatEndpoint", "ColdWhen", "chat_events", "request_body"]

DIALECT = "openai_chat"
MAX_ANSWER_BYTES = 64 * 1024 * 1024
_DRAIN_SECONDS = 0.05  # after [DONE], for the end of the body, so that the connection can be kept


@dataclass(frozen=True, slots=True)
class ChatEndpoint:
    """Where and how one model is asked.

    ``url`` is the full URL of ``.../chat/completions``, ``model`` the provider's own model name,
    ``extra_body`` holds options that are always sent; they win over the caller's.
    ``status_errors`` are statuses that this provider uses in a sense of its own.
    """

    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # the key is in there
    cold_when: tuple[ColdWhen, ...] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    status_errors: Mapping[int, type[ProviderError]] = field(default_factory=dict)
    max_tokens_key: str = "max_tokens"


async def chat_events(
    http: Http, endpoint: ChatEndpoint, request: GenerateRequest
) -> AsyncGenerator[Event, None]:
    """Ask, and yield ``Delta* Finished``; no phases, for the plain dialect reports none.

    Raises: the subclass of ProviderError that says who must act.
    """
    try:
        content = orjson.dumps(request_body(endpoint, request))
    except orjson.JSONEncodeError as exc:
        raise RequestRejected("The request cannot be written as JSON.") from exc
    headers = {"content-type": "application/json", **endpoint.headers}
    async with http.send("POST", endpoint.url, headers=headers, content=content) as answer:
        if not 200 <= answer.status < 300:
            raise await _error(answer, endpoint)
        if not _is_stream(answer, request):
            raw = await answer.read(MAX_ANSWER_BYTES)
            last = whole_answer(raw, endpoint.cold_when)
        else:
            fold, parser, chunks = StreamFold(endpoint.cold_when), SseParser(), answer.chunks()
            try:
                async for chunk in chunks:
                    for delta in fold.take(parser.feed(chunk)):
                        yield delta
                    if fold.failure is not None:
                        raise fold.failure
                    if fold.done:
                        await _drain(chunks)
                        break
                else:
                    # A last event without its blank line: whole at some servers, cut at others.
                    for delta in fold.take(parser.close()):
                        yield delta
                    if fold.failure is not None and type(fold.failure) is not ProtocolViolation:
                        raise fold.failure
                if not fold.complete:
                    raise UpstreamFailed("The provider's stream ended early.")
            except ProviderError as error:
                if error.usage is None:
                    error.usage = fold.usage  # what was spent until it broke
                raise
            last = [fold.finished()]
    for event in last:
        yield event


def request_body(endpoint: ChatEndpoint, request: GenerateRequest) -> dict[str, Any]:
    """The JSON to send. Raises RequestRejected for what this dialect cannot say."""
    if request.task != "generate":
        raise RequestRejected("This deployment only generates.", param="task")
    if isinstance(request.input, Mapping):
        raise RequestRejected("This deployment takes text or messages.", param="input")
    if request.dialect == DIALECT:
        body = {**request.extra, **endpoint.extra_body}
    else:
        for key in request.extra:
            raise RequestRejected("This deployment does not know the parameter.", param=key)
        body = {**_parameters(endpoint, request), **endpoint.extra_body}
    body["model"] = endpoint.model
    body["messages"] = (
        [{"role": "user", "content": request.input}]
        if isinstance(request.input, str)
        else list(request.input)
    )
    body["stream"] = request.stream
    if request.stream:
        # Without it a stream seldom says what was used.
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body


def _parameters(endpoint: ChatEndpoint, request: GenerateRequest) -> dict[str, Any]:
    parameters = request.parameters
    named = {
        endpoint.max_tokens_key: parameters.max_output_tokens,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "stop": list(parameters.stop) or None,
        "seed": parameters.seed,
    }
    return {name: value for name, value in named.items() if value is not None}


def _is_stream(answer: HttpResponse, request: GenerateRequest) -> bool:
    """What came, not what was asked for: some servers answer a stream request in one piece."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return True
    return request.stream and media_type != "application/json"


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    with anyio.move_on_after(_DRAIN_SECONDS):
        async for _ in chunks:
            pass


async def _error(answer: HttpResponse, endpoint: ChatEndpoint) -> ProviderError:
    try:
        raw = await answer.read(ERROR_BODY_BYTES)
    except ProviderError:
        raw = b""  # cut or endless: the status still says something
    return error_from_answer(
        answer.status,
        answer.headers,
        raw,
        cold_when=endpoint.cold_when,
        overrides=endpoint.status_errors,
    )
