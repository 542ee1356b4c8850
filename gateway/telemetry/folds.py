"""Metrics that are folds over what has ended, never a second account of it.

They take an attempt as the dict of an ``end`` line and run in the shipper, off the path of
requests. They say what was known when the attempt ended; later corrections, and history that was
imported, are in the reports only. Nothing here sees a prompt, an output or a key.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

import gateway.errors
from gateway.ledger.errors import LedgerUnavailable
from gateway.telemetry import families
from gateway.telemetry.definitions import BY_NAME, DEFINITIONS
from gateway.telemetry.genai import operation_name, outcome
from gateway.telemetry.kinds import Key, Kind, Spread

_MOST_VALUES = 500  # of one label; a configuration has fewer
_CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_PICO = 10**12
_MONEY = frozenset({"gateway_cost_usd_total", "gateway_charges_usd_total"})
# A gateway's own refusals are no errors of a provider, whose classes may be a stranger's.
_OURS = frozenset({name for name in vars(gateway.errors) if name[:1].isupper()}) | {
    LedgerUnavailable.__name__
}
_COUNTERS = [d.name for d in DEFINITIONS if d.source == "journal" and d.kind == "counter"]
_HISTOGRAMS = [d.name for d in DEFINITIONS if d.source == "journal" and d.kind == "histogram"]

_Sums = dict[str, defaultdict[tuple[str, ...], float]]
_Spreads = dict[str, dict[tuple[str, ...], Spread]]


class Metrics:
    """Counters and histograms. Labels come from bounded sets.

    An attempt goes into one ``Kind``, by all its labels at once, and the kinds are taken apart when
    somebody asks: counted into each series by itself it would cost 16 us instead of 5.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[Any, ...], Kind] = {}
        self._charges: _Sums = {name: defaultdict(float) for name in _COUNTERS if "charges" in name}
        self._seen: dict[str, set[str]] = defaultdict(set)
        self._which: dict[tuple[str, str, str], tuple[str, str, str]] = {}
        self._exposition = families.Exposition(self.families)

    def observe(self, row: Mapping[str, Any]) -> None:
        """Count one finished attempt."""
        given = (row["provider"], row["deployment"], row["model"])
        error_type, evidence = row["error_type"], row["evidence"]
        key = (
            *(self._which.get(given) or self._bound(given)),
            row["route"],
            row["status"],
            "" if error_type is None else self._error_type(error_type),
            row["cost_status"],
            row["input_tokens_source"],
            row["output_tokens_source"],
            row["verdict"],
            "unknown" if evidence is None else self._bounded("evidence", evidence),
            row["caused_boot"],
        )
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind()
        kind.observe(row)

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
            self._charges["gateway_unpriced_charges_total"][(*where, row["kind"])] += 1
        elif cost_pico_usd >= 0:
            labels = (*where, row["kind"], row["status"])
            self._charges["gateway_charges_usd_total"][labels] += cost_pico_usd

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format."""
        return self._exposition.text()

    def families(self) -> Iterator[Metric]:
        """All metrics, as the client library has them."""
        sums: _Sums = {name: defaultdict(float) for name in _COUNTERS} | self._charges
        spreads: _Spreads = {name: {} for name in _HISTOGRAMS}
        for values, kind in self._kinds.items():
            key = Key(*values)
            _count(sums, key, kind)
            for name, labels, seconds in _spread(key, kind):
                if seconds is not None:
                    known = spreads[name].get(labels)
                    spreads[name][labels] = seconds if known is None else known + seconds
        for known_as in DEFINITIONS:
            if known_as.name in sums:
                unit = _PICO if known_as.name in _MONEY else 1
                found = sums[known_as.name]
                yield families.family(known_as, ((of, all_ / unit) for of, all_ in found.items()))
            elif known_as.name in spreads:
                bounds = BY_NAME[known_as.name].buckets
                yield families.histogram(
                    known_as,
                    (
                        (of, seconds.buckets(bounds), seconds.sum)
                        for of, seconds in spreads[known_as.name].items()
                    ),
                )

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


def _count(sums: _Sums, key: Key, kind: Kind) -> None:
    where, which = key[:2], key[:3]
    sums["gateway_attempts_total"][(*which, key.status, key.error_type)] += kind.attempts
    if key.error_type and key.error_type not in _OURS:
        sums["gateway_provider_errors_total"][(*where, key.error_type)] += kind.attempts
    if kind.priced < kind.attempts:
        sums["gateway_unpriced_attempts_total"][which] += kind.attempts - kind.priced
    if kind.priced:  # counted in pico-dollars, which are exact up to 9,007 USD a series
        sums["gateway_cost_usd_total"][(*which, key.cost_status)] += kind.cost_pico_usd
    tokens = sums["gateway_tokens_total"]
    if kind.input_tokens is not None:
        tokens[(*which, "input", key.input_source or "unknown")] += kind.input_tokens
    if kind.output_tokens is not None:
        tokens[(*which, "output", key.output_source or "unknown")] += kind.output_tokens
    sums["gateway_cold_starts_total"][(*where, key.verdict)] += kind.attempts
    if key.caused_boot:
        sums["gateway_boots_total"][where] += kind.attempts


def _spread(key: Key, kind: Kind) -> Iterator[tuple[str, tuple[str, ...], Spread | None]]:
    where = key[:2]
    yield "gateway_first_output_seconds", where, kind.first_output
    yield "gateway_total_seconds", where, kind.total
    yield "gateway_overhead_seconds", where, kind.overhead
    if key.caused_boot:
        yield "gateway_boot_seconds", where, kind.boot
    if key.verdict == "cold":
        phases = {"queue": kind.queue, "boot": kind.boot, "wait": kind.wait}
        for phase, seconds in phases.items():
            yield "gateway_cold_start_seconds", (*where, phase, key.evidence), seconds
    gen_ai = (operation_name(key.route), key.provider, key.model)
    client, server = "gen_ai_client_operation", "gen_ai_server"
    yield f"{client}_duration_seconds", (*gen_ai, outcome(key.status, key.error_type)), kind.total
    yield f"{client}_time_to_first_chunk_seconds", gen_ai, kind.first_chunk
    yield "gen_ai_client_token_usage", (*gen_ai, "input"), kind.input_usage
    yield "gen_ai_client_token_usage", (*gen_ai, "output"), kind.output_usage
    yield f"{server}_request_duration_seconds", gen_ai, kind.operation
    yield f"{server}_time_to_first_token_seconds", gen_ai, kind.first_token
    yield f"{server}_time_per_output_token_seconds", gen_ai, kind.each_token
