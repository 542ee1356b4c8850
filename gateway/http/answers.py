"""From a finished run to what its caller is told."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from gateway.execution import Run
from gateway.http.errors import HttpError, error_json, error_response
from gateway.http.state import State
from gateway.ledger import views
from gateway.registry import Target
from gateway.routing import Plan, UnknownModel


def plan_for(state: State, model: str, max_output_tokens: int | None, param: str) -> Plan[Target]:
    """Where a request may go. Raises HttpError: an unknown model, or more than a limit allows."""
    try:
        plan = state.routes.resolve(model)
    except UnknownModel:
        raise HttpError(
            404, "model_not_found", "No model of this name is configured.", param="model"
        ) from None
    if max_output_tokens is not None:
        for target in plan.targets:
            limit = target.limits.max_output_tokens
            if limit is not None and max_output_tokens > limit:
                raise HttpError(
                    400,
                    "max_output_tokens_too_large",
                    f"This model gives at most {limit} output tokens.",
                    param=param,
                )
    return plan


def rejection(error: ValidationError) -> HttpError:
    """The first fault of a body, by name and without its value."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Members of a union are types, not parts of the caller's JSON.
    parts = [str(part) for part in fault["loc"] if not _is_union_member(part)]
    param = ".".join(parts) or None
    if fault["type"] == "json_invalid":
        return HttpError(400, "invalid_json", "The request body is not valid JSON.")
    if fault["type"] == "extra_forbidden":
        return HttpError(400, "unknown_field", f"Unknown field {param!r}.", param=param)
    code = "missing_field" if fault["type"] == "missing" else "invalid_value"
    where = f"{param}: " if param else ""
    return HttpError(400, code, f"{where}{fault['msg']}.", param=param)


def _is_union_member(part: int | str) -> bool:
    return isinstance(part, str) and (
        "[" in part or part in ("str", "constrained-str", "list", "dict")
    )


def operation_json(run: Run) -> dict[str, Any]:
    """The whole answer: what was made, and what it cost and waited."""
    told: dict[str, Any] = {}
    for name, value in views.operation_json(run.rows).items():
        if name == "finish_reason":
            told["output"] = run.answer.outputs()
        told[name] = value
    return told


def run_error_json(run: Run) -> dict[str, Any]:
    """The error body of a failed run, with what the failure cost."""
    assert run.failure is not None
    cost = views.operation_cost_json(run.rows) if run.rows else None
    return error_json(run.failure, operation_id=run.id, cost=cost)


def failure_response(run: Run) -> Response:
    """The error answer of a failed run."""
    assert run.failure is not None
    cost = views.operation_cost_json(run.rows) if run.rows else None
    return error_response(run.failure, operation_id=run.id, cost=cost)


def headers_of(run: Run, operation: dict[str, Any]) -> dict[str, str]:
    """What an unstreamed answer also says in its headers."""
    cost, timing = operation["cost"], operation["timing"]
    headers = {
        "x-request-id": run.id,
        "x-gateway-provider": operation["provider"],
        "x-gateway-cost-status": cost["status"],
        "x-gateway-cold-start": operation["cold_start"]["verdict"],
        "server-timing": server_timing(timing),
    }
    if cost["total_usd"] is not None:
        headers["x-gateway-cost-usd"] = cost["total_usd"]
    return headers


def server_timing(timing: dict[str, Any]) -> str:
    """The ``Server-Timing`` header, in milliseconds as that standard wants."""
    return ", ".join(
        f"{name.removesuffix('_seconds')};dur={seconds * 1000:.1f}"
        for name, seconds in timing.items()
        if seconds is not None
    )
