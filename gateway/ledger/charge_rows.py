"""Charges with the dimensions of a question: their own, and those of the attempt that they are for.

The attempt may lie in another file than the charge, so the two are joined here and not in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import select

from gateway.ledger import selection
from gateway.ledger.months import Snapshot
from gateway.ledger.query import ReportQuery
from gateway.ledger.schema import attempts

_OWN = ("provider", "deployment")
_PART = 500


def charges_of(snapshot: Snapshot, query: ReportQuery) -> Iterator[tuple[Any, ...]]:
    """(period_start_at_us, status, cost_pico_usd, low, high, kind, quantity), then the group's
    values.
    """
    names = [name for name in (*query.group_by, *query.filters) if name not in _OWN]
    if query.key_id is not None:
        names.append("key")
    of_attempt = list(dict.fromkeys(names))
    columns = [selection.attempt_dimension(name).label(name) for name in of_attempt]
    statement = select(attempts.c.attempt_id.label("of"), *columns)
    found = snapshot.charges(selection.charges_of(query), query.start_at_us, query.end_at_us)
    while part := [row._mapping for row in islice(found, _PART)]:
        paying: dict[str, Mapping[str, Any]] = {}
        if of_attempt:
            ids = sorted({row["attempt_id"] for row in part if row["attempt_id"] is not None})
            for row in snapshot.find(ids, attempts.c.attempt_id, statement):
                paying[row.of] = row._mapping
        for charge in part:
            of = paying.get(charge["attempt_id"], {})
            at = {name: charge[name] if name in _OWN else of.get(name) for name in _names(query)}
            if query.key_id is not None and of.get("key") != query.key_id:
                continue
            if any(at[name] not in values for name, values in query.filters.items()):
                continue
            yield (
                charge["period_start_at_us"],
                charge["status"],
                charge["cost_pico_usd"],
                charge["low_pico_usd"],
                charge["high_pico_usd"],
                charge["kind"],
                charge["quantity"],
                *(at[name] for name in query.group_by),
            )


def _names(query: ReportQuery) -> list[str]:
    return list(dict.fromkeys((*query.group_by, *query.filters)))
