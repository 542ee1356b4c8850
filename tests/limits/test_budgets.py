"""Windows that pass, spending that is read back, slices: with a clock of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gateway.accounting.prices import PriceRow
from gateway.clock import Clock
from gateway.errors import BudgetExceeded, BudgetRanOut, BudgetUnknown
from gateway.ledger.reading.spend import SpendQuery, Spent
from gateway.ledger.shipping.spend_changes import SpendChange
from gateway.limits.book import MemoryBook
from gateway.limits.budgets import Budgets
from gateway.limits.hold import Hold, Progress
from gateway.settings import BudgetSettings
from tests.ledger.samples import NOON_US, PICO, begun

HOUR_US = 3_600_000_000
CENT = PriceRow.model_validate(
    {
        "name": "p",
        "effective_from": date(2026, 1, 1),
        "source": "a test",
        "checked_on": date(2026, 1, 1),
        "usd_per_million_output_tokens": "10000",
    }
)


class World:
    """Budgets, the time, and a ledger that says what it is told to."""

    def __init__(self, *budgets: dict[str, Any], wait_seconds: float = 1.0) -> None:
        self.now_us = NOON_US
        self.asked: list[SpendQuery] = []
        self.ledger: asyncio.Future[Spent] = asyncio.get_running_loop().create_future()
        clock = Clock(lambda: self.now_us / 1e6, lambda: self.now_us)
        settings = [BudgetSettings.model_validate(given) for given in budgets]
        self.book = MemoryBook(clock.monotonic)
        self.changes: list[SpendChange] = []
        self.budgets = Budgets(
            settings, self.book, clock, self.read, self.read_changes, wait_seconds=wait_seconds
        )
        self.number = 0

    async def read(self, queries: Sequence[SpendQuery]) -> Sequence[Spent]:
        self.asked += queries
        return [await asyncio.shield(self.ledger) for _ in queries]

    async def read_changes(self, number: int) -> Sequence[SpendChange]:
        await asyncio.sleep(0)
        return [change for change in self.changes if change.number > number][:2]

    async def begin(self, tokens: int | None = 10) -> Hold:
        self.number += 1
        row = begun(self.number, reserved_pico_usd=None, max_output_tokens=tokens)
        row.operation_at_us = self.now_us
        covering = await self.budgets.over(None, {}, row.operation_at_us)
        return await self.budgets.reserve(row, CENT, covering, input_bytes=0, total_seconds=900)

    async def line(self) -> dict[str, Any]:
        (found,) = await self.budgets.report()
        return found

    async def figures(self) -> tuple[Any, Any]:
        line = await self.line()
        return line["spent_usd"], line["reserved_usd"]


def end(hold: Hold, usd: str) -> None:
    hold._row.cost_status, hold._row.status = "measured", "succeeded"
    hold._row.cost_pico_usd = int(float(usd) * PICO)
    hold.settle()


HOURLY = {"name": "b", "limit_usd": "0.25", "per": "hour"}


async def test_what_was_spent_before_counts_and_the_next_hour_is_new() -> None:
    world = World(HOURLY)
    world.now_us += HOUR_US // 2  # it has started in the middle of the hour
    world.budgets._started_at_us = world.now_us
    world.ledger.set_result(Spent(PICO // 10, 2))
    hold = await world.begin()  # 0.10 are spent, 0.10 set aside
    assert world.asked == [SpendQuery(NOON_US, NOON_US + HOUR_US)]
    assert (await world.line())["unknown_attempts"] == 2
    for tokens, wait_seconds in ((10, 1), (16, 1800)):  # what runs may end, or the hour must
        with pytest.raises(BudgetExceeded) as refused:
            await world.begin(tokens)
        assert refused.value.retry_after_seconds == wait_seconds
    world.now_us += HOUR_US
    other = await world.begin()  # another hour: nothing is read back for it
    assert len(world.asked) == 1 and await world.figures() == ("0", "0.1")
    end(hold, "0.05")  # it counts where it began
    assert await world.figures() == ("0", "0.1")
    end(other, "0.02")
    assert await world.figures() == ("0.02", "0")


async def test_an_hour_that_is_over_is_forgotten_once_nothing_runs_in_it() -> None:
    world = World(HOURLY)
    world.ledger.set_result(Spent(0, 0))
    hold = await world.begin()
    account = f"b@{NOON_US}"
    world.now_us += 3 * HOUR_US
    world.budgets.expire()
    assert world.book.is_open(account)
    end(hold, "0.05")
    world.budgets.expire()
    assert not world.book.is_open(account)


async def test_until_the_ledger_has_spoken_nothing_begins() -> None:
    world = World({**HOURLY, "per": "total"}, wait_seconds=0.02)
    with pytest.raises(BudgetUnknown):
        await world.begin()
    assert await world.figures() == (None, None)
    waiting = asyncio.create_task(world.begin())
    await asyncio.sleep(0)
    world.ledger.set_result(Spent(PICO // 5, 0))
    with pytest.raises(BudgetExceeded):  # it waited, and then had too little
        await waiting
    assert len(world.asked) == 1
    await world.budgets.aclose()


async def test_slices_are_asked_for_in_time_and_the_last_one_is_used_up() -> None:
    world = World({**HOURLY, "slice_usd": "0.10"})
    world.ledger.set_result(Spent(0, 0))
    hold = await world.begin(None)
    seen = Progress(0, 0, 0)
    kept: list[int] = []
    hold.watch(lambda: (seen, 4.0), lambda failure: None, kept.append)
    looks: list[tuple[int, int]] = []
    with pytest.raises(BudgetRanOut):
        for text_bytes in range(1000):
            seen = replace(seen, text_bytes=text_bytes)
            if hold.wants(text_bytes, 0):
                await hold.renew()
                looks.append((text_bytes, hold.pico_usd))
                # ahead of what may have been spent by now, at three bytes a token
                assert hold.pico_usd >= -(-text_bytes // 3) * PICO // 100
    held = PICO // 4 - PICO // 100 * 2  # 5 tokens, then 10 more each time: 0.05 are left at 0.23
    assert kept and kept[-1] == hold.pico_usd and held <= hold.pico_usd <= PICO // 4
    assert len(looks) < 10  # not at every byte
    assert 60 <= text_bytes <= 75
    hold._row.status = "failed"
    hold.settle()
    assert (await world.figures())[1] == "0"


async def test_three_budgets_at_once_by_the_smallest_slice() -> None:
    world = World(
        {**HOURLY, "slice_usd": "0.10"},
        {"name": "c", "limit_usd": "9", "per": "month", "slice_usd": "0.02"},
        {"name": "d", "limit_usd": "9", "per": "day", "key": None},
    )
    world.ledger.set_result(Spent(0, 0))
    hold = await world.begin(None)
    assert hold.pico_usd == PICO // 50
    assert [line["reserved_usd"] for line in await world.budgets.report()] == ["0.02"] * 3
