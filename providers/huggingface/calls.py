"""One call of a model, whatever it does: a request out, events in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias

import orjson

from providers.contract import (
    Event,
    Finished,
    GenerateRequest,
    HttpResponse,
    Output,
    OutputKind,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    UpstreamFailed,
    Usage,
)
from providers.huggingface.embeddings import embedding_outputs
from providers.huggingface.errors import error_in
from providers.huggingface.options import Api
from providers.huggingface.payload import Place, inputs_body
from providers.huggingface.text_generation import TokenFold, whole_text
from providers.huggingface.timing import kept, phases_from, usage_from
from providers.huggingface.wire import Wire
from providers.toolkit.openai_chat import (
    MAX_ANSWER_BYTES,
    ChatEndpoint,
    chat_events,
    request_body,
)
from providers.toolkit.sse import SseParser

_Events: TypeAlias = AsyncGenerator[Event, None]
_KINDS: Mapping[str, OutputKind] = {"image": "image", "audio": "audio", "video": "video"}


def check(place: Place, request: GenerateRequest) -> None:
    """Raises RequestRejected for a request that cannot be said, before anything is woken by it."""
    if place.api == "chat":
        request_body(_chat_endpoint(place), request)
    else:
        inputs_body(place, request)


async def call_events(wire: Wire, place: Place, request: GenerateRequest) -> _Events:
    """Ask once, and yield ``(Delta | Output)* Finished`` with what the answer's head says."""
    async with aclosing(_CALLS[place.api](wire, place, request)) as events:
        async for event in events:
            yield _with_head(event, wire.headers) if isinstance(event, Finished) else event


def _chat(wire: Wire, place: Place, request: GenerateRequest) -> _Events:
    return chat_events(wire, _chat_endpoint(place), request)


def _chat_endpoint(place: Place) -> ChatEndpoint:
    return ChatEndpoint(place.url, place.model, place.headers, extra_body=place.parameters)


async def _text(wire: Wire, place: Place, request: GenerateRequest) -> _Events:
    content = _content(inputs_body(place, request))
    async with wire.send("POST", place.url, headers=_headers(place), content=content) as answer:
        if _media_type(answer) != "text/event-stream":
            last = whole_text(await _json(answer))
        else:
            fold, parser = TokenFold(), SseParser()
            try:
                async for chunk in answer.chunks():
                    for delta in fold.take(parser.feed(chunk)):
                        yield delta
                    if fold.failure is not None:
                        raise fold.failure
                for delta in fold.take(parser.close()):
                    yield delta
                if not fold.done:
                    raise _unless_cut(fold.failure)
            except ProviderError as error:
                error.usage = error.usage or fold.usage
                raise
            last = [fold.finished()]
    for event in last:
        yield event


async def _embed(wire: Wire, place: Place, request: GenerateRequest) -> _Events:
    body = inputs_body(place, request)
    content = _content(body)
    async with wire.send("POST", place.url, headers=_headers(place), content=content) as answer:
        value = await _json(answer)
    for output in embedding_outputs(body["inputs"], value):
        yield output
    yield Finished()


async def _native(wire: Wire, place: Place, request: GenerateRequest) -> _Events:
    content = _content(inputs_body(place, request))
    headers = _headers(place)
    if place.api == "text-to-image":
        headers["accept"] = "image/png"  # as huggingface_hub 2.4.0 asks
    async with wire.send("POST", place.url, headers=headers, content=content) as answer:
        media_type = _media_type(answer)
        if media_type == "application/json":
            value = await _json(answer)
            output = Output("json", value=value) if value is not None else None
        else:
            kind = _KINDS.get(media_type.partition("/")[0], "file")
            data = await answer.read(MAX_ANSWER_BYTES)
            output = Output(kind, data=data, media_type=media_type or None) if data else None
    if place.api == "text-to-image" and (output is None or output.kind != "image"):
        raise ProtocolViolation("The provider's answer is no image.")
    if output is not None:
        yield output
    yield Finished()


_CALLS: Mapping[Api, Callable[[Wire, Place, GenerateRequest], _Events]] = {
    "chat": _chat,
    "text-generation": _text,
    "feature-extraction": _embed,
    "text-to-image": _native,
    "native": _native,
}


def _with_head(finished: Finished, headers: Mapping[str, str]) -> Finished:
    """The end with what the head of the answer said: seconds, counts, who served it."""
    counted, usage = usage_from(headers), finished.usage
    if counted is not None:
        usage = _filled(usage or Usage(), counted)
    raw = kept(headers)
    native = (*finished.native, {"object": "response.headers", "headers": raw}) if raw else ()
    return replace(
        finished, usage=usage, phases=phases_from(headers), native=native or finished.native
    )


def _filled(usage: Usage, counted: Usage) -> Usage:
    given, made = usage.input_tokens, usage.output_tokens
    return replace(
        usage,
        input_tokens=counted.input_tokens if given is None else given,
        output_tokens=counted.output_tokens if made is None else made,
    )


def _content(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as exc:
        raise RequestRejected("The request cannot be written as JSON.") from exc


def _headers(place: Place) -> dict[str, str]:
    return {"content-type": "application/json", **place.headers}


def _media_type(answer: HttpResponse) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _json(answer: HttpResponse) -> Any:
    """The answer's value. Raises the error that it reports in spite of its status."""
    try:
        value = orjson.loads(await answer.read(MAX_ANSWER_BYTES))
    except orjson.JSONDecodeError as exc:
        raise ProtocolViolation("The provider's answer is not JSON.") from RuntimeError(
            f"{type(exc).__name__} at {exc.pos}"
        )
    if isinstance(value, Mapping) and "error" in value:
        raise error_in(value)
    return value


def _unless_cut(failure: ProviderError | None) -> ProviderError:
    """A last event that cannot be read was cut off by the end of the stream."""
    if failure is not None and type(failure) is not ProtocolViolation:
        return failure
    return UpstreamFailed("The provider's stream ended early.")
