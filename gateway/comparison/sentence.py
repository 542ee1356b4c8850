"""The answer: which is cheapest, within what wait, and what nobody knows."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.comparison.evaluate import Outcome
from gateway.comparison.figures import dollars
from gateway.warmth.arrivals import Traffic


def cheapest_of(outcomes: Sequence[Outcome], max_wait_p95_seconds: float | None) -> Outcome | None:
    """The cheapest whose cost is known, and whose wait is too where there is a limit on it.

    ``outcomes`` come cheapest first. What is not known is never the cheapest.
    """
    for outcome in outcomes:
        if outcome.total_usd is None:
            continue
        if max_wait_p95_seconds is None:
            return outcome
        if outcome.waits.p95 is not None and outcome.waits.p95 <= max_wait_p95_seconds:
            return outcome
    return None


def frontier_of(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that nobody beats in both cost and wait."""
    found: list[Outcome] = []
    best = float("inf")
    for outcome in outcomes:
        if outcome.total_usd is not None and outcome.waits.p95 is not None:
            if outcome.waits.p95 < best:
                found.append(outcome)
                best = outcome.waits.p95
    return found


def sentence(
    outcomes: Sequence[Outcome],
    cheapest: Outcome | None,
    traffic: Traffic,
    max_wait_p95_seconds: float | None,
) -> str:
    """One sentence for whoever decides."""
    if not traffic.requests:
        return "There is nothing to compare: no request of this model succeeded in this time."
    limit = (
        ""
        if max_wait_p95_seconds is None
        else f" with a 95th percentile wait of at most {max_wait_p95_seconds:g} s"
    )
    if cheapest is None:
        said = f"Nothing whose cost{' and wait are' if limit else ' is'} known serves it{limit}"
    else:
        assert cheapest.total_usd is not None
        said = (
            f"The cheapest for these {traffic.requests:,} requests in {_length(traffic.days)}"
            f"{limit} is {cheapest.candidate.name}: {_span(cheapest)}{_wait(cheapest)}"
        )
        rival = _rival(outcomes, cheapest, max_wait_p95_seconds)
        if rival is not None:
            said += f"; {rival.candidate.name} ({_span(rival)}) may be as cheap"
    unknown = [o.candidate.name for o in outcomes if o.total_usd is None]
    if unknown:
        said += f"; the cost is unknown at {_names(unknown)}"
    if limit:
        waits = [
            o.candidate.name for o in outcomes if o.total_usd is not None and o.waits.p95 is None
        ]
        if waits:
            said += f"; the wait is unknown at {_names(waits)}"
    return f"{said}."


def _rival(outcomes: Sequence[Outcome], cheapest: Outcome, limit: float | None) -> Outcome | None:
    """The next one, if the ranges overlap so that they cannot be told apart."""
    for outcome in outcomes:
        if outcome is cheapest or outcome.low_usd is None or cheapest.high_usd is None:
            continue
        if limit is not None and (outcome.waits.p95 is None or outcome.waits.p95 > limit):
            continue
        if outcome.low_usd < cheapest.high_usd:
            return outcome
    return None


def _span(outcome: Outcome) -> str:
    assert outcome.total_usd is not None
    said = dollars(outcome.total_usd)
    if outcome.low_usd is not None and outcome.high_usd is not None:
        low, high = dollars(outcome.low_usd), dollars(outcome.high_usd)
        said += f" ({outcome.status}" + (f", {low} to {high})" if low != high else ")")
    return said


def _wait(outcome: Outcome) -> str:
    late = outcome.waits.p95
    if late is None:
        return ", its wait unknown"
    if late < 0.05:
        return ", without a wait for 95 in 100"
    return f", 95 in 100 waiting {late:.3g} s or less"


def _length(days: float) -> str:
    if days >= 2:
        return f"{days:.3g} days"
    return f"{days * 24:.3g} hours" if days * 24 >= 2 else f"{days * 1440:.3g} minutes"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
