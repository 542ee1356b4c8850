"""Server-sent events as our own ASGI response: it owns ``send``, the keep-alive and the hang-up.

One send per batch of events, a comment after a silence, and ``gone`` called at the moment the
client leaves. A ``StreamingResponse`` can do none of these while its iterator waits.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.execution.eventlog import Entry, EventLog, Follower

KEEP_ALIVE = b": keep-alive\n\n"


def frame(data: object, *, event: str | None = None, id: int | None = None) -> bytes:
    """One event; ``data`` is dumped as JSON, which never holds a bare line break."""
    head = b"" if id is None else b"id: %d\n" % id
    if event is not None:
        head += b"event: %s\n" % event.encode("ascii")
    return head + b"data: " + orjson.dumps(data) + b"\n\n"


def stream_at_once(events: bytes, operation_id: str) -> Response:
    """An answer of events that are all there already."""
    headers = {"cache-control": "no-store", "x-request-id": operation_id}
    return Response(events, headers=headers, media_type="text/event-stream")


class EventStream(Response):
    """The answer that relays a run's log.

    ``render`` turns a batch of entries into bytes (b"" sends nothing), ``finish`` gives the last
    bytes once the log is closed, ``first`` goes out at once. ``gone`` is called if the client
    leaves before the end, or if the answer cannot go on. ``cut`` gives the last bytes to a client
    whose time is over before the end, as it may be from ``cut_at`` (the loop's clock) on; until
    then b"". ``follower``: one that reads already.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        render: Callable[[list[Entry]], bytes],
        finish: Callable[[], bytes],
        gone: Callable[[], None],
        keep_alive_seconds: float,
        cut: Callable[[], bytes] = bytes,
        cut_at: float = math.inf,
        first: bytes = b"",
        follower: Follower | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._render = render
        self._finish = finish
        self._gone = gone
        self._keep_alive_seconds = keep_alive_seconds
        self._cut, self._cut_at = cut, cut_at
        self._first = first
        self._follower = follower
        self.background = None
        self.status_code = 200
        self.raw_headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            *((name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        loop = asyncio.get_running_loop()
        follower = self._follower or self._log.follow()
        left = whole = False
        follows = True

        async def watch() -> None:
            nonlocal left
            while (await receive())["type"] != "http.disconnect":
                pass
            left = True
            if not whole:  # else it has been counted out, and another may be waiting
                self._gone()
            follower.wake()

        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        async def relay(body: bytes) -> bytes:
            """Send it while the client's time lasts; what could not be sent, as it reads slowly."""
            if self._cut_at == math.inf:
                await write(body)
                return b""
            try:
                async with asyncio.timeout_at(self._cut_at):
                    await write(body)
            except TimeoutError:
                return body
            return b""

        watcher = loop.create_task(watch())
        alarm: asyncio.TimerHandle | None = None

        def ring() -> None:
            nonlocal alarm
            alarm = None
            follower.wake()

        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if self._first:
                await write(self._first)
            due = loop.time() + self._keep_alive_seconds
            unsent = b""
            while not left:
                last = b"" if self._log.closed else self._cut()
                if last:
                    whole, follows = True, False  # it has been told
                    follower.leave()  # one who reads slowly holds up nobody from now on
                    await write(unsent + last, more=False)
                    return
                batch = follower.take()
                if batch:
                    rendered = unsent + self._render(batch)
                    if rendered:
                        unsent = await relay(rendered)
                        due = loop.time() + self._keep_alive_seconds
                elif self._log.closed:
                    await write(unsent + self._finish(), more=False)
                    whole = True
                    return
                elif loop.time() >= due:
                    unsent = await relay(unsent + KEEP_ALIVE)
                    due = loop.time() + self._keep_alive_seconds
                else:
                    if alarm is None:
                        alarm = loop.call_at(min(due, max(self._cut_at, loop.time())), ring)
                    await follower.wait()
        finally:
            if not (left or whole):
                self._gone()  # nobody hears the rest
            if follows:
                follower.leave()
            watcher.cancel()
            if alarm is not None:
                alarm.cancel()
