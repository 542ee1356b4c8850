"""Definitions and their values as Prometheus text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.telemetry.definitions import BY_NAME, Definition

Values = Iterable[tuple[Sequence[str], float]]
_FAMILIES: Mapping[str, type[CounterMetricFamily] | type[GaugeMetricFamily]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
}


def family(definition: Definition, values: Values) -> Metric:
    """A counter or a gauge with its series: label values in the definition's order, and a value."""
    made = _FAMILIES[definition.kind](definition.name, definition.help, labels=definition.labels)
    for labels, value in values:
        made.add_metric(labels, value)
    return made


def histogram(
    definition: Definition,
    series: Iterable[tuple[Sequence[str], Sequence[tuple[str, float]], float]],
) -> Metric:
    """A histogram with its series: label values, cumulative buckets, sum."""
    made = HistogramMetricFamily(definition.name, definition.help, labels=definition.labels)
    for labels, buckets, total in series:
        made.add_metric(labels, buckets, total)
    return made


class Exposition(Collector):
    """Families in a registry of their own; ``collect`` is asked anew each time."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The families, as the client library asks for them."""
        yield from self._collect()

    def text(self) -> bytes:
        """All of it in Prometheus text format."""
        return generate_latest(self._registry)


def exposition_of(values: dict[str, Values]) -> bytes:
    """Counters and gauges by name as Prometheus text. Raises KeyError where one is not defined."""
    families = [family(BY_NAME[name], series) for name, series in values.items()]
    return Exposition(lambda: families).text()
