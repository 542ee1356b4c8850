"""A stay in slices: no longer than a clock hour each, so that what is open is never much.

A price may round a stay's seconds, so a slice is what the stay costs up to its end less what it
costs up to its begin: under one price the slices are the whole stay, to the last digit.
"""

from __future__ import annotations

from decimal import Decimal

from gateway.accounting.lines import Line
from gateway.accounting.prices import PriceRow
from gateway.accounting.pricing import Seconds, second_line


def slice_line(
    row: PriceRow | None, since_us: int, begin_us: int, end_us: int, most_us: int | None = None
) -> Line:
    """What the time from ``begin_us`` to ``end_us`` of a stay costs that began at ``since_us``.

    An estimate from 0, for nobody says that the machine was up; ``most_us``: it may have ended as
    late as that. Without a price row the cost is unknown.
    """
    most_us = end_us if most_us is None else most_us
    if row is None:
        quantity = Decimal(end_us - begin_us) / 1_000_000
        return Line("idle_seconds", quantity, None, None, None, "unknown", Decimal(0), None)
    rate = row.usd_per_second if "idle" in row.bills else None

    def until(at_us: int, at_most_us: int) -> Line:
        seconds = Seconds((at_us - since_us) / 1e6, 0.0, (at_most_us - since_us) / 1e6)
        return second_line(row, "idle", rate or Decimal(0), seconds)

    whole, before = until(end_us, most_us), until(begin_us, begin_us)
    return Line(
        whole.kind,
        _less(whole.quantity, before.quantity),
        whole.unit_price_usd,
        _less(whole.usd, before.usd),
        whole.price_id,
        whole.status,
        Decimal(0),
        _less(whole.high_usd, before.high_usd),
    )


def _less(whole: Decimal | None, before: Decimal | None) -> Decimal:
    assert whole is not None and before is not None  # of an estimate with a bound
    return whole - before
