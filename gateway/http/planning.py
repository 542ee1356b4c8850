"""A deployment's own requests under each keep-warm policy: ``gateway plan`` from what is known."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.http.state import State
from gateway.ledger.reports.query import ReportQuery
from gateway.registry import Target

if TYPE_CHECKING:
    from gateway.simulation.families import Family

# Less than what the command line reads: replaying takes processor time from requests.
_MOST_REQUESTS = 20_000
_SPAN = timedelta(days=30)
_GUESSED_WINDOW_SECONDS = 300.0
_GUESSED_BOOT_SECONDS = 20.0
_WAIT_VALUE_USD = Decimal("0.001")
_FAMILIES: tuple[Family, ...] = ("fixed", "ski_rental", "histogram")  # today's first


def planned(state: State, target: Target) -> dict[str, Any]:
    """The plan as ``gateway plan --json`` has it, with ``terms``; blocks, so from a worker thread.

    Its price is the one that it has, its boots are those that were seen there, and the present
    policy is a machine's own window. Raises BadQuery where there is nothing to replay, or too much.
    """
    from gateway.simulation.plan import Candidate, Terms, plan
    from gateway.simulation.simulate import Plant
    from gateway.simulation.sources import of_ledger
    from gateway.simulation.streams import Reading

    now_us = state.executor.clock.wall_us()
    row = None if target.tariff is None else target.tariff.at(now_us)
    assert row is not None
    begin_us = max(0, now_us - round(_SPAN.total_seconds() * 1e6))
    query = ReportQuery(begin_us, now_us, filters={"deployment": (target.name,)})
    found = of_ledger(state.reports(), query, Reading(), _MOST_REQUESTS)
    boot_seconds = target.warmth.boot_quantile(0.5) or _GUESSED_BOOT_SECONDS
    window_seconds = target.own_window_seconds or _GUESSED_WINDOW_SECONDS
    given = state.settings.deployments[target.name].keep_warm
    value_usd = _WAIT_VALUE_USD if given is None else given.wait_value_usd_per_second
    terms = Terms(Plant(boot_seconds, window_seconds=window_seconds), value_usd, window_seconds)
    told = plan(found, [Candidate(row, family) for family in _FAMILIES], terms)
    return {
        **told,
        "terms": {
            "requests": sum(len(stream.at_us) for stream in found.streams),
            "boot_seconds": round(boot_seconds, 6),
            "window_seconds": window_seconds,
            "wait_value_usd_per_second": format(value_usd, "f"),
        },
    }
