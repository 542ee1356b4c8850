"""One line of a cost: a quantity, the price of one, and what that makes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Literal, TypeAlias

from gateway.accounting.prices import PriceRow

CostStatus: TypeAlias = Literal["measured", "estimated", "unknown"]

PICO = Decimal("1E-12")
EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Line:
    """One billed thing. ``low_usd`` and ``high_usd`` bound an estimate; high None: no bound."""

    kind: str
    quantity: Decimal | None
    unit_price_usd: Decimal | None
    usd: Decimal | None
    price_id: str | None
    status: CostStatus
    low_usd: Decimal
    high_usd: Decimal | None


def exact_line(row: PriceRow, kind: str, unit_usd: Decimal, quantity: Decimal) -> Line:
    """A known quantity at its price."""
    usd = line_usd(quantity, unit_usd)
    return Line(kind, quantity, unit_usd, usd, row.id, "measured", usd, usd)


def estimated_line(
    row: PriceRow,
    kind: str,
    unit_usd: Decimal,
    quantity: Decimal,
    low_usd: Decimal,
    high_usd: Decimal | None,
) -> Line:
    """A likely quantity, with what it costs at least and at most (None: no bound)."""
    usd = line_usd(quantity, unit_usd)
    low = low_usd.quantize(PICO, context=EXACT)
    high = None if high_usd is None else high_usd.quantize(PICO, context=EXACT)
    return Line(kind, quantity, unit_usd, usd, row.id, "estimated", low, high)


def line_usd(quantity: Decimal, unit_usd: Decimal) -> Decimal:
    """What a line costs: the product, half-even to a pico-dollar."""
    return EXACT.multiply(quantity, unit_usd).quantize(PICO, context=EXACT)


def unknown_line(row: PriceRow, kind: str, unit_usd: Decimal | None) -> Line:
    """A billed thing of which nobody knows how much there was."""
    return Line(kind, None, unit_usd, None, row.id, "unknown", Decimal(0), None)
