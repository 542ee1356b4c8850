"""Budgets: which ones an attempt falls under, and money set aside in each of them before it runs.

``Book`` has the sums; here are names, windows and what to say when there is no room. What was
spent before this process is read back from the ledger once for each window that began earlier;
until it is known, attempts under that budget wait for it, and are refused when that takes long.
What is heard later of money that was spent, ``Revising`` carries into the accounts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from gateway.accounting.prices import PriceRow
from gateway.clock import Clock, rfc3339
from gateway.errors import BudgetExceeded, BudgetRanOut, BudgetUnknown, PriceUnknown
from gateway.ledger.reading.spend import SpendQuery, Spent
from gateway.ledger.reports.views import usd
from gateway.ledger.rows import AttemptRow
from gateway.limits.book import Balance, Book, Claim
from gateway.limits.exposure import Rates, exposure_of
from gateway.limits.hold import Hold
from gateway.limits.revising import ReadChanges, Revising
from gateway.limits.windows import Window, window_at
from gateway.settings import BudgetSettings

logger = logging.getLogger(__name__)

# Beyond the longest life of an attempt: only a holder that is gone lets a lease grow so old.
_LEASE_SLACK_SECONDS = 120.0
_KEEP_CLOSED_US = 3_600_000_000
_PICO = Decimal(10) ** 12
_CALL = "call "  # no budget's name has a space


ReadSpent = Callable[[Sequence[SpendQuery]], Awaitable[Sequence[Spent]]]
"""Reads back from the ledger, however long it takes to be sure."""


class Budget:
    """One budget and the window that it is in."""

    def __init__(self, settings: BudgetSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.limit_pico_usd = int(settings.limit_usd * _PICO)
        self.slice_pico_usd = (
            None if settings.slice_usd is None else int(settings.slice_usd * _PICO)
        )
        self._window = Window(0, 0)

    def window(self, at_us: int) -> Window:
        """The window that an instant lies in."""
        if not self._window.holds(at_us):
            self._window = window_at(at_us, self.settings.per, self.settings.time_zone)
        return self._window

    def account(self, window: Window) -> str:
        """The name of its account in a window."""
        return f"{self.name}@{window.start_at_us}"

    def covers(self, key_id: str | None, tags: Mapping[str, str]) -> bool:
        """Whether it is about such an operation."""
        settings = self.settings
        if settings.key is not None:
            return settings.key == key_id
        return all(tags.get(name) == value for name, value in (settings.tag or {}).items())


@dataclass(frozen=True, slots=True)
class Covering:
    """A budget that an operation is under, in the window of that operation."""

    budget: Budget
    window: Window
    account: str


class Budgets:
    """All budgets. ``wait_seconds``: the longest wait for what one has spent already."""

    def __init__(
        self,
        settings: Iterable[BudgetSettings],
        book: Book,
        clock: Clock,
        read_spent: ReadSpent,
        read_changes: ReadChanges,
        *,
        wait_seconds: float,
    ) -> None:
        self._book = book
        self._clock = clock
        self._read_spent = read_spent
        self._wait_seconds = wait_seconds
        self._revising = Revising(book, read_changes)
        self._started_at_us = clock.wall_us()
        self._configured = [Budget(given) for given in settings]
        self._of_keys: dict[str, list[Budget]] = {}
        self._rates: dict[str, Rates] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._windows: dict[str, Window] = {}

    @property
    def all(self) -> list[Budget]:
        """Those of the configuration, then those of keys."""
        return [*self._configured, *(b for found in self._of_keys.values() for b in found)]

    def set_key_budgets(self, settings: Iterable[BudgetSettings]) -> None:
        """Replace the budgets that came with keys; those that did not change go on."""
        known = {budget.settings: budget for found in self._of_keys.values() for budget in found}
        fresh: dict[str, list[Budget]] = {}
        for given in settings:
            assert given.key is not None
            fresh.setdefault(given.key, []).append(known.get(given) or Budget(given))
        self._of_keys = fresh
        self.open_now()

    def heard_later(self, number: int) -> None:
        """The ledger holds later words on what was spent, up to this number."""
        self._revising.heard(number)

    def open_now(self) -> None:
        """Begin to read back what the present windows have spent."""
        now_us = self._clock.wall_us()
        for budget in self.all:
            self._open(budget, budget.window(now_us))

    async def over(
        self, key_id: str | None, tags: Mapping[str, str], at_us: int
    ) -> Sequence[Covering]:
        """The budgets that an operation of this instant is under, once each knows its spending.

        Raises BudgetUnknown: one does not, even after the wait.
        """
        budgets = [budget for budget in self._configured if budget.covers(key_id, tags)]
        if self._of_keys and key_id is not None:
            budgets += self._of_keys.get(key_id, ())
        found = []
        for budget in budgets:
            window = budget.window(at_us)
            account = budget.account(window)
            if not self._book.is_open(account):
                await self._opened(budget, window)
            found.append(Covering(budget, window, account))
        return found

    def ceiling(self, operation_id: str, at_us: int, limit_pico_usd: int) -> Covering:
        """A limit that one request sets itself, over all of its attempts; ``lift`` ends it."""
        given = BudgetSettings.model_construct(
            name="max_cost_usd", limit_usd=Decimal(limit_pico_usd) / _PICO, per="total"
        )
        account = f"{_CALL}{operation_id}"
        self._book.open(account, 0, 0)
        return Covering(Budget(given), Window(at_us, None), account)

    def lift(self, operation_id: str) -> None:
        """The request has ended: its own limit is no account any more."""
        self._book.close(f"{_CALL}{operation_id}")

    async def reserve(
        self,
        row: AttemptRow,
        tariff_row: PriceRow | None,
        covering: Sequence[Covering],
        *,
        input_bytes: int,
        total_seconds: float,
    ) -> Hold:
        """Set money aside, in all these budgets, for an attempt that is about to begin.

        Raises BudgetExceeded and PriceUnknown: then nothing is set aside.
        """
        claims = []
        for one in covering:
            if tariff_row is None and not one.budget.settings.allow_unpriced:
                raise PriceUnknown(
                    f"The deployment {row.deployment} has no known price, and the budget "
                    f"{one.budget.name} takes none without; the operator can set a price."
                )
            claims.append(Claim(one.account, one.budget.limit_pico_usd))
        slices = [
            one.budget.slice_pico_usd for one in covering if one.budget.slice_pico_usd is not None
        ]
        exposure = exposure_of(
            self._rates_of(tariff_row),
            input_bytes=input_bytes,
            max_output_tokens=row.max_output_tokens,
            total_seconds=total_seconds,
            slice_pico_usd=min(slices, default=None),
        )
        wanted = exposure.wanted(0, 0, 0)
        by_account = {one.account: one for one in covering}
        short = await self._book.reserve(
            row.attempt_id, claims, wanted, total_seconds + _LEASE_SLACK_SECONDS
        )
        if short is not None:
            raise await self._refusal(by_account[short], wanted)
        if row.reserved_pico_usd is None and tariff_row is not None:
            row.reserved_pico_usd = wanted
        return Hold(
            self._book,
            row,
            exposure,
            wanted,
            lambda account: self._ran_out(by_account[account]),
        )

    def expire(self) -> None:
        """Book what lost holders had set aside, and forget windows that are over."""
        for lease in self._book.expire():
            logger.error("budgets: nobody has ended %s; what it held counts as spent", lease)
        past_us = self._clock.wall_us() - _KEEP_CLOSED_US
        for account, window in list(self._windows.items()):
            if window.end_at_us is not None and window.end_at_us < past_us:
                self._book.close(account)
                if not self._book.is_open(account):
                    del self._windows[account]
                    self._revising.forget(account)

    async def report(self) -> list[dict[str, Any]]:
        """What each budget is at now, ready for JSON."""
        now_us = self._clock.wall_us()
        found = []
        for budget in self.all:
            window = budget.window(now_us)
            self._open(budget, window)
            balance = await self._book.balance(budget.account(window))
            found.append(budget_json(budget, window, balance))
        return found

    async def aclose(self) -> None:
        """Stop reading back."""
        await self._revising.aclose()
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _rates_of(self, tariff_row: PriceRow | None) -> Rates:
        if tariff_row is None:
            return _NO_RATES
        rates = self._rates.get(tariff_row.id)
        if rates is None:
            rates = self._rates[tariff_row.id] = Rates.of(tariff_row)
        return rates

    def _open(self, budget: Budget, window: Window) -> None:
        """Open an account: at 0 where its window began in our time, else by the ledger."""
        account = budget.account(window)
        if self._book.is_open(account) or account in self._opening:
            return
        self._windows[account] = window
        if window.start_at_us >= self._started_at_us:
            self._book.open(account, 0, 0)
            self._revising.watch(account, budget, window, None)
            return
        task = asyncio.get_running_loop().create_task(self._read_back(budget, window, account))
        self._opening[account] = task
        task.add_done_callback(lambda _: self._opening.pop(account, None))

    async def _read_back(self, budget: Budget, window: Window, account: str) -> None:
        given = budget.settings
        query = SpendQuery(window.start_at_us, window.end_at_us, given.key, given.tag)
        (spent,) = await self._read_spent([query])
        self._book.open(account, spent.pico_usd, spent.unknown_attempts)
        self._revising.watch(account, budget, window, spent.as_of)

    async def _opened(self, budget: Budget, window: Window) -> None:
        self._open(budget, window)
        account = budget.account(window)
        task = self._opening.get(account)
        if task is not None:
            await asyncio.wait((task,), timeout=self._wait_seconds)
        if not self._book.is_open(account):
            raise BudgetUnknown(
                f"It is not known yet what the budget {budget.name} has spent; try again.",
                retry_after_seconds=1.0,
            )

    async def _refusal(self, over: Covering, wanted: int) -> BudgetExceeded:
        budget = over.budget
        balance = await self._book.balance(over.account)
        if balance is not None and balance.spent_pico_usd + wanted <= budget.limit_pico_usd:
            return BudgetExceeded(
                f"The budget {budget.name} has no room for this request beside those that run; "
                f"try again when they have ended. {_renews(over)}",
                retry_after_seconds=1.0,
            )
        return BudgetExceeded(
            f"The budget {budget.name} has too little left for this request. {_renews(over)}",
            retry_after_seconds=self._until_end_seconds(over.window),
        )

    def _ran_out(self, over: Covering) -> BudgetRanOut:
        return BudgetRanOut(
            f"The budget {over.budget.name} was used up while the answer was being made; what was "
            f"made is booked. {_renews(over)}",
            retry_after_seconds=self._until_end_seconds(over.window),
        )

    def _until_end_seconds(self, window: Window) -> float | None:
        if window.end_at_us is None:
            return None
        return max(0.0, (window.end_at_us - self._clock.wall_us()) / 1e6)


def _renews(over: Covering) -> str:
    window = over.window
    if over.account.startswith(_CALL):
        return "The request set that limit itself."
    if window.end_at_us is None:
        return "It does not begin anew; the operator can raise it."
    return f"It begins anew at {rfc3339(window.end_at_us)}."


def budget_json(budget: Budget, window: Window, balance: Balance | None) -> dict[str, Any]:
    """One budget as reports show it; null where something is not known."""
    given = budget.settings
    left = None
    if balance is not None:
        left = budget.limit_pico_usd - balance.spent_pico_usd - balance.reserved_pico_usd
    return {
        "name": budget.name,
        "key": given.key,
        "tag": dict(given.tag) if given.tag is not None else None,
        "per": given.per,
        "time_zone": given.time_zone,
        "start_time": None if given.per == "total" else rfc3339(window.start_at_us),
        "end_time": None if window.end_at_us is None else rfc3339(window.end_at_us),
        "limit_usd": usd(budget.limit_pico_usd),
        "spent_usd": None if balance is None else usd(balance.spent_pico_usd),
        "reserved_usd": None if balance is None else usd(balance.reserved_pico_usd),
        "left_usd": None if left is None else usd(max(0, left)),
        "unknown_attempts": None if balance is None else balance.unknown_attempts,
    }


_NO_RATES = Rates(0, 0, 0, 0, 0, 0, False)
