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
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from typing import Literal, TypeAlias

from gateway.accounting.metering import Count, Metered
from gateway.accounting.prices import PriceRow

CostStatus: TypeAlias = Literal["measured", "estimated", "unknown"]

PICO = Decimal("1E-12")
ONE = Decimal(1)
_MICRO = Decimal("1E-6")
_ZERO = Decimal(0)
_EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN)


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
        usd = used.reported_cost_usd.quantize(PICO, context=_EXACT)
        reported = Line("reported", ONE, usd, usd, "reported", "measured", usd, usd)
        return _sum((reported,), ())
    if row is None:
        unknown = Line("unpriced", None, None, None, None, "unknown", Decimal(0), None)
        return _sum((unknown,), ())
    lines: list[Line] = []
    _token_lines(lines, row, used.metered)
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
                lines.append(_unknown(row, "execute_seconds", row.usd_per_second))
    if row.usd_per_image is not None:
        images = used.metered.images
        if images is None:
            lines.append(_unknown(row, "images", row.usd_per_image))
        elif images:
            lines.append(_line(row, "images", row.usd_per_image, Decimal(images)))
    if row.usd_per_request is not None:
        lines.append(_line(row, "requests", row.usd_per_request, ONE))
    return _sum(tuple(lines), ("idle",) if "idle" in row.bills else ())


def highest_usd(
    row: PriceRow, *, input_tokens: int, output_tokens: int | None, seconds: float
) -> Decimal | None:
    """The most that an attempt within these bounds can cost; None where a rate has no bound.

    ``seconds`` are spent once, in whichever phase is billed; rounding adds a step to each phase.
    """
    high = row.usd_per_request or Decimal(0)
    if row.usd_per_image is not None:
        return None
    if row.usd_per_input_token is not None:
        high += input_tokens * row.usd_per_input_token
    if row.usd_per_output_token is not None:
        if output_tokens is None:
            return None
        high += output_tokens * row.usd_per_output_token
    if row.usd_per_second is not None:
        billed = _billed_seconds(row, seconds)
        if row.round_up_seconds is not None:
            billed += row.round_up_seconds * len(row.bills)
        high += billed * row.usd_per_second
    return high.quantize(PICO, rounding=ROUND_CEILING, context=_EXACT)


def _token_lines(lines: list[Line], row: PriceRow, metered: Metered) -> None:
    input_price, output_price = row.usd_per_input_token, row.usd_per_output_token
    if input_price is not None:
        fresh = metered.input_tokens
        cached = metered.cached_input_tokens
        cached_price = row.usd_per_cached_input_token
        if fresh is None:
            lines.append(_unknown(row, "input_tokens", input_price))
        elif cached is not None and cached.value and cached_price is not None:
            rest = Count(
                max(0, fresh.value - cached.value),
                fresh.source,
                max(0, fresh.low - cached.value),
                None if fresh.high is None else max(0, fresh.high - cached.value),
            )
            lines.append(_count_line(row, "input_tokens", input_price, rest))
            lines.append(_count_line(row, "cached_input_tokens", cached_price, cached))
        else:
            lines.append(_count_line(row, "input_tokens", input_price, fresh))
    if output_price is not None:
        if metered.output_tokens is None:
            lines.append(_unknown(row, "output_tokens", output_price))
        else:
            lines.append(_count_line(row, "output_tokens", output_price, metered.output_tokens))


def _count_line(row: PriceRow, kind: str, unit_usd: Decimal, count: Count) -> Line:
    if count.source != "estimated":
        return _line(row, kind, unit_usd, Decimal(count.value))
    high = None if count.high is None else Decimal(count.high)
    return _line(row, kind, unit_usd, Decimal(count.value), Decimal(count.low), high, "estimated")


def second_line(row: PriceRow, kind: str, unit_usd: Decimal, seconds: Seconds) -> Line:
    """Seconds of one kind, with the row's rounding."""
    value = _billed_seconds(row, seconds.value)
    if seconds.low is None:
        return _line(row, f"{kind}_seconds", unit_usd, value)
    low = _billed_seconds(row, seconds.low) if seconds.low else Decimal(0)
    high = None if seconds.high is None else _billed_seconds(row, seconds.high)
    return _line(row, f"{kind}_seconds", unit_usd, value, low, high, "estimated")


def _billed_seconds(row: PriceRow, seconds: float) -> Decimal:
    """Seconds as billed: to the microsecond, or rounded up to the row's whole steps."""
    exact = Decimal(round(seconds * 1_000_000)) * _MICRO
    step = row.round_up_seconds
    if step is None:
        return exact
    return (exact / step).to_integral_value(rounding=ROUND_CEILING) * step


def _line(
    row: PriceRow,
    kind: str,
    unit_usd: Decimal,
    quantity: Decimal,
    low: Decimal | None = None,
    high: Decimal | None = None,
    status: CostStatus = "measured",
) -> Line:
    usd = _EXACT.multiply(quantity, unit_usd).quantize(PICO, context=_EXACT)
    if status == "measured":
        return Line(kind, quantity, unit_usd, usd, row.id, status, usd, usd)
    low_usd = usd if low is None else _EXACT.multiply(low, unit_usd).quantize(PICO, context=_EXACT)
    high_usd = (
        None if high is None else _EXACT.multiply(high, unit_usd).quantize(PICO, context=_EXACT)
    )
    return Line(kind, quantity, unit_usd, usd, row.id, status, low_usd, high_usd)


def unknown_line(row: PriceRow, kind: str, unit_usd: Decimal, high_seconds: float) -> Line:
    """Seconds that nobody knows, but for the most that they can be."""
    high_usd = _EXACT.multiply(_billed_seconds(row, high_seconds), unit_usd)
    high_usd = high_usd.quantize(PICO, rounding=ROUND_CEILING, context=_EXACT)
    return Line(kind, None, unit_usd, None, row.id, "unknown", _ZERO, high_usd)


def _unknown(row: PriceRow, kind: str, unit_usd: Decimal) -> Line:
    return Line(kind, None, unit_usd, None, row.id, "unknown", Decimal(0), None)


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
