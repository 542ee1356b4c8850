"""uvicorn's HTTP/1.1 protocol, with bounds on what comes before a body.

httptools takes a request's head of any length, at any pace: one connection without a key could
fill the memory, and idle ones could hold every descriptor. Bodies are bounded in ``http.body``.

And with answers in one piece: uvicorn writes head and body apart, which is a system call more and
wakes the client twice (9 microseconds of a request's CPU here, and some of the client's).
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
HEAD_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75
"""Between requests: longer than clients keep a connection (httpx, and so the SDKs, 5 s; balancers
60 s), or one sends its next request just as it is closed here, and that fails for no reason."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


_HEAD_BEGINS, _HEAD_ENDS = b"HTTP/1.1 ", b"\r\n\r\n"
_MOST_BYTES_JOINED = 64 << 10


class JoiningTransport:
    """A transport that leaves an answer's head until its body is written, in the same turn of the
    event loop at the latest.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """As a transport's."""
        if self._head is not None:
            if len(data) > _MOST_BYTES_JOINED:
                self._flush()
            else:
                data, self._head = self._head + data, None
        elif data.startswith(_HEAD_BEGINS) and data.endswith(_HEAD_ENDS):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """As a transport's: what was written before is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head is too long, or does not come in time.

    Between requests uvicorn's keep-alive time holds, see ``KEEP_ALIVE_SECONDS``.
    """

    _head_bytes = 0
    _head_came = False  # in the present read
    _in_body = False
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there and has said nothing yet."""
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, JoiningTransport(transport, self.loop))
        self._alarm = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of heads and bodies; what follows one in the same read is let pass."""
        self._head_came, was_in_body = False, self._in_body
        super().data_received(data)
        if self._head_came or was_in_body or self.transport.is_closing():
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._head_bytes > MOST_HEAD_BYTES:
            if not answering:
                self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._alarm is None and not answering:  # else the keep-alive time comes after it
            self._alarm = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """A whole head."""
        self._head_came = self._in_body = True
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A whole request: what comes next is another head."""
        self._in_body = False
        super().on_message_complete()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
