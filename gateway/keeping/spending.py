"""What keeping one deployment warm has cost in a month (UTC), and may."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from gateway.keeping.booking import row_at
from gateway.registry import Target

_PICO = Decimal(1_000_000_000_000)


class Spending:
    """The present month's. ``budget_usd`` None: no bound."""

    def __init__(
        self, target: Target, budget_usd: Decimal | None, now_us: int, spent_pico_usd: int
    ) -> None:
        self._target = target
        self._budget_usd = budget_usd
        self._month = _month_of(now_us)
        self.spent_pico_usd = spent_pico_usd

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left, by what is booked."""
        return self._budget_usd is not None and self._spent_usd >= self._budget_usd

    def book(self, at_us: int, pico_usd: int) -> None:
        """It has cost so much, of the month that this instant is in."""
        if _month_of(at_us) == self._month:
            self.spent_pico_usd += pico_usd

    def turn_month(self, now_us: int) -> None:
        """A new month begins with nothing spent."""
        month = _month_of(now_us)
        if month != self._month:
            self._month, self.spent_pico_usd = month, 0

    def lasts_until_us(self, begin_us: int, now_us: int) -> int | None:
        """When a stay that is not booked from ``begin_us`` on will have used it up; None: never."""
        row = row_at(self._target, now_us)
        if self._budget_usd is None or row is None or "idle" not in row.bills:
            return None
        if not row.usd_per_second:
            return None
        left_usd = max(Decimal(0), self._budget_usd - self._spent_usd)
        return begin_us + int(left_usd / row.usd_per_second * 1_000_000)

    @property
    def _spent_usd(self) -> Decimal:
        return Decimal(self.spent_pico_usd) / _PICO


def _month_of(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m}"
