"""Spans to an OpenTelemetry collector, through the SDK. Only the shipper imports this, and only
where ``telemetry.otlp_endpoint`` is set: the SDK is the extra ``otel``.

A collector that is slow or away costs spans, never rows: they wait in a bounded queue, and a thread
of the SDK's sends them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.ledger.shipping.fold import Batch
from gateway.telemetry.spans import Span, SpanFold

_SEND_EVERY_SECONDS = 1.0
_SEND_TIMEOUT_SECONDS = 5.0
_LAST_SECONDS = 2.0  # for what is queued, once the gateway is gone
_QUEUED_SPANS = 16_384
_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}


class Traces:
    """What the shipper tells of each batch. ``processor`` gets the finished spans."""

    def __init__(
        self,
        processor: SpanProcessor,
        service_name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        release = version("serverless-inference-gateway")
        self._processor = processor
        self._monotonic = monotonic
        self._fold = SpanFold()
        self._resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: release})
        self._scope = InstrumentationScope("gateway", release)

    def observe(self, batch: Batch) -> None:
        """Lines that have been shipped."""
        self._send(self._fold.observe(batch, self._monotonic()))

    def tick(self) -> None:
        """Call it now and then: some spans come by time."""
        self._send(self._fold.due(self._monotonic()))

    def close(self) -> None:
        """Send what is left, as far as that takes no longer than 2 s."""
        self._send(self._fold.close())
        # The SDK would wait 30 s for a collector that is away.
        last = threading.Thread(target=self._processor.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SECONDS)

    def _send(self, spans: Iterable[Span]) -> None:
        for span in spans:
            self._processor.on_end(self._readable(span))

    def _readable(self, span: Span) -> ReadableSpan:
        failed = span.error_type is not None
        parent = span.parent_span_id
        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id, is_remote=False),
            parent=None
            if parent is None
            else _context(span.trace_id, parent, is_remote=span.kind == "server"),
            resource=self._resource,
            attributes=dict(span.attributes),
            events=[Event(event.name, timestamp=event.at_us * 1000) for event in span.events],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error_type) if failed else Status(),
            start_time=span.start_at_us * 1000,
            end_time=span.end_at_us * 1000,
            instrumentation_scope=self._scope,
        )


def open_traces(endpoint: str, service_name: str) -> Traces:
    """Traces that go to a collector's address."""
    exporter = OTLPSpanExporter(endpoint, timeout=_SEND_TIMEOUT_SECONDS)
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=_QUEUED_SPANS,
        schedule_delay_millis=_SEND_EVERY_SECONDS * 1000,
    )
    return Traces(processor, service_name)


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, sampled)
