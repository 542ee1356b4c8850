"""``python -m tests.benchmarks.keep_warm``: keep-warm policies held against a fixed 300 s window.

A trace, or made-up streams of every kind: at boots of 20 and 60 s, how many cold starts each policy
has at the fixed window's cost, the share of the clairvoyant gap closed, and what a decision costs.
Then routing over two and three equal deployments. Everything is seeded; nothing is asserted.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from gateway.simulation import sources
from gateway.simulation.families import Family, Scene
from gateway.simulation.held import compare_policies
from gateway.simulation.holdout import learn_and_hold
from gateway.simulation.learning import LearnMissing
from gateway.simulation.routes import ROUTES, equal_sites, route
from gateway.simulation.simulate import Plant
from gateway.simulation.streams import Reading, Streams
from gateway.simulation.synthetic import KINDS
from gateway.warmth.policies.base import Arrived, Idled
from gateway.warmth.policies.fixed import Fixed
from gateway.warmth.policies.histogram import Histogram
from gateway.warmth.windows import Stakes

WINDOW_SECONDS = 300.0


def hold(name: str, streams: Streams, seed: int) -> None:
    """One trace, both boots, the policies that learn."""
    half = (streams.start_at_us + streams.end_at_us) // 2
    for boot_seconds in (20.0, 60.0):
        families: list[Family] = ["ski_randomised", "histogram"]
        stakes = Stakes(boot_seconds, 1.0, 1.0, 14.0)
        plant = Plant(boot_seconds, seed=seed)
        scene = Scene(streams.streams, plant, half, streams.end_at_us, WINDOW_SECONDS)
        try:
            began = time.perf_counter()
            table = learn_and_hold(scene, stakes, streams.start_at_us, seed)
            took = time.perf_counter() - began
            print(f"{name}: trained and held out in {took:.1f} s; it goes by {table.goes_by}")
            families.append("learned")
            scene = replace(scene, table=table)
        except LearnMissing as missing:
            print(f"{name}: without the learned policy: {missing}")
        found = compare_policies(scene, stakes, families, seed)
        print(
            f"{name}, boot {boot_seconds:g} s: fixed {WINDOW_SECONDS:g} s has "
            f"{found.fixed.cold_rate or 0:.2%} cold of {found.fixed.requests:,}, at "
            f"{found.fixed.replica_us / 1e6 / max(1, found.fixed.requests):.1f} replica s/request"
        )
        for held in found.held:
            span = held.interval
            print(
                f"  {held.family:15}"
                + ("" if held.change is None else f" {held.change:+7.1%} cold starts")
                + ("" if span is None else f" [{span[0]:+.1%}, {span[1]:+.1%}]")
                + ("" if held.gap_closed is None else f", gap closed {held.gap_closed:.0%}")
                + f", at {held.at.replica_us / max(1, found.fixed.replica_us):.3f} of the cost"
                + ("" if held.at.reached else " (it comes no nearer)"),
                flush=True,
            )


def decisions(count: int = 20_000) -> float:
    """Microseconds of this process for a request: both facts, the plan and the question."""
    policy = Histogram(Stakes(20.0, 1.0, 1.0, 14.0))
    gaps = [30_000_000, 290_000_000, 65_000_000, 900_000_000, 5_000_000]
    at, began = 0, time.process_time()
    for number in range(count):
        at += gaps[number % len(gaps)]
        policy.observe(Arrived(at))
        at += 1_000_000
        policy.observe(Idled(at))
        policy.decide(at)
        policy.next_wakeup()
    return (time.process_time() - began) / count * 1e6


def routes(streams: Streams, seed: int) -> None:
    """Equal deployments, lognormal boots of 30 s in the middle."""
    for sigma in (0.8, 0.2):
        for deployments in (2, 3):
            print(f"{deployments} deployments, boot median 30 s, sigma {sigma:g}, window 300 s:")
            plant = Plant(30.0, sigma, seed=seed)
            for by in ROUTES:
                found = route(
                    streams.streams,
                    lambda name: Fixed(Stakes(30.0, 1.0, 1.0, 0.0), WINDOW_SECONDS),
                    equal_sites(deployments, plant, window_seconds=WINDOW_SECONDS),
                    by=by,
                    count_from_us=streams.start_at_us,
                    end_at_us=streams.end_at_us,
                )
                waits = found.wait_seconds
                print(
                    f"  {by:21} {found.cold_rate or 0:6.1%} cold, wait mean "
                    f"{waits['mean']:5.1f} p95 {waits['p95']:6.1f} p99 {waits['p99']:6.1f} s, "
                    f"{found.replica_us / 1e6 / max(1, found.requests):6.1f} replica s/request",
                    flush=True,
                )


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.keep_warm", description=__doc__
    )
    parser.add_argument("--trace", type=Path, action="append", default=[])
    parser.add_argument("--by")
    parser.add_argument("--least-per-day", type=float, default=0.0)
    parser.add_argument("--most-per-day", type=float, default=float("inf"))
    parser.add_argument("--execute-seconds", type=float, default=1.0)
    parser.add_argument("--days", type=float, default=14.0, help="of made-up streams")
    parser.add_argument("--streams", type=int, default=40, help="of made-up streams")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-routes", action="store_true")
    given = parser.parse_args()
    reading = Reading(
        given.by, given.least_per_day, given.most_per_day, given.execute_seconds, given.seed
    )
    for path in given.trace:
        hold(path.name, sources.of_trace([path], reading), given.seed)
    if not given.trace:
        for kind in KINDS:
            hold(kind, sources.of_kind(kind, given.streams, given.days, given.seed), given.seed)
    print(f"a decision takes {decisions():.1f} us of this process")
    if not given.no_routes:
        routes(sources.of_kind("gpu", given.streams, given.days, given.seed), given.seed)


if __name__ == "__main__":
    main()
