"""The keeping of one deployment through several gateways, in virtual time: each dies or stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.execution.charging import Charging
from gateway.keeping.keeper import Keeper
from gateway.keeping.left_open import book_left_open
from gateway.keeping.starting import policy_of
from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.reading.opened import Opened
from gateway.ledger.reports.kept_warm import KeptWarm
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from gateway.registry import Registry, Target
from gateway.settings import Settings
from providers.contract import CapacityUnavailable, RateLimited
from providers.testing import ScriptedProvider
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from providers.toolkit.http import open_http
from tests.ledger.databases import ship
from tests.ledger.samples import begun, finished, read_journal
from tests.simulation.virtual_time import VirtualLoop

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
RATE_PICO = 10**9  # USD 0.001 a second
OWN_WINDOW_SECONDS = 300.0
TEN_US = 498_707 * HOUR_US  # 2026-11-22T11:00:00Z
OWN_US = round(OWN_WINDOW_SECONDS * 1e6)
IDLE_US = TEN_US + 10 * MINUTE_US
PAID_US = IDLE_US + OWN_US
DIED_US = TEN_US + 150 * MINUTE_US
AGAIN_US = TEN_US + 190 * MINUTE_US


class Held(ScriptedDeployment):
    """Its provider keeps as many as it is told, unless it ``refuses``, or fails and may have."""

    asked: list[int]
    refuses = False
    fails: Exception | None = None

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        self.asked.append(minimum)
        if self.refuses:
            raise CapacityUnavailable
        if self.fails is not None:
            raise self.fails


class Pinged(ScriptedDeployment):
    """It can be asked to boot, unless it ``refuses``."""

    asked: list[int]
    refuses = False

    async def warm(self) -> None:
        self.asked.append(1)
        if self.refuses:
            raise RateLimited


class Provider(ScriptedProvider):
    """Of one such deployment."""

    def __init__(self, kind: type[Held | Pinged]) -> None:
        super().__init__()
        self._kind = kind
        self.deployment: Any = None

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        self.deployment = self._kind(self, model, options)
        self.deployment.asked = []
        return self.deployment  # type: ignore[no-any-return]


@dataclass
class Life:
    """One gateway's keeping of the deployment ``own``."""

    loop: VirtualLoop
    journal: Journal
    charging: Charging
    keeper: Keeper
    target: Target
    deployment: Any

    async def until(self, at_us: int) -> None:
        await asyncio.sleep((at_us - self.loop.now_us) / 1e6)

    async def request(self, seconds: float = 1.0) -> None:
        self.begins()
        await asyncio.sleep(seconds)
        self.keeper.ended(None)

    def begins(self) -> None:
        """An attempt begins, as execution does it: first in the journal."""
        self.write_begin()
        self.keeper.arrived()
        self.keeper.begun()

    def write_begin(self) -> AttemptRow:
        row = begun(
            self.loop.now_us // 1_000_000 % 1_000_000, at_us=self.loop.now_us, deployment="own"
        )
        self.journal.begin(row)
        return row


def settings_of(**keep_warm: Any) -> Settings:
    policy = {"policy": "fixed", "window_seconds": 1e6, "boot_seconds": 30, **keep_warm}
    price = {"usd_per_second": "0.001", "bills": ["execute", "boot", "idle"]}
    own = {
        "provider": "scripted",
        "model": "own",
        "price": price,
        "idle_window_seconds": OWN_WINDOW_SECONDS,
        "keep_warm": policy,
    }
    return Settings.model_validate(
        {"deployments": {"own": own}, "models": {"own": {"deployments": ["own"]}}}
    )


@contextlib.asynccontextmanager
async def life(
    loop: VirtualLoop,
    data_dir: Path,
    *,
    kind: type[Held | Pinged] = Held,
    dies: bool = False,
    last_seen_us: int = 0,
    settings: Settings | None = None,
    rotate_bytes: int = 1 << 20,
    refuses: bool = False,
    ships: bool = True,
) -> AsyncIterator[Life]:
    """A gateway, from its start, at which it takes up what an earlier one left. Without its keeper
    told, nothing of it is left where it ``dies``. ``refuses``: its provider does. ``ships``: there
    is a database, which says what of a budget is spent.
    """
    settings = settings or settings_of()
    provider = Provider(kind)
    registry = Registry(settings, open_http, {"scripted": provider.plugin()})
    registry.build()
    provider.deployment.refuses = refuses
    clock = Clock(loop.time, lambda: loop.now_us)
    journal = Journal.open(journal_dir(data_dir), monotonic=loop.time, rotate_bytes=rotate_bytes)
    opened = Opened()
    recover(journal_dir(data_dir), journal, _interrupted, opened.read)
    charging = Charging(journal, clock, registry.targets.values())
    held = book_left_open(opened, registry.targets, charging, last_seen_us)
    target = registry.targets["own"]
    keep_warm = settings.deployments["own"].keep_warm
    assert keep_warm is not None
    policy = policy_of(target, keep_warm, loop.now_us, random.Random(1))
    keeper = Keeper(target, keep_warm, policy, charging, _spent(data_dir) if ships else 0)
    if "own" in held:
        keeper.takes_over(held["own"].since_us, held["own"].told_us)
    running = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    yield Life(loop, journal, charging, keeper, target, provider.deployment)
    running.cancel()
    await asyncio.wait((running,))
    if dies:
        os.close(journal._fd)  # what the kernel does
    else:
        await keeper.aclose()
        charging.close()
        journal.close()


def _interrupted(row: AttemptRow, now_us: int) -> AttemptRow:
    return replace(row, status="interrupted", completed_at_us=row.begun_at_us)


def _spent(data_dir: Path) -> int:
    return sum(row.cost_pico_usd for row in sums(data_dir).values())


def sums(data_dir: Path, begin_us: int = 0, end_us: int = 1 << 60) -> dict[str, KeptWarm]:
    """What the ledger says of keeping it warm, by what came of it."""
    ship(data_dir)
    with contextlib.closing(Reports(database_path(data_dir))) as reports:
        return {row.rule: row for row in reports.kept_warm(begin_us, end_us)}


def charges(data_dir: Path) -> list[Any]:
    """The keep-warm charges of the journal, in order."""
    found = [line["charge"] for line in read_journal(data_dir) if line["kind"] == "charge"]
    return [charge for charge in found if charge["kind"] == "keep_warm"]


def periods(data_dir: Path) -> list[tuple[int, int]]:
    return [(row["period_start_at_us"], row["period_end_at_us"]) for row in charges(data_dir)]


def cost(period_us: int) -> int:
    return period_us * RATE_PICO // 1_000_000


async def idles(one: Life) -> None:
    """It has worked until ``IDLE_US``."""
    await one.until(IDLE_US - 1_000_000)
    row = one.write_begin()
    one.keeper.arrived()
    one.keeper.begun()
    await one.until(IDLE_US)
    one.journal.end(finished(row))
    one.keeper.ended(None)


async def died(
    loop: VirtualLoop, data_dir: Path, kind: type[Held | Pinged], rotate_bytes: int = 1 << 20
) -> None:
    async with life(loop, data_dir, kind=kind, dies=True, rotate_bytes=rotate_bytes) as one:
        await idles(one)
        await one.until(DIED_US)
