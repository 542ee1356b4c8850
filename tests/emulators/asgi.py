"""What small emulators need of ASGI: one call with its body read, answers, and hang-ups seen."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Call:
    """One request. ``headers`` has lower-case names."""

    def __init__(self, scope: Scope, raw: bytes, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.raw = raw
        self._receive = receive
        self.send = send
        self.extra_headers: dict[str, str] = {}

    @classmethod
    async def of(cls, scope: Scope, receive: Receive, send: Send) -> Call:
        """Read the whole body first."""
        assert scope["type"] == "http"
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                return cls(scope, raw, receive, send)

    @property
    def body(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return None

    async def json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        raw = json.dumps(value).encode()
        await self.whole(status, raw, {"content-type": "application/json", **(headers or {})})

    async def text(self, status: int, text: str, media_type: str = "text/plain") -> None:
        await self.whole(status, text.encode(), {"content-type": media_type})

    async def whole(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        await self.start(status, headers)
        await self.send({"type": "http.response.body", "body": data})

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        together = {**headers, **self.extra_headers}
        pairs = [(name.encode(), value.encode()) for name, value in together.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def piece(self, data: bytes) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self.send({"type": "http.response.body", "body": b""})

    async def hung_up(self) -> None:
        """Returns when the client has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def to(self, app: Any, path: str, body: Any) -> None:
        """Have another app answer another path and body; ``extra_headers`` are added."""
        raw = json.dumps(body).encode()
        given: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

        async def receive() -> Message:
            return given.pop() if given else await self._receive()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                pairs = [(n.encode(), v.encode()) for n, v in self.extra_headers.items()]
                message = {**message, "headers": [*message["headers"], *pairs]}
            await self.send(message)

        await app({**self.scope, "path": path, "raw_path": path.encode()}, receive, send)
