"""From what was used to what it costs, line by line, exact to the last digit.

Units:   USD as ``Decimal``, each line quantised half-even to 12 places (a pico-dollar), totals are
         sums of quantised lines.
Shape:   a price is one dated ``PriceRow``; how a provider bills (does boot count? are seconds
         rounded?) is data on the row.
Unknown: no price, or no quantity for a billable line, gives a line without ``usd`` and a cost
         without a total. Nothing unknown becomes 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from gateway.accounting.lines import (
    EXACT,
    PICO,
    CostStatus,
    Line,
    estimated_line,
    exact_line,
    unknown_line,
)
from gateway.accounting.metering import Metered
from gateway.accounting.prices import PriceRow
from gateway.accounting.token_lines import token_lines

ONE = Decimal(1)
_MICRO = Decimal("1E-6")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one attempt; ``total_usd`` is None while any line is unknown."""

    status: CostStatus
    total_usd: Decimal | None
    known_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal | None
    lines: tuple[Line, ...]
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seconds:
    """A billed duration: ``value`` was measured unless ``low`` and ``high`` leave room."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Billable:
    """Everything of one attempt that a price row may put money on; seconds None: not known."""

    metered: Metered
    execute: Seconds | None = None
    boot: Seconds | None = None
    queue: Seconds | None = None
    reported_cost_usd: Decimal | None = None


def price(row: PriceRow | None, used: Billable) -> Cost:
    """The cost of one attempt under one price row; ``row`` None: nobody knows the price."""
    if used.reported_cost_usd is not None:
        usd = used.reported_cost_usd.quantize(PICO, context=EXACT)
        reported = Line("reported", ONE, usd, usd, "reported", "measured", usd, usd)
        return _sum((reported,), ())
    if row is None:
        unknown = Line("unpriced", None, None, None, None, "unknown", Decimal(0), None)
        return _sum((unknown,), ())
    lines: list[Line] = []
    token_lines(lines, row, used.metered)
    if row.usd_per_second is not None:
        for kind, seconds in (
            ("execute", used.execute),
            ("boot", used.boot),
            ("queue", used.queue),
        ):
            if kind not in row.bills:
                continue
            if seconds is not None:
                lines.append(second_line(row, kind, row.usd_per_second, seconds))
            elif kind == "execute":
                lines.append(unknown_line(row, "execute_seconds", row.usd_per_second))
    if row.usd_per_image is not None:
        images = used.metered.images
        if images is None:
            lines.append(unknown_line(row, "images", row.usd_per_image))
        elif images:
            lines.append(exact_line(row, "images", row.usd_per_image, Decimal(images)))
    if row.usd_per_request is not None:
        lines.append(exact_line(row, "requests", row.usd_per_request, ONE))
    pending = ("idle",) if "idle" in row.bills and row.usd_per_second is not None else ()
    return _sum(tuple(lines), (*pending, *row.may_add) if row.may_add else pending)


def highest_usd(
    row: PriceRow, *, input_tokens: int, output_tokens: int | None, seconds: float
) -> Decimal | None:
    """The most that an attempt within these bounds can cost; None where a rate has no bound.

    ``seconds`` are spent once, in whichever phase is billed; rounding adds a step to each phase.
    """
    high = row.usd_per_request or Decimal(0)
    if row.usd_per_image is not None:
        return None
    if row.tiers:
        rates = row.token_rates_between(0, input_tokens)
        highest_input = _dearest([one.dearest_input for one in rates])
        highest_output = _dearest([one.dearest_output for one in rates])
    else:
        highest_input, highest_output = row.dearest_tokens
    if highest_input is not None:
        high += input_tokens * highest_input
    if highest_output is not None:
        if output_tokens is None:
            return None
        high += output_tokens * highest_output
    if row.usd_per_second is not None:
        billed = _billed_seconds(row, seconds)
        if row.round_up_seconds is not None:
            billed += row.round_up_seconds * len(row.bills)
        high += billed * row.usd_per_second
    return high.quantize(PICO, rounding=ROUND_CEILING, context=EXACT)


def _dearest(rates: list[Decimal | None]) -> Decimal | None:
    return max((rate for rate in rates if rate is not None), default=None)


def second_line(row: PriceRow, kind: str, unit_usd: Decimal, seconds: Seconds) -> Line:
    """Seconds of one kind, with the row's rounding."""
    value = _billed_seconds(row, seconds.value)
    if seconds.low is None:
        return exact_line(row, f"{kind}_seconds", unit_usd, value)
    low = _billed_seconds(row, seconds.low) if seconds.low else _ZERO
    high = None if seconds.high is None else _billed_seconds(row, seconds.high)
    return estimated_line(
        row,
        f"{kind}_seconds",
        unit_usd,
        value,
        EXACT.multiply(low, unit_usd),
        None if high is None else EXACT.multiply(high, unit_usd),
    )


def unknown_seconds(row: PriceRow, kind: str, unit_usd: Decimal, high_seconds: float) -> Line:
    """Seconds that nobody knows, but for the most that they can be."""
    high_usd = EXACT.multiply(_billed_seconds(row, high_seconds), unit_usd)
    high_usd = high_usd.quantize(PICO, rounding=ROUND_CEILING, context=EXACT)
    return Line(kind, None, unit_usd, None, row.id, "unknown", _ZERO, high_usd)


def _billed_seconds(row: PriceRow, seconds: float) -> Decimal:
    """Seconds as billed: to the microsecond, or rounded up to the row's whole steps."""
    exact = Decimal(round(seconds * 1_000_000)) * _MICRO
    step = row.round_up_seconds
    if step is None:
        return exact
    return (exact / step).to_integral_value(rounding=ROUND_CEILING) * step


def _sum(lines: tuple[Line, ...], pending: tuple[str, ...]) -> Cost:
    if all(line.status == "measured" for line in lines):
        total_usd = sum((line.usd for line in lines if line.usd is not None), _ZERO)
        return Cost("measured", total_usd, total_usd, total_usd, total_usd, lines, pending)
    known, low = _ZERO, _ZERO
    high: Decimal | None = _ZERO
    status: CostStatus = "estimated"
    for line in lines:
        low += line.low_usd
        high = None if high is None or line.high_usd is None else high + line.high_usd
        if line.usd is None:
            status = "unknown"
            continue
        known += line.usd
    total = None if status == "unknown" else known
    return Cost(status, total, known, low, high, lines, pending)
