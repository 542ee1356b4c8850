"""Metrics of this moment, from the gateway that is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from gateway.ledger.shipping.lag import Lag
from gateway.registry import Target
from gateway.telemetry.families import Values, exposition_of
from gateway.warmth.standing import WORDS, stands


@dataclass(frozen=True, slots=True)
class Moment:
    """What a gateway knows now. ``at``: monotonic seconds; ``budgets``: as reports show them."""

    at: float
    started_at_us: int
    operations: int
    backlog_lines: int
    lag: Lag
    shipper_running: bool
    shipper_restarts: int
    targets: Iterable[Target]
    budgets: Sequence[Mapping[str, Any]]


def exposition(now: Moment) -> bytes:
    """It as Prometheus text; what is not known has no series."""
    values: dict[str, Values] = {
        "gateway_build_info": [((version("serverless-inference-gateway"),), 1)],
        "gateway_start_time_seconds": [((), now.started_at_us / 1e6)],
        "gateway_operations_running": [((), now.operations)],
        "gateway_journal_backlog_lines": [((), now.backlog_lines)],
        "gateway_journal_lag_bytes": [((), now.lag.bytes)],
        "gateway_journal_lag_lines": [((), now.lag.lines)],
        "gateway_shipper_running": [((), now.shipper_running)],
        "gateway_shipper_restarts_total": [((), now.shipper_restarts)],
    }
    return exposition_of({**values, **_targets(now), **_budgets(now.budgets)})


def _targets(now: Moment) -> dict[str, Values]:
    targets = list(now.targets)
    outlooks = {target.name: target.outlook(now.at) for target in targets}
    known = {name: seen for name, seen in outlooks.items() if seen.state != "unknown"}
    states = [
        ((target.name, word), stands(target.warmth, outlooks[target.name]) == word)
        for target in targets
        for word in WORDS
    ]
    return {
        "gateway_deployment_running": [((t.name,), t.running) for t in targets],
        "gateway_deployment_queued": [((t.name,), t.gate.queued) for t in targets],
        "gateway_deployment_queued_longest_seconds": [
            ((t.name,), max(0.0, now.at - since))
            for t in targets
            if (since := t.gate.queued_since) is not None
        ],
        "gateway_deployment_state": states,
        "gateway_deployment_warm_probability": [((n,), seen.p_warm) for n, seen in known.items()],
        "gateway_deployment_expected_boot_seconds": [
            ((t.name,), known[t.name].boot_seconds)
            for t in targets
            if t.name in known and t.warmth.boots_known
        ],
        "gateway_deployment_cordoned": [((t.name,), t.cordoned) for t in targets],
        "gateway_deployment_paused": [
            ((t.name,), t.circuit.closed(now.at) is not None) for t in targets
        ],
    }


def _budgets(budgets: Sequence[Mapping[str, Any]]) -> dict[str, Values]:
    return {
        f"gateway_budget_{what}_usd": [
            ((budget["name"],), float(budget[f"{what}_usd"]))
            for budget in budgets
            if budget[f"{what}_usd"] is not None
        ]
        for what in ("limit", "spent", "left")
    }
