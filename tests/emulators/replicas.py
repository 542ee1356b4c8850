"""A provider of single machines that scale to zero, over HTTP, and its adapter.

No provider's protocol: it says all that the simulator knows, at the moment at which it happens, so
that what is left between the two is time. ``POST /<model>/generate`` answers lines of JSON, first
``queued``, or ``booting`` (and whether this call has caused it), then ``started``, or ``warm``
where nothing had to boot, then ``done``. ``POST /<model>/scale`` sets the minimum. ``GET
/<model>/state`` says what it is doing; ``POST /<model>/warm`` boots it and answers when it is up:
who has caused that boot and hangs up before calls it off.

Time runs ``speed`` times as fast here as on the wall.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, cast

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
    ProbeState,
    ProviderPlugin,
    ProviderSettings,
    Queued,
    Started,
    UpstreamFailed,
)
from tests.emulators.fleet import Fleet
from tests.emulators.replica import Replica


class Replicas:
    """The server; ``began_at`` is the ``time.monotonic()`` of its instant 0."""

    def __init__(self, replicas: Mapping[str, Replica | Fleet], speed: float) -> None:
        self.replicas = replicas
        self.began_at = time.monotonic()
        self._speed = speed
        self.app = Starlette(
            routes=[
                Route("/{model}/generate", self._generate, methods=["POST"]),
                Route("/{model}/scale", self._scale, methods=["POST"]),
                Route("/{model}/state", self._state, methods=["GET"]),
                Route("/{model}/warm", self._warm, methods=["POST"]),
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
            begin = replica.arrive(now_us, execute_us)
            start_us = begin.start_us
            try:
                if begin.boots:
                    yield _line(event="booting", caused=begin.causes)
                elif start_us > now_us:
                    yield _line(event="queued")
                await self._sleep_until(start_us)
                yield _line(event="started" if begin.boots else "warm")
                await self._sleep_until(start_us + execute_us)
            finally:
                replica.end(max(self.now_us, start_us))
            yield _line(event="done")

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _scale(self, request: Request) -> Response:
        self.replicas[request.path_params["model"]].scale(int(await request.body()), self.now_us)
        return Response(status_code=204)

    async def _state(self, request: Request) -> Response:
        return Response(self._bootable(request).state(self.now_us))

    async def _warm(self, request: Request) -> Response:
        replica = self._bootable(request)
        ready_us, causes = replica.warm(self.now_us)

        async def lines() -> AsyncIterator[bytes]:
            try:
                yield b"booting\n"  # so that hanging up is seen
                await self._sleep_until(ready_us)
            except asyncio.CancelledError:
                if causes:
                    replica.call_off(self.now_us)
                raise

        return StreamingResponse(lines())

    def _bootable(self, request: Request) -> Replica:
        replica = self.replicas[request.path_params["model"]]
        assert isinstance(replica, Replica)
        return replica


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
                        case "queued":
                            yield Queued()
                        case "started":
                            yield Started()
                        case "warm":
                            yield Started(evidence="phase_reported")
                        case "done":
                            yield Delta("done")
                            yield Finished(("stop",))


class Bootable(Machine):
    """One that can be booted without work, and whose boot ends with who has caused it."""

    capabilities = Capabilities(ends_boots=True)

    async def probe(self) -> ProbeState:
        async with self._http.send("GET", f"{self._url}/state") as answer:
            return cast("ProbeState", (await answer.read(100)).decode())

    async def warm(self) -> None:
        async with self._http.send("POST", f"{self._url}/warm") as answer:
            async for _ in answer.chunks():
                pass


class Options(DeploymentOptions):
    """``bootable``: it has a state that can be read, and boots without work."""

    bootable: bool = False


class _Provider:
    def __init__(self, settings: ProviderSettings, host: Host) -> None:
        self._http = host.http
        self._base_url = settings.base_url or ""

    def bind(self, model: str, options: DeploymentOptions) -> Machine:
        assert isinstance(options, Options)
        kind = Bootable if options.bootable else Machine
        return kind(self._http, f"{self._base_url}/{model}")

    async def aclose(self) -> None:
        pass


plugin = ProviderPlugin(
    name="machines",
    settings=ProviderSettings,
    options=Options,
    build=_Provider,
    summary="machines that scale to zero, for benchmarks",
    status="emulator only",
)
