"""Worlds that the simulator and the live gateway are both put into, and what each decides there."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.accounting.prices import PriceRow
from gateway.keeping.starting import policy_of
from gateway.registry import Registry
from gateway.routing import Strategy, WhenCold
from gateway.settings import Settings
from gateway.simulation.families import Family, maker, stakes_of
from gateway.simulation.routes import Site, advance, router_of, seen_at, serve
from gateway.simulation.seen import Seen
from gateway.simulation.simulate import Plant
from gateway.simulation.streams import Stream
from gateway.simulation.synthetic import made
from gateway.warmth.billing import Used, bill
from gateway.warmth.policies.base import Policy
from gateway.warmth.policies.fixed import SkiRental
from gateway.warmth.policies.learned import SPANS_SECONDS, Table
from gateway.warmth.priors import prior_of
from tests.emulators.fleet import Fleet
from tests.emulators.replica import Replica
from tests.simulation.live import Decision, Decisions, Given, Recorded, live
from tests.simulation.virtual_time import run

DAY_US = 86_400_000_000
BOOT_SECONDS = 30.0
WAIT_VALUE = Decimal("0.014")
RATES = ("0.001", "0.0013", "0.0008")
BILLS = ("execute", "boot", "idle")
USE_BOOT_SECONDS, FOR_GOOD_SECONDS = 2.0, 1e7
PHASES = ("boot_seconds", "first_output_seconds", "stall_seconds", "total_seconds")


@dataclass(frozen=True)
class World:
    """What both sides are told. ``own_window_seconds``: the provider's, which nobody shortens.

    ``hedge`` other than never: its deployments can be booted without work; ``calls_off``: and such
    a boot called off. ``fallback``: USD for a second of the last deployment, which is then paid by
    use, and up for good once it was
    used. ``replicas``: the most of a deployment, where more than one each running one request.
    """

    stream: Stream
    end_at_us: int
    strategy: Strategy
    family: Family | None
    own_window_seconds: float
    deployments: int
    seed: int = 1
    sigma: float = 0.8
    model: str = "m"
    prefix: str = "d"
    hedge: WhenCold = "never"
    calls_off: bool = True
    fallback: str | None = None
    replicas: int = 1
    draws_by_time: bool = False

    @property
    def names(self) -> list[str]:
        return [f"{self.prefix}{number}" for number in range(self.deployments)]

    def price(self, name: str) -> dict[str, Any]:
        """What a deployment costs, as the configuration has it."""
        if self.fallback is not None and name == self.names[-1]:
            return {"usd_per_second": self.fallback, "bills": ("execute",)}
        rate = RATES[self.names.index(name)]
        return {"usd_per_second": rate, "bills": BILLS, "shared": self.replicas == 1}

    def row(self, name: str) -> PriceRow:
        """The same as a row of the price book."""
        return PriceRow.model_validate(
            {
                "name": "machine",
                **self.price(name),
                "effective_from": date(1970, 1, 1),
                "source": "a test",
                "checked_on": datetime.now(UTC).date(),
            }
        )

    def window_seconds(self, name: str) -> float:
        """How long its provider keeps it up after its last work."""
        return (
            FOR_GOOD_SECONDS
            if self.fallback is not None and name == self.names[-1]
            else (self.own_window_seconds)
        )

    def plant(self, name: str) -> Plant:
        """How a deployment behaves."""
        window = self.window_seconds(name)
        by_use = window == FOR_GOOD_SECONDS
        return Plant(
            USE_BOOT_SECONDS if by_use else BOOT_SECONDS,
            0.0 if by_use else self.sigma,
            1 if by_use else self.replicas,
            None if by_use or self.replicas == 1 else 1,
            window,
            window,
            self.seed,
        )


TABLE = Table(
    {
        name: {
            f"{gap}.{recent}": [
                1 / (40.0 + 200.0 * gap) if SPANS_SECONDS[span] < 300 * (recent + 1) else 1e-5
                for span in range(len(SPANS_SECONDS) - 1)
            ]
            for gap in range(5)
            for recent in range(3)
        }
        for name in ("d0", "d1", "d2")
    }
)


Watch = Callable[[Sequence[Seen], Mapping[str, Recorded], int], None]


def simulated(world: World, watch: Watch | None = None) -> Decisions:
    """``watch`` is shown the deployments and their policies before each request."""
    sites = [
        Site(
            name,
            world.plant(name),
            world.row(name),
            prior_of((), idle_window_seconds=world.window_seconds(name)),
            world.window_seconds(name),
            weight,
            is_kept=world.family is not None,
        )
        for name, weight in zip(world.names, (1.0, 2.0, 3.0), strict=False)
    ]
    recorded: dict[str, Recorded] = {}

    def make(name: str) -> Policy:
        name = name.partition("/")[2]
        stakes = stakes_of(world.row(name), BOOT_SECONDS, WAIT_VALUE)
        family = world.family or "fixed"
        window = 0.0 if world.family is None else 300.0
        policy = maker(family, stakes, window_seconds=window, table=TABLE, seed=world.seed)(name)
        if family == "ski_randomised" and world.draws_by_time:
            dice = ByTime(f"{world.seed}:{name}", lambda: recorded[name].idle_us or 0)
            policy = SkiRental(stakes, dice)
        recorded[name] = Recorded(policy)
        return recorded[name]

    seen = seen_at(sites, world.stream.name, make)
    router = router_of(world.strategy, sites, world.hedge)
    found = Decisions()
    for at, execute in zip(world.stream.at_us, world.stream.execute_us, strict=True):
        advance(seen, at)
        if watch is not None:
            watch(seen, recorded, at)
        picked = router.pick(seen, at)
        number, served = serve(seen, picked, at, execute, world.calls_off)
        verdict = "warm" if served.ready_us is None else "cold"
        caused = served.caused_boot or (len(picked) > 1 and verdict == "cold")
        found.requests.append(
            Decision(at, seen[number].name, verdict, caused, served.start_us - at)
        )
    usd = Decimal(0)
    advance(seen, world.end_at_us)
    for site, deployment in zip(sites, seen, strict=True):
        account = deployment.kept.close(world.end_at_us)
        assert site.row is not None
        total = bill(site.row, account, Used(account.requests)).total_usd
        assert total is not None
        usd += total
        if world.family is not None:
            found.actions[site.name] = recorded[site.name].said
    found.cost_pico_usd = int(usd * 10**12)
    return found


@dataclass
class Lived:
    """What a gateway decided, the machines it had, and its policies at the end."""

    decisions: Decisions
    replicas: dict[str, Replica | Fleet]
    policies: dict[str, Policy]


def replicas_of(world: World) -> dict[str, Replica | Fleet]:
    """Its machines, which draw their boots as the simulated ones do."""
    dice = world.plant(world.names[0]).dice(world.stream.name)
    found: dict[str, Replica | Fleet] = {}
    for name in world.names:
        plant, window_us = world.plant(name), round(world.window_seconds(name) * 1e6)
        draw = plant.draw(name, dice)
        if plant.places is None:
            found[name] = Replica(draw, window_us)
        else:
            found[name] = Fleet(draw, window_us, plant.replicas, plant.places)
    return found


def lived(world: World, data_dir: Path, restart_before: int | None = None) -> Lived:
    """``restart_before``: the request before which the gateway is another one."""
    replicas = replicas_of(world)

    def policies(registry: Registry, settings: Settings) -> dict[str, Policy]:
        found = {}
        for name in world.names:
            keep_warm = settings.deployments[name].keep_warm
            if keep_warm is not None:
                drawn = random.Random(f"{world.seed}:{name}")
                found[name] = policy_of(registry.targets[name], keep_warm, 0, drawn)
        return found

    tree = tree_of(world, data_dir / "table.json")
    given = Given(
        tree,
        replicas,
        policies,
        data_dir,
        world.end_at_us,
        world.seed,
        world.calls_off,
    )
    arrivals = list(zip(world.stream.at_us, world.stream.execute_us, strict=True))
    lives = [arrivals[:restart_before], arrivals[restart_before:]] if restart_before else [arrivals]
    decisions, kept = run(lambda loop: live(loop, given, lives))
    return Lived(decisions, replicas, kept)


def tree_of(world: World, table: Path) -> dict[str, Any]:
    keep_warm: dict[str, Any] = {
        "policy": world.family,
        "wait_value_usd_per_second": str(WAIT_VALUE),
        "window_seconds": 300.0,
        "boot_seconds": BOOT_SECONDS,
    }
    if world.family == "learned":
        table.write_text(json.dumps(TABLE.to_json()))
        keep_warm["table"] = str(table)
    weights = dict(zip(world.names, (1.0, 2.0, 3.0), strict=False))
    model: dict[str, Any] = {
        "deployments": world.names,
        "strategy": world.strategy,
        "hedge": world.hedge,
    }
    if world.strategy == "weighted":
        model["weights"] = weights
    return {
        "deployments": {
            name: {
                "provider": "machines",
                "model": name,
                "price": world.price(name),
                "idle_window_seconds": world.window_seconds(name),
                "limits": {"max_concurrency": 10_000},
                "timeouts": dict.fromkeys(PHASES, 14_400),
                **({} if world.family is None else {"keep_warm": keep_warm}),
                **({} if world.hedge == "never" else {"bootable": True}),
            }
            for name in world.names
        },
        "models": {world.model: model},
    }


class ByTime(random.Random):
    """Draws the same number for all of ten minutes, whatever was drawn before: of two that draw at
    nearly the same instants, one may have drawn once more than the other.
    """

    def __init__(self, seed: str, now_us: Callable[[], int]) -> None:
        super().__init__()
        self._text, self._now_us = seed, now_us

    def random(self) -> float:
        return random.Random(f"{self._text}:{self._now_us() // 600_000_000}").random()


def stream_of(kind: str, days: float, seed: int) -> Stream:
    found = made(kind, 3, days, seed)
    longest = max(found, key=lambda stream: len(stream.at_us))
    return Stream("s", longest.at_us, longest.execute_us)


def crowded(
    days: float, seed: int, means_seconds: Sequence[float] = (20.0, 400.0, 3000.0)
) -> Stream:
    """Requests that overlap, seconds and hours apart, at no hour in particular."""
    dice, at, stream = random.Random(seed), 0, Stream("s")
    while at < days * DAY_US:
        at += 1 + int(dice.expovariate(1 / dice.choice(means_seconds)) * 1e6)
        stream.at_us.append(at)
        stream.execute_us.append(int(dice.lognormvariate(2.5, 1.0) * 1e6))
    return stream
