"""Modal's proxy in front of a web endpoint: proxy auth, the 303 at 150 s, its own refusals.

Our reading of https://modal.com/docs/guide/webhook-timeouts and webhook-proxy-auth and of bodies
quoted in public issues, read 2026-11-23; no evidence about the service itself. What stands behind
it is any ASGI app, as it would be in a container.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PROXY_TOKEN = ("wk-emulated-77a1", "ws-emulated-0c55e1")
CALL_ID = "__modal_function_call_id"


@dataclass(slots=True)
class _Work:
    """One call of the endpoint, which outlives the request that began it."""

    messages: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class ModalProxy:
    """The ASGI app. ``limit_seconds``: the 150 s of Modal, as short as a test wants them."""

    def __init__(self, app: Any, *, limit_seconds: float = 150.0, public: bool = False) -> None:
        self.app = app
        self.url = ""
        self.limit_seconds = limit_seconds
        self.public = public
        self.refusal: tuple[int, str] | None = None
        self.elsewhere: str | None = None  # where a 303 leads, instead of here
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._works: dict[str, _Work] = {}
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append((scope["method"], scope["path"], headers))
        given = (headers.get("modal-key"), headers.get("modal-secret"))
        if not self.public and given != PROXY_TOKEN:
            words = "missing credentials for proxy authorization"
            return await _refuse(send, 401, words)
        if self.refusal is not None:
            return await _refuse(send, *self.refusal)
        query = parse_qs(scope["query_string"].decode())
        if CALL_ID not in query:
            call_id = f"fc-emulated-{next(self._numbers)}"
            work = self._works[call_id] = _Work()
            body = await _body(receive)
            work.task = asyncio.create_task(self._run(work, {**scope}, body))
        else:
            if scope["method"] != "GET":
                return await _refuse(send, 400, "bad redirect method")
            call_id = query[CALL_ID][0]
            if call_id not in self._works:
                return await _refuse(send, 404, "invalid function call")
            work = self._works[call_id]
        await self._relay(work, call_id, scope, receive, send)

    async def _run(self, work: _Work, scope: Message, body: bytes) -> None:
        given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if given:
                return given.pop()
            await work.left.wait()
            return {"type": "http.disconnect"}

        try:
            await self.app(scope, receive, work.messages.put)
        except ConnectionAbortedError:
            await work.messages.put({"type": "died"})

    async def _relay(
        self, work: _Work, call_id: str, scope: Message, receive: Receive, send: Send
    ) -> None:
        gone = asyncio.create_task(_hung_up(receive))
        try:
            limit: float | None = self.limit_seconds
            while True:
                news = asyncio.create_task(work.messages.get())
                await asyncio.wait({news, gone}, timeout=limit, return_when="FIRST_COMPLETED")
                if not news.done():
                    news.cancel()
                    if gone.done():
                        work.left.set()
                        return
                    return await self._see_other(scope, call_id, send)
                limit = None  # what has begun is not cut
                message = news.result()
                if message["type"] == "died":
                    raise ConnectionAbortedError("the container died")
                await send(message)
                if message["type"] == "http.response.body" and not message.get("more_body"):
                    return
        finally:
            gone.cancel()

    async def _see_other(self, scope: Message, call_id: str, send: Send) -> None:
        where = self.elsewhere or f"{self.url}{scope['path']}"
        location = f"{where}?{CALL_ID}={call_id}".encode()
        headers = [(b"location", location), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    raw: bytes = b""
    while True:
        message = await receive()
        raw += message.get("body", b"")
        if not message.get("more_body"):
            return raw


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"modal-http: {words}\n".encode()})
