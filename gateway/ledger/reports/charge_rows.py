"""Charges with the dimensions of a question: their own, and those of the attempt that they are for.

The attempt may lie in another file than the charge, so the two are joined here and not in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import select

from gateway.ledger.months.archive import Snapshot
from gateway.ledger.reports import selection
from gateway.ledger.reports.kept_warm import outcomes
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.schema import attempts

_OWN = ("provider", "deployment")
_PART = 500


def charges_of(snapshot: Snapshot, query: ReportQuery) -> Iterator[tuple[Any, ...]]:
    """(period_start_at_us, status, cost_pico_usd, low, high, kind, quantity), then the group's
    values.
    """
    for charge, of in charges_with(snapshot, query):
        yield (
            charge["period_start_at_us"],
            charge["status"],
            charge["cost_pico_usd"],
            charge["low_pico_usd"],
            charge["high_pico_usd"],
            charge["kind"],
            charge["quantity"],
            *(_dimension(name, charge, of) for name in query.group_by),
        )


def charges_with(
    snapshot: Snapshot, query: ReportQuery
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Charges that a question is about, each with the dimensions of its attempt that are asked."""
    names = of_attempt(query)
    found = snapshot.charges(selection.charges_of(query), query.start_at_us, query.end_at_us)
    while part := [row._mapping for row in islice(found, _PART)]:
        paying = paying_for(snapshot, part, names) if names else {}
        stays = outcomes(snapshot, part) if "stay" in query.only else {}
        for charge in part:
            of = paying.get(charge["attempt_id"], {})
            if is_asked_for(charge, of, stays.get(charge["charge_id"]), query):
                yield charge, of


def of_attempt(query: ReportQuery) -> tuple[str, ...]:
    """Dimensions of a question that a charge takes from its attempt."""
    names = [name for name in (*query.group_by, *query.dimensions) if name not in _OWN]
    if query.key_id is not None:
        names.append("key")
    return tuple(dict.fromkeys(names))


def needs_more(query: ReportQuery) -> bool:
    """Whether it takes more than a charge's row to say if the question is about it."""
    if query.key_id is not None or "stay" in query.only:
        return True
    return not set(query.dimensions) <= set(_OWN)


def paying_for(
    snapshot: Snapshot, charges: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """Dimensions of the attempts that some charges are for, by the attempt's id; also its
    ``operation_id``, which is none.
    """
    columns = [
        attempts.c.operation_id if name == "operation_id" else selection.attempt_dimension(name)
        for name in names
    ]
    labelled = [column.label(name) for column, name in zip(columns, names, strict=True)]
    statement = select(attempts.c.attempt_id.label("of"), *labelled)
    ids = sorted({row["attempt_id"] for row in charges if row["attempt_id"] is not None})
    return {row.of: row._mapping for row in snapshot.find(ids, attempts.c.attempt_id, statement)}


def is_asked_for(
    charge: Mapping[str, Any], of: Mapping[str, Any], stay: str | None, query: ReportQuery
) -> bool:
    """Whether the filters let a charge through; ``of`` are the dimensions of its attempt, ``stay``
    is what its stay came to.
    """
    if "stay" in query.only and stay not in query.only["stay"]:
        return False
    if query.key_id is not None and of.get("key") != query.key_id:
        return False
    if any(_dimension(name, charge, of) is not None for name in query.without):
        return False
    return all(_dimension(name, charge, of) in values for name, values in query.filters.items())


def _dimension(name: str, charge: Mapping[str, Any], of: Mapping[str, Any]) -> Any:
    if name == "origin" and charge["origin"] is not None:
        return charge["origin"]
    return charge[name] if name in _OWN else of.get(name)
