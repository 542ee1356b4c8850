"""From deployments as they stand to candidates for routing, and from there to a plan."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.accounting.prices import PriceRow
from gateway.accounting.prices.row import Rough
from gateway.accounting.usual import Usual
from gateway.clock import Clock
from gateway.hedging import dual_boot
from gateway.ledger.views import usd_or_null
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
from gateway.warmth.outlook import Outlook


def expected(
    names: tuple[str, str],
    outlook: Outlook,
    usual: Usual,
    row: PriceRow | None,
    *,
    own_window_seconds: float | None,
    can_boot: bool,
    input_tokens: int = 0,
    max_output_tokens: int | None = None,
    queue_seconds: float = 0.0,
    closed: str | None = None,
) -> Candidate:
    """A candidate from what is known of it; a simulation asks the same.

    ``names``: its own, and its provider's.
    """
    p_up = 1.0 if outlook.state == "booting" else outlook.p_warm  # that boot is another's
    pico_usd = usual.expected_pico_usd(
        row,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        boot_seconds=(1.0 - p_up) * outlook.boot_seconds,
    )
    return Candidate(
        *names,
        outlook,
        pico_usd,
        usual.first_output_seconds,
        queue_seconds,
        closed,
        can_boot,
        row is None or row.rough.boot_second > 0,
        row is not None and row.rough.owns,
        0
        if row is None or not row.rough.owns
        else _replica_pico_usd(usual, row.rough, outlook, own_window_seconds or 0.0),
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
    return expected(
        (target.name, target.provider),
        target.warmth.expectation(now),
        target.usual,
        None if target.tariff is None else target.tariff.at(wall_us),
        own_window_seconds=target.own_window_seconds,
        can_boot=target.can_boot_alone,
        input_tokens=target.estimator.estimate(input_bytes),
        max_output_tokens=max_output_tokens,
        queue_seconds=_queue_seconds(target) if target.gate.queued else 0.0,
        closed=CORDONED if target.cordoned else target.circuit.closed(now),
    )


def _replica_pico_usd(
    usual: Usual, rough: Rough, outlook: Outlook, own_window_seconds: float
) -> int:
    """What a call adds to its replica's own cost, beside what is expected of the attempt.

    Below 0: what of that is no cost of the call. Where a replica is up, its seconds of work are
    paid for anyway if it is paid for while it idles, and that it may be gone does not count. Where
    one boots for the call, it idles for a while afterwards.
    """
    state, usd = outlook.state, 0.0
    if state == "warm" or state == "booting":
        if rough.idle_second:
            usd -= usual.work_seconds * rough.execute_second
        if state == "warm":
            usd -= (1.0 - outlook.p_warm) * outlook.boot_seconds * rough.boot_second
    else:
        usd += (1.0 - outlook.p_warm) * own_window_seconds * rough.idle_second
    return round(usd * 1e12)


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
    targets = tuple(by_name[name] for name in choice.order)
    boots = dual_boot(choice.candidates, wish.strategy or strategy, rules) or ()
    return replace(plan, targets=targets, considered=choice.considered, boots=boots)


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
        **({"replica_usd": usd_or_null(candidate.replica_pico_usd)} if candidate.own else {}),
    }


def _queue_seconds(target: Target) -> float:
    """Waiting for a place, by how many wait already."""
    waiting = target.gate.queued
    usual = target.usual.execute_seconds or 1.0
    return usual * (waiting + 1) / target.limits.max_concurrency
