"""Policies at equal cost and routes over equal deployments, on small seeded streams."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.simulation import sources
from gateway.simulation.clairvoyant import bounds
from gateway.simulation.families import Family, Scene
from gateway.simulation.held import compare_policies
from gateway.simulation.holdout import learn_and_hold
from gateway.simulation.routes import ROUTES, Route, equal_sites, route
from gateway.simulation.simulate import Outcome, Plant
from gateway.simulation.streams import Stream, Streams
from gateway.simulation.synthetic import made
from gateway.warmth.policies.fixed import Fixed
from gateway.warmth.windows import Stakes

SECOND = 1_000_000


def scene(streams: Streams, boot_seconds: float) -> Scene:
    half = (streams.start_at_us + streams.end_at_us) // 2
    return Scene(streams.streams, Plant(boot_seconds), half, streams.end_at_us)


@pytest.mark.parametrize(
    ("kind", "boot_seconds", "most"),
    [
        ("periodic", 20.0, -0.20),
        ("periodic", 60.0, -0.15),
        ("bursty", 20.0, 0.02),
        ("bursty", 60.0, 0.02),
        ("gpu", 20.0, 0.02),
        ("gpu", 60.0, 0.02),
    ],
)
def test_a_histogram_at_the_cost_of_a_fixed_window(
    kind: str, boot_seconds: float, most: float
) -> None:
    streams = sources.of_kind(kind, 6, 2, seed=4)
    stakes = Stakes(boot_seconds, 1.0, 1.0, 14.0)
    found = compare_policies(scene(streams, boot_seconds), stakes, ["histogram"])
    (held,) = found.held
    assert held.change is not None and held.change <= most
    assert held.at.reached or held.at.replica_us < found.fixed.replica_us
    assert held.interval is not None and held.interval[0] <= held.change <= held.interval[1]
    assert found.bounds.prewarm_us < found.fixed.replica_us
    assert found.keep_cold is not None and found.keep_cold <= found.fixed.sum("cold")
    assert held.gap_closed is not None and held.gap_closed >= -0.02


@pytest.mark.parametrize("seed", [2, 4])
@pytest.mark.parametrize("boot_seconds", [20.0, 60.0])
def test_what_a_night_has_shown_does_not_cost_the_day(seed: int, boot_seconds: float) -> None:
    """The first half of one day trains: few gaps, and longer ones than those that are scored."""
    streams = sources.of_kind("diurnal", 6, 1, seed)
    stakes = Stakes(boot_seconds, 1.0, 1.0, 14.0)
    (held,) = compare_policies(scene(streams, boot_seconds), stakes, ["histogram"]).held
    assert held.change is not None and held.change <= 0.02


def test_a_learned_table_is_never_worse_by_much_and_needs_nothing_at_run_time() -> None:
    pytest.importorskip("sklearn", reason="the extra learn is not installed")
    families: list[Family] = ["learned"]
    for kind, most in (("periodic", -0.15), ("bursty", 0.02)):
        streams = sources.of_kind(kind, 4, 2, seed=4)
        shown = scene(streams, 20.0)
        stakes = Stakes(20.0, 1.0, 1.0, 14.0)
        table = learn_and_hold(shown, stakes, streams.start_at_us)
        assert table.rates and table.trusted == (kind == "periodic")
        found = compare_policies(replace(shown, table=table), stakes, families)
        assert found.held[0].change is not None and found.held[0].change <= most


def test_who_is_asked_by_day_is_held_on_for_then() -> None:
    """Requests that come by chance, often here and rarely there, by day and not at night."""
    pytest.importorskip("sklearn", reason="the extra learn is not installed")
    streams = sources.of_kind("diurnal", 4, 3.5, seed=1)
    shown = scene(streams, 20.0)
    stakes = Stakes(20.0, 1.0, 1.0, 14.0)
    table = learn_and_hold(shown, stakes, streams.start_at_us)
    assert table.hours_trusted
    (held,) = compare_policies(replace(shown, table=table), stakes, ["learned"]).held
    assert held.change is not None and held.change < -0.15 and held.at.reached


def test_what_could_be_known() -> None:
    """Three gaps of 10, 100 and 1,000 s, requests of 1 s, and a boot of 50 s."""
    ends = [0, 11, 112, 1113]
    stream = Stream("s", array("q", [at * SECOND for at in ends]), array("q", [SECOND] * 4))
    found = bounds([stream], 50.0, 0)
    assert found.prewarm_us == (4 + 50 + 10 + 50 + 50) * SECOND
    # the first boot lasts until the second request has come, which waits for it too
    lazy = found.best()
    assert lazy == (153 * SECOND, 4, 189 * SECOND)  # the gap of 100 s is one of 61 after that boot
    assert found.best(cold_us=20 * SECOND) == (164 * SECOND, 3, 139 * SECOND)
    assert found.best(wait_us=50.0).cold == 2  # whoever comes within the first boot waits
    assert found.keep_cold(164 * SECOND) == 3
    assert found.keep_cold((164 + 475) * SECOND) == pytest.approx(2.5)  # half of the time each


def played(stream: Stream, boot_us: int, count_from_us: int) -> list[tuple[int, int, int]]:
    """All ways to hold or not to hold in each gap: the replica's time, who waits, how long."""
    found: list[tuple[int, int, int]] = []

    def go_on(number: int, ready: int, until: int | None, way: tuple[int, int, int]) -> None:
        if number == len(stream.at_us):
            found.append(way)
            return
        at, execute = stream.at_us[number], stream.execute_us[number]
        counts = at >= count_from_us

        def served(begin: int, start: int, end: int, ready: int) -> None:
            up = max(0, end - max(begin, count_from_us))
            wait = (start - at) * counts
            more = (way[0] + up, way[1] + (wait > 0), way[2] + wait)
            go_on(number + 1, ready, end, more)

        if until is not None:
            start = max(at, ready)
            served(until, start, max(until, start + execute), ready)
        if until is None or at > until:
            served(at, at + boot_us, at + boot_us + execute, at + boot_us)

    go_on(0, 0, None, (0, 0, 0))
    return found


def test_the_bounds_are_the_best_of_all_ways() -> None:
    dice = random.Random(5)
    for _ in range(300):
        stream, at = Stream("s"), 0
        for _ in range(dice.randrange(1, 9)):
            at += dice.choice((1, 3, 10, 30, 100, 200)) + dice.randrange(5)
            stream.at_us.append(at * SECOND)
            stream.execute_us.append(dice.choice((0, 1, 5, 40)) * SECOND)
        boot_seconds = dice.choice((1, 20, 60))
        count_from_us = dice.choice((0, stream.at_us[len(stream.at_us) // 2]))
        ways = played(stream, boot_seconds * SECOND, count_from_us)
        found = bounds([stream], float(boot_seconds), count_from_us)
        for cold_us, wait_us in ((0.0, 0.0), (5e6, 0.0), (1e8, 0.0), (0.0, 1.5), (3e6, 14.0)):
            least = min(spent + cold_us * cold + wait_us * wait for spent, cold, wait in ways)
            assert found.best(cold_us, wait_us).worth(cold_us, wait_us) == pytest.approx(least)
        spent_us = dice.choice(ways)[0] + dice.randrange(20) * SECOND
        frontier = [
            cold + (other_cold - cold) * (spent_us - spent) / (other_spent - spent)
            for spent, cold, _ in ways
            for other_spent, other_cold, _ in ways
            if spent < spent_us < other_spent
        ]
        fewest = min([cold for spent, cold, _ in ways if spent <= spent_us] + frontier)
        assert found.keep_cold(spent_us) == pytest.approx(fewest)


def routed(by: Route, deployments: int, sigma: float, streams: Streams) -> Outcome:
    return route(
        streams.streams,
        lambda name: Fixed(Stakes(30.0, 1.0, 1.0, 0.0), 300.0),
        equal_sites(deployments, Plant(30.0, sigma), window_seconds=300.0),
        by=by,
        count_from_us=0,
        end_at_us=streams.end_at_us,
    )


def mean(outcome: Outcome) -> float:
    found = outcome.wait_seconds["mean"]
    assert found is not None
    return found


@pytest.mark.parametrize("deployments", [2, 3])
def test_warm_first_keeps_to_one_provider_and_dual_boots_cut_the_wait(deployments: int) -> None:
    streams = sources.of_kind("gpu", 14, 10, seed=1)
    found = {by: routed(by, deployments, 0.8, streams) for by in ROUTES}
    cold = {by: outcome.cold_rate or 0.0 for by, outcome in found.items()}
    assert cold["balanced"] <= cold["one"] and cold["balanced_dual_boot"] <= cold["one"]
    assert min(cold["random"], cold["round_robin"], cold["peak_ewma"]) > 1.3 * cold["one"]
    dual = found["balanced_dual_boot"]
    assert mean(dual) <= 0.65 * mean(found["one"])
    assert dual.replica_us <= 1.03 * found["one"].replica_us
    assert found["random"].replica_us > 1.2 * found["one"].replica_us


def test_the_gain_of_a_dual_boot_is_the_spread_of_boots() -> None:
    streams = sources.of_kind("gpu", 10, 7, seed=1)
    gains = [
        1
        - mean(routed("balanced_dual_boot", 2, sigma, streams))
        / mean(routed("one", 2, sigma, streams))
        for sigma in (0.8, 0.2)
    ]
    assert gains[0] > 2 * gains[1] > 0


def test_made_up_streams_are_made_by_their_seed() -> None:
    first, again, other = (made("gpu", 3, 2, seed) for seed in (1, 1, 2))
    assert [s.at_us for s in first] == [s.at_us for s in again] != [s.at_us for s in other]


def test_the_twin_of_gpu_traffic_has_the_figures_that_it_is_fitted_to() -> None:
    gaps = sorted(
        (b - a - e) / 1e6
        for s in made("gpu", 50, 23)
        for (a, b), e in zip(pairwise(s.at_us), s.execute_us, strict=False)
        if b > a + e
    )
    tenth, half, most = (gaps[int(len(gaps) * share)] for share in (0.1, 0.5, 0.9))
    assert 5 <= tenth <= 20 and 40 <= half <= 120 and 800 <= most <= 5000
    assert 0.65 <= sum(gap < 300 for gap in gaps) / len(gaps) <= 0.85
