"""Servers for models on GPUs, as far as the local provider asks them: where they stand, and chat.

    llama.cpp   tools/server at b11549, seen; router mode as its README has it
    vLLM        0.33.0: /is_sleeping /wake_up /sleep only in dev mode; metrics in the usage chunk
    SGLang      0.5.23: /ready is cheap, /health generates a token
    TGI         3.x: times in the head of unstreamed answers
    NIM         2.x: /v1/health/live at once, /v1/health/ready when it is loaded

Our reading of LOCAL servers' documents and sources on 2026-11-23; only llama.cpp was also run, and
the tests run it as well. ``GpuServer`` knows the truth: what was loaded when, how often somebody
woke it or made it generate, and the seconds of each answer, in its own (fake) time: a load of
``load_seconds`` takes ``SCALE`` of that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Literal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Kind = Literal["llama.cpp", "vllm", "sglang", "tgi", "nim"]

SCALE = 0.01  # real seconds for one of the server's
LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}


@dataclass(frozen=True, slots=True)
class Truth:
    """What one answer really took, in the server's seconds."""

    cold: bool
    load_seconds: float
    queue_seconds: float
    execute_seconds: float


@dataclass(slots=True)
class GpuServer:
    """The ASGI app of one kind. ``asleep`` and ``starting`` are the world; the rest is counted."""

    kind: Kind
    model: str = "m"
    load_seconds: float = 4.0
    queue_seconds: float = 0.25
    execute_seconds: float = 1.5
    asleep: bool = False
    starting: bool = False
    dev_mode: bool = True  # vLLM
    weights_dropped: bool = False  # vLLM, sleep level 2
    reports_times: bool = True
    router: bool = False  # llama.cpp
    truth: list[Truth] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    loads: int = 0
    generated_for_nobody: int = 0
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        raw = b""
        while (message := await receive()).get("more_body"):
            raw += message["body"]
        raw += message.get("body", b"")
        path = f"{scope['method']} {scope['path']}"
        self.paths.append(path)
        answer = _Answer(receive, send)
        if path == "POST /v1/chat/completions":
            return await self._chat(json.loads(raw), answer)
        await getattr(self, f"_{self.kind.replace('.', '')}")(path, raw, answer)

    # -- one for each kind ---------------------------------------------------------------------

    async def _llamacpp(self, path: str, raw: bytes, answer: _Answer) -> None:
        if self.starting:
            return await answer.json(LOADING, 503)
        match path:
            case "GET /health":
                await answer.json({"status": "ok"})
            case "GET /props" if self.router:
                await answer.json({"role": "router", "build_info": "b11549"})
            case "GET /props":
                await answer.json({"model_alias": self.model, "is_sleeping": self.asleep})
            case "GET /models":
                status = {"status": {"value": "sleeping" if self.asleep else "loaded"}}
                row = {"id": self.model, **(status if self.router else {})}
                await answer.json({"object": "list", "data": [row]})
            case "POST /tokenize" | "GET /slots":
                await self._load()
                await answer.json({"tokens": []})
            case "GET /metrics":
                await answer.text("# TYPE llamacpp:prompt_tokens_total counter\n")
            case _:
                await answer.json({"error": {"message": "File Not Found", "code": 404}}, 404)

    async def _vllm(self, path: str, raw: bytes, answer: _Answer) -> None:
        if self.starting:
            return await answer.hang_up()  # the socket is bound, and nobody serves it yet
        match path:
            case "GET /health":
                await answer.text("")
            case "GET /metrics":
                state = "awake"
                if self.asleep:
                    state = "discard_all" if self.weights_dropped else "weights_offloaded"
                lines = (
                    f'vllm:engine_sleep_state{{engine="0",sleep_state="{name}"}} '
                    f"{float(name == state)}\n"
                    for name in ("awake", "weights_offloaded", "discard_all")
                )
                await answer.text("".join(lines))
            case "GET /is_sleeping" if self.dev_mode:
                await answer.json({"is_sleeping": self.asleep})
            case "POST /wake_up" if self.dev_mode:
                await self._load()
                await answer.text("")
            case "POST /sleep" if self.dev_mode:
                self.asleep = True
                await answer.json({"status": "sleeping", "level": 1})
            case _:
                await answer.json({"detail": "Not Found"}, 404)

    async def _sglang(self, path: str, raw: bytes, answer: _Answer) -> None:
        if path == "GET /ready":
            await answer.text("", 503 if self.starting else 200)
        elif path in ("GET /health", "GET /health_generate"):
            self.generated_for_nobody += 1
            await answer.text("")
        else:
            await answer.json({"detail": "Not Found"}, 404)

    async def _tgi(self, path: str, raw: bytes, answer: _Answer) -> None:
        await answer.text("", 200 if path == "GET /health" else 404)

    async def _nim(self, path: str, raw: bytes, answer: _Answer) -> None:
        if path == "GET /v1/health/live":
            await answer.text("")
        elif path == "GET /v1/health/ready":
            await answer.text("", 503 if self.starting else 200)
        else:
            await answer.json({"detail": "Not Found"}, 404)

    # -- chat ----------------------------------------------------------------------------------

    async def _chat(self, body: dict[str, Any], answer: _Answer) -> None:
        self.bodies.append(body)
        if self.starting:
            return await answer.json(LOADING, 503)
        if self.asleep and self.kind == "vllm":
            return await answer.hang_up()  # its scheduler is paused: only /wake_up wakes it
        loads = self.loads
        await self._load()
        await asyncio.sleep((self.queue_seconds + self.execute_seconds) * SCALE)
        cold = self.loads > loads
        load_seconds = self.load_seconds if cold else 0.0
        self.truth.append(Truth(cold, load_seconds, self.queue_seconds, self.execute_seconds))
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        last = {"usage": usage, **self._times()}
        head: dict[str, Any] = {"id": "chatcmpl-1", "created": 1790000000, "model": self.model}
        if not body["stream"]:
            message = {"role": "assistant", "content": "a b"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {**head, "object": "chat.completion", "choices": [choice], **last}
            return await answer.json(whole, headers=self._headers())
        head["object"] = "chat.completion.chunk"
        frames = [
            {"choices": [{"index": 0, "delta": {"content": "a "}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], **last},
        ]
        await answer.events([json.dumps({**head, **f}) for f in frames] + ["[DONE]"])

    async def _load(self) -> None:
        async with self._loading:
            if self.asleep:
                await asyncio.sleep(self.load_seconds * SCALE)
                self.asleep = False
                self.loads += 1

    def _times(self) -> dict[str, Any]:
        ms = self.execute_seconds * 1000
        if not self.reports_times:
            return {}
        if self.kind == "llama.cpp":
            return {"timings": {"prompt_n": 5, "prompt_ms": ms / 3, "predicted_ms": ms * 2 / 3}}
        if self.kind in ("vllm", "nim"):
            return {
                "metrics": {
                    "time_to_first_token_ms": ms / 4,
                    "generation_time_ms": ms * 3 / 4,
                    "queue_time_ms": self.queue_seconds * 1000,
                    "mean_itl_ms": 1.0,
                }
            }
        return {}

    def _headers(self) -> dict[str, str]:
        if self.kind != "tgi":
            return {}
        return {
            "x-queue-time": f"{self.queue_seconds * 1000:.0f}",
            "x-inference-time": f"{self.execute_seconds * 1000:.0f}",
            "x-total-time": f"{(self.queue_seconds + self.execute_seconds) * 1000:.0f}",
        }


class _Answer:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def hang_up(self) -> None:
        """Say nothing until the caller has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def json(self, value: Any, status: int = 200, **more: Any) -> None:
        await self._whole(json.dumps(value).encode(), "application/json", status, **more)

    async def text(self, value: str, status: int = 200) -> None:
        await self._whole(value.encode(), "text/plain", status)

    async def events(self, data: list[str]) -> None:
        await self._head("text/event-stream", 200, {})
        for item in data:
            part = f"data: {item}\n\n".encode()
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        await self._send({"type": "http.response.body", "body": b""})

    async def _whole(
        self, body: bytes, kind: str, status: int, headers: dict[str, str] | None = None
    ) -> None:
        await self._head(kind, status, headers or {})
        await self._send({"type": "http.response.body", "body": body})

    async def _head(self, kind: str, status: int, headers: dict[str, str]) -> None:
        pairs = [(k.encode(), v.encode()) for k, v in {"content-type": kind, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})
