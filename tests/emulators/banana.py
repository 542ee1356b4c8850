"""What Banana's edge and its V1 queue answered, for what no server that runs today can show.

Our reading of banana-dev 6.3.0 and potassium 0.5.0 (read 2026-11-23), of docs.banana.dev and of
the captured answers in https://github.com/ehfazrezwan/sd-serverless-template. The service has
ended, so nothing here can be held against it; what a Potassium server does, a real one shows.

    V2   POST /<scenario>, GET /_k/status, POST /_k/warmup      the scenario is the route
    V1   POST /start/v4/, POST /check/v4/                       the scenario is the model key

``Banana.truth`` has one row for each call that did its work: whether it was cold, and the seconds
that Banana would have billed (boot of the replica that it caused, and work).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from providers.testing.scenarios import (
    ANSWER,
    INPUT_TOKENS,
    LATE_SECONDS,
    OUTPUT_TOKENS,
    RETRY_AFTER_SECONDS,
    UNKNOWN_STATUS,
)

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEY = "banana-emulated-52c9e1"
EDGE_LIMIT_BYTES = 1_000_000
NOT_FOUND = b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
STATUSES = {  # of the edge (banana-dev 6.3.0), or of a proxy in front of a server of one's own
    "no-capacity": 423,
    "loading": 503,
    "teapot": 418,
    "too-long": 504,
    "rate-limited": 429,
    "rate-limited-no-header": 429,
    "invalid-request": 400,
}
ANSWERS = {
    *("warm", "split-frames", "slow-first-delta", "usage-missing", "usage-zero", "huge-frame"),
    *("cold", "stalls", "never-answers", "dies-mid-stream", "not-json", "work", "split-text"),
    *("slow-create", "unknown-status", "clock-skew"),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What one call really was, in seconds of this machine's monotonic clock."""

    cold: bool
    boot_seconds: float
    execute_seconds: float

    @property
    def billed_seconds(self) -> float:
        return self.boot_seconds + self.execute_seconds


@dataclass(slots=True)
class Call:
    """One call of V1."""

    scenario: str
    begun_at: float
    checks: int = 0


@dataclass(slots=True)
class Banana:
    """The ASGI app; an ``Upstream`` of the contract suite once ``url`` is set."""

    key: str = KEY
    url: str = ""
    boot_seconds: float = 0.0
    work_seconds: float = 0.0
    up: bool = True
    truth: list[Truth] = field(default_factory=list)
    received: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    """What ``/_k/status`` says next; its ordinary answer once they are told."""
    calls: dict[str, Call] = field(default_factory=dict)
    _began: Counter[str] = field(default_factory=Counter)
    _stopped: Counter[str] = field(default_factory=Counter)
    _booting_since: float | None = None
    _booted_seconds: float = 0.0  # of a boot that no call has been billed for yet

    def began(self, scenario: str) -> int:
        return self._began[scenario]

    def stopped(self, scenario: str) -> int:
        return self._stopped[scenario]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        raw = b""
        while (message := await receive()).get("more_body"):
            raw += message["body"]
        raw += message.get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        exchange = _Exchange(self, headers, raw, receive, send)
        match scope["method"], scope["path"]:
            case "POST", "/start/v4/":
                await exchange.start_v1()
            case "POST", "/check/v4/":
                await exchange.check_v1()
            case "GET", "/_k/status":
                await exchange.status()
            case "POST", path:
                await exchange.call(path.strip("/"))
            case _:
                await exchange.answer(405, NOT_FOUND, "text/html", {"allow": "POST, OPTIONS"})

    def replica(self) -> bool:
        """Whether a replica is up; where none is, the question starts one."""
        now = time.monotonic()
        if self.up:
            return True
        if self._booting_since is None:
            self._booting_since = now
        if now - self._booting_since < self.boot_seconds:
            return False
        self.up, self._booted_seconds = True, now - self._booting_since
        self._booting_since = None
        return True

    def worked(self, seconds: float) -> None:
        self.truth.append(Truth(self._booted_seconds > 0, self._booted_seconds, seconds))
        self._booted_seconds = 0.0


class _Exchange:
    def __init__(
        self, app: Banana, headers: dict[str, str], raw: bytes, receive: Receive, send: Send
    ) -> None:
        self.app = app
        self.headers = headers
        self.raw = raw
        self.receive = receive
        self.send = send

    # -- V2 -----------------------------------------------------------------------------------

    async def status(self) -> None:
        if not self.app.up:
            return await self.answer(503)
        if self.app.statuses:
            return await self.json(self.app.statuses.pop(0))
        await self.json({"gpu_available": True, "idle_time": 24, "inference_time": 0,
                         "sequence_number": sum(self.app._began.values())})  # fmt: skip

    async def call(self, scenario: str) -> None:
        app = self.app
        app._began[scenario] += 1
        if self.headers.get("x-banana-api-key") != app.key or scenario == "bad-key":
            return await self.json({"you_sent": self.headers.get("x-banana-api-key")}, 401)
        if len(self.raw) > EDGE_LIMIT_BYTES:
            return await self.answer(413)
        if not app.replica():
            return await self.answer(503)
        if scenario == "_k/warmup":
            return await self.json({"warm": True})
        if scenario in STATUSES:
            wait = {"retry-after": f"{RETRY_AFTER_SECONDS:g}"} if scenario == "rate-limited" else {}
            return await self.answer(STATUSES[scenario], headers=wait)
        if scenario == "job-fails":
            trace = f"Traceback (most recent call last):\n  File ...\nKeyError: {app.key}\n"
            return await self.answer(500, trace.encode(), "text/plain")
        if scenario == "server-fails":
            return await self.answer(500, NOT_FOUND, "text/html; charset=utf-8")
        if scenario not in ANSWERS:
            return await self.answer(404, NOT_FOUND, "text/html; charset=utf-8")
        try:
            body = json.loads(self.raw)
            assert self.headers["content-type"] == "application/json"
        except (ValueError, AssertionError):
            return await self.answer(400)
        app.received.append((scenario, self.headers, body))
        await self.play(scenario)

    async def play(self, scenario: str) -> None:
        app, begun_at = self.app, time.monotonic()
        if scenario == "never-answers":
            return await self.hang_up()
        pauses = {"slow-first-delta": 0.05, "slow-create": LATE_SECONDS}
        await asyncio.sleep(pauses.get(scenario, app.work_seconds))
        app.worked(time.monotonic() - begun_at)
        if scenario in ("stalls", "dies-mid-stream"):
            await self.head(200, "text/plain; charset=utf-8")
            await self.send({"type": "http.response.body", "body": b"A first", "more_body": True})
            if scenario == "stalls":
                return await self.hang_up()
            raise ConnectionAbortedError("the server dies")  # uvicorn drops the connection
        if scenario == "not-json":
            return await self.answer(200, b'{"outputs": ', "application/json")
        whole = json.dumps(outputs(scenario), ensure_ascii=False).encode()
        if not scenario.startswith("split-"):
            return await self.answer(200, whole, "application/json")
        text = scenario == "split-text"
        whole = ANSWER.encode() if text else whole
        await self.head(200, "text/plain" if text else "application/json")
        for i in range(len(whole)):
            part = {"type": "http.response.body", "body": whole[i : i + 1], "more_body": True}
            await self.send(part)
        await self.send({"type": "http.response.body", "body": b""})

    # -- V1 -----------------------------------------------------------------------------------

    async def start_v1(self) -> None:
        body = json.loads(self.raw)
        assert body.keys() <= {"id", "created", "apiKey", "modelKey", "modelInputs", "startOnly"}
        scenario = body["modelKey"]
        self.app._began[scenario] += 1
        self.app.received.append((scenario, self.headers, body))
        if body["apiKey"] != self.app.key:
            return await self.v1(message=f"error: no such key {body['apiKey']}", finished=False)
        if scenario in ("slow-start", "slow-create"):
            await asyncio.sleep(LATE_SECONDS)
        if scenario == "refused":
            return await self.v1(message="Error: quota", finished=False)
        call_id = f"call_{len(self.app.calls):08d}"
        self.app.calls[call_id] = Call(scenario, time.monotonic())
        done = scenario == "done-at-once"
        given: dict[str, Any] = {"finished": done, "modelOutputs": None}
        if done:
            given["modelOutputs"] = [outputs("warm")]
        await self.v1(message="success" if done else "", callID=call_id, **given)

    async def check_v1(self) -> None:
        body = json.loads(self.raw)
        assert body.keys() <= {"id", "created", "apiKey", "longPoll", "callID"}
        call = self.app.calls.get(body["callID"])
        if call is None or body["apiKey"] != self.app.key:
            return await self.v1(message="error: no such call")
        call.checks += 1
        scenario = call.scenario
        if scenario == "slow-first-delta":
            await asyncio.sleep(0.05)
        if scenario in ("never-answers", "stalls") or (scenario == "cold" and call.checks < 3):
            return await self.v1(message="running", modelOutputs=None)
        if scenario == "unknown-status" and call.checks < 2:
            return await self.v1(message=UNKNOWN_STATUS, modelOutputs=None)
        if scenario == "clock-skew" and call.checks < 2:
            return await self.v1(message="running", created=-call.checks, modelOutputs=None)
        if scenario == "job-fails":
            return await self.v1(message=f"Model ERROR with {self.app.key}", modelOutputs=None)
        if scenario == "not-json":
            return await self.answer(200, b"<html>", "text/html")
        self.app.worked(time.monotonic() - call.begun_at)
        await self.v1(message="success", modelOutputs=[outputs(scenario)])

    async def v1(self, **said: Any) -> None:
        head = {"id": "63fd9e3c", "created": 1685445127, "apiVersion": "January 11, 2023"}
        await self.json({**head, **said})

    # -- bytes --------------------------------------------------------------------------------

    async def hang_up(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def json(self, value: Any, status: int = 200) -> None:
        await self.answer(status, json.dumps(value).encode(), "application/json")

    async def head(self, status: int, kind: str, more: dict[str, str] | None = None) -> None:
        headers = {"content-type": kind, **(more or {})}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def answer(
        self,
        status: int,
        body: bytes = b"",
        kind: str = "text/html",
        headers: dict[str, str] | None = None,
    ) -> None:
        await self.head(status, kind, headers)
        await self.send({"type": "http.response.body", "body": body})


def outputs(scenario: str) -> dict[str, Any]:
    """A handler's answer; it is the handler, not Potassium, that counts tokens."""
    text = {"huge-frame": "x" * 10_000_000, "usage-zero": ""}.get(scenario, ANSWER)
    said: dict[str, Any] = {"outputs": text}
    if scenario != "usage-missing":
        count = 0 if scenario == "usage-zero" else OUTPUT_TOKENS
        said["usage"] = {"in": INPUT_TOKENS, "out": count}
    return said
