"""Charges one by one, the newest first, a page at a time. Reads only.

A charge is never corrected: what a bill says otherwise is a charge of its own, an ``adjustment``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy import Connection

from gateway.clock import rfc3339
from gateway.ledger.months.archive import Snapshot
from gateway.ledger.reports import selection
from gateway.ledger.reports.charge_rows import is_asked_for, needs_more, of_attempt, paying_for
from gateway.ledger.reports.kept_warm import outcomes
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.row_filters import kinds_of
from gateway.ledger.reports.views import bounds, usd, usd_or_null
from gateway.ledger.schema import Grain
from gateway.ledger.sums import rolled
from gateway.ledger.sums.stretches import MOST_ROWS_READ, Place, end_of, stretches

_PART = 500
_Charge: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any]]
_TOLD = ("operation_id", "model", "key")
"""What is told of the attempt that a charge is for."""


def newest_charges(
    snapshot: Snapshot, query: ReportQuery, before: Place | None
) -> tuple[list[dict[str, Any]], Place | None]:
    """Charges as JSON, and the place before which the next page begins; None: no more."""
    kinds = kinds_of(query.only)

    def counts(
        connection: Connection, grain: Grain, asked: ReportQuery, end_us: int
    ) -> Iterator[tuple[int, int, int]]:
        return rolled.charges_by(connection, grain, asked, end_us, kinds)

    found: list[_Charge] = []
    rows = 0
    exact = not query.only.keys() - {"kind"}
    for part in stretches(snapshot, query, end_of(query, before), counts, told_apart=exact):
        if rows and rows + part.rows > MOST_ROWS_READ:
            return [charge_json(*one) for one in found], (part.end_us, "")
        rows += part.rows
        asked = replace(query, start_at_us=part.start_us, end_at_us=part.end_us)
        found += islice(_within(snapshot, asked, before), query.limit + 1 - len(found))
        if len(found) > query.limit:
            last = found[query.limit - 1][0]
            place = (last["period_start_at_us"], last["charge_id"])
            return [charge_json(*one) for one in found[: query.limit]], place
    return [charge_json(*one) for one in found], None


def _within(snapshot: Snapshot, query: ReportQuery, before: Place | None) -> Iterator[_Charge]:
    """Those of a stretch, newest first, each with what is told of its attempt."""
    statement = selection.newest_charges(query, before)
    if not needs_more(query):
        statement = statement.limit(query.limit + 1)
    found = [
        row._mapping for row in snapshot.charges(statement, query.start_at_us, query.end_at_us)
    ]
    found.sort(key=lambda row: (row["period_start_at_us"], row["charge_id"]), reverse=True)
    names = tuple(dict.fromkeys((*_TOLD, *of_attempt(query))))
    for first in range(0, len(found), _PART):
        part = found[first : first + _PART]
        paying = paying_for(snapshot, part, names)
        stays = outcomes(snapshot, part)
        for charge in part:
            of = paying.get(charge["attempt_id"], {})
            stay = stays.get(charge["charge_id"])
            if is_asked_for(charge, of, stay, query):
                yield charge, {**of, "stay": stay}


def charge_json(charge: Mapping[str, Any], of: Mapping[str, Any]) -> dict[str, Any]:
    """A charge as the API shows it; ``of``: what is told of the attempt that it is for, and
    ``stay``: what the keep-warm stay came to that it is a slice of.

    Units: quantity as that of ``unit_price_usd``, seconds for all that is booked by the second.
    """
    cost, status = charge["cost_pico_usd"], charge["status"]
    low, high = bounds(status, cost or 0, charge["low_pico_usd"], charge["high_pico_usd"])
    begin_us, end_us = charge["period_start_at_us"], charge["period_end_at_us"]
    return {
        "id": charge["charge_id"],
        "kind": charge["kind"],
        "deployment": charge["deployment"],
        "provider": charge["provider"],
        "start_time": rfc3339(begin_us),
        "end_time": rfc3339(end_us),
        "seconds": (end_us - begin_us) / 1e6,
        "rule": charge["rule"],
        "cost": {
            "total_usd": usd_or_null(cost),
            "status": status,
            "range_usd": None
            if status == "measured"
            else {"low": usd(low), "high": usd_or_null(high)},
        },
        "quantity": charge["quantity"],
        "unit_price_usd": charge["unit_price_usd"],
        "price_id": charge["price_id"],
        "attempt_id": charge["attempt_id"],
        **{name: of.get(name) for name in _TOLD},
        "stay": of.get("stay"),
    }
