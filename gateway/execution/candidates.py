"""From deployments as they stand to candidates for routing, and from there to a plan."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from gateway.clock import Clock
from gateway.execution.hedging import dual_boot
from gateway.ledger.reports.views import usd_or_null
from gateway.registry import Target
from gateway.routing import (
    CORDONED,
    Candidate,
    Choice,
    Considered,
    ModelRules,
    Plan,
    Strategy,
    Wish,
    choose,
)


def candidate_of(
    target: Target,
    clock: Clock,
    *,
    input_bytes: int,
    max_output_tokens: int | None,
) -> Candidate:
    """What is to be expected of a deployment at this moment."""
    now, wall_us = clock.monotonic(), clock.wall_us()
    return _candidate(target, now, wall_us, input_bytes, max_output_tokens)


def _candidate(
    target: Target, now: float, wall_us: int, input_bytes: int, max_output_tokens: int | None
) -> Candidate:
    tariff = target.tariff
    return target.prospect.candidate(
        target.warmth.expectation(now),
        None if tariff is None else tariff.at(wall_us),
        input_bytes,
        max_output_tokens,
        _queue_seconds(target) if target.gate.queued else 0.0,
        CORDONED if target.cordoned else target.circuit.closed(now),
    )


def arranged(
    plan: Plan[Target],
    strategy: Strategy,
    wish: Wish,
    clock: Clock,
    *,
    input_bytes: int,
    max_output_tokens: int | None,
    always: bool = False,
    draw: Callable[[], float] = random.random,
) -> Plan[Target]:
    """The plan in the order that the request is served by; no targets: nothing fits the wish.

    Where there is nothing to choose it is left as it is, unless ``always`` asks for the reasons.
    ``draw``: the chance of the strategy ``weighted``.
    """
    alone = len(plan.targets) == 1 and not plan.targets[0].cordoned
    if alone and not always and wish == _NO_WISH:
        return plan
    rules: ModelRules = plan.rules
    now, wall_us = clock.monotonic(), clock.wall_us()
    candidates = [
        _candidate(target, now, wall_us, input_bytes, max_output_tokens) for target in plan.targets
    ]
    choice: Choice = choose(candidates, wish.strategy or strategy, wish, rules, draw)
    by_name = {target.name: target for target in plan.targets}
    targets = tuple([by_name[candidate.name] for candidate in choice.candidates])
    boots = dual_boot(choice.candidates, wish.strategy or strategy, rules) or ()
    return Plan(plan.model, targets, rules, choice.considered, boots)


_NO_WISH = Wish()


def considered_json(considered: Considered) -> dict[str, Any]:
    """One candidate; money is text, unknown is null."""
    candidate = considered.candidate
    outlook = candidate.outlook
    return {
        "deployment": candidate.name,
        "provider": candidate.provider,
        "expected_usd": usd_or_null(candidate.expected_pico_usd),
        "expected_wait_seconds": round(candidate.wait_seconds, 3),
        "state": outlook.state,
        "p_warm": round(outlook.p_warm, 4),
        "boot_seconds": round(outlook.boot_seconds, 3),
        "excluded": considered.excluded,
        **({"p_warm_evidence": outlook.evidence} if outlook.evidence is not None else {}),
        **({"replica_usd": usd_or_null(candidate.replica_pico_usd)} if candidate.own else {}),
    }


def _queue_seconds(target: Target) -> float:
    """Waiting for a place, by how many wait already."""
    waiting = target.gate.queued
    usual = target.usual.execute_seconds or 1.0
    return usual * (waiting + 1) / target.limits.max_concurrency
