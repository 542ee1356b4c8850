"""What each upstream is taken to say: one set of rows for the emulator and for the service itself.

A row names an exchange and the type of each field: ``string|null``; a trailing ``?`` means that it
may be missing; ``any`` is anything. A place that ends in ``.*`` stands for whatever is below it. In
streams a place begins with the event's name. ``differences`` are failures: what is said to be
always there is missing, or has another type. ``unlisted`` is what nobody here has heard of: it
fails against an emulator, and is printed of a live service, whose answers may grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.live.recording import Exchange

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """Answers to one call. ``path``: a regular expression for its end, where ids are ``*``."""

    method: str
    path: str
    fields: Fields
    statuses: tuple[int, ...] = (200,)
    streamed: bool | None = None  # None: however it came

    def fits(self, exchange: Exchange) -> bool:
        return (
            exchange.method == self.method
            and exchange.status in self.statuses
            and self.streamed in (None, exchange.streamed)
            and re.search(f"{self.path}$", exchange.path) is not None
        )


def row_for(rows: Sequence[Row], exchange: Exchange) -> Row | None:
    return next((row for row in rows if row.fits(exchange)), None)


def differences(rows: Sequence[Row], exchanges: Sequence[Exchange]) -> list[str]:
    """Where an answer is not as its row says, in words."""
    found = set()
    for exchange in exchanges:
        row = row_for(rows, exchange)
        if row is None:
            continue
        where = f"{row.method} {row.path}"
        for place, said in row.fields.items():
            kinds = said.removesuffix("?")
            optional = said.endswith("?") or not exchange.complete
            if place not in exchange.shape and not place.endswith(".*"):
                parent = _parent(place)
                if not optional and (parent is None or "object" in exchange.shape.get(parent, ())):
                    found.add(f"{where}: {place or 'the answer'} is missing")
            other = exchange.shape.get(place, set()) - set(kinds.split("|"))
            if kinds != "any" and other:
                found.add(f"{where}: {place or 'the answer'} is {'|'.join(sorted(other))}")
    return sorted(found)


def unlisted(rows: Sequence[Row], exchanges: Sequence[Exchange]) -> list[str]:
    """What no row speaks of."""
    found = set()
    for exchange in exchanges:
        row = row_for(rows, exchange)
        if row is None:
            found.add(f"{exchange.method} {exchange.path} {exchange.status}")
            continue
        for place in exchange.shape:
            if not _listed(place, row.fields):
                found.add(f"{row.method} {row.path}: {place}")
    return sorted(found)


def _listed(place: str, known: Fields) -> bool:
    if place in known or ".*" in known:
        return True
    below = [name.removesuffix(".*") for name in known if name.endswith(".*")]
    return any(re.match(re.escape(name) + r"(\.|\[|$)", place) for name in below)


def _parent(place: str) -> str | None:
    """The object that a field stands in; None: the answer itself."""
    return place.rpartition(".")[0] or None


PREDICTION: Fields = {
    "": "object",
    "id": "string",
    "status": "string",
    "model": "string",
    "version": "string",
    "input": "object?",
    "input.*": "any",
    "output": "string|array|object|number|null?",
    "output.*": "any",
    "logs": "string|null?",
    "error": "string|null?",
    "source": "string?",
    "data_removed": "boolean?",
    "created_at": "string",
    "started_at": "string|null?",
    "completed_at": "string|null?",
    "deadline": "string|null?",
    "deployment": "string?",
    "metrics": "object|null?",
    "metrics.total_time": "number?",
    "metrics.predict_time": "number?",
    "metrics.*": "number",
    "urls": "object",
    "urls.get": "string",
    "urls.cancel": "string",
    "urls.web": "string?",
    "urls.stream": "string?",
}
REFUSED: Fields = {"": "object", "detail": "string", "title": "string?", "status": "number?"}
REPLICATE = (
    Row("POST", "/cancel", PREDICTION),
    Row("POST", "/predictions", PREDICTION, (200, 201, 202)),
    Row("POST", "/predictions", REFUSED, (401,)),
    Row("GET", r"/models/[^/]+/[^/]+", REFUSED, (401,)),
    Row("GET", r"/predictions/[^/]+", PREDICTION),
    Row(
        "GET", r"/files/[^/]+", {"output": "text|any", "done": "object?", "done.reason": "string?"}
    ),
    Row(
        "GET",
        r"/models/[^/]+/[^/]+",
        {
            "": "object",
            "owner": "string",
            "name": "string",
            "latest_version": "object",
            "latest_version.openapi_schema": "object",
            "latest_version.openapi_schema.components.schemas.Input.properties": "object",
            "latest_version.*": "any",
            **dict.fromkeys(("url", "visibility", "run_count"), "any?"),
        },
    ),
)

COUNTS: Fields = {
    "usage": "object|null?",
    "usage.prompt_tokens": "number",
    "usage.completion_tokens": "number",
    "usage.total_tokens": "number",
    "usage.*": "any",
}
WHOLE: Fields = {
    "": "object",
    "id": "string",
    "object": "string",
    "created": "number",
    "model": "string",
    "choices": "array",
    "choices[].index": "number",
    "choices[].finish_reason": "string|null",
    "choices[].message": "object",
    "choices[].message.role": "string",
    "choices[].message.content": "string|null",
    "choices[].message.*": "any",
    "choices[].logprobs": "object|null?",
    "choices[].logprobs.*": "any",
    "choices[].*": "any",
    "system_fingerprint": "string|null?",
    "service_tier": "string|null?",
    **COUNTS,
}
CHUNK: Fields = {
    "message": "object|text",  # [DONE] is text
    "message.id": "string",
    "message.object": "string",
    "message.created": "number",
    "message.model": "string",
    "message.choices": "array",
    "message.choices[].index": "number",
    "message.choices[].finish_reason": "string|null?",
    "message.choices[].delta": "object",
    "message.choices[].delta.role": "string?",
    "message.choices[].delta.content": "string|null?",
    "message.choices[].delta.*": "any",
    "message.choices[].*": "any",
    "message.system_fingerprint": "string|null?",
    "message.service_tier": "string|null?",
    **{f"message.{name}": said for name, said in COUNTS.items()},
}
ERROR: Fields = {"": "object|text|string", "error": "object|string?", "error.*": "any"}
CHAT = (
    Row("POST", "/chat/completions", WHOLE, streamed=False),
    Row("POST", "/chat/completions", CHUNK, streamed=True),
    Row("POST", "/chat/completions", ERROR, (401, 403)),
)

LOOKS: Fields = {"": "any", **dict.fromkeys(("models.*", "data.*", "metrics.*"), "any")}
# Of llama.cpp the first two, of vLLM and NIM the last.
TIMES: Fields = dict.fromkeys(("timings.*", "prompt_progress.*", "metrics.*"), "any")
GPU_SERVER = (
    Row("POST", "/chat/completions", {**WHOLE, **TIMES}, streamed=False),
    Row(
        "POST",
        "/chat/completions",
        {**CHUNK, **{f"message.{name}": said for name, said in TIMES.items()}},
        streamed=True,
    ),
    *CHAT,
    Row("GET", r"/is_sleeping", {"": "object", "is_sleeping": "boolean"}),
    # llama.cpp says all of its settings there; one of them is read.
    Row("GET", "/props", {"": "object", "is_sleeping": "boolean?", ".*": "any"}),
    Row(
        "GET",
        r"/(health|ready|v1/health/(live|ready))",
        {"": "any?", "status": "string?"},
        (200, 503),
    ),
    Row("GET", r"/(is_sleeping|metrics|props|ready|v1/metrics)", ERROR, (404, 501)),
    Row("GET", r"/(v1/)?(models|metrics|info)", LOOKS),
)
OLLAMA = (
    Row(
        "POST",
        "/api/chat",
        {
            "": "object",
            "model": "string",
            "created_at": "string",
            "message": "object?",
            "message.role": "string",
            "message.content": "string",
            "message.thinking": "string?",
            "done": "boolean",
            "done_reason": "string?",
            "total_duration": "number?",
            "load_duration": "number?",
            "prompt_eval_count": "number?",
            "prompt_eval_duration": "number?",
            "eval_count": "number?",
            "eval_duration": "number?",
        },
    ),
    Row(
        "GET",
        "/api/ps",
        {
            "": "object",
            "models": "array",
            "models[].name": "string",
            "models[].model": "string",
            "models[].expires_at": "string",
            "models[].size_vram": "number",
            "models[].*": "any",
        },
    ),
    Row("POST", "/api/chat", ERROR, (401,)),
    Row("GET", "/api/(ps|version)", ERROR, (401,)),
)
# A handler's output, and what it yields, have whatever form they have.
JOB: Fields = {
    "": "object",
    "id": "string",
    "status": "string",
    "delayTime": "number?",
    "executionTime": "number?",
    "workerId": "string?",
    "error": "string?",
    "output": "any?",
    "output.*": "any",
}
RUNPOD = (
    Row("POST", "/v2/[^/]+/run", JOB),
    Row("GET", "/v2/[^/]+/status/[^/]+", JOB),
    Row("POST", "/v2/[^/]+/cancel/[^/]+", JOB),
    Row(
        "GET",
        "/v2/[^/]+/stream/[^/]+",
        {
            "": "object",
            "status": "string",
            "stream": "array?",
            "stream[]": "object?",
            "stream[].output": "any",
            "stream[].output.*": "any",
        },
    ),
    Row("POST", "/v2/[^/]+/run", {"": "any", ".*": "any"}, (401,)),
    Row(
        "GET",
        "/v2/serverless/[^/]+/workers",
        {
            "": "object",
            "workers": "array",
            "workers[]": "object?",
            "workers[].id": "string",
            "workers[].status": "string",
            "workers[].startedAt": "string|null?",
            "workers[].*": "any",
            "summary": "object?",
            "summary.*": "number",
            "endpointVersion": "number|null?",
        },
    ),
)
# The handler's own answer has whatever form it has; the status is the server's.
POTASSIUM = (
    Row(
        "GET",
        "/_k/status",
        {
            "": "object",
            "gpu_available": "boolean",
            "sequence_number": "number",
            "idle_time": "number",
            "inference_time": "number",
        },
    ),
    Row("POST", r"/[^/]*", {"": "any", ".*": "any"}),
)
MODAL = (
    Row(
        "SDK",
        "/find",
        {
            "": "object",
            "yields": "boolean",
            "speaks_cbor": "boolean",
            "is_web": "boolean",
            "hardware": "object",
            "hardware.gpus": "array",
            "hardware.gpus[]": "array",
            "hardware.gpus[][]": "string|number",
            "hardware.cpu_cores": "number|null",
            "hardware.memory_mib": "number|null",
        },
    ),
    Row(
        "SDK",
        "/scale",
        {"": "object", **dict.fromkeys(("backlog", "containers", "running", "headroom"), "number")},
    ),
    Row("SDK", "/spawn", {"": "string"}),
    Row("SDK", "/cancel", {"": "null"}),
    Row(
        "SDK",
        "/outcome",
        {
            "": "object|null",
            "container_id": "string|null",
            "started_at": "datetime|null",
            "ended_at": "datetime|null",
            "retries": "number",
            "cancelled": "boolean",
            "value": "any",
            "value.*": "any",
            "error": "any",
        },
    ),
    Row("SDK", "/stream", {"": "object", "item": "object|string", "item.*": "any"}),
)
