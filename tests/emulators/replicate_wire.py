"""What the emulated Replicate says: its scenarios, its refusals and the shapes of its answers.

Sources as in ``tests/emulators/replicate.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.responses import JSONResponse, Response

from providers.testing.scenarios import (
    ANSWER,
    INPUT_TOKENS,
    LATE_SECONDS,
    OUTPUT_TOKENS,
    RETRY_AFTER_SECONDS,
    UNKNOWN_STATUS,
)
from tests.emulators.replicate_world import (
    FOREVER_SECONDS,
    Deployed,
    Made,
    Model,
    World,
    stamp,
    version_of,
)

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")

PAGE = 100  # predictions.list: "100 records per page"
KEPT = timedelta(hours=1)  # input, output and log; predictions.get
PIECES = tuple(ANSWER[start : start + 5] for start in range(0, len(ANSWER), 5))
COUNTS = {"input_token_count": INPUT_TOKENS, "output_token_count": OUTPUT_TOKENS}
WARM = Model(pieces=PIECES, always_warm=True, metrics=COUNTS)
COLD = replace(WARM, always_warm=False)
INTERRUPTED = "Prediction interrupted; please retry (code: PA)"  # a real one
FILES = "https://replicate.delivery/xezq/emulated"

MODELS: dict[str, Model] = {
    "warm": WARM,
    "cold": COLD,
    "queued": replace(WARM, dispatch_seconds=3.0),
    "unknown-status": replace(WARM, odd_status=UNKNOWN_STATUS, execute_seconds=60.0),
    "clock-skew": replace(WARM, skew_seconds=-2.3),  # as far as a recorded one has it
    "split-frames": replace(WARM, frames="bytes"),
    "slow-first-delta": replace(WARM, execute_seconds=60.0),
    "usage-missing": replace(WARM, metrics={}),
    "usage-zero": replace(WARM, pieces=(), metrics={**COUNTS, "output_token_count": 0}),
    "huge-frame": replace(WARM, pieces=("x" * 10_000_000,)),
    "content-refused": replace(
        WARM, pieces=(), error="NSFW content detected. Try running it again, or try another prompt."
    ),
    "job-fails": replace(WARM, pieces=(), error="CUDA out of memory. (E1001)"),
    "error-in-200": replace(WARM, pieces=None, error="boom", execute_seconds=0, dispatch_seconds=0),
    "error-frame-mid-stream": replace(
        WARM, pieces=PIECES[:2], error="list index out of range", execute_seconds=100.0
    ),
    "dies-mid-stream": replace(
        WARM, pieces=PIECES[:2], cuts=(2, 0, 0, 0), error=INTERRUPTED, execute_seconds=100.0
    ),
    "malformed-frame": replace(WARM, frames="broken", execute_seconds=600.0),
    "never-answers": replace(COLD, boot_seconds=FOREVER_SECONDS),
    "never-boots": replace(COLD, boot_seconds=FOREVER_SECONDS),
    "slow-create": replace(
        WARM, create_seconds=LATE_SECONDS * 1000, execute_seconds=FOREVER_SECONDS
    ),
    "stalls": replace(WARM, pieces=PIECES[:1], piece_seconds=1.0, execute_seconds=FOREVER_SECONDS),
    "image": Model(
        output=[f"{FILES}/out-0.webp", f"{FILES}/out-1.webp"], metrics={"image_count": 2}
    ),
}
REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "bad-key": (401, {"title": "Unauthenticated", "detail": "Invalid or expired API token."}),
    "no-such-model": (404, {"detail": "The requested resource could not be found."}),
    "invalid-request": (
        422,
        {
            "title": "Input validation failed",
            "detail": "- input.temperature: Must be less than or equal to 5\n",
            "invalid_fields": [{"type": "number_lte", "field": "input.temperature"}],
        },
    ),
    "out-of-quota": (
        402,
        {"title": "Insufficient credit", "detail": "You have insufficient credit."},
    ),
    "rate-limited": (
        429,
        {
            "detail": "Request was throttled. Your rate limit resets in ~7s.",
            "retry_after": int(RETRY_AFTER_SECONDS),
        },
    ),
    "rate-limited-no-header": (429, {"detail": "Request was throttled."}),
    "rate-limited-in-words": (
        429,
        {"detail": "Request was throttled. Expected available in 1 second."},
    ),
    "no-capacity": (503, {"detail": "Service unavailable"}),
}


def problem(status: int, body: dict[str, Any]) -> Response:
    """A refusal, as a problem document."""
    return JSONResponse({**body, "status": status}, status)


def invalid(field: str, description: str) -> dict[str, Any]:
    """The body of a 422 about the input."""
    return {
        "title": "Input validation failed",
        "detail": f"- {description}\n",
        "invalid_fields": [{"type": "invalid", "field": field, "description": description}],
    }


def wrong_input(model: Model, given: dict[str, Any]) -> str | None:
    """Why an input does not fit the model's schema."""
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
    }
    for name in model.required:
        if name not in given:
            return f"{name} is required"
    for name, value in given.items():
        kind = model.inputs.get(name, {}).get("type")
        if kind in kinds and not isinstance(value, kinds[kind]):
            return f"{name}: Invalid type. Expected: {kind}"
    return None


def duration_seconds(text: str) -> float | None:
    """``90s``, ``1h30m45s``, ``30``; None for anything else."""
    found = DURATION.fullmatch(text)
    if found is None or not text:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


def schema_of(model: Model) -> dict[str, Any]:
    """The model's ``openapi_schema``, as far as anybody reads it."""
    output: dict[str, Any] = {"title": "Output"}
    if model.pieces is not None:
        output |= {
            "type": "array",
            "items": {"type": "string"},
            "x-cog-array-type": "iterator",
            "x-cog-array-display": "concatenate",
        }
    schemas = {
        "Input": {
            "type": "object",
            "title": "Input",
            "required": list(model.required),
            "properties": {name: dict(kind) for name, kind in model.inputs.items()},
        },
        "Output": output,
    }
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "components": {"schemas": schemas},
    }


def shown_deployment(place: str, deployed: Deployed) -> dict[str, Any]:
    """A deployment; nothing says how many of its machines are up."""
    owner, _, name = place.partition("/")
    return {
        "owner": owner,
        "name": name,
        "current_release": {
            "number": deployed.release,
            "model": deployed.model,
            "version": version_of(deployed.model),
            "created_at": "2026-11-01T00:00:00.000Z",
            "created_by": {"type": "organization", "username": owner, "name": owner},
            "configuration": {
                "hardware": deployed.hardware,
                "min_instances": deployed.min_instances,
                "max_instances": deployed.max_instances,
            },
        },
    }


def shown_prediction(world: World, made: Made, url: str) -> dict[str, Any]:
    """A prediction as it stands now. What is not reached yet is absent."""
    model, status, now = made.model, world.status_of(made), world.now
    shown: dict[str, Any] = {
        "id": made.id,
        "model": made.name,
        "version": "hidden" if model.official else version_of(made.name),
        "input": made.input,
        "output": None,
        "logs": "",
        "error": None,
        "status": status,
        "source": "api",
        "data_removed": False,
        "created_at": stamp(made.created, 3),
        "urls": {
            "get": f"{url}/v1/predictions/{made.id}",
            "cancel": f"{url}/v1/predictions/{made.id}/cancel",
            "web": f"https://replicate.com/p/{made.id}",
        },
    }
    if model.pieces is not None:
        shown["urls"]["stream"] = model.stream_url or f"{url}/v1/files/{made.id}"
        come = [piece for i, piece in enumerate(model.pieces) if made.piece_at(i) <= now]
        shown["output"] = come or None
    if made.deployment is not None:
        shown["deployment"] = made.deployment
    if made.deadline is not None:
        shown["deadline"] = made.deadline
    if made.started is not None and now >= made.started:
        shown["started_at"] = stamp(_shifted(made.started, model), 9)
    if now >= made.completed:
        shown["completed_at"] = stamp(_shifted(made.completed, model), 9)
        total = (made.completed - made.created).total_seconds() + model.skew_seconds
        shown["metrics"] = {"total_time": total}
        if made.started is not None:
            shown["metrics"] |= {"predict_time": made.execute_seconds, **model.metrics}
        if made.status == "failed":
            shown["error"] = model.error
        if made.status == "succeeded":
            shown["output"] = list(model.pieces) if model.pieces is not None else model.output
    if now - KEPT >= made.completed:
        shown |= {"input": {}, "output": None, "logs": "", "data_removed": True}
    return shown if model.record is None else _as_recorded(shown, model.record)


def listed(world: World, url: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of all predictions, newest first: 100, and the addresses of the pages beside it.

    The cursor is opaque; here it says how many come before, and the bounds that were given.
    """
    asked = dict(parse_qsl(unquote(query["cursor"]))) if "cursor" in query else dict(query)
    first = int(asked.pop("first", 0))
    bounds = {
        name: datetime.fromisoformat(asked[name])
        for name in ("created_after", "created_before")
        if name in asked
    }
    after, before = bounds.get("created_after"), bounds.get("created_before")
    found = [
        made
        for made in reversed(world.made.values())
        if (after is None or made.created > after)
        and (before is None or made.created < before)
        and (world.list_begins is None or made.created >= world.list_begins)
    ]

    def page(at: int) -> str | None:
        if not 0 <= at < len(found):
            return None
        return f"{url}/v1/predictions?" + urlencode({"cursor": urlencode({**asked, "first": at})})

    return {
        "previous": page(first - PAGE) if first else None,
        "next": page(first + PAGE),
        "results": [
            shown_prediction(world, made, url)
            | ({"deployment": made.deployment} if made.deployment else {})
            for made in found[first : first + PAGE]
        ],
    }


def _as_recorded(shown: dict[str, Any], record: Any) -> dict[str, Any]:
    """A real prediction's own stamps and metrics, at the moments when they would be there."""
    shown["created_at"] = record["created_at"]
    if "started_at" in shown:
        shown["started_at"] = record["started_at"]
        if (record["started_at"] or "") > (record["completed_at"] or "9"):
            shown["started_at"] = record["created_at"]  # it was overwritten after the end
    if "completed_at" in shown:
        shown |= {name: record.get(name) for name in ("completed_at", "metrics", "error")}
        shown["started_at"] = record.get("started_at")
        shown["output"] = record.get("output")
    return shown


def _shifted(at: datetime, model: Model) -> datetime:
    return at + timedelta(seconds=model.skew_seconds)
