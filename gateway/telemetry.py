"""Log lines and metrics: folds over finished attempts, never a second account of them.

Both take an attempt as the dict of an ``end`` line. They run in the shipper, off the path of
requests. Metrics say what was known when the attempt ended; later corrections, and history that
was imported, are in the reports only. Nothing here sees a prompt, an output or a key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gateway.clock import rfc3339
from gateway.ledger.views import usd_or_null

_BOOT_BUCKETS = (0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200)
_WAIT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_OVERHEAD_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_PICO = 10**12
_OUTCOME = ("status", "error_type")
_MOST_VALUES = 500  # of one label; a configuration has fewer
_CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


def log_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """The log's line for one finished attempt, ready for JSON."""
    sources = {row["input_tokens_source"], row["output_tokens_source"]} - {None}
    price = row["price"]
    return {
        "time": rfc3339(row["completed_at_us"] or row["begun_at_us"]),
        "level": "INFO",
        "event": "attempt",
        "request_id": row["operation_id"],
        "attempt": row["attempt_id"],
        "provider": row["provider"],
        "deployment": row["deployment"],
        "model": row["model"],
        "status": row["status"],
        "error_type": row["error_type"],
        "verdict": row["verdict"],
        "evidence": row["evidence"],
        "queue_seconds": row["queue_seconds"],
        "boot_seconds": row["boot_seconds"],
        "first_output_seconds": row["first_output_seconds"],
        "total_seconds": row["total_seconds"],
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "token_source": "mixed" if len(sources) > 1 else next(iter(sources), None),
        "cost_usd": usd_or_null(row["cost_pico_usd"]),
        "cost_status": row["cost_status"],
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


class Metrics:
    """Prometheus metrics in a registry of their own. Labels come from bounded sets."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        where = ("provider", "deployment")
        which = (*where, "model")
        self._attempts = self._counter("attempts", "Attempts that ended.", *which, *_OUTCOME)
        self._cost = self._counter("cost_usd", "Known cost of attempts.", *which, "status")
        self._unpriced = self._counter(
            "unpriced_attempts", "Attempts whose cost is not known.", *which
        )
        self._tokens = self._counter("tokens", "Tokens.", *which, "direction", "source")
        self._verdicts = self._counter("cold_starts", "Attempts by verdict.", *where, "verdict")
        self._boots = self._counter("boots", "Boots that attempts caused.", *where)
        self._boot = self._histogram("boot", "Boots that attempts caused.", _BOOT_BUCKETS)
        self._first = self._histogram("first_output", "Until the first output.", _WAIT_BUCKETS)
        self._total = self._histogram("total", "Whole attempts.", _WAIT_BUCKETS)
        self._overhead = self._histogram("overhead", "The gateway's own share.", _OVERHEAD_BUCKETS)
        self._children: dict[tuple[Any, ...], Any] = {}
        self._seen: dict[str, set[str]] = {}

    def observe(self, row: Mapping[str, Any]) -> None:
        """Count one finished attempt."""
        where = (row["provider"], row["deployment"])
        which = (*where, row["model"])
        child = self._child
        child(self._attempts, *which, row["status"], _error_type(row["error_type"])).inc()
        if row["cost_pico_usd"] is None:
            child(self._unpriced, *which).inc()
        else:
            cost_usd = row["cost_pico_usd"] / _PICO
            child(self._cost, *which, row["cost_status"]).inc(max(0.0, cost_usd))
        for direction in ("input", "output"):
            tokens = row[f"{direction}_tokens"]
            if tokens is not None:
                source = row[f"{direction}_tokens_source"] or "unknown"
                child(self._tokens, *which, direction, source).inc(max(0, tokens))
        child(self._verdicts, *where, row["verdict"]).inc()
        if row["caused_boot"]:
            child(self._boots, *where).inc()
            if row["boot_seconds"] is not None:
                child(self._boot, *where).observe(row["boot_seconds"])
        for histogram, column in (
            (self._first, "first_output_seconds"),
            (self._total, "total_seconds"),
            (self._overhead, "gateway_seconds"),
        ):
            if row[column] is not None:
                child(histogram, *where).observe(row[column])

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gateway_{name}_total", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"gateway_{name}_seconds",
            text,
            ("provider", "deployment"),
            registry=self.registry,
            buckets=buckets,
        )

    def _child(self, metric: Counter | Histogram, *labels: str) -> Any:
        """The series of these labels. Looking it up in the client library costs 2 us each time."""
        key = (metric, *labels)
        found = self._children.get(key)
        if found is None:
            bounded = [
                self._bounded(name, value)
                for name, value in zip(metric._labelnames, labels, strict=True)
            ]
            found = self._children[key] = metric.labels(*bounded)
        return found

    def _bounded(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, set())
        if value not in seen and len(seen) >= _MOST_VALUES:
            return "other"
        seen.add(value)
        return value


def _error_type(name: str | None) -> str:
    if name is None:
        return ""
    return name if _CLASS_NAME.fullmatch(name) else "other"
