"""A provider of single machines that scale to zero, over HTTP, and its adapter.

No provider's protocol: it says all that the simulator knows, at the moment at which it happens, so
that what is left between the two is time. ``POST /<model>/generate`` answers lines of JSON, first
``booting`` (and whether this call has caused it) or ``warm``, then ``started``, then ``done``;
``POST /<model>/scale`` sets the minimum.

Time runs ``speed`` times as fast here as on the wall.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from providers.contract import (
    Booting,
    Capabilities,
    Delta,
    DeploymentOptions,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    ProviderPlugin,
    ProviderSettings,
    Started,
    UpstreamFailed,
)
from tests.emulators.replica import Replica


class Replicas:
    """The server; ``began_at`` is the ``time.monotonic()`` of its instant 0."""

    def __init__(self, replicas: dict[str, Replica], speed: float) -> None:
        self.replicas = replicas
        self.began_at = time.monotonic()
        self._speed = speed
        self.app = Starlette(
            routes=[
                Route("/{model}/generate", self._generate, methods=["POST"]),
                Route("/{model}/scale", self._scale, methods=["POST"]),
            ]
        )

    @property
    def now_us(self) -> int:
        return int((time.monotonic() - self.began_at) * self._speed * 1e6)

    async def _sleep_until(self, at_us: int) -> None:
        await asyncio.sleep(max(0.0, (at_us - self.now_us) / 1e6 / self._speed))

    async def _generate(self, request: Request) -> Response:
        replica = self.replicas[request.path_params["model"]]
        execute_us = int(await request.body())

        async def lines() -> AsyncIterator[bytes]:
            now_us = self.now_us
            start_us, causes = replica.arrive(now_us)
            try:
                if start_us > now_us:
                    yield _line(event="booting", caused=causes)
                    await self._sleep_until(start_us)
                    yield _line(event="started")
                else:
                    yield _line(event="warm")
                await self._sleep_until(start_us + execute_us)
            finally:
                replica.end(max(self.now_us, start_us))
            yield _line(event="done")

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _scale(self, request: Request) -> Response:
        self.replicas[request.path_params["model"]].scale(int(await request.body()), self.now_us)
        return Response(status_code=204)


def _line(**fields: Any) -> bytes:
    return json.dumps(fields).encode() + b"\n"


class Machine:
    """A deployment of that provider; the prompt says how many microseconds its work takes."""

    capabilities = Capabilities()

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._url = url

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        async with self._http.send("POST", f"{self._url}/scale", content=b"%d" % minimum) as answer:
            if answer.status != 204:
                raise UpstreamFailed

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        assert isinstance(request.input, str)
        async with self._http.send(
            "POST", f"{self._url}/generate", content=request.input.encode()
        ) as answer:
            buffer = b""
            async for chunk in answer.chunks():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in map(json.loads, lines):
                    match line["event"]:
                        case "booting":
                            yield Booting("phase_reported", caused_boot=line["caused"])
                        case "started":
                            yield Started()
                        case "warm":
                            yield Started(evidence="phase_reported")
                        case "done":
                            yield Delta("done")
                            yield Finished(("stop",))


class _Provider:
    def __init__(self, settings: ProviderSettings, host: Host) -> None:
        self._http = host.http
        self._base_url = settings.base_url or ""

    def bind(self, model: str, options: DeploymentOptions) -> Machine:
        return Machine(self._http, f"{self._base_url}/{model}")

    async def aclose(self) -> None:
        pass


plugin = ProviderPlugin(
    name="machines",
    settings=ProviderSettings,
    options=DeploymentOptions,
    build=_Provider,
    summary="machines that scale to zero, for benchmarks",
    status="emulator only",
)
