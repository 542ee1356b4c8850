"""From a finished run to what its caller is told."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import Response

from gateway.execution.run import Run
from gateway.http.errors import HttpError, error_json, error_response
from gateway.ledger.reports import views

_UNIONS = ("input", "content", "stop")  # fields that take one of several types
_LONGEST_NAME = 100  # of a caller's own names, in an error


def rejection(error: ValidationError) -> HttpError:
    """The most telling fault of a body, by name and without its value."""
    fault = _most_telling(
        error.errors(include_url=False, include_input=False, include_context=False)
    )
    kind, place = fault["type"], fault["loc"]
    if kind == "json_invalid":
        return HttpError(400, "invalid_json", "The request body is not valid JSON.")
    if not place:
        return HttpError(400, "invalid_value", "The request body must be a JSON object.")
    param = _param(place)
    if kind == "extra_forbidden":
        return HttpError(400, "unknown_field", f"Unknown field {param!r}.", param=param)
    code = "missing_field" if kind == "missing" else "invalid_value"
    said = "Input should be an object" if kind == "model_type" else fault["msg"]
    return HttpError(400, code, f"{param}: {said}.", param=param)


def _most_telling(faults: list[ErrorDetails]) -> ErrorDetails:
    """Of a union's faults the one about the member that was meant: not "this is no string"."""
    field = faults[0]["loc"][:1]
    about = [fault for fault in faults if fault["loc"][:1] == field]
    meant = [
        fault for fault in about if fault["type"] not in ("string_type", "list_type", "dict_type")
    ]
    return max(meant or about, key=lambda fault: len(fault["loc"]))


def _param(place: tuple[int | str, ...]) -> str:
    """A place in the caller's JSON; members of unions and "[key]" are no part of it."""
    parts = [
        str(part)[:_LONGEST_NAME]
        for i, part in enumerate(place)
        if isinstance(part, int) or not (i and (part == "[key]" or place[i - 1] in _UNIONS))
    ]
    return ".".join(parts)


def operation_json(run: Run) -> dict[str, Any]:
    """The whole answer: what was made, and what it cost and waited."""
    told: dict[str, Any] = {}
    for name, value in views.operation_json(run.rows).items():
        if name == "finish_reason":
            told["output"] = run.answer.outputs()
        told[name] = value
    return told


def run_error_json(run: Run, failure: BaseException | None = None) -> dict[str, Any]:
    """The error body of a failed run, with what the failure cost; ``failure`` in other words."""
    failure = failure or run.failure
    assert failure is not None
    return error_json(failure, operation_id=run.id, cost=_cost_json(run))


def failure_response(run: Run, failure: BaseException | None = None) -> Response:
    """The error answer of a failed run."""
    failure = failure or run.failure
    assert failure is not None
    return error_response(failure, operation_id=run.id, cost=_cost_json(run))


def _cost_json(run: Run) -> dict[str, Any] | None:
    return views.operation_cost_json(run.rows) if run.rows else None


def headers_of(operation: dict[str, Any]) -> dict[str, str]:
    """What an unstreamed answer also says in its headers."""
    cost, timing = operation["cost"], operation["timing"]
    headers = {
        "x-request-id": operation["id"],
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
