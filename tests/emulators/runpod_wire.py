"""What the emulated RunPod says: its scenarios and the shapes of its answers.

Sources as in ``tests/emulators/runpod.py``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from providers.testing.scenarios import (
    ANSWER,
    INPUT_TOKENS,
    LATE_SECONDS,
    OUTPUT_TOKENS,
    RETRY_AFTER_SECONDS,
    UNKNOWN_STATUS,
)
from tests.emulators.runpod_world import FOREVER_SECONDS, Handler, Made, Place, Worker, World

WORDS = tuple(ANSWER[start : start + 5] for start in range(0, len(ANSWER), 5))
COUNTS = {"tokens_in": INPUT_TOKENS, "tokens_out": OUTPUT_TOKENS}
OPENAI_COUNTS = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def yielded(words: tuple[str, ...], counts: dict[str, int] | None = COUNTS) -> tuple[Any, ...]:
    """The pieces of a handler that counts, as providers/EXAMPLES.md has it."""
    pieces: tuple[Any, ...] = tuple({"text": word} for word in words)
    return pieces if counts is None else (*pieces, {"text": "", "usage": counts})


def raised(error_type: str, message: str = "a secret of the handler's") -> str:
    """What the worker SDK makes of an exception: rp_job.py, ``run_job``."""
    return json.dumps(
        {
            "error_type": f"<class '{error_type}'>",
            "error_message": message,
            "error_traceback": "Traceback (most recent call last): ...",
            "hostname": "unknown",
            "worker_id": "w0",
            "runpod_version": "1.12.0",
        }
    )


WARM = Handler(pieces=yielded(WORDS), always_warm=True)
COLD = replace(WARM, always_warm=False, boot_seconds=300.0, boots_until_seen=1)
HANDLERS: dict[str, Handler] = {
    "warm": WARM,
    "cold": COLD,
    "queued": replace(WARM, pickup_seconds=3.0),
    "unknown-status": replace(WARM, odd_status=UNKNOWN_STATUS, execute_seconds=60.0),
    "clock-skew": replace(WARM, delay_off_seconds=-2.3),
    "split-frames": replace(WARM, frames="bytes"),
    "slow-first-delta": replace(WARM, execute_seconds=60.0),
    "usage-missing": replace(WARM, pieces=yielded(WORDS, None)),
    "usage-zero": replace(WARM, pieces=yielded((), {**COUNTS, "tokens_out": 0})),
    "huge-frame": replace(WARM, pieces=yielded(("x" * 10_000_000,))),
    "job-fails": replace(WARM, pieces=(), error=raised("torch.cuda.OutOfMemoryError")),
    "error-in-200": replace(WARM, pieces=(), error="Input is missing the 'seed' key."),
    "error-frame-mid-stream": replace(
        WARM, pieces=yielded(WORDS[:2], None), error=raised("IndexError"), execute_seconds=100.0
    ),
    "dies-mid-stream": replace(
        WARM, pieces=yielded(WORDS[:2], None), error="worker lost", execute_seconds=100.0
    ),
    "malformed-frame": replace(WARM, frames="broken", aggregates=False, execute_seconds=600.0),
    "never-answers": replace(COLD, boot_seconds=FOREVER_SECONDS),
    "never-boots": replace(COLD, boot_seconds=FOREVER_SECONDS),
    "slow-create": replace(
        WARM, create_seconds=LATE_SECONDS * 1000, execute_seconds=FOREVER_SECONDS
    ),
    "stalls": replace(
        WARM, pieces=yielded(WORDS[:1], None), piece_seconds=1.0, execute_seconds=FOREVER_SECONDS
    ),
}
# send-requests, "Error handling"; what stands in the bodies is said nowhere.
REFUSALS: dict[str, tuple[int, dict[str, str]]] = {
    "bad-key": (401, {}),
    "no-such-model": (404, {}),
    "invalid-request": (400, {}),
    "rate-limited": (429, {"retry-after": f"{RETRY_AFTER_SECONDS:g}"}),
    "rate-limited-no-header": (429, {}),
}


def _gpu(card: str, pool: str | None, **price: float) -> dict[str, Any]:
    return {"id": f"NVIDIA {card}", "name": card, "pool": pool, "memory": 24, "price": price}


# ``listGpuTypes``; the figures are those of the price rows, by the hour.
GPUS = [
    _gpu("RTX 4090", "ADA_24", secure=0.69, community=0.34, serverless=1.1),
    _gpu("L40S", "ADA_48_PRO", secure=0.86, community=0.79, serverless=1.9),
    _gpu("Tesla V100", None, secure=0.23, community=0.19),
    _gpu("L4", "ODD_24", secure=0.39, community=0.32, serverless=0.69),
    _gpu("RTX 3090", "ODD_24", secure=0.46, community=0.22, serverless=0.7),
]


def shown_job(world: World, made: Made, status: str) -> dict[str, Any]:
    """A job as ``/status`` shows it."""
    now, handler = world.now, made.handler
    shown: dict[str, Any] = {"id": made.id, "status": status}
    if made.started is None or now < made.started:
        return shown
    delay = made.wait_seconds + handler.delay_off_seconds
    shown |= {"delayTime": round(delay * 1000), "workerId": made.worker.id}
    if now < made.completed:
        return shown if handler.progress is None else {**shown, "output": handler.progress}
    shown["executionTime"] = round(made.execute_seconds * 1000)
    if made.status == "COMPLETED":
        if handler.pieces is None:
            shown["output"] = handler.output
        elif handler.aggregates:
            shown["output"] = list(made.pieces())
    elif handler.error is not None:
        shown["error"] = handler.error
    return shown


def shown_pieces(world: World, made: Made) -> list[dict[str, Any]]:
    """The pieces that came since the last look; each is told once."""
    pieces, begin = made.pieces(), made.told
    while made.told < len(pieces) and world.now >= made.piece_at(made.told):
        made.told += 1
    if world.now >= made.completed and made.status == "COMPLETED":
        made.told = len(pieces)
    return [{"output": piece} for piece in pieces[begin : made.told]]


def shown_worker(world: World, place: Place, worker: Worker) -> dict[str, Any]:
    """One worker of ``listEndpointWorkers``."""
    now = world.now
    status = "RUNNING" if worker.free_at > now else "IDLE"
    if worker.ready_at > now:
        status = "INITIALIZING"
    placed = worker.started_at <= now
    return {
        "id": worker.id,
        "status": status,
        "isStale": False,
        "version": 1,
        "gpuCount": 1,
        "image": "my-org/my-worker:latest",
        "uptimeSeconds": int((now - worker.started_at).total_seconds()) if placed else None,
        "gpuTypeId": "NVIDIA L40S" if placed else None,
        "dataCenterId": "US-KS-2" if placed else None,
        "startedAt": stamp(worker.started_at) if placed else None,
    }


def shown_workers(world: World, place: Place) -> dict[str, Any]:
    """The whole answer; scaled-down workers are not in it."""
    workers = [shown_worker(world, place, worker) for worker in world.live(place)]
    states = ("running", "idle", "initializing", "throttled", "unhealthy")
    counts = {state: sum(w["status"].lower() == state for w in workers) for state in states}
    return {
        "endpointVersion": 1,
        "summary": {**counts, "total": len(workers)},
        "workers": workers,
    }


def shown_endpoint(name: str, place: Place, url: str) -> dict[str, Any]:
    """One endpoint of ``getEndpoint``, as far as anybody reads it."""
    return {
        "id": name,
        "name": name,
        "type": "QUEUE",
        "requestUrls": {"run": f"{url}/v2/{name}/run", "status": f"{url}/v2/{name}/status/job_id"},
        "image": "my-org/my-worker:latest",
        "gpu": {"pools": ["ADA_48_PRO"], "count": 1, "allowedCudaVersions": []},
        "workers": {
            "min": place.minimum,
            "max": place.maximum,
            "idleTimeout": place.idle_timeout,
        },
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "dataCenterIds": [],
        "networkVolumes": [],
        "timeout": 600000,
        "flashboot": "OFF",
        "createdAt": "2026-06-01T12:00:00Z",
    }


def health_of(world: World, name: str, place: Place) -> dict[str, Any]:
    """Counts of jobs and workers; an idle worker is one that is scaled down."""
    jobs = [made for made in world.made.values() if made.place == name]
    states = [world.status_of(made) for made in jobs]
    workers = [shown_worker(world, place, worker)["status"] for worker in world.live(place)]
    return {
        "jobs": {
            "completed": states.count("COMPLETED"),
            "failed": states.count("FAILED") + states.count("TIMED_OUT"),
            "inProgress": states.count("IN_PROGRESS"),
            "inQueue": states.count("IN_QUEUE"),
            "retried": 0,
        },
        "workers": {
            "idle": max(0, place.maximum - len(workers)),
            "initializing": workers.count("INITIALIZING"),
            "ready": workers.count("IDLE"),
            "running": workers.count("RUNNING"),
            "throttled": 0,
            "unhealthy": 0,
        },
    }


def stamp(at: datetime) -> str:
    """As the REST API writes instants: whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
