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
from gateway.accounting.prices import PriceRow, TokenRates

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
    pending = ("idle",) if "idle" in row.bills and row.usd_per_second is not None else ()
    return _sum(tuple(lines), (*pending, *row.may_add))


def highest_usd(
    row: PriceRow, *, input_tokens: int, output_tokens: int | None, seconds: float
) -> Decimal | None:
    """The most that an attempt within these bounds can cost; None where a rate has no bound.

    ``seconds`` are spent once, in whichever phase is billed; rounding adds a step to each phase.
    """
    high = row.usd_per_request or Decimal(0)
    if row.usd_per_image is not None:
        return None
    reachable = row.token_rates_between(0, input_tokens)
    highest_input = _dearest(
        [
            rate
            for one in reachable
            for rate in (one.input, one.input_at_most, one.cached, one.cached_at_most)
        ]
    )
    highest_output = _dearest(
        [rate for one in reachable for rate in (one.output, one.output_at_most)]
    )
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
    return high.quantize(PICO, rounding=ROUND_CEILING, context=_EXACT)


def _dearest(rates: list[Decimal | None]) -> Decimal | None:
    return max((rate for rate in rates if rate is not None), default=None)


def _token_lines(lines: list[Line], row: PriceRow, metered: Metered) -> None:
    base, fresh = row.token_rates, metered.input_tokens
    if base.input is None and base.output is None:
        return
    if not row.tiers:
        reachable = [base]
    elif fresh is not None:
        reachable = row.token_rates_between(fresh.low, fresh.high)
    else:  # how long it was decides about every rate
        for kind, rate in (("input_tokens", base.input), ("output_tokens", base.output)):
            if rate is not None:
                lines.append(_unknown(row, kind, None))
        return
    rates = base if fresh is None else row.token_rates_between(fresh.value, fresh.value)[0]
    if rates.input is not None:
        _input_lines(lines, row, metered, rates, reachable)
    if rates.output is not None:
        if metered.output_tokens is None:
            lines.append(_unknown(row, "output_tokens", rates.output))
            return
        possible = [rate for one in reachable for rate in (one.output, one.output_at_most)]
        lines.append(
            _count_line(row, "output_tokens", rates.output, metered.output_tokens, possible)
        )


def _input_lines(
    lines: list[Line],
    row: PriceRow,
    metered: Metered,
    rates: TokenRates,
    reachable: list[TokenRates],
) -> None:
    fresh, cached = metered.input_tokens, metered.cached_input_tokens
    assert rates.input is not None
    if fresh is None:
        lines.append(_unknown(row, "input_tokens", rates.input))
        return
    possible = [rate for one in reachable for rate in (one.input, one.input_at_most)]
    apart = cached is not None and cached.value > fresh.value and fresh.source != "estimated"
    if cached is None or not cached.value or (rates.cached is None and not apart):
        lines.append(_count_line(row, "input_tokens", rates.input, fresh, possible))
        return
    cached_price = rates.input if rates.cached is None else rates.cached
    cached_possible = [
        rate
        for one in reachable
        for rate in (one.input if one.cached is None else one.cached, one.cached_at_most)
    ]
    if apart:
        # It cannot be a part of the input, as it should be: somebody counts it apart. Both stand,
        # as an estimate; the least is what the counts say if the cached ones are too many.
        rest = Count(fresh.value, "estimated", 0, fresh.value)
        cached = Count(cached.value, "estimated", fresh.value, cached.value)
    else:
        rest = Count(
            max(0, fresh.value - cached.value),
            fresh.source,
            max(0, fresh.low - cached.value),
            None if fresh.high is None else max(0, fresh.high - cached.value),
        )
    lines.append(_count_line(row, "input_tokens", rates.input, rest, possible))
    lines.append(_count_line(row, "cached_input_tokens", cached_price, cached, cached_possible))


def _count_line(
    row: PriceRow, kind: str, unit_usd: Decimal, count: Count, possible: list[Decimal | None]
) -> Line:
    """A line of tokens; ``possible`` are the rates that some of them may have."""
    units = [rate for rate in possible if rate is not None]
    least, most = min(units), max(units)
    if count.source != "estimated" and (least == most or not count.value):
        return _line(row, kind, unit_usd, Decimal(count.value))
    low = _EXACT.multiply(Decimal(count.low), least)
    high = None if count.high is None else _EXACT.multiply(Decimal(count.high), most)
    return _estimate(row, kind, unit_usd, Decimal(count.value), low, high)


def second_line(row: PriceRow, kind: str, unit_usd: Decimal, seconds: Seconds) -> Line:
    """Seconds of one kind, with the row's rounding."""
    value = _billed_seconds(row, seconds.value)
    if seconds.low is None:
        return _line(row, f"{kind}_seconds", unit_usd, value)
    low = _billed_seconds(row, seconds.low) if seconds.low else _ZERO
    high = None if seconds.high is None else _billed_seconds(row, seconds.high)
    return _estimate(
        row,
        f"{kind}_seconds",
        unit_usd,
        value,
        _EXACT.multiply(low, unit_usd),
        None if high is None else _EXACT.multiply(high, unit_usd),
    )


def _billed_seconds(row: PriceRow, seconds: float) -> Decimal:
    """Seconds as billed: to the microsecond, or rounded up to the row's whole steps."""
    exact = Decimal(round(seconds * 1_000_000)) * _MICRO
    step = row.round_up_seconds
    if step is None:
        return exact
    return (exact / step).to_integral_value(rounding=ROUND_CEILING) * step


def _line(row: PriceRow, kind: str, unit_usd: Decimal, quantity: Decimal) -> Line:
    usd = line_usd(quantity, unit_usd)
    return Line(kind, quantity, unit_usd, usd, row.id, "measured", usd, usd)


def _estimate(
    row: PriceRow,
    kind: str,
    unit_usd: Decimal,
    quantity: Decimal,
    low_usd: Decimal,
    high_usd: Decimal | None,
) -> Line:
    usd = line_usd(quantity, unit_usd)
    low = low_usd.quantize(PICO, context=_EXACT)
    high = None if high_usd is None else high_usd.quantize(PICO, context=_EXACT)
    return Line(kind, quantity, unit_usd, usd, row.id, "estimated", low, high)


def line_usd(quantity: Decimal, unit_usd: Decimal) -> Decimal:
    """What a line costs: the product, half-even to a pico-dollar."""
    return _EXACT.multiply(quantity, unit_usd).quantize(PICO, context=_EXACT)


def unknown_line(row: PriceRow, kind: str, unit_usd: Decimal, high_seconds: float) -> Line:
    """Seconds that nobody knows, but for the most that they can be."""
    high_usd = _EXACT.multiply(_billed_seconds(row, high_seconds), unit_usd)
    high_usd = high_usd.quantize(PICO, rounding=ROUND_CEILING, context=_EXACT)
    return Line(kind, None, unit_usd, None, row.id, "unknown", _ZERO, high_usd)


def _unknown(row: PriceRow, kind: str, unit_usd: Decimal | None) -> Line:
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
