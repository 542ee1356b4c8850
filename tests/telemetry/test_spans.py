"""Spans from journal lines, through the SDK's own in-memory exporter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.fold import fold
from tests.ledger.samples import NOON_US, begun, finished, unpriced

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.telemetry.export import Traces

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Sent:
    """Traces whose spans stay here."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.exporter = InMemorySpanExporter()
        self.traces = Traces(SimpleSpanProcessor(self.exporter), "my-gateway", self.clock)

    def ship(self, *rows: AttemptRow) -> None:
        """Each row as the line that it is: a begin while it runs, else an end."""
        self.traces.observe(
            fold(
                {"kind": "begin" if row.status == "running" else "end", "attempt": asdict(row)}
                for row in rows
            )
        )

    def spans(self, kind: SpanKind | None = None) -> Sequence[ReadableSpan]:
        found = self.exporter.get_finished_spans()
        return [span for span in found if kind is None or span.kind == kind]

    def operation(self) -> ReadableSpan:
        (span,) = self.spans(SpanKind.SERVER)
        return span


@pytest.fixture
def sent() -> Sent:
    return Sent()


def traced(number: int = 1, **changes: Any) -> AttemptRow:
    usual: dict[str, Any] = {"trace_id": TRACE, "parent_span_id": SPAN, "operation_id": "gen_1"}
    return begun(number, **{"operation_at_us": NOON_US, **usual, **changes})


def test_one_span_for_the_operation_and_one_for_the_attempt(sent: Sent) -> None:
    sent.ship(traced(), finished(traced()))
    attempt, operation = sent.spans()
    assert (attempt.kind, operation.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    assert attempt.context is not None and operation.context is not None
    assert attempt.parent is not None and operation.parent is not None
    assert attempt.context.trace_id == operation.context.trace_id == int(TRACE, 16)
    assert operation.parent.span_id == int(SPAN, 16) and operation.parent.is_remote
    assert attempt.parent.span_id == operation.context.span_id
    assert attempt.context.span_id != operation.context.span_id
    assert operation.name == "generate_content smollm2"
    assert attempt.name == "generate_content smollm2-135m-instruct"
    assert attempt.resource.attributes["service.name"] == "my-gateway"
    assert attempt.start_time == (NOON_US + 1) * 1000
    assert operation.start_time == NOON_US * 1000
    assert attempt.end_time == operation.end_time == (NOON_US + 950_001) * 1000


def test_the_attributes_that_the_conventions_require_and_ours(sent: Sent) -> None:
    sent.ship(finished(traced(max_output_tokens=64, route="chat.completions")))
    attempt, operation = sent.spans()
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "local",
        "gen_ai.request.max_tokens": 64,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 40,
        "gateway.usage.source": "reported",
        "faas.coldstart": True,
        "gateway.cold_start.evidence": "process_started",
        "gateway.cold_start.caused_boot": True,
        "gateway.cost.usd": "0.000093",
        "gateway.cost.pico_usd": 93_000_000,
        "gateway.cost.status": "measured",
        "gateway.deployment": "local-smollm2",
        "gateway.execution.operation.id": "gen_1",
    }
    for span in (attempt, operation):
        assert span.attributes is not None
        assert common.items() <= dict(span.attributes).items()
        assert "error.type" not in span.attributes
        assert span.status.status_code == StatusCode.UNSET
    assert attempt.attributes is not None and operation.attributes is not None
    assert attempt.attributes["gen_ai.request.model"] == "smollm2-135m-instruct"
    assert operation.attributes["gen_ai.request.model"] == "smollm2"
    assert operation.attributes["gateway.attempts"] == 1


def test_nothing_said_and_no_name_of_anybody_is_in_them(sent: Sent) -> None:
    sent.ship(finished(traced(key_id="the-key", tags={"a": "secret"})))
    for span in sent.spans():
        text = span.to_json()
        assert "secret" not in text and "the-key" not in text


def test_the_phases_are_events_in_their_order(sent: Sent) -> None:
    sent.ship(finished(traced(), queue_seconds=0.08, wait_seconds=0.7))
    attempt = sent.spans()[0]
    assert attempt.start_time is not None
    told = [(e.name, (e.timestamp - attempt.start_time) // 1000) for e in attempt.events]
    assert told == [
        ("queued", 0),
        ("booting", 80_000),
        ("started", 700_000),
        ("first_output", 710_000),
        ("finished", 950_000),
    ]


def test_a_boot_that_was_waited_out_at_the_gateway_lies_before_the_span(sent: Sent) -> None:
    held = {"held_seconds": 5.0, "verdict": "cold", "caused_boot": False}
    sent.ship(finished(traced(), **held, queue_seconds=None, boot_seconds=4.9, wait_seconds=5.1))
    attempt = sent.spans()[0]
    assert attempt.start_time is not None and attempt.attributes is not None
    told = [(e.name, (e.timestamp - attempt.start_time) // 1000) for e in attempt.events]
    assert told == [("started", 100_000), ("first_output", 710_000), ("finished", 950_000)]
    assert attempt.attributes["gateway.held_seconds"] == 5.0


def test_phases_that_nobody_saw_are_no_events(sent: Sent) -> None:
    unseen = {"boot_seconds": None, "wait_seconds": None, "first_output_seconds": None}
    sent.ship(finished(traced(), status="failed", error_type="UpstreamFailed", **unseen))
    assert not sent.spans()[0].events


def test_unknown_is_absent_and_never_nought_or_warm(sent: Sent) -> None:
    sent.ship(unpriced(traced(), verdict="unknown", evidence=None, output_tokens=None))
    for span in sent.spans():
        assert span.attributes is not None
        assert not span.attributes.keys() & {
            "gateway.cost.usd",
            "gateway.cost.pico_usd",
            "faas.coldstart",
            "gen_ai.usage.output_tokens",
        }
        assert span.attributes["gateway.cost.status"] == "unknown"


def test_a_fallback_is_two_attempts_of_one_operation(sent: Sent) -> None:
    failed = finished(traced(1), status="failed", error_type="RateLimited")
    sent.ship(failed)
    assert not sent.spans(SpanKind.SERVER)
    second = finished(traced(2, ordinal=1, deployment="far", provider="acme"), verdict="warm")
    sent.ship(second)
    first, last = sent.spans(SpanKind.CLIENT)
    operation = sent.operation()
    assert first.status.status_code == StatusCode.ERROR
    assert first.attributes is not None and first.attributes["error.type"] == "RateLimited"
    assert first.parent == last.parent
    assert operation.attributes is not None
    assert operation.attributes["gen_ai.provider.name"] == "acme"
    assert operation.attributes["gateway.attempts"] == 2
    assert operation.attributes["gateway.cost.usd"] == "0.000186"
    assert operation.attributes["faas.coldstart"] is False
    assert operation.status.status_code == StatusCode.UNSET


def test_an_operation_that_failed_is_told_once_nothing_has_followed(sent: Sent) -> None:
    sent.ship(finished(traced(), status="failed", error_type="RateLimited"))
    sent.clock.now = 59.0
    sent.traces.tick()
    assert not sent.spans(SpanKind.SERVER)
    sent.clock.now = 61.0
    sent.traces.tick()
    operation = sent.operation()
    assert operation.status.status_code == StatusCode.ERROR
    assert operation.attributes is not None
    assert operation.attributes["error.type"] == "RateLimited"
    sent.ship(finished(traced(2, ordinal=1)))  # later than anybody waits for
    assert len(sent.spans(SpanKind.CLIENT)) == 2 and sent.operation() is operation


def test_while_an_attempt_runs_its_operation_is_not_told(sent: Sent) -> None:
    sent.ship(finished(traced(), status="failed", error_type="RateLimited"))
    sent.ship(traced(2, ordinal=1))
    sent.clock.now = 1000.0
    sent.traces.tick()
    assert not sent.spans(SpanKind.SERVER)
    sent.ship(finished(traced(2, ordinal=1)))
    assert sent.operation()


@pytest.mark.parametrize("status", ["cancelled", "interrupted"])
def test_what_was_stopped_is_told_at_once(sent: Sent, status: str) -> None:
    sent.ship(finished(traced(), status=status))
    operation = sent.operation()
    assert operation.attributes is not None and operation.attributes["error.type"] == status


def test_what_is_left_is_told_at_the_end(sent: Sent) -> None:
    sent.ship(finished(traced(), status="failed", error_type="RateLimited"))
    sent.ship(traced(9, operation_id="gen_9"))  # nothing of it has ended: nothing to tell
    sent.traces.close()
    assert sent.operation()


def test_rows_without_a_trace_and_history_have_no_spans(sent: Sent) -> None:
    sent.ship(finished(replace(traced(), trace_id=None, parent_span_id=None)))
    sent.ship(finished(traced(2, origin="imported")))
    sent.traces.close()
    assert not sent.spans()


def test_a_trace_that_began_here_has_no_parent(sent: Sent) -> None:
    sent.ship(finished(traced(parent_span_id=None)))
    assert sent.operation().parent is None
