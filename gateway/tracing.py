"""The thread through several services: W3C Trace Context, taken from callers and passed on.

https://www.w3.org/TR/trace-context/, version 00. Only while traces are on does an order have a
``Trace``; else nothing here runs. Spans are not made here but in the shipper, out of the ledger's
rows (``gateway.telemetry.spans``): the hot path pays for a header and two columns. Ids of spans
follow from the ids of operations and attempts, so that what a provider is told before an attempt is
what its span is called after it.

An adapter knows nothing of this: the context of the attempt's task carries the header to the one
seam, ``Http``. What does not go through that seam (Modal's own protocol) passes nothing on.
``tracestate`` is not passed on: it is written by the caller's vendors, and providers are others.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec

from providers.contract import Http, HttpResponse, ProviderSettings

HEADER = "traceparent"
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = 1
_outgoing: ContextVar[str | None] = ContextVar("traceparent", default=None)


@dataclass(frozen=True, slots=True)
class Trace:
    """Where an operation belongs. ``parent_span_id``: the caller's span; None: it has none.

    Of a trace that its caller does not record (``sampled``), nothing is recorded here either.
    """

    trace_id: str
    parent_span_id: str | None
    sampled: bool


def trace_of(headers: Mapping[str, str]) -> Trace:
    """The caller's trace, or a new one where it has none or what it sent is none."""
    found = _PARENT.fullmatch(headers.get(HEADER, "").strip())
    if found is not None:
        version, trace_id, span_id, flags, more = found.groups()
        # A later version may append to it; this one may not, and ff is none.
        sound = version != "ff" and not (version == "00" and more)
        if sound and trace_id != _NO_TRACE and span_id != _NO_SPAN:
            return Trace(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
    return Trace(os.urandom(16).hex(), None, True)


def span_id_of(row_id: str) -> str:
    """The span of an operation or an attempt, by its id in the ledger."""
    return hashlib.sha256(row_id.encode()).hexdigest()[:16]


def pass_on(trace: Trace, attempt_id: str) -> None:
    """From here on, what this task asks of providers is a child of this attempt."""
    _outgoing.set(f"00-{trace.trace_id}-{span_id_of(attempt_id)}-{int(trace.sampled):02x}")


def exporter_installed() -> bool:
    """Whether the extra ``otel`` is there."""
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def telling(
    open_http: Callable[[ProviderSettings], Http],
) -> Callable[[ProviderSettings], Http]:
    """The same clients, each telling providers of the trace that it is used in."""
    return lambda settings: _TellingHttp(open_http(settings))


class _TellingHttp:
    """An ``Http`` that adds the header where there is one to add."""

    def __init__(self, inner: Http) -> None:
        self._inner = inner

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[HttpResponse]:
        told = _outgoing.get()
        if told is not None:
            headers = {**(headers or {}), HEADER: told}
        return self._inner.send(
            method,
            url,
            headers=headers,
            content=content,
            read_timeout_seconds=read_timeout_seconds,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()
