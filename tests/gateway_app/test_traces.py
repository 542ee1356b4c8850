"""Traces, from a caller's header to a provider's and to a collector, and off where they are off."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.ledger.shipping.child import ShipperProcess
from gateway.settings import ConfigError, load
from gateway.telemetry_settings import TelemetrySettings
from providers.contract import Booting, Delta, Finished, Usage
from tests.emulators.openai_chat import KEY, OpenAIChat
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway
from tests.serving import serve

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=secret"}


class Collector:
    """A collector's door: what was sent by OTLP over HTTP."""

    def __init__(self) -> None:
        self.url = ""
        self._spans: list[Any] = []
        self._metrics: list[Any] = []
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] in ("/v1/traces", "/v1/metrics")
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        with self._lock:
            if scope["path"] == "/v1/metrics":
                self._metrics.append(ExportMetricsServiceRequest.FromString(raw))
                raw = b""
            told = ExportTraceServiceRequest.FromString(raw)
            for resource in told.resource_spans:
                for scoped in resource.scope_spans:
                    self._spans += scoped.spans
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def of(self, trace_id: str) -> list[Any]:
        with self._lock:
            return [span for span in self._spans if span.trace_id.hex() == trace_id]

    def count(self) -> int:
        return len(self._spans)

    def metrics(self) -> dict[str, Any]:
        """The newest values by name, and the resource that they are of."""
        with self._lock:
            if not self._metrics:
                return {}
            (resource,) = self._metrics[-1].resource_metrics
        of = {item.key: item.value.string_value for item in resource.resource.attributes}
        (scoped,) = resource.scope_metrics
        return {"resource": of, **{metric.name: metric for metric in scoped.metrics}}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    app = Collector()
    with serve(app) as url:
        app.url = f"{url}/v1/traces"
        yield app


def tree(emulator: OpenAIChat, **telemetry: Any) -> dict[str, Any]:
    deployments = {
        "warm": {"provider": "upstream", "model": "warm"},
        "scripted": {"provider": "scripted", "model": "scripted"},
    }
    return {
        "providers": {
            "upstream": {"kind": "openai_chat", "base_url": emulator.url, "api_key": KEY}
        },
        "deployments": deployments,
        "models": {name: {"deployments": [name]} for name in deployments},
        "telemetry": telemetry,
    }


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, chat_emulator: OpenAIChat, collector: Collector
) -> Iterator[Gateway]:
    given = tree(chat_emulator, otlp_endpoint=collector.url)
    with running_gateway(given, tmp_path_factory.mktemp("traces")) as running:
        yield running


def ask(gateway: Gateway, model: str = "warm", **headers: str) -> str:
    """The operation's id."""
    body = {"model": model, "input": "Hi"}
    answer = gateway.http.post("/v1/generate", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    operation_id: str = answer.json()["id"]
    return operation_id


def test_a_callers_trace_goes_through_to_the_provider_and_the_collector(
    traced: Gateway, chat_emulator: OpenAIChat, collector: Collector
) -> None:
    operation_id = ask(traced, **PARENT)
    told = chat_emulator.received[-1].headers
    assert "tracestate" not in told
    version, trace_id, attempt_span, flags = told["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "01")
    (row,) = traced.rows(operation_id)
    assert (row["trace_id"], row["parent_span_id"]) == (TRACE, SPAN)
    eventually(lambda: len(collector.of(TRACE)) == 2, 15)
    by_id = {span.span_id.hex(): span for span in collector.of(TRACE)}
    attempt = by_id.pop(attempt_span)
    ((operation_span, operation),) = by_id.items()
    assert attempt.parent_span_id.hex() == operation_span
    assert operation.parent_span_id.hex() == SPAN
    attributes = {item.key: item.value.string_value for item in operation.attributes}
    assert attributes["gateway.execution.operation.id"] == operation_id


def test_without_a_header_a_trace_begins_here(traced: Gateway, collector: Collector) -> None:
    (row,) = traced.rows(ask(traced))
    assert row["trace_id"] is not None and row["parent_span_id"] is None
    eventually(lambda: len(collector.of(row["trace_id"])) == 2, 15)


def test_what_the_caller_does_not_record_is_passed_on_and_not_recorded(
    traced: Gateway, chat_emulator: OpenAIChat
) -> None:
    (row,) = traced.rows(ask(traced, traceparent=f"00-{TRACE}-{SPAN}-00"))
    told = chat_emulator.received[-1].headers["traceparent"]
    assert told.startswith(f"00-{TRACE}-") and told.endswith("-00")
    assert (row["trace_id"], row["parent_span_id"]) == (None, None)


def test_providers_can_be_left_out_of_it(
    tmp_path: Path, chat_emulator: OpenAIChat, collector: Collector
) -> None:
    given = tree(chat_emulator, otlp_endpoint=collector.url, pass_on=False)
    with running_gateway(given, tmp_path) as gateway:
        (row,) = gateway.rows(ask(gateway, **PARENT))
    assert row["trace_id"] == TRACE
    assert "traceparent" not in chat_emulator.received[-1].headers


def test_a_collector_that_is_away_costs_no_call_and_no_row(
    tmp_path: Path, chat_emulator: OpenAIChat
) -> None:
    given = tree(chat_emulator, otlp_endpoint="http://127.0.0.1:9/v1/traces")
    scripts = Scripts()
    scripts.only("scripted", (Delta("hi"), Finished(("stop",))))
    with running_gateway(given, tmp_path, scripts) as gateway:
        operation_id = ask(gateway, "scripted")
        assert gateway.operation(operation_id)["status"] == "succeeded"


def test_metrics_reach_the_collector(
    tmp_path: Path, chat_emulator: OpenAIChat, collector: Collector
) -> None:
    to = collector.url.replace("traces", "metrics")
    given = tree(chat_emulator, otlp_metrics_endpoint=to, service_name="mine")
    scripts = Scripts()
    usage = Usage(100, 20)
    scripts.only(
        "scripted", (Booting("process_started", True), Delta("hi"), Finished(("s",), usage))
    )
    with running_gateway(given, tmp_path, scripts) as gateway:
        assert gateway.rows(ask(gateway, "scripted", **PARENT))[0]["trace_id"] is None
        ask(gateway, "scripted")
        gateway.get("/v1/operations")
    # The last ones are sent when the gateway ends, and say what /metrics said.
    eventually(lambda: "gateway.attempts" in collector.metrics(), 15)
    told = collector.metrics()
    assert told["resource"]["service.name"] == "mine" and told["resource"]["service.version"]
    (attempts,) = told["gateway.attempts"].sum.data_points
    assert attempts.as_double == 2 and told["gateway.attempts"].sum.is_monotonic
    labels = {item.key: item.value.string_value for item in attempts.attributes}
    names = {"provider": "scripted", "deployment": "scripted", "model": "scripted"}
    assert labels == {**names, "status": "succeeded"}
    (boots,) = told["gateway.boot"].histogram.data_points
    assert told["gateway.boot"].unit == "s" and boots.count == sum(boots.bucket_counts) == 2
    assert len(boots.bucket_counts) == len(boots.explicit_bounds) + 1 and boots.sum > 0
    assert not boots.HasField("min") and not boots.HasField("max")
    of_tokens = told["gen_ai.client.token.usage"].histogram.data_points
    sums = {
        item.value.string_value: point.sum
        for point in of_tokens
        for item in point.attributes
        if item.key == "gen_ai.token.type"
    }
    assert sums == {"input": 200, "output": 40}
    assert "gateway.unpriced_attempts" in told and "gateway.cost" not in told


# -- off means off ----------------------------------------------------------------------------


def test_off_nothing_is_taken_kept_or_passed_on(
    gateway: Gateway, chat_emulator: OpenAIChat, collector: Collector
) -> None:
    before = collector.count()
    (row,) = gateway.rows(ask(gateway, **PARENT))
    assert (row["trace_id"], row["parent_span_id"]) == (None, None)
    assert "traceparent" not in chat_emulator.received[-1].headers
    assert collector.count() == before


def test_off_the_shipper_is_told_nothing(tmp_path: Path) -> None:
    for telemetry in (None, TelemetrySettings()):
        command = ShipperProcess(tmp_path, telemetry=telemetry).command
        assert not [word for word in command if word.startswith("--otlp")]


def test_on_without_the_extra_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    on = {"server": {"data_dir": tmp_path}, "telemetry": {"otlp_endpoint": "http://c/v1/traces"}}
    with pytest.raises(ConfigError, match=r"serverless-inference-gateway\[otel\]"):
        create_app(load(None, {}, on))


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("localhost:4318", "must begin with http"),
        ("http:///v1/traces", "name a host"),
        ("https://user:secret@collector/v1/traces", "hold no secret"),
        ("https://collector/v1/traces?key=secret", "hold no secret"),
    ],
)
def test_an_endpoint_that_is_none_or_tells_a_secret(endpoint: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        load(None, {}, {"telemetry": {"otlp_endpoint": endpoint}})
    assert "secret@" not in str(refused.value) and "key=" not in str(refused.value)
