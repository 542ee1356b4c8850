"""RunPod Serverless on a real socket, and refusing what RunPod refuses.

Our reading of https://docs.runpod.io/serverless: /endpoints/operation-reference, /endpoints/
send-requests, /workers/overview, and of /api-reference-v2/openapi.json (github.com/runpod/docs at
a900806e, 2026-08-20, read 2026-11-26). It is no evidence about the service itself, but the
unmodified ``runpod`` SDK works with it (tests/adapters/test_runpod_sdk.py).

An endpoint's id is a scenario (``providers.testing.scenarios`` and ``HANDLERS``); ``chat-`` and a
scenario is a vLLM worker. Tests add endpoints of their own with ``endpoint(name, Handler(...))``.
``/v2`` takes jobs, ``/rest/v2`` is the account's REST API.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators.runpod_chat import CHATS, answering
from tests.emulators.runpod_wire import (
    GPUS,
    HANDLERS,
    REFUSALS,
    health_of,
    shown_endpoint,
    shown_job,
    shown_pieces,
    shown_workers,
)
from tests.emulators.runpod_world import Handler, Made, Place, World

KEY = "rpa_EMULATED4HK2BTZQ9SXWLM3"
RUN_KEYS = {"input", "webhook", "policy", "s3Config"}
# send-requests, "Execution policies", in milliseconds.
POLICY = {"executionTimeout": (5_000, 604_800_000), "ttl": (10_000, 604_800_000)}
WAIT_MS = (1_000, 300_000)  # operation-reference, /runsync


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    body: Any


class RunPod:
    """The ASGI app; an ``Upstream`` of the contract suite once ``url`` is set."""

    def __init__(self, world: World | None = None, key: str = KEY) -> None:
        self.key = key
        self.url = ""
        self.world = world or World()
        self.received: list[Received] = []
        self.refused_looks = 0  # so many looks to come are answered 502
        self.lost_jobs = 0  # so many jobs to come are taken, and the answer is a 502
        self.lost_pieces = 0  # so many looks at a stream to come take pieces and answer 502
        self.may_manage = True  # False: the key may not read the account's endpoints
        self._began: Counter[str] = Counter()
        self._stopped: Counter[str] = Counter()
        routes: list[tuple[str, str, Callable[[Request, str], Any]]] = [
            ("POST", "/v2/{id}/run", self.run),
            ("POST", "/v2/{id}/runsync", self.run_sync),
            ("GET", "/v2/{id}/status/{job}", self.status),
            ("GET", "/v2/{id}/stream/{job}", self.stream),
            ("POST", "/v2/{id}/cancel/{job}", self.cancel),
            ("POST", "/v2/{id}/purge-queue", self.purge),
            ("GET", "/v2/{id}/health", self.health),
            ("GET", "/rest/v2/serverless/{id}", self.show),
            ("PATCH", "/rest/v2/serverless/{id}", self.change),
            ("GET", "/rest/v2/serverless/{id}/workers", self.workers),
            ("GET", "/rest/v2/catalog/{id}", self.catalog),
        ]
        self._app = Starlette(
            routes=[Route(path, self._door(call), methods=[m]) for m, path, call in routes]
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    def began(self, scenario: str) -> int:
        return self._began[scenario]

    def stopped(self, scenario: str) -> int:
        return self._stopped[scenario]

    def sent(self, method: str, part: str) -> list[Received]:
        """The requests of a method whose path holds this."""
        return [r for r in self.received if r.method == method and part in r.path]

    def last(self) -> Made:
        """The job submitted last."""
        return list(self.world.made.values())[-1]

    def endpoint(self, name: str, handler: Handler, **bounds: Any) -> Place:
        """Deploy an endpoint."""
        place = self.world.places[name] = Place(handler, **bounds)
        return place

    def place(self, name: str) -> Place | None:
        if name not in self.world.places:
            scenario = name.removeprefix("chat-")
            handler = CHATS.get(scenario) if name != scenario else HANDLERS.get(name)
            if handler is None and scenario in REFUSALS and scenario != "no-such-model":
                handler = HANDLERS["warm"]  # there is such an endpoint; its jobs are refused
            if handler is None:
                return None
            self.endpoint(name, handler)
        return self.world.places[name]

    def _door(self, call: Callable[[Request, str], Any]) -> Callable[[Request], Any]:
        async def enter(request: Request) -> Response:
            raw = await request.body()
            name, path = request.path_params["id"], request.url.path
            body = json.loads(raw) if raw else None
            self.received.append(Received(request.method, path, body))
            known = request.headers.get("authorization", "") == f"Bearer {self.key}"
            if not known or name.endswith("bad-key"):
                return Response(status_code=401)
            if path.startswith("/rest") and not self.may_manage:
                return problem(403, "Forbidden")
            if "/catalog/" not in path and self.place(name) is None:
                return Response(status_code=404)
            answer: Response = await call(request, name)
            answer.headers.setdefault("date", dated(self.world.now)["date"])
            return answer

        return enter

    # -- jobs ---------------------------------------------------------------------------------

    async def run(self, request: Request, name: str) -> Response:
        made = await self._make(request, name)
        if isinstance(made, Response):
            return made
        return JSONResponse({"id": made.id, "status": "IN_QUEUE"}, headers=dated(made.created))

    async def run_sync(self, request: Request, name: str) -> Response:
        wait_ms = int(request.query_params.get("wait", 90_000))
        if not WAIT_MS[0] <= wait_ms <= WAIT_MS[1]:
            return JSONResponse({"error": "wait"}, 400)
        made = await self._make(request, name)
        if isinstance(made, Response):
            return made
        limit = self.world.now + timedelta(milliseconds=wait_ms)
        await self.world.until(lambda: min(made.completed, limit))
        return self._shown(made)

    async def _make(self, request: Request, name: str) -> Made | Response:
        scenario = name.removeprefix("chat-")
        if scenario in REFUSALS:
            self._began[name] += 1
            status, headers = REFUSALS[scenario]
            return Response(status_code=status, headers=headers)
        body = await request.json()
        policy = body.get("policy", {})
        if not isinstance(body.get("input"), dict) or set(body) - RUN_KEYS:
            return JSONResponse({"error": "input is required"}, 400)
        for key, (least, most) in POLICY.items():
            if not least <= policy.get(key, least) <= most:
                return JSONResponse({"error": key}, 400)
        place = self.world.places[name]
        self._began[name] += 1
        if place.handler.chat is not None:
            place.handler = answering(place.handler, body["input"])
        made = self.world.make(name, body["input"], policy)
        if self.lost_jobs:
            self.lost_jobs -= 1
            return Response("<html>Bad gateway</html>", 502, media_type="text/html")
        if made.handler.create_seconds:
            await asyncio.sleep(made.handler.create_seconds / self.world.scale)
        return made

    def _shown(self, made: Made | None) -> Response:
        status = None if made is None else self.world.status_of(made)
        if made is None or status is None:
            return JSONResponse({"error": "job not found"}, 404)
        return JSONResponse(shown_job(self.world, made, status))

    async def status(self, request: Request, name: str) -> Response:
        made = self._job(request, name)
        if made is not None:
            made.looks += 1
        if self.refused_looks:
            self.refused_looks -= 1
            return Response("<html>Bad gateway</html>", 502, media_type="text/html")
        return self._shown(made)

    async def stream(self, request: Request, name: str) -> Response:
        made = self._job(request, name)
        status = None if made is None else self.world.status_of(made)
        if made is None or status is None:
            return JSONResponse({"error": "job not found"}, 404)
        pieces = shown_pieces(self.world, made)
        if self.lost_pieces and pieces:
            self.lost_pieces -= 1
            return Response("<html>Bad gateway</html>", 502, media_type="text/html")
        if made.handler.frames == "none":
            return JSONResponse({"error": "stream not supported"}, 400)
        if made.handler.frames == "broken" and made.told > 1:
            return Response('{"status": "IN_PROGRESS", "stream": [{"out', 200)
        raw = json.dumps({"status": status, "stream": pieces}).encode()
        if made.handler.frames == "bytes":
            return StreamingResponse(_by_bytes(raw), media_type="application/json")
        return Response(raw, media_type="application/json")

    async def cancel(self, request: Request, name: str) -> Response:
        made = self._job(request, name)
        if made is None or self.world.status_of(made) is None:
            return JSONResponse({"error": "job not found"}, 404)
        if self.world.now < made.completed:
            self._stopped[name] += 1
        self.world.cancel(made)
        return JSONResponse({"id": made.id, "status": made.status})

    async def purge(self, request: Request, name: str) -> Response:
        jobs = [made for made in self.world.made.values() if made.place == name]
        waiting = [made for made in jobs if self.world.status_of(made) == "IN_QUEUE"]
        for made in waiting:
            self.world.cancel(made)
        return JSONResponse({"removed": len(waiting), "status": "completed"})

    async def health(self, request: Request, name: str) -> Response:
        return JSONResponse(health_of(self.world, name, self.world.places[name]))

    def _job(self, request: Request, name: str) -> Made | None:
        made = self.world.made.get(request.path_params["job"])
        return made if made is not None and made.place == name else None

    # -- the account's REST API ---------------------------------------------------------------

    async def show(self, request: Request, name: str) -> Response:
        return JSONResponse(shown_endpoint(name, self.world.places[name], self.url))

    async def change(self, request: Request, name: str) -> Response:
        place, body = self.world.places[name], await request.json()
        bounds = body.get("workers", {})
        if set(body) - {"workers"} or set(bounds) - {"min", "max", "idleTimeout"}:
            return problem(422, "Unprocessable Entity")
        minimum, maximum = bounds.get("min", place.minimum), bounds.get("max", place.maximum)
        if not 0 <= minimum <= maximum:
            return problem(422, "Unprocessable Entity")
        place.idle_timeout = bounds.get("idleTimeout", place.idle_timeout)
        self.world.scale_to(place, minimum, maximum)
        return JSONResponse(shown_endpoint(name, place, self.url))

    async def workers(self, request: Request, name: str) -> Response:
        shown = shown_workers(self.world, self.world.places[name])
        self.world.seen(name)
        return JSONResponse(shown)

    async def catalog(self, request: Request, name: str) -> Response:
        return JSONResponse({name: GPUS})


def dated(at: datetime) -> dict[str, str]:
    """When it was answered, by the clock that stamps the workers."""
    return {"date": format_datetime(at.astimezone(UTC), usegmt=True)}


def problem(status: int, title: str) -> Response:
    """A refusal of the REST API, as a problem document (RFC 9457)."""
    body = {"title": title, "status": status, "detail": title.lower()}
    return JSONResponse(body, status, media_type="application/problem+json")


async def _by_bytes(raw: bytes) -> AsyncIterator[bytes]:
    for place in range(len(raw)):
        yield raw[place : place + 1]


def cold(handler: Handler, **changes: Any) -> Handler:
    """The same, started when it is needed."""
    return replace(handler, always_warm=False, **changes)
