"""``POST /v1/generate``: the one endpoint, as JSON and as a stream of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Request
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from starlette.responses import Response

from gateway.execution.answer import output_json
from gateway.execution.eventlog import Entry
from gateway.execution.operation import OnDisconnect, Order
from gateway.execution.results import KeptAnswer
from gateway.execution.run import Run
from gateway.http.admission import admit
from gateway.http.answers import (
    failure_response,
    headers_of,
    operation_json,
    rejection,
    run_error_json,
)
from gateway.http.body import read_json_body
from gateway.http.doors import Caller
from gateway.http.errors import HttpError
from gateway.http.following import until_done
from gateway.http.json import JsonResponse, json_response
from gateway.http.kept import Shape, frames_of, run_or_answer, told_again, too_long
from gateway.http.patience import Waiting, patience_of
from gateway.http.sse import EventStream, frame, stream_at_once
from gateway.http.state import State, state_of
from gateway.http.wishes import NO_WISH, RoutingBody, choice_json, plan_for
from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Output,
    Parameters,
    Queued,
    Started,
)

ROUTE = "generate"
MAX_OUTPUT_TOKENS = 1_000_000
CROWD_BYTES = 64 << 10  # a smaller body has no room for many faults
_MOST_FIELDS = 256

Tag = Annotated[str, StringConstraints(min_length=1, max_length=256)]
TagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
StopText = Annotated[str, StringConstraints(min_length=1)]


class _Wire(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ChatMessage(_Wire):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    """Who says it."""
    content: (
        Annotated[str, StringConstraints(min_length=1)]
        | Annotated[list[dict[str, Any]], Field(fail_fast=True)]
    )
    """Text, or parts in OpenAI's words."""


class GenerateParameters(_Wire):
    """The common knobs; what is left out is the provider's default."""

    max_output_tokens: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_TOKENS)
    """Longest answer, in tokens."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """How freely tokens are drawn; 0: the likeliest."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Only tokens that are together so likely are drawn from."""
    stop: Annotated[list[StopText], Field(max_length=4, fail_fast=True)] = Field(
        default_factory=list
    )
    """Texts that end the answer."""
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    """Of what is drawn, as far as the provider goes by it."""


class GenerateBody(_Wire):
    """A request. A field that is not listed here is refused by name."""

    model: str = Field(min_length=1, max_length=256)
    """A configured model, or ``deployment:<name>``."""
    input: (
        Annotated[str, StringConstraints(min_length=1)]
        | Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
        | Annotated[dict[str, Any], Field(min_length=1)]
    )
    """Text, the messages of a conversation, or an object in the words of the model itself."""
    parameters: GenerateParameters = Field(default_factory=GenerateParameters)
    """The common knobs."""
    stream: bool = False
    """Answer with server-sent events as they come."""
    on_disconnect: OnDisconnect = "cancel"
    """What becomes of the work when the caller hangs up: it is stopped, goes on unread, or goes on
    and its answer is kept, to be fetched from ``/v1/operations/{id}``."""
    routing: RoutingBody = Field(default_factory=RoutingBody)
    """Where it may go, and how that is decided."""
    dry_run: bool = False
    """Answer where it would go and what is expected there; nothing is asked and nothing spent."""
    tags: dict[TagName, Tag] = Field(default_factory=dict, max_length=16)
    """Kept with the cost: ``/v1/costs?group_by=tag:<name>``."""


_BODY: TypeAdapter[GenerateBody] = TypeAdapter(GenerateBody)

router = APIRouter()


@router.post("/v1/generate", response_class=Response)
async def generate(request: Request) -> Response:
    """Ask a model. Answers JSON, or with ``"stream": true`` server-sent events."""
    state = state_of(request)
    return await generate_for(state, request, state.keyring.admit(request.headers, "generate"))


async def generate_for(state: State, request: Request, caller: Caller) -> Response:
    """As the route, for a caller who was let in already."""
    raw = await read_json_body(request, state.settings.server)
    if len(raw) > CROWD_BYTES:
        _refuse_crowds(raw)
    try:
        body = _BODY.validate_json(raw)
    except ValidationError as error:
        raise rejection(error) from None
    patience = patience_of(request.headers, stream=body.stream)
    order = _order(state, body, caller.key_id)
    if body.dry_run:
        return json_response(choice_json(order.plan))
    if patience.preferred is not None:
        order = replace(order, on_disconnect="park", parks=False)
    admission = await admit(state, caller, order)
    run = await run_or_answer(state, request, raw, order, _shape)
    admission.follow(run)
    if isinstance(run, KeptAnswer):
        return _again(run, stream=body.stream)
    waiting = Waiting(run, order, patience, request.headers, raw)
    if body.stream:
        return _stream(state, waiting, admission.headers)
    if not await until_done(waiting, request):
        return waiting.answer(state.settings.server.disconnect_grace_seconds)
    if run.failure is not None:
        return failure_response(run)
    answer = operation_json(run)
    return JsonResponse(orjson.dumps(answer), headers={**headers_of(answer), **admission.headers})


def _order(state: State, body: GenerateBody, key_id: str | None) -> Order:
    if isinstance(body.input, str):
        given: Any = body.input
        input_bytes = len(body.input.encode())
    elif isinstance(body.input, dict):
        given = body.input
        input_bytes = content_bytes(given, "input")
    else:
        given = [message.model_dump() for message in body.input]
        input_bytes = sum(content_bytes(message["content"], "input") for message in given)
    knobs = body.parameters
    parameters = Parameters(
        knobs.max_output_tokens, knobs.temperature, knobs.top_p, tuple(knobs.stop), knobs.seed
    )
    wish = body.routing.wish if "routing" in body.model_fields_set else NO_WISH
    plan = plan_for(
        state,
        body.model,
        knobs.max_output_tokens,
        "parameters.max_output_tokens",
        wish=wish,
        input_bytes=input_bytes,
        streamed=body.stream,
        dry_run=body.dry_run,
    )
    return Order(
        plan,
        GenerateRequest(given, parameters),
        ROUTE,
        body.stream,
        input_bytes,
        key_id,
        body.tags,
        body.on_disconnect,
        deadline_seconds=wish.deadline_seconds,
        max_cost_pico_usd=wish.max_cost_pico_usd,
        hedge=wish.hedge,
    )


def content_bytes(content: Any, param: str) -> int:
    """UTF-8 bytes of a message's text; parts that are not text weigh what their JSON weighs.

    Raises HttpError: a number or a depth that can be read but not be sent on.
    """
    if isinstance(content, str):
        return len(content.encode("utf-8", "surrogatepass"))
    try:
        return 0 if content is None else len(orjson.dumps(content))
    except orjson.JSONEncodeError:
        message = f"{param}: It holds a number too large or lists too deep to be sent on."
        raise HttpError(400, "invalid_value", message, param=param) from None


def refuse_crowd(sent: Any, param: str | None) -> None:
    """Refuse an object with more fields than any has. Raises HttpError.

    Each unknown field is a fault that costs a microsecond and a kilobyte: a million of them in one
    body would stop the gateway for seconds.
    """
    if isinstance(sent, dict) and len(sent) > _MOST_FIELDS:
        where = f"{param}: " if param else ""
        raise HttpError(400, "too_many_fields", f"{where}Too many fields.", param=param)


def _refuse_crowds(raw: bytes) -> None:
    try:
        sent = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return  # validation says so
    refuse_crowd(sent, None)
    if isinstance(sent, dict):
        refuse_crowd(sent.get("parameters"), "parameters")
        refuse_crowd(sent.get("tags"), "tags")
        given = sent.get("input")
        for i, message in enumerate(given if isinstance(given, list) else ()):
            refuse_crowd(message, f"input.{i}")


class _Events:
    """A run's log as numbered events."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._numbers = iter(range(2, 1 << 62))

    def first(self) -> bytes:
        run = self._run
        created = {"id": run.id, "model": run.order.plan.model, "status": "running"}
        return frame(created, event="created", id=1)

    def render(self, batch: list[Entry]) -> bytes:
        return b"".join(
            frame(
                {"attempt_id": entry.attempt_id or None, **data}, event=name, id=next(self._numbers)
            )
            for entry in batch
            for name, data in _shown(entry.event, self._run)
        )

    def failed(self, failure: BaseException | None) -> bytes:
        told = run_error_json(self._run, failure)
        return frame(told, event="error", id=next(self._numbers))

    def finish(self) -> bytes:
        run = self._run
        if run.failure is not None:
            return self.failed(run.failure)
        return frame(operation_json(run), event="finished", id=next(self._numbers))


def _stream(state: State, waiting: Waiting, told: Mapping[str, str]) -> EventStream:
    run, server = waiting.run, state.settings.server
    if run.log.whole() is None:  # it was joined in the middle, and cannot be told from the begin
        run.leave()
        raise too_long()
    events = _Events(run)

    def cut() -> bytes:
        if not waiting.over:
            return b""
        return events.failed(waiting.end(server.disconnect_grace_seconds))

    return EventStream(
        run.log,
        render=events.render,
        finish=events.finish,
        gone=run.leave,
        keep_alive_seconds=waiting.patience.keep_alive_seconds(server.keep_alive_seconds),
        cut=cut,
        cut_at=waiting.deadline_at,
        first=events.first(),
        headers={"x-request-id": run.id, **told},
    )


def _shape(run: Run) -> Shape:
    """An answer as it is kept."""
    entries, frames = run.log.whole(), None
    if run.order.streamed and entries is not None:
        events = _Events(run)
        frames = events.first() + events.render(entries)
    return Shape({"operation": operation_json(run)}, frames)


def _again(kept: KeptAnswer, *, stream: bool) -> Response:
    """A kept answer, as JSON or as the events that it was."""
    operation = told_again(kept)["operation"]
    if not stream:
        return JsonResponse(orjson.dumps(operation), headers=headers_of(operation))
    frames = frames_of(kept)
    last = frame(operation, event="finished", id=frames.count(b"\n\n") + 1)
    return stream_at_once(frames + last, kept.operation_id)


def _shown(event: Event, run: Run) -> list[tuple[str, dict[str, Any]]]:
    """An event as callers see it; what has no text and is a dialect's own is not shown here."""
    match event:
        case Accepted():
            return [("accepted", {"upstream_id": event.job_id})]
        case Queued():
            return [("queued", {})]
        case Booting():
            seen: dict[str, Any] = {
                "evidence": event.evidence,
                "caused_boot": event.caused_boot,
                "expected_seconds": _rounded(run.expected_wait_seconds()),
            }
            return [("booting", seen)]
        case Started():
            return [("started", {"instance_id": event.instance_id})]
        case Delta(text=text, index=index, channel=channel):
            return [("delta", {"type": channel, "text": text, "index": index})] if text else []
        case Output():
            return [("output", output_json(event))]
        case Finished():
            return []  # the whole operation follows


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
