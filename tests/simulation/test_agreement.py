"""The simulator and the live gateway decide alike, request by request, to the microsecond.

The live side is the gateway's own execution, routing, warmth, keeping and charging in virtual time
(``live``), over machines that know nothing of the simulator; its journal is what it cost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.keeping.starting import remember
from gateway.ledger.layout import database_path
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.routing import STRATEGIES, Strategy
from gateway.simulation.families import FAMILIES, Family, maker, stakes_of
from gateway.simulation.streams import Stream
from gateway.warmth.policies.base import Arrived, Idled, Policy
from tests.emulators.fleet import Fleet
from tests.emulators.replica import Replica
from tests.ledger.databases import ship
from tests.simulation.live import Decisions
from tests.simulation.virtual_time import NothingWillHappen, VirtualLoop, run
from tests.simulation.worlds import (
    BOOT_SECONDS,
    DAY_US,
    RATES,
    TABLE,
    WAIT_VALUE,
    World,
    crowded,
    lived,
    simulated,
    stream_of,
)

BUSY = (3.0, 20.0, 400.0, 1200.0)


def apart(sim: Decisions, real: Decisions) -> list[Any]:
    """The first few requests of which the two say different things."""
    pairs = zip(sim.requests, real.requests, strict=True)
    return [pair for pair in pairs if pair[0] != pair[1]][:3]


def billed_pico_usd(world: World, replicas: dict[str, Replica | Fleet]) -> int:
    """What the provider charges for its machines; one that is paid by use runs one at a time."""
    total = 0.0
    for name, replica in replicas.items():
        row, spent = world.row(name), replica.close(world.end_at_us)
        assert row.usd_per_second is not None
        total += spent.total_us * float(row.usd_per_second) * 1e6 if "idle" in row.bills else 0.0
    return round(total)


def rounding_pico_usd(real: Decisions) -> float:
    """Each line is rounded to a microsecond."""
    return real.lines * float(max(RATES)) * 1e6 / 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_each_strategy_under_each_policy(
    strategy: Strategy, family: Family | None, tmp_path: Path
) -> None:
    """Boots of a wide spread; None: the provider's own window, and no policy."""
    own_window_seconds = 300.0 if family is None else 20.0
    stream = stream_of("diurnal", 0.4, seed=2)
    world = World(stream, DAY_US, strategy, family, own_window_seconds, 3)
    sim, there = simulated(world), lived(world, tmp_path)
    real = there.decisions
    assert len(sim.requests) > 150 and {"cold", "warm"} == {x.verdict for x in sim.requests}
    assert not apart(sim, real)
    assert sim.actions == real.actions
    assert abs(sim.cost_pico_usd - billed_pico_usd(world, there.replicas)) <= 10
    if family in ("histogram", "learned"):
        # How long a boot ahead went on that was let go, and that nobody joined, no gateway can see.
        assert real.cost_pico_usd == pytest.approx(sim.cost_pico_usd, rel=0.005)
    else:
        assert abs(sim.cost_pico_usd - real.cost_pico_usd) <= rounding_pico_usd(real)


@pytest.mark.parametrize("own_window_seconds", [1.0, 300.0])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["periodic", "crowded"])
def test_where_boots_take_as_long_as_said_the_ledger_is_the_bill(
    kind: str, family: Family, own_window_seconds: float, tmp_path: Path
) -> None:
    stream = crowded(0.2, seed=4) if kind == "crowded" else stream_of(kind, 0.3, seed=4)
    world = World(stream, DAY_US, "priority", family, own_window_seconds, 2, sigma=0.0)
    sim, there = simulated(world), lived(world, tmp_path)
    real = there.decisions
    assert not apart(sim, real) and sim.actions == real.actions
    assert abs(sim.cost_pico_usd - billed_pico_usd(world, there.replicas)) <= 10
    assert abs(sim.cost_pico_usd - real.cost_pico_usd) <= rounding_pico_usd(real)


@pytest.mark.parametrize(("strategy", "deployments"), [("balanced", 2), ("priority", 3)])
@pytest.mark.parametrize("family", [None, "fixed", "histogram"])
def test_two_that_boot_for_one_request(
    family: Family | None, strategy: Strategy, deployments: int, tmp_path: Path
) -> None:
    """The first that is up serves it, and who comes meanwhile; the other's boot is called off."""
    own_window_seconds = 300.0 if family is None else 20.0
    world = World(
        crowded(0.5, 3, BUSY), DAY_US, strategy, family, own_window_seconds, deployments,
        hedge="when_cold",
    )  # fmt: skip
    sim, there = simulated(world), lived(world, tmp_path)
    real = there.decisions
    assert not apart(sim, real) and sim.actions == real.actions
    assert len({x.deployment for x in sim.requests if x.caused_boot}) > 1
    assert any(x.verdict == "cold" and not x.caused_boot for x in sim.requests)
    assert abs(sim.cost_pico_usd - billed_pico_usd(world, there.replicas)) <= 10
    assert real.cost_pico_usd == pytest.approx(sim.cost_pico_usd, rel=1e-6)


def test_two_that_boot_where_a_boot_cannot_be_called_off(tmp_path: Path) -> None:
    world = World(
        crowded(0.5, 3, BUSY), DAY_US, "balanced", None, 300.0, 2,
        hedge="when_cold", calls_off=False,
    )  # fmt: skip
    sim, there = simulated(world), lived(world, tmp_path)
    assert not apart(sim, there.decisions)
    assert abs(sim.cost_pico_usd - billed_pico_usd(world, there.replicas)) <= 10
    called_off = simulated(replace(world, calls_off=True))
    assert sim.cost_pico_usd > called_off.cost_pico_usd


@pytest.mark.parametrize("family", [None, "fixed", "ski_rental"])
def test_spill_to_one_that_is_paid_by_use(family: Family | None, tmp_path: Path) -> None:
    own_window_seconds = 300.0 if family is None else 20.0
    stream = crowded(0.5, 3, BUSY)
    by_use = "0.012" if family is None else "0.006"
    world = World(stream, DAY_US, "balanced", family, own_window_seconds, 2, fallback=by_use)
    sim, there = simulated(world), lived(world, tmp_path)
    real = there.decisions
    assert not apart(sim, real) and sim.actions == real.actions
    assert real.cost_pico_usd == pytest.approx(sim.cost_pico_usd, rel=1e-6)
    found = Counter(x.deployment for x in sim.requests)
    assert min(found["d0"], found["d1"]) >= 15


@pytest.mark.parametrize(("deployments", "replicas"), [(1, 2), (2, 3)])
@pytest.mark.parametrize("family", [None, "fixed", "ski_rental", "histogram"])
def test_several_machines_for_each_deployment(
    family: Family | None, deployments: int, replicas: int, tmp_path: Path
) -> None:
    own_window_seconds = 300.0 if family is None else 60.0
    world = World(
        crowded(0.5, 6, BUSY), DAY_US, "balanced", family, own_window_seconds, deployments,
        replicas=replicas,
    )  # fmt: skip
    sim, there = simulated(world), lived(world, tmp_path)
    assert not apart(sim, there.decisions) and sim.actions == there.decisions.actions
    assert abs(sim.cost_pico_usd - billed_pico_usd(world, there.replicas)) <= 10


@pytest.mark.parametrize("strategy", ["balanced", "fastest", "cheapest"])
def test_a_restart_in_between_changes_nothing(strategy: Strategy, tmp_path: Path) -> None:
    """What was learned of keep-alive and boots comes back from the ledger, to the last digit."""
    stream = stream_of("bursty", 1.5, seed=1)
    world = World(stream, 2 * DAY_US, strategy, None, 300.0, 2)
    sim = simulated(world)
    before = quiet(stream)
    real = lived(world, tmp_path, restart_before=before).decisions
    assert not apart(sim, real)


def quiet(stream: Stream) -> int:
    """The first request of the second half that comes a minute after all others have ended."""
    middle, until = len(stream.at_us) // 2, 0
    for number, (at, execute) in enumerate(zip(stream.at_us, stream.execute_us, strict=True)):
        if number > middle and at > until + 900_000_000:
            return number
        until = max(until, at + execute)
    raise AssertionError("there is no such request")


@pytest.mark.parametrize("family", ["histogram", "learned"])
def test_a_policy_that_is_told_the_past_is_the_one_that_lived_through_it(
    family: Family, tmp_path: Path
) -> None:
    world = World(crowded(0.9, seed=5), DAY_US, "priority", family, 300.0, 1)
    there = lived(world, tmp_path).policies["d0"]
    ship(tmp_path)
    with contextlib.closing(Reports(database_path(tmp_path))) as reports:
        traffic = reports.traffic(ReportQuery(0, DAY_US), 100_000)
    stakes = stakes_of(world.row("d0"), BOOT_SECONDS, WAIT_VALUE)
    told = maker(family, stakes, table=TABLE)("d0")
    remember(told, traffic, DAY_US)
    for number in range(60):
        begin_us = 2 * DAY_US + number * 500_000_000
        heard = [said(policy, begin_us, begin_us + 499_000_000) for policy in (told, there)]
        assert heard[0] == heard[1] and heard[0]


def said(policy: Policy, begin_us: int, end_us: int) -> list[Any]:
    """What a policy wants in the gap after a request of a second."""
    policy.observe(Arrived(begin_us))
    policy.observe(Idled(begin_us + 1_000_000))
    found: list[Any] = []
    while (due := policy.next_wakeup()) is not None and due < end_us:
        found.append((due, policy.decide(due)))
    return found


def test_a_loop_in_which_nothing_will_happen_says_so() -> None:
    async def hangs(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingWillHappen):
        run(hangs)
