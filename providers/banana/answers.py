"""What the servers' answers mean: values, counts and errors, of both protocols."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from providers.banana.options import BananaOptions
from providers.contract import (
    CapacityUnavailable,
    Delta,
    HttpResponse,
    ModelLoading,
    Output,
    ProtocolViolation,
    ProviderError,
    ProviderRetired,
    RequestRejected,
    UpstreamFailed,
    UpstreamTimeout,
    Usage,
)
from providers.toolkit.mapping import output_events
from providers.toolkit.status import error_class_for, retry_after_seconds

MAX_ANSWER_BYTES = 64 << 20
RETIRED_HOST = "banana.dev"
_ABSENT = object()

# Banana's own sense of a status (banana-dev 6.3.0, client.py, read 2026-11-23); the rest is HTTP's.
# Its edge also said 400 for "user at their quota". That edge is gone, and Potassium's own 400
# means JSON that it cannot read, so 400 is the request's fault.
ERRORS: Mapping[int, tuple[type[ProviderError], str]] = {
    404: (error_class_for(404), "The server has no handler at this route."),
    413: (RequestRejected, "The request is larger than the server takes."),
    # The client only says "banana is a teapot". Nobody knows who must act.
    418: (ProtocolViolation, "The server says that it is a teapot (418), and not what that means."),
    423: (CapacityUnavailable, "The server is busy with another request."),
    503: (ModelLoading, "The server has no replica yet."),
    504: (UpstreamTimeout, "The work took longer than the server's gateway allows."),
}


def refuse_retired(url: str) -> None:
    """Raise ProviderRetired for an address of the hosted service; nothing is dialled."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == RETIRED_HOST or host.endswith(f".{RETIRED_HOST}"):
        raise ProviderRetired(
            "Banana's hosted service has ended; this provider is for Potassium servers "
            "that you run yourself."
        )


def error_from(answer: HttpResponse) -> ProviderError:
    """What an answer other than 2xx stands for. Its body is not read: it holds tracebacks."""
    status = answer.status
    error, detail = ERRORS.get(status, (error_class_for(status), None))
    if status == 500:
        # A handler's traceback is text/plain; Werkzeug's own page is HTML (potassium 0.5.0).
        own = answer.headers.get("content-type", "").startswith("text/html")
        detail = "The server itself failed." if own else "The handler raised an error."
    return error(
        detail,
        upstream_status=status,
        retry_after_seconds=retry_after_seconds(answer.headers, datetime.now(UTC)),
    )


def json_body(value: Any) -> bytes:
    """The bytes to send. Raises RequestRejected for what JSON cannot say."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        raise RequestRejected("The request cannot be written as JSON.") from exc


def parsed(raw: bytes) -> Any:
    """A JSON body. Raises ProtocolViolation."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        # Not chained: the decoder's error quotes the whole body.
        raise ProtocolViolation("The server's answer is not JSON.") from RuntimeError(
            f"{type(exc).__name__} at {exc.pos}"
        )


def outputs_of(options: BananaOptions, value: Any) -> list[Delta | Output]:
    """Events for the handler's answer. Raises ProtocolViolation, UpstreamFailed."""
    if options.output_field is not None:
        value = _at(value, options.output_field)
        if value is _ABSENT:
            raise ProtocolViolation("The handler's answer lacks the configured output_field.")
    try:
        return list(output_events(options.output, value))
    except RequestRejected as error:  # the work was done and paid for: no fault of the caller's
        raise UpstreamFailed(error.detail) from error


def usage_of(options: BananaOptions, value: Any) -> Usage | None:
    """The handler's own counts, where it is configured to have some. None: it did not say."""
    usage = Usage(
        input_tokens=_count(value, options.input_tokens_field),
        output_tokens=_count(value, options.output_tokens_field),
    )
    return None if usage == Usage() else usage


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _count(value: Any, path: str | None) -> int | None:
    found = None if path is None else _at(value, path)
    return found if type(found) is int and found >= 0 else None
