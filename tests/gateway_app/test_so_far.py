"""At every moment an operation's cost so far is the bill that cancelling it then would leave.

On a clock that jumps: the same scripts are played once for each moment, and cancelled there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.execution.candidates import arranged
from gateway.execution.charging import Charging
from gateway.execution.executor import Executor
from gateway.execution.operation import Order
from gateway.execution.run import Run
from gateway.execution.sofar import so_far
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.registry import Registry
from gateway.routing import Routes, Wish
from gateway.settings import Settings
from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    ModelLoading,
    Parameters,
    Phases,
    ProbeState,
    Queued,
    Started,
    UpstreamFailed,
    Usage,
)
from providers.testing import Wait
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions, ScriptedProvider, Step
from providers.toolkit.http import open_http
from tests.simulation.virtual_time import VirtualLoop, run

BEGIN_US = 1_780_000_000_000_000
EVERY_US = 16_371  # no step of a script falls on such a moment
SECONDS = {"usd_per_second": "0.01", "bills": ["execute", "boot"]}
TOKENS = {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "3"}
BOOT = Booting("phase_reported")
# What goes on after the end of an answer shows the last of what is told before the bill.
END = (Delta("and that is all"), Finished(("stop",), Usage(10, 20)), Wait(0.03))
NOT_OF_THE_BILL = {
    *("attempt_id", "operation_id", "status", "error_type", "finish_reason"),
    *("completed_at_us", "gateway_seconds"),
}


@dataclass
class World:
    """Deployments by name, what each says at its calls, and when a caller comes, in seconds."""

    scripts: dict[str, list[tuple[Step, ...]]]
    price: dict[str, Any] = field(default_factory=lambda: dict(SECONDS))
    more: dict[str, Any] = field(default_factory=dict)
    boots: dict[str, float] = field(default_factory=dict)
    hedge: bool = False
    comes_at: tuple[float, ...] = (0.0,)


class Machines(ScriptedProvider):
    """Scripted deployments, of which some can be booted alone."""

    def __init__(self, world: World, look: Callable[[], None]) -> None:
        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds)
            look()

        super().__init__(sleep=sleep)
        self.world = world
        self.states.update(dict.fromkeys(world.boots, "down"))
        for name, scripts in world.scripts.items():
            for steps in scripts:
                self.play(name, *steps)

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        kind = Bootable if model in self.world.boots else Clings if model == "clings" else None
        return (kind or ScriptedDeployment)(self, model, options)


class Bootable(ScriptedDeployment):
    async def probe(self) -> ProbeState:
        return await super().probe()

    async def warm(self) -> None:
        provider = self._provider
        assert isinstance(provider, Machines)
        await asyncio.sleep(provider.world.boots[self._model])
        provider.states[self._model] = "ready"


class Clings(ScriptedDeployment):
    """Its provider takes its time to hang up."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        try:
            yield Accepted("job")
            yield BOOT
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.04)
            raise


WORLDS = {
    "single": World({"a": [(Started("i"), Wait(0.05), *END)]}),
    "by tokens": World({"a": [(Wait(0.02), Delta("abc " * 30), Wait(0.05), *END)]}, TOKENS),
    "stream": World(
        {"a": [(*(step for _ in range(6) for step in (Wait(0.01), Delta("word " * 9))), *END)]},
        {**TOKENS, "usd_per_second": "0.01"},
    ),
    "queue and boot": World(
        {"a": [(Accepted("j"), Queued(), Wait(0.02), BOOT, Wait(0.05), Started("i"), *END)]}
    ),
    "goes on": World(
        {"a": [(BOOT, Wait(0.03), Started("i"), Wait(0.05), *END)]}, more={"cancels": False}
    ),
    "says its seconds at the end": World(
        {
            "a": [
                (
                    *(BOOT, Wait(0.03), Started("i"), Wait(0.05), Delta("x")),
                    Finished(("stop",), phases=Phases(execute_seconds=0.04, wait_seconds=0.02)),
                    Wait(0.03),
                )
            ]
        },
        more={"reports_seconds": True},
    ),
    "retry after a failure": World(
        {
            "a": [
                (
                    Started("i"),
                    Wait(0.04),
                    UpstreamFailed(retry_after_seconds=0.03, usage=Usage(5, 7)),
                ),
                (Started("i"), Wait(0.04), *END),
            ]
        }
    ),
    "loads": World(
        {
            "a": [
                (Wait(0.02), ModelLoading(retry_after_seconds=0.05)),
                (Wait(0.02), ModelLoading(retry_after_seconds=0.05)),
                (Wait(0.02), Delta("up"), Wait(0.03), *END),
            ]
        }
    ),
    "race": World(
        {
            "a": [(BOOT, Wait(0.2), Started("i"), *END)],
            "b": [(Started("k", "scale_state"), Wait(0.04), Delta("x"), Wait(0.08), *END)],
        },
        hedge=True,
    ),
    "race against one that clings": World(
        {
            "clings": [()],
            "b": [(Started("k", "scale_state"), Wait(0.04), Delta("x"), Wait(0.08), *END)],
        },
        hedge=True,
    ),
    "dual boot": World(
        {"a": [(Started(), Wait(0.05), *END)], "b": [(Started(), Wait(0.05), *END)]},
        more={"idle_window_seconds": 60},  # known, so one that was never asked is cold
        boots={"a": 0.06, "b": 0.2},
    ),
    "one machine for all": World(
        {"a": [(BOOT, Wait(0.06), Started("i"), Delta("x"), Wait(0.04), *END)]},
        {**SECONDS, "shared": True},
        {"limits": {"max_concurrency_cold": None}},
        comes_at=(0.0, 0.02, 0.03),
    ),
    "one instance, booted once": World(
        {"a": [(BOOT, Wait(0.06), Started("i-1"), Delta("x"), Wait(0.04), *END)]},
        more={"limits": {"max_concurrency_cold": None}},
        comes_at=(0.0, 0.02),
    ),
    "held until it is up": World(
        {
            "a": [
                (BOOT, Wait(0.06), Started("i-1"), Wait(0.02), *END),
                (Wait(0.03), *END),
            ]
        },
        more={"idle_window_seconds": 60},
        comes_at=(0.0, 0.02),
    ),
    "strange figures": World(
        {
            "a": [
                (
                    *(BOOT, Wait(0.05), Started("i"), Delta("x")),
                    Finished(("stop",), phases=Phases(execute_seconds=float("nan"))),
                    Wait(0.05),
                )
            ]
        },
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_so_far_is_the_bill_of_cancelling_now(name: str, tmp_path: Path) -> None:
    world = WORLDS[name]
    folders = (tmp_path / f"{number}" for number in range(10_000))
    undisturbed = Play(world, next(folders))
    looked = Play(world, next(folders), looks=True)
    for one, other in zip(undisturbed.runs, looked.runs, strict=True):
        assert bills(one.rows) == bills(other.rows)  # looking changes nothing
    for nth, (caller, told) in enumerate(zip(looked.runs, looked.told, strict=True)):
        assert len(told) > 3
        for at_us, so_far_then in told.items():
            cancelled = Play(world, next(folders), cancel=(nth, at_us))
            left = bills(cancelled.runs[nth].rows)
            assert at_once(so_far_then) == at_once(left), f"caller {nth}, {at_us} µs"
        assert told[max(told)] != told[min(told)]
        if caller.status == "succeeded":
            assert looked.at_the_end[nth] == bills(caller.rows)


class Play:
    """A world from its begin to its end.

    ``told``: of each caller, the bills so far by the moment, in microseconds.
    """

    def __init__(
        self,
        world: World,
        folder: Path,
        *,
        looks: bool = False,
        cancel: tuple[int, int] | None = None,
    ) -> None:
        self.runs: list[Run] = []
        self.told: list[dict[int, list[Any]]] = [{} for _ in world.comes_at]
        self.at_the_end: dict[int, list[Any]] = {}
        self._world, self._folder, self._looks, self._cancel = world, folder, looks, cancel
        run(self._live, BEGIN_US)

    async def _live(self, loop: VirtualLoop) -> None:
        with wired(self._world, self._folder, loop, self._look_once_more) as send:
            looking = asyncio.create_task(self._watch(loop))
            for at in self._world.comes_at:
                await asyncio.sleep(at - (loop.now_us - BEGIN_US) / 1e6)
                self.runs.append(send())
            await looking
            for one in self.runs:
                await one.wait()
            await asyncio.sleep(1.0)  # what was left behind ends too
        assert all(row.status != "running" for one in self.runs for row in one.rows)

    async def _watch(self, loop: VirtualLoop) -> None:
        while len(self.runs) < len(self._world.comes_at) or any(map(lives, self.runs)):
            await asyncio.sleep(EVERY_US / 1e6)
            at_us = loop.now_us - BEGIN_US
            for nth, one in enumerate(self.runs):
                if lives(one) and one.rows and self._looks:
                    self.told[nth][at_us] = bills(so_far(one))
                if self._cancel == (nth, at_us):
                    one.cancel("on request")

    def _look_once_more(self) -> None:
        """A step of a script is over: what is told now, and of the last of them the bill."""
        for nth, one in enumerate(self.runs):
            if lives(one) and self._looks:
                self.at_the_end[nth] = bills(so_far(one))


def lives(one: Run) -> bool:
    return one.status == "running"


def bills(rows: Sequence[AttemptRow]) -> list[Any]:
    """Counts, seconds, verdict and cost of an operation's attempts."""
    return [
        {name: value for name, value in asdict(row).items() if name not in NOT_OF_THE_BILL}
        for row in rows
    ]


def at_once(rows: list[Any]) -> list[Any]:
    """Those of deployments that hang up in no time: the others' bills grow until they have."""
    return [row for row in rows if row["deployment"] != "clings"]


@contextlib.contextmanager
def wired(
    world: World, folder: Path, loop: VirtualLoop, look: Callable[[], None]
) -> Iterator[Callable[[], Run]]:
    """A gateway's executor and what stands below it."""
    deployments = {
        name: {"provider": "scripted", "model": name, "price": world.price, **world.more}
        for name in world.scripts
    }
    tree = {
        "retries": {"attempts_per_deployment": 2},
        "deployments": deployments,
        "models": {"m": {"deployments": list(deployments), "hedge": "when_cold"}},
    }
    settings = Settings.model_validate(tree)
    registry = Registry(settings, open_http, {"scripted": Machines(world, look).plugin()})
    registry.build()
    routes = Routes(
        {"m": list(deployments)}, registry.targets.values(), {"m": settings.models["m"].rules}
    )
    clock = Clock(loop.time, lambda: loop.now_us)
    with contextlib.closing(Journal.open(folder, monotonic=loop.time)) as journal:
        charging = Charging(journal, clock, registry.targets.values())
        executor = Executor(journal, clock, settings.retries, charging)

        def send() -> Run:
            plan, strategy = routes.resolve("m")
            plan = arranged(plan, strategy, Wish(), clock, input_bytes=40, max_output_tokens=99)
            request = GenerateRequest("x" * 40, Parameters(max_output_tokens=99), stream=True)
            order = Order(plan, request, "generate", True, 40, hedge=world.hedge)
            return executor.start(order)

        yield send
