"""Models, health and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.errors import HttpError
from gateway.http.json import json_response
from gateway.http.state import State, state_of
from gateway.ledger.layout import metrics_path
from gateway.ledger.shipping.lag import Lag
from gateway.telemetry import live

router = APIRouter()

_CATCH_UP_SECONDS = 0.5  # less than probes commonly wait for an answer
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/v1/models", response_class=Response)
async def models(request: Request) -> Response:
    """The models that the caller may ask for, in OpenAI's shape."""
    state = state_of(request)
    caller = state.keyring.admit(request.headers, "generate")
    created = state.started_at_us // 1_000_000
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": "gateway"}
        for name in state.routes.models
        if caller.models is None or name in caller.models
    ]
    return json_response({"object": "list", "data": data})


@router.get("/v1/models/{model:path}", response_class=Response)
async def model(request: Request, model: str) -> Response:
    """One configured model."""
    state = state_of(request)
    caller = state.keyring.admit(request.headers, "generate")
    hidden = caller.models is not None and model not in caller.models
    if hidden or model not in state.routes.models:
        raise HttpError(404, "model_not_found", "No model of this name is configured.")
    created = state.started_at_us // 1_000_000
    return json_response(
        {"id": model, "object": "model", "created": created, "owned_by": "gateway"}
    )


@router.get("/healthz", response_class=Response)
async def healthz() -> Response:
    """The process lives and its event loop turns."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_class=Response)
async def readyz(request: Request) -> Response:
    """Whether new operations are taken: not while draining or while nothing can be written down."""
    state = state_of(request)
    journal = state.executor.journal
    checks = {
        "accepting": not state.executor.draining,
        "journal": journal.accepts_work,
        "shipper": state.shipper.running,
        "database": await state.shipper.wait_for(journal.position(), _CATCH_UP_SECONDS),
    }
    # Without shipper or database requests go on, and only reports grow old.
    ready = checks["accepting"] and checks["journal"]
    return json_response(
        {"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503
    )


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics: folds over the journal, and what lives right now."""
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    folded, lag = await asyncio.to_thread(_from_files, state, dict(state.shipper.offsets))
    executor, shipper = state.executor, state.shipper
    now = live.Moment(
        at=executor.clock.monotonic(),
        started_at_us=state.started_at_us,
        operations=len(executor.runs),
        backlog_lines=executor.journal.backlog,
        lag=lag,
        shipper_running=shipper.running,
        shipper_restarts=shipper.restarts,
        targets=state.registry.targets.values(),
        budgets=await state.budgets.report(),
    )
    return Response(folded + live.exposition(now), media_type=METRICS_TYPE)


def _from_files(state: State, shipped: Mapping[str, int]) -> tuple[bytes, Lag]:
    try:
        folded = metrics_path(state.settings.server.data_dir).read_bytes()
    except FileNotFoundError:
        folded = b""  # nothing has been shipped yet
    return folded, state.lag.measure(shipped)
