"""The live gateway without its doors, in virtual time, over machines that scale to zero.

Registry, routing, warmth, ``Executor`` and ``Run``, keepers, charging, the journal and what a start
recalls from the ledger are the gateway's own; the provider is ``tests.emulators.replica`` behind
the contract. ``live`` sends a stream of requests through it and says what was decided and booked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.execution.candidates import arranged
from gateway.execution.charging import Charging
from gateway.execution.executor import Executor
from gateway.execution.operation import Order
from gateway.execution.run import Run
from gateway.execution.warm_start import recall
from gateway.keeping.keeper import Keeper
from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.reports.reports import Reports
from gateway.ledger.writing.journal import Journal
from gateway.registry import Registry
from gateway.routing import Routes, Wish
from gateway.settings import Settings
from gateway.warmth.policies.base import Action, Fact, Idled, Policy
from providers.contract import (
    Booting,
    Capabilities,
    Delta,
    DeploymentOptions,
    Event,
    Finished,
    GenerateRequest,
    ProbeState,
    ProviderPlugin,
    ProviderSettings,
    Queued,
    Started,
)
from providers.toolkit.http import open_http
from tests.emulators.fleet import Fleet
from tests.emulators.replica import Replica
from tests.emulators.replicas import Options
from tests.ledger.databases import ship
from tests.simulation.virtual_time import VirtualLoop

Arrival = tuple[int, int]
"""When it comes and how long its work takes, in microseconds."""


@dataclass(frozen=True)
class Decision:
    """What became of one request: where it was sent, and what it found there."""

    at_us: int
    deployment: str
    verdict: str
    caused_boot: bool
    wait_us: int


@dataclass
class Decisions:
    """All of them, what the policies said and when, and what it cost in pico-USD."""

    requests: list[Decision] = field(default_factory=list)
    actions: dict[str, list[tuple[int, Action]]] = field(default_factory=dict)
    cost_pico_usd: int = 0
    lines: int = 0


class Recorded:
    """A policy, all that it has said, and when the present gap began."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.said: list[tuple[int, Action]] = []
        self.idle_us: int | None = None

    def observe(self, fact: Fact) -> None:
        self.idle_us = fact.at_us if isinstance(fact, Idled) else None
        self._policy.observe(fact)

    def decide(self, now_us: int) -> Sequence[Action]:
        actions = self._policy.decide(now_us)
        self.said += [(now_us, action) for action in actions]
        return actions

    def next_wakeup(self) -> int | None:
        return self._policy.next_wakeup()


class Machine:
    """A deployment; the prompt says how long its work takes."""

    capabilities = Capabilities()

    def __init__(self, replica: Replica | Fleet, loop: VirtualLoop) -> None:
        self.replica = replica
        self._loop = loop

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        self.replica.scale(minimum, self._loop.now_us)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        now_us = self._loop.now_us
        assert isinstance(request.input, str)
        execute_us = int(request.input)
        begin = self.replica.arrive(now_us, execute_us)
        if begin.boots:
            yield Booting("phase_reported", caused_boot=begin.causes)
        elif begin.start_us > now_us:
            yield Queued()
        await asyncio.sleep((begin.start_us - now_us) / 1e6)
        yield Started(evidence=None if begin.boots else "phase_reported")
        await asyncio.sleep(execute_us / 1e6)
        self.replica.end(self._loop.now_us)
        yield Delta("done")
        yield Finished(("stop",))


class Bootable(Machine):
    """One that can be booted without work. ``calls_off``: such a boot ends with its caller."""

    def __init__(self, replica: Replica, loop: VirtualLoop, calls_off: bool) -> None:
        super().__init__(replica, loop)
        self._bootable = replica
        self._calls_off = calls_off
        self.capabilities = Capabilities(ends_boots=calls_off)

    async def probe(self) -> ProbeState:
        return self._bootable.state(self._loop.now_us)

    async def warm(self) -> None:
        ready_us, causes = self._bootable.warm(self._loop.now_us)
        try:
            await asyncio.sleep((ready_us - self._loop.now_us) / 1e6)
        except asyncio.CancelledError:
            if causes and self._calls_off:
                self._bootable.call_off(self._loop.now_us)
            raise


class Machines:
    """A provider of machines, by the names of their models."""

    def __init__(self, given: Given, loop: VirtualLoop) -> None:
        self._given = given
        self._loop = loop

    def bind(self, model: str, options: DeploymentOptions) -> Machine:
        replica = self._given.replicas[model]
        assert isinstance(options, Options)
        if isinstance(replica, Replica) and options.bootable:
            return Bootable(replica, self._loop, self._given.calls_off)
        return Machine(replica, self._loop)

    async def aclose(self) -> None:
        pass

    def plugin(self) -> ProviderPlugin:
        return ProviderPlugin(
            name="machines",
            settings=ProviderSettings,
            options=Options,
            build=lambda settings, host: self,
            summary="machines that scale to zero, for tests",
            status="emulator only",
        )


@dataclass(frozen=True)
class Given:
    """A world: the configuration, the machines by name, and the policies of those that have one."""

    tree: dict[str, Any]
    replicas: dict[str, Replica | Fleet]
    policies: Callable[[Registry, Settings], dict[str, Policy]]
    data_dir: Path
    end_at_us: int
    seed: int
    calls_off: bool = True


async def live(
    loop: VirtualLoop, given: Given, lives: Sequence[Sequence[Arrival]]
) -> tuple[Decisions, dict[str, Policy]]:
    """Send a stream of requests to the model ``m``, until ``end_at_us``; a new gateway each life.

    The later ones begin with what the ledger tells of the earlier.
    """
    found, policies = Decisions(), dict[str, Policy]()
    draw = random.Random(given.seed).random
    for number, arrivals in enumerate(lives):
        async with _opened(loop, given, found, draw) as (send, kept):
            if number:
                await _recall(loop, given, kept)
            for at_us, execute_us in arrivals:
                await asyncio.sleep((at_us - loop.now_us) / 1e6)
                send(execute_us)
            if number == len(lives) - 1:
                await asyncio.sleep((given.end_at_us - loop.now_us) / 1e6)
            policies = kept.policies
    booked = [cost for line in lines_of(given.data_dir) if (cost := cost_of(line))]
    found.cost_pico_usd, found.lines = sum(booked), len(booked)
    return found, policies


@dataclass
class _Kept:
    registry: Registry
    clock: Clock
    policies: dict[str, Policy]


@contextlib.asynccontextmanager
async def _opened(
    loop: VirtualLoop, given: Given, found: Decisions, draw: Callable[[], float]
) -> AsyncIterator[tuple[Callable[[int], None], _Kept]]:
    """A gateway, as ``gateway.app`` wires one. At its end all that runs has ended."""
    settings = Settings.model_validate(given.tree)
    registry = Registry(settings, open_http, {"machines": Machines(given, loop).plugin()})
    registry.build()
    models = {name: model.deployments for name, model in settings.models.items()}
    rules = {name: model.rules for name, model in settings.models.items()}
    routes = Routes(models, registry.targets.values(), rules)
    clock = Clock(loop.time, lambda: loop.now_us)
    runs: list[Run] = []
    executes: list[int] = []
    with contextlib.closing(
        Journal.open(journal_dir(given.data_dir), monotonic=loop.time)
    ) as journal:
        charging = Charging(journal, clock, registry.targets.values())
        executor = Executor(journal, clock, settings.retries, charging)
        policies = given.policies(registry, settings)
        keepers, keeping = [], []
        for name, policy in policies.items():
            target, recorded = registry.targets[name], Recorded(policy)
            keep_warm = settings.deployments[name].keep_warm
            assert keep_warm is not None
            target.keeper = keeper = Keeper(target, keep_warm, recorded, charging)
            found.actions[name] = recorded.said
            keepers.append(keeper)
            keeping.append(asyncio.create_task(keeper.run()))

        def send(execute_us: int) -> None:
            charging.tick()
            plan, strategy = routes.resolve("m")
            plan = arranged(
                plan, strategy, Wish(), clock, input_bytes=0, max_output_tokens=None, draw=draw
            )
            request = GenerateRequest(f"{execute_us}")
            runs.append(executor.start(Order(plan, request, "generate", False, 0)))
            executes.append(execute_us)

        yield send, _Kept(registry, clock, policies)
        for run, execute_us in zip(runs, executes, strict=True):
            await run.wait()
            assert run.status == "succeeded", run.failure
            (row,) = (row for row in run.rows if row.status == "succeeded")
            assert row.completed_at_us is not None
            waited_us = row.completed_at_us - row.operation_at_us - execute_us
            decision = (row.operation_at_us, row.deployment, row.verdict, bool(row.caused_boot))
            found.requests.append(Decision(*decision, waited_us))
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        for keeper in keepers:
            await keeper.aclose()
        charging.tick()
        await registry.aclose()


async def _recall(loop: VirtualLoop, given: Given, kept: _Kept) -> None:
    """Read the ledger as a gateway does after its start."""
    ship(given.data_dir)

    async def caught_up() -> bool:
        return True

    with contextlib.closing(Reports(database_path(given.data_dir))) as reports:
        await recall(kept.registry.targets, kept.clock, caught_up, lambda: reports)


def lines_of(data_dir: Path) -> list[Any]:
    """The journal, in order."""
    files = sorted(journal_dir(data_dir).glob("*.ndjson"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def cost_of(line: Any) -> int:
    """What a line of the journal books, in pico-USD; an unknown cost fails."""
    if line["kind"] not in ("end", "charge"):
        return 0
    cost = line["attempt" if line["kind"] == "end" else "charge"]["cost_pico_usd"]
    assert cost is not None, line
    return int(cost)
