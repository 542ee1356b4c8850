"""What predicting and routing cost: ``python -m tests.benchmarks.warmth``.

Microseconds of one core for a whole decision (20 deployments, each asked what to expect of it, and
their order), for one that follows an answer, so that what is kept of one deployment is made anew,
and for each call of the monitor; memory for 10,000 deployments of 150 attempts each. Processor time
of this process, the best of many rounds: what else runs on the machine is not counted. 1 where an
aim is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

import psutil

from gateway.clock import Clock
from gateway.execution.candidates import arranged
from gateway.registry import Registry, Target
from gateway.routing import Routes, Wish
from gateway.settings import Settings
from gateway.warmth.warmth import Warmth
from providers.testing import ScriptedProvider
from providers.toolkit.http import open_http
from tests.warmth.worlds import end, exponential, lived

CALLS = 20_000
CANDIDATES = 20
MOST_DECISION_MICROSECONDS = 50.0
MOST_MEGABYTES = 200.0
_ROUNDS, _DECISIONS = 150, 100


def decision_microseconds(
    candidates: int, strategy: str = "balanced", *, after_answers: bool = False
) -> float:
    """One decision, as a request brings it about: what is expected of each, and the order.

    ``after_answers``: before each, one of the deployments has answered; that itself is not counted.
    """
    price = {"usd_per_second": "0.001", "bills": ["execute", "boot", "idle"]}
    names = [f"d{number}" for number in range(candidates)]
    settings = Settings.model_validate(
        {
            "deployments": {
                name: {"provider": "scripted", "model": name, "price": price} for name in names
            },
            "models": {"m": {"deployments": names, "strategy": strategy}},
        }
    )
    registry = Registry(settings, open_http, {"scripted": ScriptedProvider().plugin()})
    registry.build()
    for number, target in enumerate(registry.targets.values()):
        target.warmth = lived(number, 200, exponential(300.0))
        target.usual.observe(output_tokens=200, execute_seconds=2.0, first_output_seconds=0.3)
    at = max(target.warmth.idle_since or 0.0 for target in registry.targets.values())
    clock = Clock(lambda: at)
    routes = Routes({"m": names}, registry.targets.values(), {"m": settings.models["m"].rules})
    best, dice = float("inf"), random.Random(1)
    for _ in range(_ROUNDS):
        began, spent_otherwise = time.process_time(), 0.0
        for _ in range(_DECISIONS):
            at += 0.5
            if after_answers:
                since = time.process_time()
                _answer(dice.choice(list(registry.targets.values())), at)
                spent_otherwise += time.process_time() - since
            plan, asked = routes.resolve("m")
            arranged(plan, asked, Wish(), clock, input_bytes=400, max_output_tokens=256)
        spent = time.process_time() - began - spent_otherwise
        best = min(best, spent / _DECISIONS)
    return best * 1e6


def _answer(target: Target, at: float) -> None:
    """One answer of a deployment that was up, as execution tells of it."""
    target.warmth.began("a", at - 0.4)
    target.warmth.ready(at - 0.3)
    end(target.warmth, "a", at - 0.1, "warm")
    target.usual.observe(output_tokens=150, execute_seconds=0.2, first_output_seconds=0.1)


def call_microseconds() -> tuple[float, float]:
    """Mean of an outlook, and of each of the five calls around an attempt."""
    warmth, dice = lived(1, 2000, exponential(300.0)), random.Random(1)
    at = warmth.idle_since or 0.0
    began = time.process_time()
    for number in range(CALLS):
        warmth.expectation(at + number % 600)
    outlook = (time.process_time() - began) / CALLS
    spent = 0.0
    for _ in range(CALLS):
        at += dice.expovariate(1 / 200)
        warm = dice.random() < warmth.outlook(at).p_warm
        began = time.process_time()
        _attempt(warmth, at, warm)
        spent += time.process_time() - began
        at += 2.0
    return outlook * 1e6, spent / CALLS / 5 * 1e6


def _attempt(warmth: Warmth, at: float, warm: bool) -> None:
    warmth.outlook(at)
    warmth.began("a", at)
    if not warm:
        warmth.booting(at)
    warmth.ready(at + 1)
    warmth.ended(
        "a",
        at + 2,
        verdict="warm" if warm else "cold",
        caused_boot=not warm,
        boot_seconds=None if warm else 1.0,
        instance_id="i-1",
        revision=None,
        worked=True,
    )


def memory_megabytes(deployments: int) -> float:
    """What so many deployments take."""
    before = psutil.Process().memory_info().rss
    kept = [lived(number, 150, exponential(300.0)) for number in range(deployments)]
    for warmth in kept:
        warmth.outlook(1e9)
        warmth.boot_quantile(0.9)
    return float(psutil.Process().memory_info().rss - before) / 1e6


def main(arguments: Sequence[str] | None = None) -> bool:
    """Measure and print; whether both aims are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warmth", description=__doc__)
    parser.add_argument("--deployments", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=CANDIDATES)
    options = parser.parse_args(arguments)
    decision = decision_microseconds(options.candidates)
    print(
        f"a decision over {options.candidates} deployments: {decision:.1f} us "
        f"(aim: {MOST_DECISION_MICROSECONDS:.0f} over {CANDIDATES})"
    )
    after = decision_microseconds(options.candidates, after_answers=True)
    print(f"one that follows an answer: {after:.1f} us")
    outlook, each = call_microseconds()
    print(f"an outlook {outlook:.1f} us, each call around an attempt {each:.1f} us")
    taken = memory_megabytes(options.deployments)
    print(
        f"{options.deployments:,} deployments: {taken:.0f} MB "
        f"(aim: {MOST_MEGABYTES:.0f} for 10,000)"
    )
    return decision <= MOST_DECISION_MICROSECONDS and taken <= MOST_MEGABYTES


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
