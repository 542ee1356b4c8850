"""Metrics that are folds over what has ended, never a second account of it.

They take an attempt as the dict of an ``end`` line and run in the shipper, off the path of
requests. They say what was known when the attempt ended; later corrections, and history that was
imported, are in the reports only. Nothing here sees a prompt, an output or a key.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import Metric

import gateway.errors
from gateway.ledger.errors import LedgerUnavailable
from gateway.telemetry import families
from gateway.telemetry.definitions import BY_NAME, DEFINITIONS
from gateway.telemetry.genai import operation_name, outcome

_MOST_VALUES = 500  # of one label; a configuration has fewer
_CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_PICO = 10**12
_MONEY = frozenset({"gateway_cost_usd_total", "gateway_charges_usd_total"})
# A gateway's own refusals are no errors of a provider, whose classes may be a stranger's.
_OURS = frozenset({name for name in vars(gateway.errors) if name[:1].isupper()}) | {
    LedgerUnavailable.__name__
}


class Metrics:
    """Counters and histograms. Labels come from bounded sets.

    Sums are kept in plain dicts: an attempt goes into some twenty series, and each would cost a
    microsecond and more through the client library's own counters.
    """

    def __init__(self) -> None:
        self._sums: dict[str, defaultdict[tuple[str, ...], float]] = {
            known.name: defaultdict(float)
            for known in DEFINITIONS
            if known.source == "journal" and known.kind == "counter"
        }
        self._spreads: dict[str, dict[tuple[str, ...], _Histogram]] = {
            known.name: {}
            for known in DEFINITIONS
            if known.source == "journal" and known.kind == "histogram"
        }
        self._seen: dict[str, set[str]] = defaultdict(set)
        self._exposition = families.Exposition(self._families)

    def observe(self, row: Mapping[str, Any]) -> None:
        """Count one finished attempt."""
        provider = self._bounded("provider", row["provider"])
        model = self._bounded("model", row["model"])
        where = (provider, self._bounded("deployment", row["deployment"]))
        self._count(row, where, (*where, model))
        self._time(row, where)
        self._conventions(row, (operation_name(row["route"]), provider, model))

    def observe_charge(self, row: Mapping[str, Any]) -> None:
        """Count money that belongs to no attempt; an adjustment may be negative and is none."""
        if row["kind"] == "adjustment":
            return
        where = (
            self._bounded("provider", row["provider"]),
            self._bounded("deployment", row["deployment"]),
        )
        cost_pico_usd = row["cost_pico_usd"]
        if cost_pico_usd is None:
            self._sums["gateway_unpriced_charges_total"][(*where, row["kind"])] += 1
        elif cost_pico_usd >= 0:
            labels = (*where, row["kind"], row["status"])
            self._sums["gateway_charges_usd_total"][labels] += cost_pico_usd

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format."""
        return self._exposition.text()

    def _count(
        self, row: Mapping[str, Any], where: tuple[str, ...], which: tuple[str, ...]
    ) -> None:
        sums = self._sums
        error_type = self._error_type(row["error_type"])
        sums["gateway_attempts_total"][(*which, row["status"], error_type)] += 1
        if error_type and error_type not in _OURS:
            sums["gateway_provider_errors_total"][(*where, error_type)] += 1
        cost_pico_usd = row["cost_pico_usd"]
        if cost_pico_usd is None:
            sums["gateway_unpriced_attempts_total"][which] += 1
        else:  # counted in pico-dollars, which are exact up to 9,007 USD a series
            sums["gateway_cost_usd_total"][(*which, row["cost_status"])] += cost_pico_usd
        for direction in ("input", "output"):
            tokens = row[f"{direction}_tokens"]
            if tokens is not None:
                source = row[f"{direction}_tokens_source"] or "unknown"
                sums["gateway_tokens_total"][(*which, direction, source)] += tokens
        sums["gateway_cold_starts_total"][(*where, row["verdict"])] += 1
        if row["caused_boot"]:
            sums["gateway_boots_total"][where] += 1

    def _time(self, row: Mapping[str, Any], where: tuple[str, ...]) -> None:
        self._spread("gateway_first_output_seconds", where, row["first_output_seconds"])
        self._spread("gateway_total_seconds", where, row["total_seconds"])
        self._spread("gateway_overhead_seconds", where, row["gateway_seconds"])
        if row["caused_boot"]:
            self._spread("gateway_boot_seconds", where, row["boot_seconds"])
        if row["verdict"] == "cold":
            evidence = self._bounded("evidence", row["evidence"] or "unknown")
            queue, boot, wait = row["queue_seconds"], row["boot_seconds"], row["wait_seconds"]
            whole = wait if queue is None and boot is None else None
            phases = {"queue": queue, "boot": boot, "wait": whole}
            for phase, seconds in phases.items():
                self._spread("gateway_cold_start_seconds", (*where, phase, evidence), seconds)

    def _conventions(self, row: Mapping[str, Any], labels: tuple[str, ...]) -> None:
        """OpenTelemetry's: the gateway as the provider's client, and as its callers' server."""
        first_output, total = row["first_output_seconds"], row["total_seconds"]
        client = "gen_ai_client_operation"
        failed = (*labels, self._error_type(outcome(row)))
        self._spread(f"{client}_duration_seconds", failed, total)
        tokens = row["input_tokens"], row["output_tokens"]
        sources = {row["input_tokens_source"], row["output_tokens_source"]}
        counted = None not in tokens and sources <= {"reported", "counted"}
        if counted:
            for kind, count in zip(("input", "output"), tokens, strict=True):
                self._spread("gen_ai_client_token_usage", (*labels, kind), count)
        if row["streamed"]:
            self._spread(f"{client}_time_to_first_chunk_seconds", labels, first_output)
        if row["status"] != "succeeded" or row["completed_at_us"] is None:
            return
        since_us = row["operation_at_us"]
        whole = max(0.0, (row["completed_at_us"] - since_us) / 1e6)
        self._spread("gen_ai_server_request_duration_seconds", labels, whole)
        if row["streamed"] and first_output is not None:
            waited = max(0.0, (row["begun_at_us"] - since_us) / 1e6) + first_output
            self._spread("gen_ai_server_time_to_first_token_seconds", labels, waited)
            if counted and total is not None and row["output_tokens"] > 1:
                each = max(0.0, total - first_output) / (row["output_tokens"] - 1)
                self._spread("gen_ai_server_time_per_output_token_seconds", labels, each)

    def _spread(self, name: str, labels: tuple[str, ...], value: float | None) -> None:
        if value is None:
            return
        series = self._spreads[name].get(labels)
        if series is None:
            series = self._spreads[name][labels] = _Histogram(BY_NAME[name].buckets)
        series.observe(value)

    def _families(self) -> Iterator[Metric]:
        for known in DEFINITIONS:
            if known.name in self._sums:
                unit = _PICO if known.name in _MONEY else 1
                sums = self._sums[known.name]
                yield families.family(known, ((of, total / unit) for of, total in sums.items()))
            elif known.name in self._spreads:
                spreads = self._spreads[known.name].items()
                yield families.histogram(known, ((of, s.buckets(), s.sum) for of, s in spreads))

    def _bounded(self, label: str, value: str) -> str:
        seen = self._seen[label]
        if value not in seen:
            if len(seen) >= _MOST_VALUES:
                return "other"
            seen.add(value)
        return value

    def _error_type(self, name: str | None) -> str:
        if name is None:
            return ""
        return self._bounded("error_type", name) if _CLASS_NAME.fullmatch(name) else "other"


class _Histogram:
    """One histogram's series."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds with how many lie at or under them."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
