"""``POST /v1/chat/completions``: OpenAI's dialect, a thin translation onto the same execution."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.responses import Response

from gateway.execution.operation import OnDisconnect, Order
from gateway.execution.results import KeptAnswer
from gateway.execution.run import Run
from gateway.http.admission import admit
from gateway.http.answers import failure_response, headers_of, operation_json, rejection
from gateway.http.body import read_json_body
from gateway.http.chat_shapes import (
    DONE,
    ChunkRenderer,
    completion_json,
    failure_of,
    usage_json,
)
from gateway.http.errors import HttpError
from gateway.http.following import until_done, until_output
from gateway.http.generate import MAX_OUTPUT_TOKENS, Tag, TagName, content_bytes, refuse_crowd
from gateway.http.json import JsonResponse, json_response
from gateway.http.kept import Shape, frames_of, run_or_answer, told_again, too_long
from gateway.http.patience import Waiting, patience_of
from gateway.http.sse import EventStream, frame, stream_at_once
from gateway.http.state import State, state_of
from gateway.http.wishes import NO_WISH, RoutingBody, choice_json, plan_for
from providers.contract import GenerateRequest, Parameters

ROUTE = "chat.completions"
DIALECT = "openai_chat"


class StreamOptions(BaseModel):
    """``stream_options`` as far as the gateway itself reads them."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    include_usage: bool = False
    """Tell usage and cost in the last chunk."""


class GatewayOptions(BaseModel):
    """``extra_body={"gateway": {...}}``: what OpenAI's dialect has no word for."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    tags: dict[TagName, Tag] = Field(default_factory=dict, max_length=16)
    """Kept with the cost, beside ``metadata``."""
    on_disconnect: OnDisconnect = "cancel"
    """What becomes of the work when the caller hangs up, as in ``/v1/generate``."""
    routing: RoutingBody = Field(default_factory=RoutingBody)
    """Where it may go, and how that is decided."""
    dry_run: bool = False
    """Answer where it would go; nothing is asked and nothing spent."""


class ChatBody(BaseModel):
    """The fields that the gateway reads; all others go to a deployment of this dialect as sent."""

    model_config = ConfigDict(strict=True, use_attribute_docstrings=True)

    model: str = Field(min_length=1, max_length=256)
    """A configured model, or ``deployment:<name>``."""
    messages: Annotated[list[dict[str, Any]], Field(fail_fast=True)] = Field(min_length=1)
    """The conversation, in OpenAI's words."""
    stream: bool | None = None
    """Answer with server-sent events as they come."""
    stream_options: StreamOptions | None = None
    """How to stream."""
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_TOKENS)
    """Longest answer, in tokens, by its older name."""
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_TOKENS)
    """Longest answer, in tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """How freely tokens are drawn; 0: the likeliest."""
    top_p: float | None = Field(default=None, ge=0, le=1)
    """Only tokens that are together so likely are drawn from."""
    n: int | None = Field(default=None, ge=1, le=128)
    """How many choices."""
    stop: str | Annotated[list[str], Field(fail_fast=True)] | None = None
    """Texts that end the answer."""
    seed: int | None = None
    """Of what is drawn, as far as the provider goes by it."""
    metadata: dict[TagName, Tag] | None = Field(default=None, max_length=16)
    """Tags: kept with the cost, not sent on."""
    gateway: GatewayOptions | None = None
    """What OpenAI's dialect has no word for."""


_KNOWN: TypeAdapter[ChatBody] = TypeAdapter(ChatBody)
_OURS_UNSAID = GatewayOptions()
_OURS = frozenset({"model", "messages", "stream", "metadata", "gateway"})

router = APIRouter()


@router.post("/v1/chat/completions", response_class=Response)
async def chat_completions(request: Request) -> Response:
    """Ask a model in OpenAI's dialect; usable with the ``openai`` SDK as it is."""
    state = state_of(request)
    caller = state.keyring.admit(request.headers, "generate")
    raw = await read_json_body(request, state.settings.server)
    try:
        sent = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise HttpError(400, "invalid_json", "The request body is not valid JSON.") from None
    if isinstance(sent, dict):
        refuse_crowd(sent.get("metadata"), "metadata")
        refuse_crowd(sent.get("gateway"), "gateway")
    try:
        body = _KNOWN.validate_python(sent)
    except ValidationError as error:
        raise rejection(error) from None
    patience = patience_of(request.headers, stream=bool(body.stream))
    order = _order(state, body, sent, caller.key_id)
    if body.gateway is not None and body.gateway.dry_run:
        return json_response(choice_json(order.plan))
    if patience.preferred is not None:
        order = replace(order, on_disconnect="park", parks=False)
    admission = await admit(state, caller, order)
    run = await run_or_answer(state, request, raw, order, _shape)
    admission.follow(run)
    if isinstance(run, KeptAnswer):
        return _again(run, body)
    waiting = Waiting(run, order, patience, request.headers, raw)
    grace_seconds = state.settings.server.disconnect_grace_seconds
    keep_alive_seconds = patience.keep_alive_seconds(state.settings.server.keep_alive_seconds)
    if body.stream:
        if run.log.whole() is None:  # it was joined in the middle: its begin is gone
            run.leave()
            raise too_long()
        follower = run.log.follow()  # from the first event on: what nobody follows is dropped
        # A refusal that comes soon is an HTTP status, which SDKs understand and retry.
        try:
            await until_output(waiting, request, keep_alive_seconds)
        except BaseException:
            follower.leave()  # else what goes on would wait for it to read
            raise
        if run.failure is not None and not run.answer.size_bytes:
            return failure_response(run, failure_of(run))
        renderer = ChunkRenderer(run, with_usage=_with_usage(body))
        if not run.task.done() and not run.answer.size_bytes and waiting.over:
            follower.leave()
            return waiting.answer(grace_seconds)
        return EventStream(
            run.log,
            render=renderer.render,
            finish=renderer.finish,
            gone=run.leave,
            cut=lambda: renderer.failed(waiting.end(grace_seconds)) if waiting.over else b"",
            cut_at=waiting.deadline_at,
            keep_alive_seconds=keep_alive_seconds,
            follower=follower,
            headers={"x-request-id": run.id, **admission.headers},
        )
    if not await until_done(waiting, request):
        return waiting.answer(grace_seconds)
    if run.failure is not None:
        return failure_response(run, failure_of(run))
    operation = operation_json(run)
    answer = orjson.dumps(completion_json(run, operation))
    return JsonResponse(answer, headers={**headers_of(operation), **admission.headers})


def _with_usage(body: ChatBody) -> bool:
    return body.stream_options is not None and body.stream_options.include_usage


def _shape(run: Run) -> Shape:
    """An answer as it is kept."""
    operation = operation_json(run)
    entries, frames = run.log.whole(), None
    if run.order.streamed and entries is not None:
        frames = ChunkRenderer(run, with_usage=False).render(entries)
    told = {"operation": operation, "completion": completion_json(run, operation)}
    return Shape(told, frames)


def _again(kept: KeptAnswer, body: ChatBody) -> Response:
    """A kept answer, as a completion or as the chunks that it was."""
    told = told_again(kept)
    operation, completion = told["operation"], told["completion"]
    completion["usage"] = usage_json(operation, completion["usage"])
    completion["usage"]["replayed_from"] = operation["replayed_from"]
    if not body.stream:
        return JsonResponse(orjson.dumps(completion), headers=headers_of(operation))
    last = DONE
    if _with_usage(body):
        chunk = {**completion, "object": "chat.completion.chunk", "choices": []}
        last = frame(chunk) + DONE
    return stream_at_once(frames_of(kept) + last, kept.operation_id)


def _order(state: State, body: ChatBody, sent: dict[str, Any], key_id: str | None) -> Order:
    # Both names may be given, and nobody knows which of them a server goes by.
    maximum = max((body.max_completion_tokens or 0, body.max_tokens or 0)) or None
    named = "max_tokens" if maximum == body.max_tokens else "max_completion_tokens"
    limit = maximum
    if maximum is not None and body.n is not None:
        maximum *= body.n  # every choice may be that long
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    request = GenerateRequest(
        body.messages,
        Parameters(maximum, body.temperature, body.top_p, stop, body.seed),
        stream=bool(body.stream),
        dialect=DIALECT,
        extra={key: value for key, value in sent.items() if key not in _OURS},
    )
    tags = dict(body.metadata or {})
    if body.gateway is not None:
        tags.update(body.gateway.tags)
    input_bytes = sum(
        content_bytes(message.get("content"), "messages") for message in body.messages
    )
    tools = sent.get("tools")
    if tools:
        input_bytes += content_bytes(tools, "tools")
    ours = body.gateway or _OURS_UNSAID
    wish = ours.routing.wish if "routing" in ours.model_fields_set else NO_WISH
    plan = plan_for(
        state,
        body.model,
        limit,
        named,
        wish=wish,
        input_bytes=input_bytes,
        streamed=bool(body.stream),
        dry_run=ours.dry_run,
    )
    return Order(
        plan,
        request,
        ROUTE,
        bool(body.stream),
        input_bytes,
        key_id,
        tags,
        ours.on_disconnect,
        deadline_seconds=wish.deadline_seconds,
        max_cost_pico_usd=wish.max_cost_pico_usd,
        hedge=wish.hedge,
    )
