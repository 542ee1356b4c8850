"""The lines of a cost that count tokens: tiers, cached ones, and those that may cost more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from gateway.accounting.lines import EXACT, Line, estimated_line, exact_line, unknown_line
from gateway.accounting.metering import Count, Metered
from gateway.accounting.prices import PriceRow, TokenRates


def token_lines(lines: list[Line], row: PriceRow, metered: Metered) -> None:
    """Append what a row puts on the tokens of an attempt."""
    rates, fresh = row.token_rates, metered.input_tokens
    if rates.input is None and rates.output is None:
        return
    reachable: list[TokenRates] | None = None  # None: only these rates
    if row.tiers:
        if fresh is None:  # how long the request was decides about every rate
            for kind, rate in (("input_tokens", rates.input), ("output_tokens", rates.output)):
                if rate is not None:
                    lines.append(unknown_line(row, kind, None))
            return
        rates = row.token_rates_between(fresh.value, fresh.value)[0]
        reachable = row.token_rates_between(fresh.low, fresh.high)
    elif not row.simple_tokens:
        reachable = [rates]
    if rates.input is not None:
        _input_lines(lines, row, metered, rates, reachable)
    if rates.output is not None:
        if metered.output_tokens is None:
            lines.append(unknown_line(row, "output_tokens", rates.output))
            return
        possible = _rates(reachable, lambda one: (one.output, one.output_at_most))
        lines.append(
            _count_line(row, "output_tokens", rates.output, metered.output_tokens, possible)
        )


def _input_lines(
    lines: list[Line],
    row: PriceRow,
    metered: Metered,
    rates: TokenRates,
    reachable: list[TokenRates] | None,
) -> None:
    fresh, cached = metered.input_tokens, metered.cached_input_tokens
    assert rates.input is not None
    if fresh is None:
        lines.append(unknown_line(row, "input_tokens", rates.input))
        return
    possible = _rates(reachable, lambda one: (one.input, one.input_at_most))
    apart = cached is not None and cached.value > fresh.value and fresh.source != "estimated"
    if cached is None or not cached.value or (rates.cached is None and not apart):
        lines.append(_count_line(row, "input_tokens", rates.input, fresh, possible))
        return
    cached_price = rates.input if rates.cached is None else rates.cached
    cached_possible = _rates(
        reachable, lambda one: (one.input if one.cached is None else one.cached, one.cached_at_most)
    )
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
    row: PriceRow, kind: str, unit_usd: Decimal, count: Count, possible: list[Decimal | None] | None
) -> Line:
    """A line of tokens; ``possible`` are the rates that some of them may have; None: just one."""
    if possible is None:
        least = most = unit_usd
    else:
        units = [rate for rate in possible if rate is not None]
        least, most = min(units), max(units)
    if count.source != "estimated" and (least == most or not count.value):
        return exact_line(row, kind, unit_usd, Decimal(count.value))
    low = EXACT.multiply(Decimal(count.low), least)
    high = None if count.high is None else EXACT.multiply(Decimal(count.high), most)
    return estimated_line(row, kind, unit_usd, Decimal(count.value), low, high)


def _rates(
    reachable: list[TokenRates] | None, of: Callable[[TokenRates], tuple[Decimal | None, ...]]
) -> list[Decimal | None] | None:
    return None if reachable is None else [rate for one in reachable for rate in of(one)]
