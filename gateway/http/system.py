"""Models, health and metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from gateway.http.errors import HttpError
from gateway.http.json import json_response
from gateway.http.state import State, state_of
from gateway.ledger.layout import metrics_path

router = APIRouter()

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
    }
    # Without the shipper requests go on, and only reports grow old.
    ready = checks["accepting"] and checks["journal"]
    return json_response(
        {"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503
    )


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics: folds over the journal, and what lives right now."""
    state = state_of(request)
    state.keyring.admit(request.headers, "reports")
    folded = await asyncio.to_thread(_folded, state)
    return Response(folded + _live(state).encode(), media_type=METRICS_TYPE)


def _folded(state: State) -> bytes:
    try:
        return metrics_path(state.settings.server.data_dir).read_bytes()
    except FileNotFoundError:
        return b""  # nothing has been shipped yet


def _live(state: State) -> str:
    lines = [
        "# HELP gateway_operations_running Operations that live in this process.",
        "# TYPE gateway_operations_running gauge",
        f"gateway_operations_running {len(state.executor.runs)}",
        "# HELP gateway_journal_backlog_lines Lines that wait for room on the journal's volume.",
        "# TYPE gateway_journal_backlog_lines gauge",
        f"gateway_journal_backlog_lines {state.executor.journal.backlog}",
        "# HELP gateway_deployment_running Attempts running at a deployment.",
        "# TYPE gateway_deployment_running gauge",
    ]
    lines += [
        f'gateway_deployment_running{{deployment="{_label(name)}"}} {target.running}'
        for name, target in state.registry.targets.items()
    ]
    lines += [
        "# HELP gateway_deployment_queued Operations waiting for a place at a deployment.",
        "# TYPE gateway_deployment_queued gauge",
    ]
    lines += [
        f'gateway_deployment_queued{{deployment="{_label(name)}"}} {target.gate.queued}'
        for name, target in state.registry.targets.items()
    ]
    return "\n".join(lines) + "\n"


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
