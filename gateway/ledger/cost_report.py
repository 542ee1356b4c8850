"""What attempts and charges cost, by group. Exact: pico-USD are summed as integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

from gateway.ledger.grouping import Groups
from gateway.ledger.query import ReportQuery
from gateway.ledger.views import bounds, usd, usd_or_null

_EXACT = Context(prec=50)
_ZERO = Decimal(0)


@dataclass(slots=True)
class _LineSum:
    quantity: Decimal | None = None
    usd: Decimal | None = None
    unknown_lines: int = 0

    def add(self, quantity: str | None, usd: str | None) -> None:
        if quantity is not None:
            self.quantity = _EXACT.add(self.quantity or _ZERO, Decimal(quantity))
        if usd is None:
            self.unknown_lines += 1
        else:
            self.usd = _EXACT.add(self.usd or _ZERO, Decimal(usd))


@dataclass(slots=True)
class _CostSum:
    attempts: int = 0
    charges: int = 0
    unknown_attempts: int = 0
    unknown_charges: int = 0
    known: int = 0
    by_status: dict[str, int] = field(default_factory=lambda: {"measured": 0, "estimated": 0})
    low: int = 0
    high: int | None = 0
    lines: dict[str, _LineSum] = field(default_factory=dict)

    def add(
        self, status: str, cost: int | None, known: int, low: int | None, high: int | None
    ) -> None:
        if cost is not None:
            self.by_status[status] += cost
        self.known += known
        row_low, row_high = bounds(status, known, low, high)
        self.low += row_low
        self.high = None if self.high is None or row_high is None else self.high + row_high

    def line(self, kind: str, quantity: str | None, usd: str | None) -> None:
        found = self.lines.get(kind)
        if found is None:
            found = self.lines[kind] = _LineSum()
        found.add(quantity, usd)

    def row(self) -> dict[str, Any]:
        return {
            "attempts": self.attempts,
            "charges": self.charges,
            "known_usd": usd(self.known),
            "measured_usd": usd(self.by_status["measured"]),
            "estimated_usd": usd(self.by_status["estimated"]),
            "range_usd": {"low": usd(self.low), "high": usd_or_null(self.high)},
            "unknown_attempts": self.unknown_attempts,
            "unknown_charges": self.unknown_charges,
            "lines": [
                {
                    "kind": kind,
                    "quantity": _plain(line.quantity),
                    "usd": _plain(line.usd),
                    "unknown_lines": line.unknown_lines,
                }
                for kind, line in sorted(self.lines.items())
            ],
        }


def cost_report(
    query: ReportQuery,
    attempts: Iterable[Sequence[Any]],
    charges: Iterable[Sequence[Any]],
) -> dict[str, Any]:
    """A page of cost rows.

    Shape:   attempts are (operation_at_us, cost_status, cost, known, low, high, cost_lines) and
             charges (period_start_at_us, status, cost, low, high, kind, quantity), money in
             pico-USD, each followed by its group's values.
    Unknown: counted, never summed as 0; ``range_usd.high`` is null where nothing bounds it.
    """
    groups = Groups(query, _CostSum)
    for at_us, status, cost, known, low, high, lines, *values in attempts:
        total = groups.of(at_us, values)
        total.attempts += 1
        total.unknown_attempts += cost is None
        total.add(status, cost, known, low, high)
        for line in lines:
            total.line(line["kind"], line["quantity"], line["usd"])
    for at_us, status, cost, low, high, kind, quantity, *values in charges:
        total = groups.of(at_us, values)
        total.charges += 1
        total.unknown_charges += cost is None
        total.add(status, cost, cost or 0, cost if low is None else low, high)
        total.line(kind, quantity, usd_or_null(cost))
    return groups.page(_CostSum.row)


def _plain(number: Decimal | None) -> str | None:
    if number is None:
        return None
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
