"""What is kept beside a deployment says what a sum made anew would say, to the last bit."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.usual import Usual
from gateway.execution.prospect import Prospect
from gateway.routing import Candidate
from gateway.warmth.outlook import Outlook
from gateway.warmth.priors import prior_of
from gateway.warmth.warmth import Warmth
from tests.warmth.worlds import GUESS, end

PRICES: list[dict[str, Any]] = [
    {"usd_per_second": "0.0013", "bills": {"execute", "boot", "idle"}},
    {"usd_per_second": "0.0007", "bills": {"execute", "boot"}},
    {"usd_per_second": "0.0007"},
    {"usd_per_second": "0.0002", "bills": {"standing"}},
    {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.083"},
    {"usd_per_request": "0.0011", "usd_per_image": "0.003"},
]


def row(**rates: Any) -> PriceRow:
    day = date(2026, 1, 1)
    return PriceRow(name="x", effective_from=day, source="test", checked_on=day, **rates)


def plain_sum(
    row: PriceRow | None,
    outlook: Outlook,
    usual: Usual,
    estimator: TokenEstimator,
    window_seconds: float,
    input_bytes: int,
    max_output_tokens: int | None,
) -> tuple[int | None, int]:
    """Expected cost of a call, and what it adds to its replica's own, both in pico-USD."""
    if row is None:
        return None, 0
    rough = row.rough
    tokens: float = 256 if usual.output_tokens is None else usual.output_tokens
    if max_output_tokens is not None:
        tokens = min(tokens, max_output_tokens)
    p_up = 1.0 if outlook.state == "booting" else outlook.p_warm
    usd = rough.answer + estimator.estimate(input_bytes) * rough.input_token
    usd += tokens * rough.output_token
    boot_seconds = (1.0 - p_up) * outlook.boot_seconds
    usd += boot_seconds * rough.boot_second + usual.work_seconds * rough.execute_second
    replica_usd = 0.0
    if outlook.state in ("warm", "booting"):
        if rough.idle_second:
            replica_usd -= usual.work_seconds * rough.execute_second
        if outlook.state == "warm":
            replica_usd -= (1.0 - outlook.p_warm) * outlook.boot_seconds * rough.boot_second
    else:
        replica_usd += (1.0 - outlook.p_warm) * window_seconds * rough.idle_second
    return round(usd * 1e12), round(replica_usd * 1e12) if rough.owns else 0


@pytest.mark.parametrize("window_seconds", [None, 61.7])
def test_costs_are_those_of_the_whole_sum(window_seconds: float | None) -> None:
    dice = random.Random(3)
    rows = [*(row(**rates) for rates in PRICES), None]
    usual, estimator = Usual(), TokenEstimator()
    prospect = Prospect(
        "d", "p", usual, estimator, own_window_seconds=window_seconds, can_boot=True
    )
    seen = set()
    for _ in range(4000):
        price = dice.choice(rows)  # which changes, and an answer teaches something, now and then
        if dice.random() < 0.3:
            usual.observe(
                output_tokens=dice.choice([None, dice.randrange(600)]),
                execute_seconds=dice.choice([None, dice.expovariate(1.0)]),
                first_output_seconds=dice.choice([None, dice.random()]),
            )
            estimator.observe(dice.randrange(4000), dice.randrange(400))
        state: Any = dice.choice(["off", "booting", "warm", "unknown"])
        left = dice.uniform(0, 40) if state == "booting" else None
        outlook = Outlook(state, dice.random(), dice.uniform(0, 90), left)
        size, most = dice.randrange(9000), dice.choice([None, 1, 300])
        found = prospect.candidate(outlook, price, size, most, 2.0, "it fails")
        expected, replica = plain_sum(
            price, outlook, usual, estimator, window_seconds or 0.0, size, most
        )
        assert found == Candidate(
            *("d", "p", outlook, expected, usual.first_output_seconds, 2.0, "it fails", True),
            bills_boot=price is None or price.rough.boot_second > 0,
            own=price is not None and price.rough.owns,
            replica_pico_usd=replica,
        )
        seen.add((expected, replica))
    assert len(seen) > 1500


SURE = prior_of(("x",), idle_window_seconds=300.0)
SHARED = prior_of(("x",), bills=frozenset({"execute"}), per_second=False)


@pytest.mark.parametrize("prior", [GUESS, SURE, SHARED], ids=["guess", "sure", "shared"])
@pytest.mark.parametrize("supervised", [False, True])
def test_outlooks_are_those_that_are_made_anew(prior: Any, supervised: bool) -> None:
    """However facts and questions alternate, over days whose hours differ."""
    dice, warmth, at = random.Random(5), Warmth(prior), 0.0
    running: list[str] = []
    states = set()
    for number in range(6000):
        at += dice.expovariate(1 / 100.0)
        fact, by_night = dice.random(), at % 86_400 < 30_000
        if not running or fact < 0.02:
            running.append(f"{number}")
            warmth.began(running[-1], at)
        elif fact < 0.2:
            warmth.booting(at)
        elif fact < 0.5:
            warmth.ready(at)
        elif fact < 0.9:
            cold = dice.random() < (0.8 if by_night else 0.1)
            verdict = "cold" if cold else dice.choice(["warm", "warm", "unknown"])
            boot_seconds = dice.uniform(1, 40) if cold else None
            worked = dice.random() < 0.8
            end(warmth, running.pop(), at, verdict, boot_seconds=boot_seconds, worked=worked)
        elif fact < 0.95:
            state: Any = dice.choice(["down", "booting", "ready"])
            (warmth.supervised if supervised else warmth.probed)(state, at)
        else:
            warmth.absorb(Warmth(prior))
        for _ in range(3):  # the first is made anew, the next ones are of what was kept
            found, nothing_known = warmth.expectation(at), not warmth.informed
            expected = Outlook("unknown", 1.0, 0.0) if nothing_known else warmth.outlook(at)
            assert found == expected
            states.add(found.state)
            at += dice.expovariate(1 / 10.0)
    assert {"off", "booting", "warm"} <= states
    assert warmth.hours.differ


def test_what_a_probe_or_an_older_gateway_has_seen_counts_at_once() -> None:
    warmth = Warmth(SURE)
    end(warmth, "a", 10.0, "warm")
    assert warmth.expectation(20.0).state == warmth.expectation(21.0).state == "warm"
    warmth.probed("down", 22.0)
    assert warmth.expectation(23.0).state == "off"
    young, old = Warmth(SURE), Warmth(SURE)
    assert young.expectation(0.0).state == "off"
    end(old, "a", -10.0, "warm")
    young.absorb(old)
    assert young.expectation(0.0).state == "warm"
