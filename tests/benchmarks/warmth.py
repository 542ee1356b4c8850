"""What predicting and routing cost: ``python -m tests.benchmarks.warmth``.

Microseconds of one core for a whole decision (20 deployments, each asked what to expect of it, and
their order) and for each call of the monitor; memory for 10,000 deployments of 150 attempts each.
Processor time of this process, the best of many rounds: what else runs on the machine is not
counted. 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence

import psutil

from gateway.candidates import arranged
from gateway.clock import Clock
from gateway.registry import Registry
from gateway.routing import Routes, Wish
from gateway.settings import Settings
from gateway.warmth.warmth import Warmth
from providers.testing import ScriptedProvider
from providers.toolkit.http import open_http
from tests.warmth.worlds import exponential, lived

CALLS = 20_000
CANDIDATES = 20
MOST_DECISION_MICROSECONDS = 50.0
MOST_MEGABYTES = 200.0
_ROUNDS, _DECISIONS = 150, 100


def decision_microseconds(candidates: int, strategy: str = "balanced") -> float:
    """One decision, as a request brings it about: what is expected of each, and the order."""
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
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_DECISIONS):
            at += 0.5
            plan, asked = routes.resolve("m")
            arranged(plan, asked, Wish(), clock, input_bytes=400, max_output_tokens=256)
        best = min(best, (time.process_time() - began) / _DECISIONS)
    return best * 1e6


def call_microseconds() -> tuple[float, float]:
    """Mean of an outlook, and of each of the five calls around an attempt."""
    warmth, dice = lived(1, 2000, exponential(300.0)), random.Random(1)
    at = warmth.idle_since or 0.0
    began = time.perf_counter()
    for number in range(CALLS):
        warmth.outlook(at + number % 600)
    outlook = (time.perf_counter() - began) / CALLS
    spent = 0.0
    for _ in range(CALLS):
        at += dice.expovariate(1 / 200)
        warm = dice.random() < warmth.outlook(at).p_warm
        began = time.perf_counter()
        _attempt(warmth, at, warm)
        spent += time.perf_counter() - began
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
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warmth")
    parser.add_argument("--deployments", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=CANDIDATES)
    options = parser.parse_args(arguments)
    decision = decision_microseconds(options.candidates)
    print(
        f"a decision over {options.candidates} deployments: {decision:.1f} us "
        f"(aim: {MOST_DECISION_MICROSECONDS:.0f} over {CANDIDATES})"
    )
    outlook, each = call_microseconds()
    print(f"outlook {outlook:.1f} us, each call around an attempt {each:.1f} us")
    taken = memory_megabytes(options.deployments)
    print(
        f"{options.deployments:,} deployments: {taken:.0f} MB "
        f"(aim: {MOST_MEGABYTES:.0f} for 10,000)"
    )
    return decision <= MOST_DECISION_MICROSECONDS and taken <= MOST_MEGABYTES


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
