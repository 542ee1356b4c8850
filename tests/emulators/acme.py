"""The invented provider of ``providers/README.md``: jobs, and the errors that its page names.

The scenario is the model's name (``providers.testing.scenarios``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

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

KEY = "acme-emulated-7d41c0"
ERRORS: dict[str, tuple[int, str]] = {
    "no-such-model": (404, "no_such_model"),
    "context-too-long": (400, "context_too_long"),
    "content-refused": (400, "content_refused"),
    "invalid-request": (400, "invalid"),
    "out-of-quota": (429, "no_credit"),
    "rate-limited": (429, "slow_down"),
    "rate-limited-no-header": (429, "slow_down"),
    "no-capacity": (503, "full"),
    "loading": (503, "loading"),
}
STATES: dict[str, tuple[str, ...]] = {
    "cold": ("booting", "running", "done"),
    "queued": ("queued", "running", "done"),
    "unknown-status": ("running", UNKNOWN_STATUS, "done"),
    "clock-skew": ("booting", "running", "done"),
    "never-answers": ("queued",),
    "never-boots": ("queued", "booting"),
    "slow-create": ("queued",),
    "job-fails": ("running", "failed"),
}
BOOT_SECONDS = {"cold": 41.5, "clock-skew": -0.4}


class Acme:
    """The ASGI app; an ``Upstream`` of the contract suite once ``url`` is set."""

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.url = ""
        self.orders: list[dict[str, Any]] = []
        self._looks: Counter[str] = Counter()
        self._stopped: Counter[str] = Counter()

    def began(self, scenario: str) -> int:
        return sum(order["model"] == scenario for order in self.orders)

    def stopped(self, scenario: str) -> int:
        return self._stopped[scenario]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        raw = b""
        while (message := await receive()).get("more_body"):
            raw += message["body"]
        raw += message["body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        given = headers.get("authorization", "")
        match [scope["method"], *scope["path"].strip("/").split("/")]:
            case ["POST", "jobs"]:
                order = json.loads(raw)
                assert order.keys() <= {"model", "gpu", "prompt", "max_tokens", "temperature"}
                self.orders.append(order)
                job, model = str(len(self.orders)), order["model"]
            case ["GET", "jobs", job]:
                model = self.orders[int(job) - 1]["model"]
            case ["POST", "jobs", job, "cancel"]:
                model = self.orders[int(job) - 1]["model"]
                self._stopped[model] += 1
            case _:
                return await self._answer(send, 404, {"code": "no_such_path"})
        if given != f"Bearer {self.key}" or model == "bad-key":
            return await self._answer(send, 401, {"code": "bad_key", "you_sent": given})
        if model in ERRORS:
            status, code = ERRORS[model]
            return await self._answer(send, status, {"code": code}, wait=model == "rate-limited")
        if model == "slow-first-delta":
            await anyio.sleep(0.05)
        if model == "slow-create" and scope["path"] == "/jobs":
            await anyio.sleep(LATE_SECONDS)
        await self._answer(send, 200, self._job(job, model), split=model == "split-frames")

    def _job(self, job: str, model: str) -> dict[str, Any]:
        states = STATES.get(model, ("done",))
        state = states[min(self._looks[job], len(states) - 1)]
        self._looks[job] += 1
        said: dict[str, Any] = {"id": job, "state": state}
        if model in BOOT_SECONDS and state != "booting":
            said["boot_seconds"] = BOOT_SECONDS[model]
        if state == "done":
            said["text"] = {"huge-frame": "x" * 10_000_000, "usage-zero": ""}.get(model, ANSWER)
            if model != "usage-missing":
                said["tokens_in"] = INPUT_TOKENS
                said["tokens_out"] = 0 if model == "usage-zero" else OUTPUT_TOKENS
        return said

    async def _answer(
        self, send: Send, status: int, body: Any, *, wait: bool = False, split: bool = False
    ) -> None:
        headers = [(b"content-type", b"application/json")]
        if wait:
            headers.append((b"retry-after", f"{RETRY_AFTER_SECONDS:g}".encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        raw = json.dumps(body, ensure_ascii=False).encode()
        if split:
            for i in range(len(raw)):
                part = raw[i : i + 1]
                await send({"type": "http.response.body", "body": part, "more_body": True})
            raw = b""
        await send({"type": "http.response.body", "body": raw})
