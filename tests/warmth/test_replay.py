"""The replica on its virtual clock, by hand and against itself."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from gateway.accounting.prices import PriceRow
from gateway.warmth.billing import Used, bill, billed_us
from gateway.warmth.replay import Decision, Plant, Replay, Spent

S = 1_000_000
RATE = Decimal("0.0014")


def row(*bills: str, **more: object) -> PriceRow:
    return PriceRow.model_validate(
        {
            "name": "x",
            "effective_from": date(2026, 1, 1),
            "source": "here",
            "checked_on": date(2026, 1, 1),
            "usd_per_second": RATE,
            "bills": bills,
            **more,
        }
    )


def traffic(seed: int, count: int = 400) -> tuple[list[int], list[int]]:
    dice = random.Random(seed)
    at, ats, executes = 0, [], []
    for _ in range(count):
        at += round(dice.expovariate(1 / dice.choice((0.2, 5, 60, 400))) * S)
        ats.append(at)
        executes.append(round(dice.expovariate(1 / 8) * S))
    return ats, executes


def test_a_day_by_hand() -> None:
    replay = Replay(Plant(boot_us=20 * S, window_us=300 * S))
    told = [
        replay.arrive(100 * S, 10 * S),  # boots until 120, works until 130
        replay.arrive(105 * S, 30 * S),  # waits for the rest of the boot, works until 150
        replay.arrive(140 * S, 4 * S),  # beside the other one
        replay.arrive(200 * S, 10 * S),  # after 50 s of idling, until 210
        replay.arrive(510 * S, 5 * S),  # exactly at the end of the window: still warm, until 515
        replay.arrive(900 * S, 5 * S),  # went off at 815; boots until 920, works until 925
    ]
    assert told == [
        Decision("boots", 20 * S),
        Decision("joins_boot", 15 * S),
        Decision("begins", 0),
        Decision("begins", 0),
        Decision("begins", 0),
        Decision("boots", 20 * S),
    ]
    assert replay.close() == Spent(
        requests=6,
        cold=3,
        boots=2,
        boot_us=40 * S,
        busy_us=(30 + 10 + 5 + 5) * S,
        idle_us=(50 + 300 + 300 + 300) * S,
        execute_us=64 * S,
    )
    assert list(replay.waits) == [20 * S, 15 * S, 20 * S]


def test_one_place_makes_a_queue() -> None:
    replay = Replay(Plant(boot_us=0, window_us=60 * S, places=1))
    told = [replay.arrive(0, 10 * S), replay.arrive(S, 10 * S), replay.arrive(2 * S, 10 * S)]
    assert [decision.wait_us for decision in told] == [0, 9 * S, 18 * S]
    assert told[1].fate == "waits_for_place"
    spent = replay.close()
    assert (spent.busy_us, spent.execute_us, spent.queue_us) == (30 * S, 30 * S, 27 * S)
    two = Replay(Plant(boot_us=0, window_us=60 * S, places=2))
    assert [two.arrive(at, 10 * S).wait_us for at in (0, S, 2 * S)] == [0, 0, 8 * S]


def test_a_replica_that_stays_up_has_no_boots() -> None:
    replay = Replay(Plant(boot_us=20 * S, window_us=None), up_since_us=0)
    replay.arrive(1000 * S, 5 * S)
    spent = replay.close(2000 * S)
    assert (spent.boots, spent.cold, spent.replica_us) == (0, 0, 2000 * S)


def test_a_scene_that_was_set_is_not_counted() -> None:
    replay = Replay(Plant(boot_us=20 * S, window_us=300 * S))
    replay.seed(0, 10 * S)
    assert replay.arrive(60 * S, S) == Decision("begins", 0)
    assert replay.spent == Spent(requests=1, busy_us=S, idle_us=50 * S, execute_us=S)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("places", [None, 1, 3])
@pytest.mark.parametrize("window", [0, 45 * S, 300 * S, None])
def test_a_replica_is_paid_for_to_the_last_microsecond(
    seed: int, places: int | None, window: int | None
) -> None:
    ats, executes = traffic(seed)
    replay = Replay(Plant(20 * S, window, places))
    up_from = up_until = None
    lived = 0
    for at, execute in zip(ats, executes, strict=True):
        told = replay.arrive(at, execute)
        end = at + told.wait_us + execute
        if told.fate == "boots":  # the life of a replica, told by its decisions alone
            if up_from is not None and up_until is not None:
                lived += up_until + (window or 0) - up_from
            up_from, up_until = at, at + 20 * S
        assert up_until is not None
        up_until = max(up_until, end)
    assert up_from is not None and up_until is not None
    lived += up_until + (window or 0) - up_from
    spent = replay.close()
    assert spent.replica_us == lived
    paid = bill(row("execute", "boot", "idle"), spent, Used(len(ats)))
    assert paid.total_usd == Decimal(lived) / 1_000_000 * RATE
    assert paid.active_usd is not None and paid.boot_usd is not None and paid.idle_usd is not None
    assert paid.active_usd + paid.boot_usd + paid.idle_usd == paid.total_usd
    only = bill(row("execute"), spent, Used(len(ats)))
    assert only.boot_usd == only.idle_usd == 0
    assert only.active_usd == Decimal(sum(executes)) / 1_000_000 * RATE == only.total_usd


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window", [0, 45 * S, 300 * S, None])
@pytest.mark.parametrize("boot", [0, 20 * S])
def test_many_at_once_is_the_same_as_one_by_one(seed: int, window: int | None, boot: int) -> None:
    ats, executes = traffic(seed)
    one, many = (Replay(Plant(boot, window)) for _ in range(2))
    for at, execute in zip(ats, executes, strict=True):
        one.arrive(at, execute)
    many.run(ats[:150], executes[:150])
    many.run(ats[150:], executes[150:])
    assert one.close() == many.close()
    assert one.waits == many.waits


def test_a_shared_second_is_paid_once() -> None:
    replay = Replay(Plant(0, 0))
    replay.run([0, 0, 0], [S, S, 2 * S])
    spent = replay.close()
    assert bill(row("execute", shared=True), spent, Used(3)).active_usd == 2 * RATE
    assert bill(row("execute"), spent, Used(3)).active_usd == 4 * RATE


def test_what_is_not_known_is_no_zero() -> None:
    nothing = bill(row("execute", "boot"), None, Used(3))
    assert nothing.active_usd is nothing.boot_usd is None and nothing.idle_usd == 0
    assert nothing.total_usd is None
    tokens = row(usd_per_second=None, usd_per_million_input_tokens="1")
    assert bill(tokens, None, Used(3, input_tokens=2_000_000)).total_usd == 2
    assert bill(tokens, None, Used(3)).total_usd is None
    images = row(usd_per_second=None, usd_per_image="0.5", usd_per_request="0.1")
    assert bill(images, None, Used(3, images=4)).total_usd == Decimal("2.3")
    assert bill(images, None, Used(3)).total_usd is None


def test_each_duration_is_rounded_up() -> None:
    replay = Replay(Plant(2_500_000, 0))
    replay.run([0, 100 * S], [S, S])
    by_tens = row("execute", "boot", round_up_seconds="10")
    found = bill(by_tens, replay.close(), Used(2), execute_us=2 * billed_us(by_tens, S))
    assert (found.active_usd, found.boot_usd) == (20 * RATE, 20 * RATE)


@pytest.mark.parametrize(
    "more",
    [
        {
            "tiers": [
                {
                    "above_input_tokens": 100,
                    "usd_per_million_input_tokens": "2",
                    "usd_per_million_output_tokens": "4",
                }
            ]
        },
        {"usd_per_million_input_tokens_at_most": "3"},
    ],
)
def test_tokens_whose_price_is_each_requests_own_are_unknown(more: dict[str, Any]) -> None:
    given = {
        "name": "p",
        "effective_from": "2026-01-01",
        "source": "test",
        "checked_on": "2026-01-01",
        "usd_per_million_input_tokens": "1",
        "usd_per_million_output_tokens": "2",
    }
    used = Used(3, input_tokens=300, output_tokens=30)
    assert bill(PriceRow.model_validate(given), None, used).tokens_usd == Decimal("0.00036")
    assert bill(PriceRow.model_validate({**given, **more}), None, used).tokens_usd is None
