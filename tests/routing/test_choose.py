"""The order of deployments as a function of what is expected of them."""

from __future__ import annotations

import random

import pytest

from gateway.routing import (
    CORDONED,
    NO_BOOT,
    Candidate,
    Choice,
    ModelRules,
    Strategy,
    Wish,
    choose,
)
from gateway.warmth.outlook import Outlook

WARM = Outlook("warm", 0.98, 30.0)
BOOTING = Outlook("booting", 0.0, 30.0, booting_left_seconds=10.0)
COLD = Outlook("off", 0.02, 30.0)
NOBODY_KNOWS = Outlook("unknown", 1.0, 0.0)
DOLLAR = 10**12


def candidate(name: str, outlook: Outlook, usd: float | None = 0.001, **more: object) -> Candidate:
    pico_usd = None if usd is None else round(usd * DOLLAR)
    return Candidate(name, "p", outlook, pico_usd, **more)  # type: ignore[arg-type]


def order(*candidates: Candidate, strategy: Strategy = "balanced", **wish: object) -> str:
    told = choose(candidates, strategy, Wish(**wish), ModelRules())  # type: ignore[arg-type]
    return " ".join(told.order)


def test_warm_before_booting_before_cold_whatever_they_cost() -> None:
    dear_warm = candidate("warm", WARM, 1.0)
    assert order(candidate("cold", COLD), candidate("booting", BOOTING), dear_warm) == (
        "warm booting cold"
    )


def own(usd: float, outlook: Outlook = WARM, **more: object) -> Candidate:
    return candidate("own", outlook, usd, own=True, **more)


@pytest.mark.parametrize(
    ("own_usd", "outlook", "elsewhere_usd", "chosen"),
    [
        # 10 s are left of its boot: at 0.001 USD a second they are worth a cent
        (0.002, BOOTING, 0.0119, "elsewhere"),
        (0.002, BOOTING, 0.0121, "own"),
        (0.002, BOOTING, 0.0020, "elsewhere"),
        # off: the whole of a boot, and its price
        (0.002, Outlook("off", 0.0, 30.0), 0.0319, "elsewhere"),
        (0.002, Outlook("off", 0.0, 30.0), 0.0321, "own"),
        # and back, once it is up; that it may be gone (0.6 s, on average) does not count
        (0.002, WARM, 0.0020, "own"),
        (0.002, WARM, 0.0019, "elsewhere"),
    ],
)
def test_an_own_one_is_left_by_break_even(
    own_usd: float, outlook: Outlook, elsewhere_usd: float, chosen: str
) -> None:
    elsewhere = candidate("elsewhere", Outlook("warm", 1.0, 0.0), elsewhere_usd)
    assert order(own(own_usd, outlook), elsewhere).split()[0] == chosen
    # of two that are both paid by use, the warm one comes first in any case
    other = candidate("own", outlook, own_usd)
    first = order(other, elsewhere).split()[0]
    assert first == ("elsewhere" if outlook is not WARM else first)
    # and only where its price is known
    unknown = candidate("elsewhere", Outlook("warm", 1.0, 0.0), None)
    assert order(own(own_usd, outlook), unknown).split()[0] == (
        "own" if outlook is WARM else "elsewhere"
    )


def test_what_a_replica_costs_anyway_is_no_cost_of_the_call() -> None:
    paid_anyway = own(0.002, replica_pico_usd=-round(0.002 * DOLLAR))
    elsewhere = candidate("elsewhere", Outlook("warm", 1.0, 0.0), 0.0001)
    assert order(elsewhere, paid_anyway).split()[0] == "own"
    # a queue before it is a wait like any other
    queued = own(0.002, replica_pico_usd=-round(0.002 * DOLLAR), queue_seconds=1.0)
    assert order(elsewhere, queued).split()[0] == "elsewhere"
    # a boot brings the idle time after it
    off = Outlook("off", 0.0, 0.0)
    idles = own(0.002, off, replica_pico_usd=round(0.05 * DOLLAR))
    dear = candidate("elsewhere", Outlook("warm", 1.0, 0.0), 0.05)
    assert order(dear, idles).split()[0] == "elsewhere"
    assert order(dear, own(0.002, off)).split()[0] == "own"


def test_within_the_same_warmth_cost_and_waiting_are_weighed() -> None:
    # 30 s of waiting are worth 3 cents at 0.001 USD a second
    slow, quick = candidate("slow", COLD, 0.01), candidate("quick", Outlook("off", 0, 5.0), 0.03)
    assert order(slow, quick) == "quick slow"
    patient = ModelRules(wait_value_usd_per_second=0.0)
    assert choose([slow, quick], "balanced", Wish(), patient).order == ("slow", "quick")


def test_where_nothing_is_known_the_configuration_decides() -> None:
    names = [candidate(name, NOBODY_KNOWS, None) for name in "bca"]
    for strategy in ("balanced", "cheapest", "fastest", "priority"):
        assert order(*names, strategy=strategy) == "b c a"


def test_an_unknown_price_is_never_the_cheapest() -> None:
    known, unknown = candidate("known", WARM, 5.0), candidate("unknown", WARM, None)
    assert order(unknown, known, strategy="cheapest") == "known unknown"
    assert order(unknown, known) == "known unknown"


def test_fastest_counts_waiting_and_the_first_output() -> None:
    warm = candidate("warm", WARM, 9.0, warm_seconds=0.2)
    slow = candidate("slow", WARM, 0.0, warm_seconds=3.0)
    queued = candidate("queued", WARM, 0.0, warm_seconds=0.1, queue_seconds=4.0)
    assert order(slow, queued, warm, strategy="fastest") == "warm slow queued"


def test_priority_keeps_its_order_and_spills_on_request() -> None:
    own, other = candidate("own", COLD, 0.0), candidate("other", WARM, 1.0)
    assert order(own, other, strategy="priority") == "own other"
    assert order(own, other, strategy="priority", if_cold="spill") == "other own"


def test_whoever_wants_no_boot_is_sent_where_none_is_needed_alone() -> None:
    four = (
        candidate("cold", COLD, 0.0),
        candidate("booting", BOOTING, 0.0),
        candidate("warm", WARM, 1.0),
        candidate("new", NOBODY_KNOWS, 2.0),
    )
    for strategy in ("balanced", "cheapest", "priority", "fastest"):
        assert set(order(*four, strategy=strategy, if_cold="fail").split()) == {"warm", "new"}
    assert order(*four[:2], if_cold="fail") == ""
    # an own one that is off and would pay for itself is off all the same
    assert order(own(0.0, COLD), candidate("warm", WARM, 1.0), if_cold="fail") == "warm"
    told = choose(four, "balanced", Wish(if_cold="fail"), ModelRules())
    assert {x.candidate.name for x in told.considered if x.excluded == NO_BOOT} == {
        *("cold", "booting"),
    }


def test_a_wait_past_the_deadline_comes_last() -> None:
    cheap_cold, dear_booting = candidate("cold", COLD, 0.0), candidate("booting", BOOTING, 1.0)
    asked = {"strategy": "cheapest", "deadline_seconds": 20.0}
    assert order(cheap_cold, dear_booting, **asked) == "booting cold"  # type: ignore[arg-type]


def test_closed_ones_are_asked_last_and_cordoned_ones_never() -> None:
    failing = candidate("failing", WARM, 0.0, closed="it fails")
    away = candidate("away", WARM, 0.0, closed=CORDONED)
    assert order(failing, away, candidate("sound", COLD, 1.0)) == "sound failing"
    assert order(away) == ""


def test_adding_cold_deployments_never_moves_a_request_from_a_warm_one() -> None:
    chance = random.Random(1)
    for _ in range(200):
        others = [candidate(f"c{n}", COLD, chance.random() / 1000) for n in range(5)]
        everybody = [*others, candidate("warm", WARM, 1.0)]
        chance.shuffle(everybody)
        assert order(*everybody).split()[0] == "warm"


def test_weights_are_shares() -> None:
    chance = random.Random(2)
    rules = ModelRules(weights={"a": 3.0, "b": 1.0, "c": 0.0})
    three = [candidate(name, WARM) for name in "abc"]
    drawn = [choose(three, "weighted", Wish(), rules, chance.random) for _ in range(4000)]
    first = [choice.order[0] for choice in drawn]
    assert "c" not in first and 0.72 < first.count("a") / 4000 < 0.78
    assert {len(choice.order) for choice in drawn} == {3}  # the others are fallbacks


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(only=frozenset({"z"})), "not among only"),
        (Wish(ignore=frozenset({"p"})), "ignored"),
        (Wish(max_cost_pico_usd=1), "expected to cost more than max_cost_usd"),
    ],
)
def test_what_is_left_out_is_told(wish: Wish, reason: str) -> None:
    told: Choice = choose([candidate("a", WARM)], "balanced", wish, ModelRules())
    assert told.order == () and told.considered[0].excluded == reason
