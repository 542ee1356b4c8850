"""What is heard later of spent money: every account takes each change once, whenever it opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.shipping.spend_changes import SpendChange
from gateway.limits.book import Balance, MemoryBook
from gateway.limits.budgets import Budget
from gateway.limits.revising import Revising
from gateway.limits.windows import Window
from gateway.settings import BudgetSettings

EVER = Window(0, None)


class World:
    """A ledger that tells its changes two at a time, and three accounts."""

    def __init__(self) -> None:
        self.book = MemoryBook(lambda: 0.0)
        self.told: list[SpendChange] = []
        self.failures = 0
        self.asked: list[int] = []
        self.revising = Revising(self.book, self.read)

    async def read(self, number: int) -> Sequence[SpendChange]:
        self.asked.append(number)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("locked")
        return [change for change in self.told if change.number > number][:2]

    def open(self, name: str, window: Window = EVER, as_of: int = 0, **about: object) -> None:
        given = BudgetSettings.model_validate(
            {"name": name, "limit_usd": "1", "per": "total", **about}
        )
        self.book.open(name, 100, 1)
        self.revising.watch(name, Budget(given), window, as_of)

    def change(self, pico_usd: int, at_us: int = 5, **of: object) -> None:
        given: dict[str, object] = {"key_id": None, "tags": {}, "unknown_attempts": 0, **of}
        self.told.append(SpendChange(len(self.told) + 1, at_us, pico_usd=pico_usd, **given))  # type: ignore[arg-type]

    async def heard(self) -> None:
        """The shipper says so, and all of it is carried in."""
        self.revising.heard(len(self.told))
        if self.revising._task is not None:
            await asyncio.wait((self.revising._task,))

    async def spent(self, name: str) -> int:
        balance = await self.book.balance(name)
        assert balance is not None
        return balance.spent_pico_usd


async def test_each_change_is_taken_once_by_the_accounts_that_it_is_about() -> None:
    world = World()
    world.open("all")
    world.open("key", key="a")
    world.open("tag", tag={"team": "search"})
    world.open("hour", Window(10, 20))
    world.change(-60)
    world.change(+7, key_id="a", tags={"team": "search"})
    world.change(+1, at_us=10, tags={"team": "other"})
    await world.heard()
    await world.heard()
    assert [await world.spent(name) for name in ("all", "key", "tag", "hour")] == [
        48,
        107,
        107,
        101,
    ]
    assert world.asked == [0, 2]


async def test_what_an_accounts_first_sum_held_is_not_taken_again() -> None:
    world = World()
    world.open("early")
    for _ in range(3):
        world.change(-10, unknown_attempts=-1)
    world.open("between", as_of=2)
    await world.heard()
    world.open("late", as_of=3)
    world.change(-10)
    await world.heard()
    spent = [await world.spent(name) for name in ("early", "between", "late")]
    assert spent == [60, 80, 90]
    assert await world.book.balance("between") == Balance(80, 0, 0)


async def test_an_account_that_opens_while_it_is_read_misses_nothing() -> None:
    world = World()
    world.open("early", as_of=1)
    for _ in range(3):
        world.change(-10)
    world.revising.heard(3)
    await asyncio.sleep(0)  # it reads
    world.open("meanwhile", as_of=0)
    await world.heard()
    assert [await world.spent(name) for name in ("early", "meanwhile")] == [80, 70]


async def test_a_ledger_that_cannot_be_read_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.limits.revising._FIRST_PAUSE_SECONDS", 0.0)
    world = World()
    world.open("all")
    world.change(-60)
    world.failures = 2
    await world.heard()
    assert await world.spent("all") == 40 and world.asked == [0, 0, 0]


async def test_without_an_account_nothing_is_read_and_nothing_after_the_end() -> None:
    world = World()
    world.open("all")
    world.revising.forget("all")
    world.change(-60)
    await world.heard()
    world.open("again", as_of=0)
    await world.revising.aclose()
    world.change(-60)
    await world.heard()
    assert world.asked in ([], [0]) and await world.spent("again") == 100
