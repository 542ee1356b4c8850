"""From a request to the run that answers it, or to the answer that was kept for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.requests import Request

from gateway.errors import ResultsUnavailable
from gateway.execution.operation import Order
from gateway.execution.results import KeptAnswer, is_told, told_scope
from gateway.execution.run import Keep, Run
from gateway.http.answers import run_error_json
from gateway.http.errors import HttpError
from gateway.http.idempotency import HEADER, identity_of
from gateway.http.patience import call_scope, retry_scope
from gateway.http.state import State
from gateway.tracing import trace_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """An answer as it is kept: JSON by name, and the events of its stream but for their end.

    ``told["operation"]`` is always there; a route may add its own.
    """

    told: dict[str, Any]
    frames: bytes | None


async def run_or_answer(
    state: State, request: Request, raw: bytes, order: Order, shape: Callable[[Run], Shape]
) -> Run | KeptAnswer:
    """The run that the request is answered from, or an answer kept under its Idempotency-Key.

    ``raw`` is the request's body, ``shape`` how the route's answers are kept.
    Raises HttpError, Draining, ResultsUnavailable.
    """
    if state.settings.telemetry.otlp_endpoint is not None:
        order = replace(order, trace=trace_of(request.headers))
    identity = None
    if HEADER in request.headers:
        identity = identity_of(request, order.route, order.key_id, raw)
        order = replace(order, grace_seconds=state.settings.server.disconnect_grace_seconds)

    async def keep(run: Run) -> None:
        promised = run.parked or run.told_scope is not None
        if not promised and (identity is None or run.failure is not None):
            return
        parts = Shape(run_error_json(run), None) if run.failure is not None else shape(run)
        scope = digest = None
        if run.failure is None and identity is not None:
            scope, digest = identity.scope, identity.digest
        elif run.failure is None and run.told_scope is not None:
            if parts.frames is not None or not run.order.streamed:
                scope = told_scope(run.told_scope, run.id)
        answer = KeptAnswer(
            operation_id=run.id,
            key_id=order.key_id,
            scope=scope,
            digest=digest,
            kept_at_us=state.executor.clock.wall_us(),
            body=orjson.dumps(parts.told),
            frames=parts.frames,
        )
        try:
            await state.results.keep(answer)
        except ResultsUnavailable:
            logger.error("the answer of operation %s could not be written down", run.id)
        if is_told(scope) and run.told_scope is None:  # who was told to come has come meanwhile
            with suppress(ResultsUnavailable):
                await state.results.hand_out(run.id, state.executor.clock.wall_us())

    if identity is None:
        return await _run_or_rejoin(state, request, raw, order, keep)
    async with state.idempotency.claim(identity) as claim:
        if claim.kept is not None:
            return claim.kept
        return claim.run or claim.start(lambda: state.executor.start(order, keep))


async def _run_or_rejoin(
    state: State, request: Request, raw: bytes, order: Order, keep: Keep
) -> Run | KeptAnswer:
    """A new run, or the one that an earlier try of the same call has left waiting.

    Or its answer, where an earlier gateway had it.
    """
    if not order.parks:
        return state.executor.start(order, keep)
    away = state.executor.away
    if away.told or away.left:
        answered = await _told_before(state, call_scope(request.headers, order, raw))
        if answered is not None:
            return answered
    found = retry_scope(request.headers, order, raw)
    if found is None:
        return state.executor.start(order, keep)
    scope, count = found
    run = state.executor.rejoin(scope) if count else None
    if run is not None:
        return run
    grace_seconds = state.settings.server.disconnect_grace_seconds
    order = replace(order, retry_scope=scope, grace_seconds=grace_seconds)
    return state.executor.start(order, keep)


async def _told_before(state: State, call: str | None) -> Run | KeptAnswer | None:
    """What the caller of this call was told to come back for, and has not had."""
    if call is None:
        return None
    run, now_us = state.executor.rejoin_told(call), state.executor.clock.wall_us()
    try:
        if run is not None:
            if run.task.done():  # the next gateway must not give it out once more
                await state.results.hand_out(run.id, now_us)
            return run
        operation_id = state.executor.away.claim_left(call)
        return None if operation_id is None else await state.results.hand_out(operation_id, now_us)
    except ResultsUnavailable:
        logger.error("kept answers cannot be read or written")
        return run


def told_again(kept: KeptAnswer) -> dict[str, Any]:
    """What was kept, as the answer to a repeated call: it made no attempt, so it costs nothing."""
    told: dict[str, Any] = orjson.loads(kept.body)
    operation = told["operation"]
    operation["cost"] = {
        "total_usd": "0",
        "known_usd": "0",
        "status": "measured",
        "range_usd": None,
        "pending": [],
        "lines": [],
    }
    operation["attempts"] = []
    operation["replayed_from"] = operation["id"]
    return told


def frames_of(kept: KeptAnswer) -> bytes:
    """The events of a kept stream. Raises HttpError 422: it was too long to be kept."""
    if kept.frames is None:
        raise too_long()
    return kept.frames


def too_long() -> HttpError:
    """What a repeated call hears whose stream cannot be told from its beginning any more."""
    return HttpError(
        422,
        "answer_not_kept",
        "The answer to this Idempotency-Key was too long to be kept; take a new key to ask again.",
        param=HEADER,
    )
