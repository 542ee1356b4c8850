"""What happened and what it cost: operations, costs, cold starts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from gateway.clock import rfc3339
from gateway.execution.run import Run
from gateway.execution.sofar import so_far_json
from gateway.http.doors import Caller
from gateway.http.errors import HttpError
from gateway.http.held import held_by_deployment, held_json
from gateway.http.json import json_response
from gateway.http.parameters import (
    CHARGES,
    COLD_STARTS,
    COSTS,
    DEFAULT_DAYS,
    DEFAULT_LIMIT,
    OPERATIONS,
    Parameter,
    once,
)
from gateway.http.state import State, state_of
from gateway.ledger.errors import BadQuery
from gateway.ledger.reports import views
from gateway.ledger.reports.query import MOST_ROWS, ReportQuery, duration_us
from gateway.ledger.reports.reports import Reports
from gateway.ledger.reports.row_filters import OF_CHARGES, OF_OPERATIONS
from gateway.settings import Scope

router = APIRouter()

_DEFAULT_SPAN = timedelta(days=DEFAULT_DAYS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WAIT_SECONDS = 1.0
_LIMIT = re.compile(r"[0-9]{1,4}")


@router.get("/v1/operations", response_class=Response)
async def operations(request: Request) -> Response:
    """Operations, newest first; a key sees its own.

    A page may have fewer than ``limit``, or none: go on until ``next_cursor`` is null. Operations
    that the gateway holds back have no attempt yet, and so no row: ``held`` counts them, whatever
    the filters and the range.
    """
    return await _report(
        request,
        lambda reports, query: reports.operations(query),
        OPERATIONS,
        only=OF_OPERATIONS,
        now=lambda state, caller: {
            "held": held_by_deployment(state.executor.runs.values(), caller.sees_only)
        },
    )


@router.get("/v1/charges", response_class=Response)
async def charges(request: Request) -> Response:
    """Money that belongs to no single attempt, newest first.

    Idle and standing machines, keep-warm, fees, adjustments: each has its period, the rule by which
    it is allocated, and the attempt that it is for, if any. Pages as those of operations.
    """
    return await _report(
        request,
        lambda reports, query: reports.charges(query),
        CHARGES,
        only=OF_CHARGES,
        scopes=("reports",),
    )


@router.get("/v1/costs", response_class=Response)
async def costs(request: Request) -> Response:
    """What was spent, by ``group_by`` and ``bucket_width``; unknown is never 0."""
    return await _report(request, lambda reports, query: reports.costs(query), COSTS)


@router.get("/v1/cold-starts", response_class=Response)
async def cold_starts(request: Request) -> Response:
    """How cold it was: verdicts with their evidence, boots, seconds.

    ``by`` splits it by ``hour`` or ``idle_gap`` as well. ``against`` (7d) explains what the cold
    rate is more or less than in so long a time before; the range is then as long, unless it is
    given.
    """
    against = request.query_params.get("against")

    def read(reports: Reports, query: ReportQuery) -> dict[str, Any]:
        found = reports.cold_starts(query)
        if against is not None:
            found["explanation"] = reports.explanation(query, duration_us(against))
        return found

    return await _report(request, read, COLD_STARTS)


@router.get("/v1/operations/{operation_id}", response_class=Response)
async def operation(request: Request, operation_id: str) -> Response:
    """One operation, running or ended; with its output where that was kept."""
    state = state_of(request)
    caller = state.keyring.admit(request.headers, "generate", "reports")
    kept = await state.results.find(operation_id, state.executor.clock.wall_us())
    try:
        found = await find_operation(state, caller, operation_id)
    except HttpError as error:
        if error.status != 404 or kept is None or not _may_see(caller, kept.key_id):
            raise
        found = {"id": operation_id, "status": "failed"}  # it ended before it had an attempt
    # Who may see what was spent need not see what was said.
    if kept is not None and _may_have(caller, kept.key_id):
        said = orjson.loads(kept.body)
        told = said["operation"] if "operation" in said else said
        found |= {name: told[name] for name in ("output", "error") if name in told}
    return json_response(found)


@router.delete("/v1/operations/{operation_id}", response_class=Response, status_code=204)
async def erase(request: Request, operation_id: str) -> Response:
    """Erase a kept output, and stop the operation if it still runs. What it cost stays."""
    state = state_of(request)
    caller = state.keyring.admit(request.headers, "generate")
    run = state.executor.runs.get(operation_id)
    if run is not None and _may_see(caller, run.order.key_id):
        _check_owner(caller, run.order.key_id)
        run.cancel("on request")
        await run.wait()
    else:
        kept = await state.results.find(operation_id, state.executor.clock.wall_us())
        if kept is None or not _may_see(caller, kept.key_id):
            await find_operation(state, caller, operation_id)
            return Response(status_code=204)  # nothing is kept of it
        _check_owner(caller, kept.key_id)
    await state.results.erase(operation_id)
    return Response(status_code=204)


@router.post("/v1/operations/{operation_id}/cancel", response_class=Response)
async def cancel(request: Request, operation_id: str) -> Response:
    """Stop a running operation; one that has ended is answered as it is."""
    state = state_of(request)
    caller = state.keyring.admit(request.headers, "generate")
    run = state.executor.runs.get(operation_id)
    if run is None or not _may_see(caller, run.order.key_id):
        return json_response(await find_operation(state, caller, operation_id))
    _check_owner(caller, run.order.key_id)
    run.cancel("on request")
    await run.wait()
    # One that had no attempt yet leaves no row; the others' rows may not be in the database yet.
    return json_response(views.operation_json(run.rows) if run.rows else live_operation(run))


async def find_operation(state: State, caller: Caller, operation_id: str) -> dict[str, Any]:
    """An operation as its caller may see it. Raises HttpError 404."""
    run = state.executor.runs.get(operation_id)
    if run is not None and _may_see(caller, run.order.key_id):
        choice = run.choice()
        told = {**live_operation(run), "so_far": so_far_json(run)}
        for name, value in (("held", held_json(run)), ("candidates", choice)):
            if value is not None:
                told[name] = value
        return told
    fresh = await caught_up(state)
    found = await asyncio.to_thread(state.reports().operation, operation_id, caller.sees_only)
    if found is not None:
        return found
    if not fresh:
        raise HttpError(
            503,
            "ledger_behind",
            "The ledger's database is behind; the operation may be there in a moment.",
            retry_after_seconds=1.0,
        )
    raise HttpError(404, "operation_not_found", "No such operation.", param="operation_id")


def live_operation(run: Run) -> dict[str, Any]:
    """What can be said of one that runs."""
    return {
        "id": run.id,
        "model": run.order.plan.model,
        "status": run.status,
        "created_at": rfc3339(run.received_at_us),
    }


async def _report(
    request: Request,
    read: Callable[[Reports, ReportQuery], dict[str, Any]],
    takes: Sequence[Parameter],
    only: Sequence[str] = (),
    scopes: Sequence[Scope] = ("generate", "reports"),
    now: Callable[[State, Caller], dict[str, Any]] = lambda state, caller: {},
) -> Response:
    state = state_of(request)
    caller = state.keyring.admit(request.headers, *scopes)
    try:
        query = query_of(request.query_params, caller, takes, only)
        fresh = await caught_up(state)
        answer = await asyncio.to_thread(read, state.reports(), query)
    except BadQuery as error:
        raise HttpError(400, "invalid_value", error.message, param=error.param) from None
    if not fresh:
        answer["as_of"] = await asyncio.to_thread(state.reports().as_of)
    return json_response({**answer, **now(state, caller)})


def query_of(
    params: QueryParams,
    caller: Caller,
    takes: Sequence[Parameter] = COSTS,
    only: Sequence[str] = (),
) -> ReportQuery:
    """A report's query from its URL; ``only``: filters of rows that it takes.

    What is neither among these nor among ``takes`` is a filter.

    Raises BadQuery naming the parameter.
    """
    once(params, takes)
    names = {known.name for known in takes}
    against = params.get("against") if "against" in names else None
    span = _DEFAULT_SPAN if against is None else timedelta(microseconds=duration_us(against))
    start_at_us, end_at_us = range_of(params, span)
    return ReportQuery(
        start_at_us=start_at_us,
        end_at_us=end_at_us,
        bucket_width=params.get("bucket_width", "all"),
        time_zone=params.get("time_zone", "UTC"),
        group_by=tuple(params.getlist("group_by")),
        filters=filters_of(params, {*names, *only}),
        limit=_limit(params),
        cursor=params.get("cursor"),
        key_id=caller.sees_only,
        by=tuple(params.getlist("by")) if "by" in names else (),
        without=tuple(params.getlist("without")) if "without" in names else (),
        only={name: tuple(params.getlist(name)) for name in only if name in params},
    )


def filters_of(params: QueryParams, names: Set[str]) -> dict[str, tuple[str, ...]]:
    """All that is not one of ``names``, by name: which of it is no filter, ReportQuery says."""
    return {
        name: tuple(params.getlist(name)) for name in dict.fromkeys(params) if name not in names
    }


def range_of(params: QueryParams, span: timedelta = _DEFAULT_SPAN) -> tuple[int, int]:
    """Start and end in microseconds since the epoch; the last ``span``. Raises BadQuery."""
    end = _instant(params, "end_time") or datetime.now(UTC)
    start = _instant(params, "start_time") or max(end, _EPOCH + span) - span
    return _micros(start), _micros(end)


def _limit(params: QueryParams) -> int:
    text = params.get("limit", str(DEFAULT_LIMIT))
    if _LIMIT.fullmatch(text) is None or not 1 <= int(text) <= MOST_ROWS:
        raise BadQuery("limit", f"limit is a number from 1 to {MOST_ROWS}.")
    return int(text)


def _instant(params: QueryParams, name: str) -> datetime | None:
    text = params.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuery(name, f"{name} is an RFC 3339 time, 2026-11-23T00:00:00Z say.") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)


async def caught_up(state: State) -> bool:
    """Wait, not for long, until the rows of all that has ended are in the database."""
    return await state.shipper.wait_for(state.executor.journal.position(), _WAIT_SECONDS)


def _check_owner(caller: Caller, key_id: str | None) -> None:
    if not _may_have(caller, key_id):
        message = "Another key's work is stopped and erased by 'admin' only."
        raise HttpError(403, "missing_scope", message)


def _may_have(caller: Caller, key_id: str | None) -> bool:
    return caller.key_id == key_id or caller.may("admin")


def _may_see(caller: Caller, key_id: str | None) -> bool:
    return caller.sees_only is None or caller.sees_only == key_id
