"""Log lines and metrics: folds over finished attempts, never a second account of them.

Both take an attempt as the dict of an ``end`` line. They run in the shipper, off the path of
requests. Metrics say what was known when the attempt ended; later corrections, and history that
was imported, are in the reports only. Nothing here sees a prompt, an output or a key.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from operator import itemgetter
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.clock import rfc3339
from gateway.ledger.views import usd_or_null

_WAIT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_HISTOGRAMS = (  # name, column, help, buckets in seconds
    (
        "boot",
        "boot_seconds",
        "Boots that attempts caused.",
        (0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200),
    ),
    ("first_output", "first_output_seconds", "Until the first output.", _WAIT_BUCKETS),
    ("total", "total_seconds", "Whole attempts.", _WAIT_BUCKETS),
    (
        "overhead",
        "gateway_seconds",
        "The gateway's own share of attempts.",
        (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
    ),
)
_WHERE = ("provider", "deployment")
_WHICH = (*_WHERE, "model")
_COUNTERS = {  # name -> labels, help
    "attempts": ((*_WHICH, "status", "error_type"), "Attempts that ended."),
    "cost_usd": ((*_WHICH, "status"), "Known cost of attempts, by how it is known."),
    "unpriced_attempts": (_WHICH, "Attempts whose cost is not known."),
    "tokens": ((*_WHICH, "direction", "source"), "Tokens, by who counted them."),
    "cold_starts": ((*_WHERE, "verdict"), "Attempts by verdict."),
    "boots": (_WHERE, "Boots that attempts caused."),
}
_MOST_VALUES = 500  # of one label; a configuration has fewer
_CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_PICO = 10**12
_HAS_INPUT, _HAS_OUTPUT = 1, 2
_LOGGED = (
    *("request_id", "attempt", "provider", "deployment", "model", "status", "error_type"),
    *("verdict", "evidence", "queue_seconds", "boot_seconds", "first_output_seconds"),
    *("total_seconds", "input_tokens", "output_tokens", "cost_status"),
)
_COLUMNS = {"request_id": "operation_id", "attempt": "attempt_id"}  # where the names differ
_logged = itemgetter(*(_COLUMNS.get(name, name) for name in _LOGGED))


def log_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """The log's line for one finished attempt, ready for JSON."""
    source, other = row["input_tokens_source"], row["output_tokens_source"]
    if source is None or other is None:
        source = source or other
    elif source != other:
        source = "mixed"
    price = row["price"]
    return {
        "time": rfc3339(row["completed_at_us"] or row["begun_at_us"]),
        "level": "INFO",
        "event": "attempt",
        **dict(zip(_LOGGED, _logged(row), strict=True)),
        "token_source": source,
        "cost_usd": usd_or_null(row["cost_pico_usd"]),
        "price_source": None if price is None else price.get("source"),
    }


class JsonFormatter(logging.Formatter):
    """Other log records, in the same shape as the line of an attempt."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": rfc3339(int(record.created * 1e6)),
            "level": record.levelname,
            "event": "log",
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(said).decode()


class Metrics(Collector):
    """Prometheus metrics in a registry of their own. Labels come from bounded sets.

    Sums are kept in plain dicts: through the client library's own counters, one attempt would
    cost 20 us instead of 3.
    """

    def __init__(self) -> None:
        # By all labels at once: attempts, pico-USD and attempts with a cost, tokens in and out,
        # and whether there were such tokens. Taken apart when somebody asks.
        self._kinds: dict[tuple[Any, ...], list[int]] = {}
        self._seconds: dict[tuple[str, str], dict[str, _Seconds]] = {}
        self._seen: dict[str, set[str]] = defaultdict(set)
        self._which: dict[tuple[str, str, str], tuple[str, str, str]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def observe(self, row: Mapping[str, Any]) -> None:
        """Count one finished attempt."""
        given = (row["provider"], row["deployment"], row["model"])
        which = self._which.get(given) or self._bound(given)
        where = which[:2]
        error_type = row["error_type"]
        kind = (
            *which,
            row["status"],
            "" if error_type is None else self._error_type(error_type),
            row["cost_status"],
            row["input_tokens_source"],
            row["output_tokens_source"],
            row["verdict"],
            row["caused_boot"],
        )
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = [0] * 6
        found[0] += 1
        if (cost_pico_usd := row["cost_pico_usd"]) is not None:
            found[1] += cost_pico_usd
            found[2] += 1
        if (tokens := row["input_tokens"]) is not None:
            found[3] += tokens
            found[5] |= _HAS_INPUT
        if (tokens := row["output_tokens"]) is not None:
            found[4] += tokens
            found[5] |= _HAS_OUTPUT
        seconds = self._seconds.get(where)
        if seconds is None:
            seconds = self._seconds[where] = {
                name: _Seconds(buckets) for name, _, _, buckets in _HISTOGRAMS
            }
        for name, column, _, _ in _HISTOGRAMS:
            value = row[column]
            if value is not None and (name != "boot" or row["caused_boot"]):
                seconds[name].observe(value)

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The families, as the client library asks for them."""
        sums = self._counters()
        for name, (labels, text) in _COUNTERS.items():
            counter = CounterMetricFamily(f"gateway_{name}", text, labels=labels)
            unit = _PICO if name == "cost_usd" else 1
            for values, total in sums[name].items():
                counter.add_metric(values, total / unit)
            yield counter
        for name, _, text, _ in _HISTOGRAMS:
            histogram = HistogramMetricFamily(f"gateway_{name}_seconds", text, labels=_WHERE)
            for where, seconds in self._seconds.items():
                histogram.add_metric(where, seconds[name].buckets(), seconds[name].sum)
            yield histogram

    def _counters(self) -> dict[str, defaultdict[tuple[str, ...], int]]:
        sums: dict[str, defaultdict[tuple[str, ...], int]] = {
            name: defaultdict(int) for name in _COUNTERS
        }
        for kind, counted in self._kinds.items():
            *which, status, error_type, cost_status, source_in, source_out, verdict, boot = kind
            attempts, cost, priced, tokens_in, tokens_out, has = counted
            sums["attempts"][(*which, status, error_type)] += attempts
            if priced < attempts:
                sums["unpriced_attempts"][(*which,)] += attempts - priced
            if priced:  # counted in pico-dollars, which are exact up to 9,007 USD a series
                sums["cost_usd"][(*which, cost_status)] += cost
            if has & _HAS_INPUT:
                sums["tokens"][(*which, "input", source_in or "unknown")] += tokens_in
            if has & _HAS_OUTPUT:
                sums["tokens"][(*which, "output", source_out or "unknown")] += tokens_out
            sums["cold_starts"][(*which[:2], verdict)] += attempts
            if boot:
                sums["boots"][(*which[:2],)] += attempts
        return sums

    def _bound(self, given: tuple[str, str, str]) -> tuple[str, str, str]:
        provider, deployment, model = given
        which = (
            self._bounded("provider", provider),
            self._bounded("deployment", deployment),
            self._bounded("model", model),
        )
        if len(self._which) < _MOST_VALUES:
            self._which[given] = which
        return which

    def _bounded(self, label: str, value: str) -> str:
        seen = self._seen[label]
        if value not in seen:
            if len(seen) >= _MOST_VALUES:
                return "other"
            seen.add(value)
        return value

    def _error_type(self, name: str) -> str:
        return self._bounded("error_type", name) if _CLASS_NAME.fullmatch(name) else "other"


class _Seconds:
    """One histogram's series."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds with how many lie at or under them."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
