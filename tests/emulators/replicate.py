"""Replicate's API on a real socket, and refusing what Replicate refuses.

Our reading of https://replicate.com/docs/reference/http (as recorded 2026-06-30), of
/docs/topics/predictions/streaming and of the ``replicate`` SDK 1.0.7, read 2026-11-23; the bodies
of refusals are those that public programs quote. It is no evidence about the service itself, but
the unmodified SDK works with it (tests/adapters/test_replicate_sdk.py).

A model is asked for as ``emulated/<scenario>`` (``providers.testing.scenarios`` and ``MODELS``),
``community/<scenario>`` is the same as a model that needs its version, and ``acme/<scenario>`` a
deployment. Tests add models of their own with ``models[name] = Model(...)``.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators.replicate_webhooks import Hooks
from tests.emulators.replicate_wire import (
    MODELS,
    REFUSALS,
    duration_seconds,
    invalid,
    listed,
    problem,
    schema_of,
    shown_deployment,
    shown_prediction,
    wrong_input,
)
from tests.emulators.replicate_world import (
    Made,
    Model,
    World,
    stamp,
    version_of,
)

TOKEN = "r8_emulated4hK2bTzQ9sXw"
CREATE_KEYS = {"version", "input", "stream", "webhook", "webhook_events_filter"}
PREFER = re.compile(r"wait(?:=([1-9]|[1-5][0-9]|60))?")


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Replicate:
    """The ASGI app; an ``Upstream`` of the contract suite once ``url`` is set."""

    def __init__(self, world: World | None = None, token: str = TOKEN) -> None:
        self.key = token
        self.url = ""
        self.world = world or World()
        self.hooks = Hooks()
        self.received: list[Received] = []
        self.models: dict[str, Model] = {}
        self.refused_looks = 0  # so many looks to come are answered 502
        self.lost_schemas = 0  # so many models to be shown are answered 502
        self.lost_creates = 0  # so many predictions to come are made, and the answer is a 502
        self.refused_pages: tuple[int, ...] = ()  # of the list, counted from 1 over its life
        self.listings = 0
        self._began: Counter[str] = Counter()
        self._stopped: Counter[str] = Counter()
        routes: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("POST", "/predictions", self.create),
            ("POST", "/models/{owner}/{name}/predictions", self.create_official),
            ("POST", "/deployments/{owner}/{name}/predictions", self.create_deployed),
            ("GET", "/predictions", self.list),
            ("GET", "/predictions/{id}", self.show),
            ("POST", "/predictions/{id}/cancel", self.cancel),
            ("GET", "/models/{owner}/{name}", self.show_model),
            ("GET", "/models/{owner}/{name}/versions/{version}", self.show_model),
            ("GET", "/deployments/{owner}/{name}", self.show_deployment),
            ("PATCH", "/deployments/{owner}/{name}", self.change_deployment),
            ("GET", "/hardware", self.hardware),
            ("GET", "/webhooks/default/secret", self.secret),
        ]
        self._app = Starlette(
            routes=[
                *(Route(f"/v1{path}", self._door(call), methods=[m]) for m, path, call in routes),
                Route("/v1/files/{id}", self.stream, methods=["GET"]),
            ]
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    def began(self, scenario: str) -> int:
        return self._began[scenario]

    def stopped(self, scenario: str) -> int:
        return self._stopped[scenario]

    def sent(self, method: str, end: str) -> list[Received]:
        """The requests of a method whose path ends so."""
        return [r for r in self.received if r.method == method and r.path.endswith(end)]

    def last(self) -> Made:
        """The prediction made last."""
        return list(self.world.made.values())[-1]

    def model(self, full: str) -> Model | None:
        if full in self.models:
            return self.models[full]
        owner, _, name = full.partition("/")
        known = MODELS.get(name)
        if name in REFUSALS and name != "no-such-model":
            known = MODELS["warm"]  # there is such a model; making a prediction is refused
        if owner == "community" and known is not None:
            return replace(known, official=False)
        return known if owner in ("emulated", "acme") else None

    def _door(self, call: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def enter(request: Request) -> Response:
            raw = await request.body()
            body = json.loads(raw) if raw else None
            path = request.url.path
            self.received.append(Received(request.method, path, dict(request.headers), body))
            given = request.headers.get("authorization", "")
            if not given.startswith("Bearer "):
                detail = "You did not pass an authentication token"
                return problem(401, {"title": "Unauthenticated", "detail": detail})
            if given != f"Bearer {self.key}" or "/bad-key" in path:
                return problem(401, REFUSALS["bad-key"][1])
            answer: Response = await call(request)
            return answer

        return enter

    # -- making predictions -------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        version = (await request.json()).get("version")
        if not isinstance(version, str):
            return problem(422, invalid("version", "version is required"))
        known = [*self.models, *(f"{o}/{n}" for o in ("emulated", "community") for n in MODELS)]
        names = {version_of(name): name for name in known}
        full, _, of = version.partition(":")
        name = names.get(of or version) or (full if not of and self.model(full) else None)
        model = None if name is None else self.model(name)
        if name is None or model is None or (name == version and not model.official):
            title = "Invalid version or not permitted"
            detail = "The specified version does not exist (or perhaps you don't have permission?)"
            return problem(422, {"title": title, "detail": detail})
        return await self._make(request, name, model)

    async def create_official(self, request: Request) -> Response:
        name = "{owner}/{name}".format(**request.path_params)
        model = self.model(name)
        scenario = name.partition("/")[2]
        if "version" in await request.json():
            return problem(422, invalid("", "Additional property version is not allowed"))
        if scenario in REFUSALS:
            self._began[scenario] += 1
            return problem(*REFUSALS[scenario])
        if model is None or not model.official:
            return problem(*REFUSALS["no-such-model"])
        return await self._make(request, name, model)

    async def create_deployed(self, request: Request) -> Response:
        place = "{owner}/{name}".format(**request.path_params)
        deployed = self.world.deployments.get(place)
        model = None if deployed is None else self.model(deployed.model)
        if deployed is None or model is None:
            return problem(*REFUSALS["no-such-model"])
        return await self._make(request, deployed.model, model, deployment=place)

    async def _make(
        self, request: Request, name: str, model: Model, deployment: str | None = None
    ) -> Response:
        body = await request.json()
        if unknown := sorted(set(body) - CREATE_KEYS):
            return problem(422, invalid("", f"Additional property {unknown[0]} is not allowed"))
        given = body.get("input")
        if not isinstance(given, dict):
            return problem(422, invalid("", "input is required"))
        if wrong := wrong_input(model, given):
            return problem(422, invalid("input", wrong))
        if wrong := self.hooks.wrong(body):
            return problem(422, invalid("webhook", wrong))
        prefer = PREFER.fullmatch(request.headers.get("prefer", "wait"))
        after = request.headers.get("cancel-after")
        seconds = None if after is None else duration_seconds(after)
        if prefer is None or (after is not None and (seconds is None or seconds < 5)):
            return problem(422, {"title": "Invalid header", "detail": "Prefer or Cancel-After"})
        self._began[name.partition("/")[2]] += 1
        made = self.world.make(name, model, given, deployment=deployment, deadline_seconds=seconds)
        self.hooks.plan(self.world, made, body, self.shown)
        if self.lost_creates:
            self.lost_creates -= 1
            return Response("<html>Bad gateway</html>", 502, media_type="text/html")
        if model.create_seconds:
            await asyncio.sleep(model.create_seconds / self.world.scale)
        if "prefer" not in request.headers:
            return JSONResponse(self.shown(made), 201, self._dated(made))
        held = float(prefer[1] or 60)
        limit = self.world.now + timedelta(seconds=held)
        await self.world.until(lambda: min(made.completed, limit))
        headers = self._dated(made)
        shown = self.shown(made)
        if model.early_answer and shown["status"] == "succeeded":
            shown |= {"status": "processing", "completed_at": None}
            del shown["metrics"]
        return JSONResponse(shown, 201 if shown["output"] is not None else 202, headers)

    # -- looking ------------------------------------------------------------------------------

    def _dated(self, made: Made) -> dict[str, str]:
        """The moment by the clock that stamps the prediction; a recorded one has its own."""
        now, record = self.world.now, made.model.record
        if record is not None:
            now = datetime.fromisoformat(record["created_at"]) + (now - made.created)
        return {"date": format_datetime(now.astimezone(UTC), usegmt=True)}

    def shown(self, made: Made) -> dict[str, Any]:
        return shown_prediction(self.world, made, self.url)

    async def show(self, request: Request) -> Response:
        made = self.world.made.get(request.path_params["id"])
        if made is None:
            return problem(*REFUSALS["no-such-model"])
        made.looks += 1
        if self.refused_looks:
            self.refused_looks -= 1
            return Response("<html>Bad gateway</html>", 502, media_type="text/html")
        headers = self._dated(made)  # before the answer, which must not be older than its date
        return JSONResponse(self.shown(made), headers=headers)

    async def list(self, request: Request) -> Response:
        self.listings += 1
        if self.listings in self.refused_pages:
            return problem(502, {"detail": "Bad gateway"})
        return JSONResponse(listed(self.world, self.url, request.query_params))

    async def cancel(self, request: Request) -> Response:
        made = self.world.made.get(request.path_params["id"])
        if made is None:
            return problem(*REFUSALS["no-such-model"])
        if self.world.now < made.completed:
            self._stopped[made.name.partition("/")[2]] += 1
        self.world.cancel(made)
        return JSONResponse(self.shown(made))

    async def show_model(self, request: Request) -> Response:
        name = "{owner}/{name}".format(**request.path_params)
        if self.lost_schemas:
            self.lost_schemas -= 1
            return Response("<html>Bad gateway</html>", 502, media_type="text/html")
        model = self.model(name)
        if model is None or request.path_params.get("version", version_of(name)) != version_of(
            name
        ):
            return problem(*REFUSALS["no-such-model"])
        version = {
            "id": version_of(name),
            "created_at": stamp(self.world.now),
            "cog_version": "0.16.0",
            "openapi_schema": schema_of(model),
        }
        if "version" in request.path_params:
            return JSONResponse(version)
        owner, _, short = name.partition("/")
        return JSONResponse(
            {
                "url": f"https://replicate.com/{name}",
                "owner": owner,
                "name": short,
                "visibility": "public",
                "run_count": self._began[short],
                "latest_version": version,
            }
        )

    async def show_deployment(self, request: Request) -> Response:
        place = "{owner}/{name}".format(**request.path_params)
        deployed = self.world.deployments.get(place)
        if deployed is None:
            return problem(*REFUSALS["no-such-model"])
        return JSONResponse(shown_deployment(place, deployed))

    async def change_deployment(self, request: Request) -> Response:
        place = "{owner}/{name}".format(**request.path_params)
        deployed, body = self.world.deployments.get(place), await request.json()
        if deployed is None:
            return problem(*REFUSALS["no-such-model"])
        for key, most in (("min_instances", 5), ("max_instances", 20)):
            if not 0 <= body.get(key, 0) <= most:
                return problem(422, invalid(key, f"Must be between 0 and {most}"))
            setattr(deployed, key, body.get(key, getattr(deployed, key)))
        deployed.release += 1
        return JSONResponse(shown_deployment(place, deployed))

    async def hardware(self, request: Request) -> Response:
        return JSONResponse([{"name": "Nvidia L40S GPU", "sku": "gpu-l40s"}])

    async def secret(self, request: Request) -> Response:
        return JSONResponse({"key": self.hooks.secret})

    # -- streams ------------------------------------------------------------------------------

    async def stream(self, request: Request) -> Response:
        self.received.append(
            Received(request.method, request.url.path, dict(request.headers), None)
        )
        made = self.world.made.get(request.path_params["id"])
        if made is None:
            return problem(*REFUSALS["no-such-model"])
        made.connections += 1
        model, nth = made.model, made.connections
        reopened = model.reopened if nth > 1 else ""
        if reopened == "gone" or model.frames == "none":
            return problem(*REFUSALS["no-such-model"])
        after = request.headers.get("last-event-id", "")
        begin = int(after.partition(":")[2]) + 1 if reopened == "resumed" and after else 0
        cut = model.cuts[nth - 1] if nth <= len(model.cuts) else None
        frames = self._frames(made, begin, cut, with_ids=reopened != "without-ids")
        return StreamingResponse(
            _by_bytes(frames) if model.frames == "bytes" else frames,
            media_type="text/event-stream",
        )

    @staticmethod
    def _piece_or_end(made: Made, index: int) -> datetime:
        return min(made.piece_at(index), made.completed)

    async def _frames(
        self, made: Made, begin: int, cut: int | None, *, with_ids: bool
    ) -> AsyncIterator[bytes]:
        model, world = made.model, self.world
        pieces = model.pieces or ()
        second = int(made.created.timestamp())
        if model.logs:
            yield frame("logs", model.logs, f"{second}:log" if with_ids else None)
        for index in range(begin, len(pieces)):
            if cut is not None and index - begin >= cut:
                break
            await world.until(partial(self._piece_or_end, made, index))
            if world.now < made.piece_at(index):
                break  # it was cancelled
            if model.frames == "broken" and index == 2:
                yield b"event: output\nid: %d:2\ndata: \xff\xfe\n\n" % second
            yield frame("output", pieces[index], f"{second}:{index}" if with_ids else None)
            await asyncio.sleep(0)  # so that a hang-up is noticed
        if cut is not None:
            if model.cut_cleanly:
                return
            raise ConnectionAbortedError("the server dies")  # uvicorn drops the connection
        await world.until(lambda: made.completed)
        reason = {"succeeded": {}, "failed": {"reason": "error"}}.get(
            made.status, {"reason": "canceled"}
        )
        if model.late_seconds:
            made.completed += timedelta(seconds=model.late_seconds)
            world.extend(made.completed)
        if made.status == "failed":
            yield frame("error", json.dumps({"detail": model.error}), f"{second}:e")
        yield frame("done", json.dumps(reason), f"{second}:d")


def frame(event: str, data: str, event_id: str | None) -> bytes:
    """One event; text of several lines takes several data lines."""
    lines = [f"event: {event}"]
    if event_id is not None:
        lines.append(f"id: {event_id}")
    lines += [f"data: {line}" for line in data.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


async def _by_bytes(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for whole in frames:
        for index in range(len(whole)):
            yield whole[index : index + 1]
