"""``python -m tests.benchmarks.live_routing``: ways to route, over engines that really boot.

Two parts, each a whole gateway on a real socket with engines that it starts and ends itself. First
the embedded model (llama.cpp, the weights of the default): how often a request finds it cold. Then
``command:`` engines whose boot is delayed by a seeded draw (lognormal): how long requests wait, a
dual boot among them. Each way to route has two engines of its own and the same seeded gaps between
requests; ``one`` has one.

What is expected of the order is said at the end: 1 where it does not hold.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gateway_app.gateways import Gateway, running_gateway
from tests.local.engines import slow_command

WAYS = ("one", "random", "round_robin", "balanced", "dual_boot")
_PRICE = {"usd_per_second": "0.001", "bills": ["execute", "boot", "idle"], "shared": True}
_SPARE = 2  # requests that may be cold by the luck of a busy machine


@dataclass
class Found:
    """What requests met that were routed in one way."""

    cold: int
    waits: list[float]
    cost_usd: float

    @property
    def mean_wait_seconds(self) -> float:
        return sum(self.waits) / len(self.waits)


def tree_of(ways: Sequence[str], engine: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Two engines for each way to route, and a model that routes so."""
    deployments: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for way in ways:
        names = [f"{way}-{number}" for number in range(1 if way == "one" else 2)]
        deployments |= {
            name: {"provider": "local", "price": _PRICE, **engine(name)} for name in names
        }
        strategy = "weighted" if way == "random" else "balanced"
        hedge = "when_cold" if way == "dual_boot" else "never"
        models[way] = {"deployments": names, "strategy": strategy, "hedge": hedge}
    return {"deployments": deployments, "models": models}


def ask(gateway: Gateway, way: str, gaps: Sequence[float]) -> Found:
    """One request after the other, with these seconds between."""
    cold, waits = 0, []
    for number, gap in enumerate(gaps):
        time.sleep(gap)
        model = f"deployment:{way}-{number % 2}" if way == "round_robin" else way
        answer = gateway.answer(model, "Hi", parameters={"max_output_tokens": 4})
        cold += answer["cold_start"]["verdict"] == "cold"
        waits.append(float(answer["timing"]["wait_seconds"] or 0.0))
    return Found(cold, waits, 0.0)


def run(
    ways: Sequence[str], tree: dict[str, Any], gaps: Sequence[float], idle_seconds: float
) -> dict[str, Found]:
    """All ways at once, each with engines of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_gateway(tree, Path(folder), log_attempts=False) as gateway,
    ):
        gateway.http.timeout = None
        with ThreadPoolExecutor(len(ways)) as pool:
            asked = {way: pool.submit(ask, gateway, way, gaps) for way in ways}
            found = {way: task.result() for way, task in asked.items()}
        time.sleep(idle_seconds + 1.5)  # until the last idle time is booked
        for row in gateway.get("/v1/costs", group_by="deployment")["data"]:
            way = row["group"]["deployment"].rpartition("-")[0]
            found[way].cost_usd += float(row["known_usd"])
    return found


def gaps_of(count: int, window_seconds: float, seed: int) -> list[float]:
    """Two in three well within the window, the others well beyond twice its length."""
    dice = random.Random(seed)
    return [
        window_seconds * (dice.uniform(0.3, 0.7) if dice.random() < 0.67 else dice.uniform(2.3, 3))
        for _ in range(count)
    ]


def show(title: str, found: dict[str, Found]) -> None:
    """A line for each way."""
    print(f"{title}: {'':12}{'cold':>8}{'mean wait s':>14}{'USD':>10}")
    for way, each in found.items():
        share = each.cold / len(each.waits)
        print(f"  {way:22}{share:12.0%}{each.mean_wait_seconds:14.2f}{each.cost_usd:10.4f}")


def main(arguments: Sequence[str] | None = None) -> bool:
    """Run both parts; whether the order holds."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.live_routing", description=__doc__
    )
    parser.add_argument("--requests", type=int, default=40, help="of each way to route")
    parser.add_argument("--window-seconds", type=float, default=2.0)
    parser.add_argument(
        "--boot-seconds", type=float, default=1.0, help="of command engines, median"
    )
    parser.add_argument("--boot-sigma", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    window = given.window_seconds

    def embedded(name: str) -> dict[str, Any]:
        return {"model": "smollm2-135m-instruct", "idle_timeout_seconds": window, "threads": 1}

    ways = WAYS[:4]
    gaps = gaps_of(given.requests, window, given.seed)
    real = run(ways, tree_of(ways, embedded), gaps, window)
    show("the embedded model", real)
    with tempfile.TemporaryDirectory() as folder:

        def delayed(name: str) -> dict[str, Any]:
            command = slow_command(
                *("--boot-seconds", given.boot_seconds, "--boot-sigma", given.boot_sigma),
                *("--boot-seed", f"{given.seed}:{name}", "--starts-file", Path(folder) / name),
            )
            return {"model": "slow", "command": list(command), "idle_timeout_seconds": window}

        drawn = run(WAYS, tree_of(WAYS, delayed), gaps, window)
    show("command engines", drawn)
    dual = drawn["dual_boot"]
    holds = {
        "balanced is no colder than one provider": all(
            x["balanced"].cold <= x["one"].cold + _SPARE for x in (real, drawn)
        ),
        "random and in turn are colder": all(
            min(x["random"].cold, x["round_robin"].cold) > x["balanced"].cold for x in (real, drawn)
        ),
        "a dual boot waits least": dual.mean_wait_seconds
        < min(each.mean_wait_seconds for way, each in drawn.items() if way != "dual_boot"),
        "a dual boot costs less than one and a half times balanced": dual.cost_usd
        < 1.5 * drawn["balanced"].cost_usd,
    }
    for what, true in holds.items():
        print(f"{what}: {'yes' if true else 'NO'}")
    return all(holds.values())


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
