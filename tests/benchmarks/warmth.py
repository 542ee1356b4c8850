"""What the monitor costs: ``python -m tests.benchmarks.warmth``.

Microseconds of one core for each call, and memory for 10,000 deployments of 150 attempts each.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

import psutil

from gateway.warmth.warmth import Warmth
from tests.warmth.worlds import exponential, lived

CALLS = 20_000


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


def memory_mebibytes(deployments: int) -> float:
    """What so many deployments take."""
    before = psutil.Process().memory_info().rss
    kept = [lived(number, 150, exponential(300.0)) for number in range(deployments)]
    for warmth in kept:
        warmth.outlook(1e9)
        warmth.boot_quantile(0.9)
    return float(psutil.Process().memory_info().rss - before) / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warmth")
    parser.add_argument("--deployments", type=int, default=10_000)
    options = parser.parse_args(arguments)
    outlook, each = call_microseconds()
    print(f"outlook {outlook:.1f} us, each call around an attempt {each:.1f} us")
    print(f"{options.deployments} deployments: {memory_mebibytes(options.deployments):.0f} MiB")


if __name__ == "__main__":
    main()
