"""From how many requests on a machine of one's own costs less than paying for each."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from gateway.comparison.capacity import Sizes, slowdown
from gateway.comparison.evaluate import SECONDS_PER_DAY, Outcome, own_usd
from gateway.estimates.tables import Shape
from gateway.warmth.arrivals import Traffic
from gateway.warmth.billing import bills_machine

BATCHES = (1, 8, 32)


def per_use(outcomes: Sequence[Outcome], traffic: Traffic) -> Outcome | None:
    """The cheapest candidate that is paid for by use alone: idle costs nothing there."""
    found = [
        outcome
        for outcome in outcomes
        if outcome.total_usd is not None
        and traffic.requests
        and outcome.candidate.own is None
        and (outcome.candidate.row is None or not bills_machine(outcome.candidate.row))
    ]
    return min(found, key=lambda outcome: outcome.total_usd or 0, default=None)


def break_even(
    outcome: Outcome,
    against: Outcome | None,
    traffic: Traffic,
    shape: Shape | None,
    sizes: Sizes | None,
) -> dict[str, Any] | None:
    """For a machine that is kept up all day; None where it is no machine, or nothing to hold it to.

    ``utilisation`` is the share of the day in which it works at that many requests; above 1 it
    never pays at that batch. A batch that nothing is known of is None.
    """
    candidate = outcome.candidate
    row = candidate.row
    is_machine = candidate.own is not None or (
        row is not None and row.usd_per_second is not None and bills_machine(row)
    )
    if not is_machine or against is None or against is outcome or against.total_usd is None:
        return None
    if candidate.own is not None:
        usd_per_day = sum(own_usd(candidate, SECONDS_PER_DAY * 1_000_000), Decimal(0))
    else:
        assert row is not None and row.usd_per_second is not None
        usd_per_day = row.usd_per_second * SECONDS_PER_DAY * candidate.machines
    usd_per_request = against.total_usd / traffic.requests
    if not usd_per_request:
        return None
    requests_per_day = float(usd_per_day / usd_per_request)
    return {
        "against": against.candidate.name,
        "usd_per_day": usd_per_day,
        "requests_per_day": requests_per_day,
        "by_batch": [
            {
                "batch": batch,
                "utilisation": _utilisation(outcome, requests_per_day, batch, shape, sizes),
            }
            for batch in BATCHES
        ],
    }


def _utilisation(
    outcome: Outcome,
    requests_per_day: float,
    batch: int,
    shape: Shape | None,
    sizes: Sizes | None,
) -> float | None:
    spent, hardware = outcome.spent, outcome.candidate.hardware
    if spent is None or not spent.requests:
        return None
    seconds = spent.execute_us / 1e6 / spent.requests
    if batch > 1:
        if shape is None or hardware is None or sizes is None:
            return None
        seconds *= slowdown(shape, hardware, sizes, batch) / batch
    return requests_per_day * seconds / SECONDS_PER_DAY
