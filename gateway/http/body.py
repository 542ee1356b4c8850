"""Reading a request body: bounded in bytes, bounded in time, and JSON."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.types import Message, Receive

from gateway.http.errors import HttpError
from gateway.settings import ServerSettings

_BYTES_PER_EXTRA_SECOND = 16 << 10


class ClientGone(Exception):
    """The client hung up before its request was complete; nobody is left to answer."""


async def read_json_body(request: Request, limits: ServerSettings) -> bytes:
    """The body's bytes. Raises HttpError (415, 413, 408) or ClientGone."""
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HttpError(
            415, "unsupported_media_type", "Send the body as JSON: Content-Type: application/json."
        )
    for header in ("idempotency-key", "prefer"):
        if header in headers:
            raise HttpError(
                400, "unsupported_header", f"The header {header} is not supported.", param=header
            )
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.max_body_bytes:
        raise _too_large(limits)
    return await _read(request.receive, limits)


async def _read(receive: Receive, limits: ServerSettings) -> bytes:
    message = await _next(receive, limits.body_timeout_seconds)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limits.max_body_bytes:
            raise _too_large(limits)
        return body
    # More is to come: from here a drip without end must not hold a place for ever.
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    parts, size = [body], len(body)
    while message.get("more_body"):
        budget = limits.body_timeout_seconds + size / _BYTES_PER_EXTRA_SECOND
        message = await _next(receive, begun_at + budget - loop.time())
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limits.max_body_bytes:
            raise _too_large(limits)
    return b"".join(parts)


async def _next(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            message = await receive()
    except TimeoutError as error:
        raise HttpError(408, "body_timeout", "The request body did not arrive in time.") from error
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _too_large(limits: ServerSettings) -> HttpError:
    return HttpError(
        413, "body_too_large", f"The request body is larger than {limits.max_body_bytes} bytes."
    )
