"""What is learned, against providers whose truth is known: seeded, and held to figures."""

from __future__ import annotations

import math
import random
import time
import tracemalloc
from itertools import pairwise

import pytest

from gateway.warmth.boots import Boots, mixture
from gateway.warmth.calibration import Calibration
from gateway.warmth.history import Past, replay
from gateway.warmth.intervals import wilson
from gateway.warmth.priors import prior_of
from gateway.warmth.survival import Survival
from gateway.warmth.warmth import Warmth
from tests.warmth.worlds import GUESS, Draw, always, end, exponential, lived, lognormal, two_modes

WORLDS: dict[str, tuple[Draw, dict[float, float]]] = {
    # seconds without work -> the true chance to be up still
    "a timer of 300 s": (always(300.0), {100: 1.0, 250: 1.0, 350: 0.0, 1000: 0.0}),
    "a timer of 60 s": (always(60.0), {30: 1.0, 50: 1.0, 75: 0.0, 300: 0.0}),
    "about 300 s": (lognormal(300.0, 0.5), {100: 0.986, 300: 0.5, 600: 0.083}),
    "no memory": (exponential(300.0), {100: 0.717, 300: 0.368, 600: 0.135}),
}


def error_of(warmth: Warmth) -> float:
    error = warmth.calibration().error
    assert error is not None
    return error


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("world", WORLDS)
def test_predictions_are_calibrated_and_close_to_the_truth(world: str, seed: int) -> None:
    keep_alive, truth = WORLDS[world]
    warmth = lived(seed, 3000, keep_alive)
    quality = warmth.calibration()
    assert quality.count == 2999
    assert error_of(warmth) <= 0.05
    for idle_seconds, chance in truth.items():
        assert warmth.survival.chance(idle_seconds) == pytest.approx(chance, abs=0.12), idle_seconds
    # of the always same answer, the share of warm ones, the score would be p (1 - p)
    assert quality.brier is not None
    share = warmth.counts.warm / (warmth.counts.warm + warmth.counts.cold)
    assert quality.brier < 0.8 * share * (1 - share)


@pytest.mark.parametrize(("count", "verdict"), [(30, "too_few"), (270, "too_few"), (900, None)])
def test_how_far_right_predictions_miss_by_chance(count: int, verdict: str | None) -> None:
    """Of 270 such ones half err by 0.06; what is told to be chance is so 95 of 100 times."""
    dice, within, verdicts = random.Random(count), 0, set()
    for _ in range(200):
        right = Calibration()
        for _ in range(count):
            p_warm = dice.random()
            right.observe(p_warm, dice.random() < p_warm)
        assert right.error is not None and right.error_by_chance is not None
        within += right.error <= right.error_by_chance
        verdicts.add(right.verdict)
    assert within / 200 == pytest.approx(0.95, abs=0.035)
    assert verdicts == {"beyond_chance", verdict or "within_chance"}
    wrong = Calibration()
    for number in range(count):
        wrong.observe(0.95, number % 3 > 0)
    assert wrong.verdict == "beyond_chance"  # few are enough where they are far off
    nothing = Calibration().json()
    assert nothing["error"] is nothing["error_by_chance"] is nothing["verdict"] is None


def test_the_table_is_the_predictions() -> None:
    quality = lived(1, 1500, exponential(300.0)).calibration()
    table = quality.table()
    assert sum(row["count"] for row in table) == quality.count
    error = sum(
        row["count"] / quality.count * abs(row["predicted"] - row["happened"])
        for row in table
        if row["count"]
    )
    assert error == pytest.approx(quality.error, abs=1e-5)
    assert all(row["from"] <= row["predicted"] <= row["to"] for row in table if row["count"])


def test_unknown_verdicts_are_no_evidence() -> None:
    warmth = lived(1, 400, always(300.0), unknown_share=1.0)
    assert warmth.survival.observed == warmth.calibration().count == warmth.boots.count == 0
    assert warmth.counts.unknown == 400
    assert warmth.survival.chance(300.0) == pytest.approx(GUESS.survival(300.0), abs=0.02)
    half = lived(1, 2000, always(300.0), unknown_share=0.5)
    assert error_of(half) <= 0.05


def test_a_provider_that_changes_its_mind_is_believed() -> None:
    warmth = lived(1, 3000, always(300.0), keep_alive_at=lambda at: 1.0 if at < 7e5 else 0.2)
    assert warmth.survival.chance(150.0) < 0.1 < 0.9 < warmth.survival.chance(40.0)


def test_the_hour_counts_only_where_outcomes_show_it() -> None:
    def by_day(at: float) -> float:
        return 2.0 if 8 <= at // 3600 % 24 < 20 else 0.5  # others' requests keep it up by day

    changing = lived(1, 6000, lognormal(200.0, 0.5), keep_alive_at=by_day)
    steps = [changing.hours.step(hour) for hour in range(24)]
    assert all(step > 0.5 for step in steps[9:20]) and all(step < -0.5 for step in steps[21:])
    assert error_of(changing) <= 0.05
    since, day = changing.idle_since, 86_400.0
    assert since is not None
    chances = []
    for hour in (12, 23):  # used, and asked for 200 s later
        at = since - since % day + 2 * day + hour * 3600
        changing.began("again", at)
        changing.ready(at)
        end(changing, "again", at + 1, "unknown", caused_boot=None)
        chances.append(changing.outlook(at + 200).p_warm)
    assert chances[0] - chances[1] > 0.3
    steady = lived(1, 6000, lognormal(200.0, 0.5))
    assert sum(steady.hours.step(hour) != 0 for hour in range(24)) <= 1


def test_the_curve_falls_and_tells_its_uncertainty() -> None:
    points = lived(1, 500, lognormal(300.0, 0.5)).survival.points()
    assert all(a.p_warm >= b.p_warm for a, b in pairwise(points))
    assert all(0 <= point.low <= point.p_warm <= point.high <= 1 for point in points)
    well_seen = [point for point in points if point.observed >= 30]
    assert well_seen and all(point.high - point.low < 0.4 for point in well_seen)
    unseen = Survival(GUESS).points()
    assert all((point.low, point.high, point.observed) == (0, 1, 0) for point in unseen)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (1, 100, 0.0018, 0.0545),
    ],
)
def test_wilson(hits: int, count: int, low: float, high: float) -> None:
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-4)  # Newcombe 1998, method 3


# -- boots --------------------------------------------------------------------------------------


def test_two_modes_of_boots_are_found() -> None:
    warmth = lived(2, 1500, always(60.0))
    quick, slow = warmth.boots.parts
    assert quick.median_seconds == pytest.approx(4.0, rel=0.15)
    assert slow.median_seconds == pytest.approx(37.0, rel=0.1)
    assert quick.share == pytest.approx(0.35, abs=0.12)
    assert (quick.spread, slow.spread) == pytest.approx((0.3, 0.2), abs=0.08)
    p50, p90 = warmth.boot_quantile(0.5), warmth.boot_quantile(0.9)
    assert p50 is not None and 30 < p50 < 37 and p90 is not None and 42 < p90 < 52
    # 5 s into a boot, the quick ones are mostly over
    at = 1e7
    warmth.booting(at)
    assert 3 < warmth.outlook(at).booting_left_seconds < 40  # type: ignore[operator]
    assert warmth.outlook(at + 10).booting_left_seconds == pytest.approx(28, abs=4)


def test_one_mode_stays_one() -> None:
    dice, draw = random.Random(5), lognormal(30.0, 0.8)
    (part,) = mixture(sorted(draw(dice) for _ in range(128)))
    assert part.share == 1 and part.median_seconds == pytest.approx(30, rel=0.2)
    assert part.spread == pytest.approx(0.8, abs=0.15)


def test_boots_before_any_was_seen() -> None:
    told, guessed = Boots(prior_of(("modal",))), Boots(GUESS)
    assert told.expected_seconds == pytest.approx((13.8 + 95.7) / 2)
    assert told.quantile(0.9) is not None
    assert guessed.expected_seconds == 20 and guessed.quantile(0.9) is None
    told.observe(5.0)
    assert told.expected_seconds < 45
    assert 0 < told.left_seconds(1000.0)  # longer than any: some time more
    assert [Boots(GUESS).left_seconds(x) for x in (0.0, 5.0)] == [20, 15]


# -- priors -------------------------------------------------------------------------------------


def test_priors_come_from_what_is_configured_known_or_billed() -> None:
    configured = prior_of(("modal",), idle_window_seconds=120.0)
    assert configured.survival(60.0) > 0.95 > 0.05 > configured.survival(240.0)
    assert (configured.source, configured.keep_alive_seconds) == ("configured", 120.0)
    plugin = prior_of(("acme",), keep_alive_seconds=10.0)
    assert (plugin.source, plugin.keep_alive_seconds) == ("configured", 10.0)
    fact = prior_of(("modal-a100-80gb", "modal"))
    assert (fact.source, fact.keep_alive_seconds, fact.boot_seconds) == (
        *("provider", 60.0, (13.8, 95.7)),
    )
    assert prior_of(("replicate",)).survival(1e6) >= 0.5  # everybody's machines
    tokens = prior_of(("groq",), bills=frozenset({"execute"}))
    assert tokens.source == "price" and tokens.survival(1e6) >= 0.9
    standing = prior_of(("x",), bills=frozenset({"standing"}), per_second=True)
    assert standing.survival(86_400.0) > 0.9
    seconds = prior_of(("x",), bills=frozenset({"execute"}), per_second=True)
    assert seconds.source == "guess" and seconds.survival(1e6) < 0.01


# -- history, cost ------------------------------------------------------------------------------


def test_a_history_that_is_told_again_teaches_the_same() -> None:
    dice, up_until, at_us, past = random.Random(3), -1, 0, []
    for number in range(300):
        at_us += round(lognormal(200.0, 1.5)(dice) * 1e6)
        warm = at_us <= up_until
        boot = 0.0 if warm else lognormal(20.0, 0.3)(dice)
        end_us = at_us + round((boot + 2.0) * 1e6)
        past.append(
            Past(
                attempt_id=f"att_{number}",
                begun_at_us=at_us,
                completed_at_us=end_us,
                verdict="warm" if warm else "cold",
                caused_boot=not warm,
                boot_seconds=boot or None,
                work_after_seconds=boot,
                instance_id="i-1",
                revision="r-1",
            )
        )
        at_us, up_until = end_us, end_us + 300_000_000
    dice.shuffle(past)  # the order of the rows does not matter
    warmth = Warmth(GUESS)
    replay(warmth, past, epoch_us=at_us)
    assert warmth.idle_since == 0 and warmth.running == 0
    assert warmth.counts.warm + warmth.counts.cold == warmth.survival.observed + 1 == 300
    assert warmth.boots.count == warmth.counts.boots == warmth.counts.cold
    assert warmth.survival.chance(250.0) > 0.8 > 0.2 > warmth.survival.chance(400.0)
    assert warmth.outlook(10.0).state == "warm" and warmth.outlook(900.0).state == "off"
    # what came since stays, and what was before is added
    live = Warmth(GUESS)
    live.began("now", 50.0)
    live.absorb(warmth)
    assert live.running == 1 and live.idle_since is None
    assert live.survival.observed == warmth.survival.observed
    other = Warmth(GUESS)
    other.absorb(warmth)
    assert other.idle_since == 0
    assert other.outlook(10.0).p_warm == pytest.approx(warmth.outlook(10.0).p_warm, abs=0.02)


def test_what_is_left_of_a_boot_depends_on_its_age() -> None:
    boots = Boots(GUESS)
    assert boots.left_quantile(0.75, 0.0) is boots.left_quantile(0.75, 9.0) is None
    dice = random.Random(1)
    for _ in range(64):  # a third take 4 s or so, the others 37
        boots.observe(two_modes(dice))
    new, young, old, older = (boots.left_quantile(0.75, age) for age in (0.0, 10.0, 30.0, 600.0))
    assert new == boots.quantile(0.75) and new is not None
    assert young is not None and old is not None
    assert 27 < young < 38 and young > new - 10.0  # it is none of the quick ones
    assert 5 < old < 20
    assert older == 150.0  # longer than any
    short = Boots(GUESS)
    for _ in range(5):
        short.observe(0.2)
    assert short.left_quantile(0.75, 100.0) == 25.0


def test_an_answer_of_long_ago_was_seen_whatever_its_verdict() -> None:
    told = Past("a", 1_000_000, 4_000_000, "unknown", work_after_seconds=3.000001)
    silent = Past("b", 6_000_000, 9_000_000, "unknown")  # it may have failed
    for past, seen in (([told], ("warm", "attempt", -6.0)), ([silent], None)):
        warmth = Warmth(GUESS)
        replay(warmth, past, epoch_us=10_000_000)
        assert warmth.last_seen(0.0) == seen


def test_clocks_that_were_set_back_give_no_gap_below_0() -> None:
    past = [
        Past("a", 10_000_000, 60_000_000, "cold", True),
        Past("b", 5_000_000, 4_000_000, "warm"),
    ]
    warmth = Warmth(GUESS)
    replay(warmth, past, epoch_us=61_000_000)
    assert warmth.running == 0 and warmth.idle_since == -1.0


def test_a_call_costs_microseconds_and_a_deployment_kilobytes() -> None:
    warmth = lived(2, 1000, lognormal(300.0, 0.5))
    since = warmth.idle_since
    assert since is not None
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for number in range(2000):
            warmth.outlook(since + number % 600)
        best = min(best, (time.perf_counter() - began) / 2000)
    assert best < 50e-6  # about 3 us where nothing else runs
    tracemalloc.start()
    many = [lived(number, 150, always(60.0)) for number in range(50)]
    taken = tracemalloc.get_traced_memory()[0] / len(many)
    tracemalloc.stop()
    assert taken < 20_000  # 10,000 deployments in 200 MB
