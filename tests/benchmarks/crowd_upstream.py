"""A model server that scales to zero: ``python -m tests.benchmarks.crowd_upstream PORT BOOT IDLE``.

OpenAI's chat dialect; 503 "loading" while it boots. ``GET /counts``: ``asked`` (calls since the
start), ``cold`` (those that found it down or booting) and ``boots``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn

WORK_SECONDS = 0.05


class ScaleToZero:
    """The ASGI application."""

    def __init__(self, boot_seconds: float, idle_seconds: float) -> None:
        self._boot_seconds = boot_seconds
        self._idle_seconds = idle_seconds
        self._running = 0
        self._up_from: float | None = None
        self._used_at = 0.0
        self.counts = {"asked": 0, "cold": 0, "boots": 0}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            await _answer(send, 200, self.counts)
            return
        body = json.loads(await _body(receive))
        self.counts["asked"] += 1
        if not self._up():
            self.counts["cold"] += 1
            await _answer(send, 503, {"error": {"message": "Loading model", "code": 503}})
            return
        self._running += 1
        try:
            await asyncio.sleep(WORK_SECONDS)
            if body.get("stream"):
                await _stream(send)
            else:
                await _answer(send, 200, _completion())
        finally:
            self._running -= 1
            self._used_at = asyncio.get_running_loop().time()

    def _up(self) -> bool:
        now = asyncio.get_running_loop().time()
        up_from = self._up_from
        idle = not self._running and now - max(self._used_at, up_from or 0.0) > self._idle_seconds
        if up_from is None or (now >= up_from and idle):
            self._up_from = now + self._boot_seconds
            self.counts["boots"] += 1
            return False
        return now >= up_from


def _completion() -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}}
    usage = {"prompt_tokens": 7, "completion_tokens": 1}
    return {"id": "c", "choices": [{**choice, "finish_reason": "stop"}], "usage": usage}


async def _stream(send: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    frames: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}},
    ]
    text = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames) + "data: [DONE]\n\n"
    await send({"type": "http.response.body", "body": text.encode()})


async def _answer(send: Any, status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


if __name__ == "__main__":
    app = ScaleToZero(float(sys.argv[2]), float(sys.argv[3]))
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", lifespan="off", backlog=4096)
