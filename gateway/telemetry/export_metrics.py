"""Metrics to an OpenTelemetry collector: the folds of the journal that ``/metrics`` has too.

Only the shipper imports this, and only where ``telemetry.otlp_metrics_endpoint`` is set. Names and
units are those that a Prometheus exporter of the collector turns into ours again. What lives in the
gateway itself (states, queues, budgets) is on ``/metrics`` alone. A collector that is slow or away
costs the values of that moment: sums go on, and the next ones hold all that was missed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric as Family

EVERY_SECONDS = 15.0
_TIMEOUT_SECONDS = 5.0
_LAST_SECONDS = 2.0  # for the last values, once the gateway is gone
_NOT_KNOWN = cast("float", None)  # optional in OTLP, and so for the SDK's encoder
_UNITS = {"seconds": "s", "usd": "USD"}
_GEN_AI = {
    "gen_ai_client_token_usage": ("gen_ai.client.token.usage", "{token}"),
    "gen_ai_client_operation_duration_seconds": ("gen_ai.client.operation.duration", "s"),
    "gen_ai_client_operation_time_to_first_chunk_seconds": (
        "gen_ai.client.operation.time_to_first_chunk",
        "s",
    ),
    "gen_ai_server_request_duration_seconds": ("gen_ai.server.request.duration", "s"),
    "gen_ai_server_time_to_first_token_seconds": ("gen_ai.server.time_to_first_token", "s"),
    "gen_ai_server_time_per_output_token_seconds": ("gen_ai.server.time_per_output_token", "s"),
}
_ATTRIBUTES = {
    "gen_ai_operation_name": "gen_ai.operation.name",
    "gen_ai_provider_name": "gen_ai.provider.name",
    "gen_ai_request_model": "gen_ai.request.model",
    "gen_ai_token_type": "gen_ai.token.type",
    "error_type": "error.type",
}


def named(name: str) -> tuple[str, str]:
    """A metric's name and unit in OpenTelemetry's spelling: ``gateway_boot_seconds`` is
    ``gateway.boot`` in ``s``.
    """
    if name in _GEN_AI:
        return _GEN_AI[name]
    rest = name.removeprefix("gateway_")
    stem, _, last = rest.rpartition("_")
    return (f"gateway.{stem}", _UNITS[last]) if last in _UNITS else (f"gateway.{rest}", "1")


class MetricsExport:
    """What the shipper tells now and then; a thread sends it, one at a time."""

    def __init__(
        self,
        exporter: MetricExporter,
        service_name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        release = version("serverless-inference-gateway")
        self._exporter = exporter
        self._monotonic = monotonic
        self._begun_ns = time.time_ns()
        self._due_at = 0.0
        self._sending: threading.Thread | None = None
        self._resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: release})
        self._scope = InstrumentationScope("gateway", release)

    def tick(self, families: Callable[[], Iterable[Family]]) -> None:
        """Send, where it is time and the last ones are sent."""
        now = self._monotonic()
        if now < self._due_at or (self._sending is not None and self._sending.is_alive()):
            return
        self._due_at = now + EVERY_SECONDS
        self._send(families())

    def close(self, families: Callable[[], Iterable[Family]]) -> None:
        """Send the last values, as far as that takes no longer than 2 s."""
        end = self._monotonic() + _LAST_SECONDS
        if self._sending is not None:
            self._sending.join(_LAST_SECONDS)
        if self._sending is None or not self._sending.is_alive():
            self._send(families()).join(max(0.0, end - self._monotonic()))

    def _send(self, families: Iterable[Family]) -> threading.Thread:
        data = self.data(families)
        # The SDK tries again for a long time when a collector is away.
        self._sending = threading.Thread(target=self._exporter.export, args=(data,), daemon=True)
        self._sending.start()
        return self._sending

    def data(self, families: Iterable[Family]) -> MetricsData:
        """The families as the SDK has them, as of now."""
        metrics = [made for family in families if (made := self._metric(family)) is not None]
        scoped = ScopeMetrics(self._scope, metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scoped], "")])

    def _metric(self, family: Family) -> Metric | None:
        if not family.samples:
            return None
        name, unit = named(family.name)
        data = self._histogram(family) if family.type == "histogram" else self._sum(family)
        return Metric(name, family.documentation, unit, data)

    def _sum(self, family: Family) -> Sum:
        now_ns = time.time_ns()
        points = [
            NumberDataPoint(_attributes(sample.labels), self._begun_ns, now_ns, sample.value)
            for sample in family.samples
        ]
        return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)

    def _histogram(self, family: Family) -> Histogram:
        now_ns = time.time_ns()
        points = []
        for labels, buckets, total in _series(family):
            bounds = [bound for bound in buckets if bound != float("inf")]
            upto = [round(count) for count in buckets.values()]
            counts = [here - before for before, here in zip([0, *upto], upto, strict=False)]
            points.append(
                HistogramDataPoint(
                    labels,
                    self._begun_ns,
                    now_ns,
                    count=upto[-1],
                    sum=total,
                    bucket_counts=counts,
                    explicit_bounds=bounds,
                    min=_NOT_KNOWN,
                    max=_NOT_KNOWN,
                )
            )
        return Histogram(points, AggregationTemporality.CUMULATIVE)


def _series(family: Family) -> Iterator[tuple[dict[str, str], dict[float, float], float]]:
    """Labels, cumulative buckets by their bounds, and sum."""
    found: dict[tuple[tuple[str, str], ...], tuple[dict[float, float], list[float]]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        buckets, total = found.setdefault(tuple(labels.items()), ({}, [0.0]))
        if sample.name.endswith("_bucket"):
            buckets[float(sample.labels["le"])] = sample.value
        elif sample.name.endswith("_sum"):
            total[0] = sample.value
    for key, (buckets, total) in found.items():
        yield _attributes(dict(key)), buckets, total[0]


def _attributes(labels: Mapping[str, str]) -> dict[str, str]:
    """Their names in OpenTelemetry's spelling; an empty label is none."""
    return {_ATTRIBUTES.get(name, name): value for name, value in labels.items() if value}


def open_metrics(endpoint: str, service_name: str) -> MetricsExport:
    """Metrics that go to a collector's address."""
    return MetricsExport(OTLPMetricExporter(endpoint, timeout=_TIMEOUT_SECONDS), service_name)
