"""Whom the shipper tells besides the database: collectors of OpenTelemetry, if any."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client.core import Metric

from gateway.ledger.shipping.fold import Batch


class TraceSink(Protocol):
    """Where traces go; ``gateway.telemetry.export`` has the one that sends them."""

    def observe(self, batch: Batch) -> None: ...

    def tick(self) -> None: ...

    def close(self) -> None: ...


class MetricSink(Protocol):
    """Where metrics are sent to; ``gateway.telemetry.export_metrics`` has the one that does."""

    def tick(self, families: Callable[[], Iterable[Metric]]) -> None: ...

    def close(self, families: Callable[[], Iterable[Metric]]) -> None: ...


def trace_sink(endpoint: str | None, service_name: str) -> TraceSink | None:
    """One that sends spans to a collector's address; None where there is none."""
    if endpoint is None:
        return None
    from gateway.telemetry.export import open_traces  # the SDK: only where it is asked for

    return open_traces(endpoint, service_name)


def metric_sink(endpoint: str | None, service_name: str) -> MetricSink | None:
    """One that sends metrics, likewise."""
    if endpoint is None:
        return None
    from gateway.telemetry.export_metrics import open_metrics

    return open_metrics(endpoint, service_name)
