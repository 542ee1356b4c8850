"""Reading a request body: bounded in bytes, bounded in time, and JSON."""

from __future__ import annotations

import asyncio
import math

from starlette.requests import Request
from starlette.types import Receive

from gateway.execution.watchdog import Watchdog
from gateway.http.errors import HttpError
from gateway.settings import ServerSettings

_BYTES_PER_EXTRA_SECOND = 16 << 10


class ClientGone(Exception):
    """The client hung up before its request was complete; nobody is left to answer."""


async def read_json_body(request: Request, limits: ServerSettings) -> bytes:
    """The body's bytes. Raises HttpError (415, 413, 408) or ClientGone."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HttpError(
            415, "unsupported_media_type", "Send the body as JSON: Content-Type: application/json."
        )
    return await read_body(request, limits)


async def read_body(request: Request, limits: ServerSettings) -> bytes:
    """The body's bytes, of whatever type. Raises HttpError (413, 408) or ClientGone."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.max_body_bytes:
        raise _too_large(limits)
    return await _read(request.receive, limits)


async def _read(receive: Receive, limits: ServerSettings) -> bytes:
    """All of the body, unless it is too large or too slow: a drip must not hold a place for ever.

    One alarm for the whole body, whose time grows with what has come.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    begun_at = loop.time()
    rang: list[str] = []

    def ring(phase: str) -> None:
        rang.append(phase)
        task.cancel()

    alarm = Watchdog(loop, math.inf, ring, begun_at + limits.body_timeout_seconds)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limits.max_body_bytes:
                raise _too_large(limits)
            if not message.get("more_body"):
                return b"".join((*parts, part)) if parts else part
            parts.append(part)
            budget = limits.body_timeout_seconds + size / _BYTES_PER_EXTRA_SECOND
            alarm.arm("body", begun_at + budget)
    except asyncio.CancelledError:
        if not rang:
            raise
        task.uncancel()
        raise HttpError(408, "body_timeout", "The request body did not arrive in time.") from None
    finally:
        alarm.disarm()


def _too_large(limits: ServerSettings) -> HttpError:
    return HttpError(
        413, "body_too_large", f"The request body is larger than {limits.max_body_bytes} bytes."
    )
