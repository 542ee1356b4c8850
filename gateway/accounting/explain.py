"""Why an attempt cost what it cost: its lines computed again from its row, beside those booked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from gateway.accounting.lines import Line, line_usd
from gateway.accounting.prices import PriceRow
from gateway.accounting.pricing import Cost
from gateway.accounting.recompute import (
    asked_later,
    priced_by_provider,
    recomputed,
    refused_before_work,
)
from gateway.accounting.settle import plain
from gateway.ledger.rows import AttemptRow

_PICO = Decimal("1E-12")
_ROUNDING = "to 12 places, half to even"


def explained(row: AttemptRow) -> dict[str, Any]:
    """One attempt's cost, line by line, from its row in the ledger alone; ready for JSON.

    ``agrees`` is whether the figures computed again equal those booked, to the last digit; None
    where nothing can be computed (the attempt runs; nobody knew its price).
    """
    found: dict[str, Any] = {
        "attempt_id": row.attempt_id,
        "operation_id": row.operation_id,
        "deployment": row.deployment,
        "provider": row.provider,
        "status": row.status,
        "cost_status": row.cost_status,
        "booked_usd": _usd(row.cost_pico_usd),
        "recomputed_usd": None,
        "agrees": None,
        "why": "",
        "price": row.price,
        "lines": [],
        "pending": row.pending,
    }
    if row.status == "running":
        return {**found, "why": "It runs: nothing is booked before its end."}
    if refused_before_work(row):
        why = "The provider refused it before any work: that costs nothing."
        return {**found, "recomputed_usd": "0", "agrees": True, "why": why}
    price_row = None
    if priced_by_provider(row):
        found["why"] = "The provider put this price on the attempt; no price row was used."
    elif row.price is None:
        found["why"] = "No price was known for this deployment: unknown, and not 0."
        found["agrees"] = row.cost_pico_usd is None
        return found
    else:
        try:
            price_row = PriceRow.model_validate(row.price)
        except ValidationError:
            return {**found, "why": "This release cannot read the price row that was used."}
    cost = recomputed(row, price_row)
    booked = {line["kind"]: line for line in row.cost_lines}
    found["lines"] = [
        _line(row, price_row, line, booked.pop(line.kind, None)) for line in cost.lines
    ]
    found["lines"] += [_left_over(line) for line in booked.values()]
    found["recomputed_usd"] = plain(cost.total_usd)
    found["agrees"] = _agrees(row, cost) and all(line["agrees"] for line in found["lines"])
    if not found["agrees"] and asked_later(row):
        found["agrees"] = None
        found["why"] = (
            "The provider told of it later, and not enough to price it: the figure was booked "
            "before that and cannot be computed from what is known now."
        )
    if not found["why"]:
        found["why"] = _why(row, cost, agrees=found["agrees"])
    return found


def _agrees(row: AttemptRow, cost: Cost) -> bool:
    booked = None if row.cost_pico_usd is None else row.cost_pico_usd * _PICO
    return booked == cost.total_usd and row.known_pico_usd * _PICO == cost.known_usd


def _why(row: AttemptRow, cost: Cost, *, agrees: bool) -> str:
    if not agrees:
        return "The row's own counts and price do not give the booked figure."
    if not cost.lines:
        return "Nothing of an attempt is billed by this price; what it bills stands in charges."
    if cost.total_usd is None:
        return "A billable quantity is not known, so the total is not either."
    if row.cost_status == "estimated":
        return f"An estimate, between {_usd(row.low_pico_usd)} and {_high(row)} USD."
    return "Every line is a known quantity times the price of one."


def _high(row: AttemptRow) -> str:
    return "no bound" if row.high_pico_usd is None else str(_usd(row.high_pico_usd))


def _line(
    row: AttemptRow, price_row: PriceRow | None, line: Line, booked: dict[str, Any] | None
) -> dict[str, Any]:
    usd, quantity = plain(line.usd), plain(line.quantity)
    agrees = booked is not None and (
        (booked["quantity"], booked["unit_price_usd"], booked["usd"])
        == (quantity, plain(line.unit_price_usd), usd)
    )
    return {
        "kind": line.kind,
        "quantity": quantity,
        "quantity_from": _quantity_from(row, price_row, line.kind),
        "unit_price_usd": plain(line.unit_price_usd),
        "price_id": line.price_id,
        "usd": usd,
        "rounding": _ROUNDING,
        "rule": _rule(price_row, line.kind),
        "booked_usd": None if booked is None else booked["usd"],
        "booked_quantity": None if booked is None else booked["quantity"],
        "status": line.status if booked is None else booked["status"],
        "agrees": agrees,
    }


def _left_over(booked: dict[str, Any]) -> dict[str, Any]:
    """A line that was booked and does not follow from the row."""
    quantity, unit = booked["quantity"], booked["unit_price_usd"]
    usd = None
    if quantity is not None and unit is not None:
        usd = plain(line_usd(Decimal(quantity), Decimal(unit)))
    return {
        "kind": booked["kind"],
        "quantity": quantity,
        "quantity_from": "the booked line alone",
        "unit_price_usd": unit,
        "price_id": booked["price_id"],
        "usd": usd,
        "rounding": _ROUNDING,
        "rule": "",
        "booked_usd": booked["usd"],
        "booked_quantity": quantity,
        "status": booked["status"],
        "agrees": False,
    }


def _quantity_from(row: AttemptRow, price_row: PriceRow | None, kind: str) -> str:
    match kind:
        case "reported":
            return "the provider"
        case "requests":
            return "every attempt is one"
        case "images":
            return "column images"
        case "input_tokens" | "output_tokens" if getattr(row, kind) is None:
            return "refused, so none; the booked line says it"
        case "input_tokens":
            less = " less cached_input_tokens" if row.cached_input_tokens else ""
            return f"column input_tokens{less}, {row.input_tokens_source or 'source unknown'}"
        case "cached_input_tokens":
            return "column cached_input_tokens, reported"
        case "output_tokens":
            return f"column output_tokens, {row.output_tokens_source or 'source unknown'}"
    if row.status == "interrupted" and not asked_later(row):
        return "column total_seconds, up to the gateway's last sign of life"
    if kind == "execute_seconds" and price_row is not None and price_row.shared:
        return "the booked share of column execute_seconds"
    if kind == "boot_seconds" and row.boot_seconds is None:
        return "column wait_seconds, of which anything may have been a boot"
    return f"column {kind}"


def _rule(price_row: PriceRow | None, kind: str) -> str:
    if price_row is None:
        return "the provider's own figure is taken as it is"
    if not kind.endswith("_seconds"):
        return f"every one costs the same; {_tiers(price_row)}" if price_row.tiers else "each one"
    said = [f"bills {', '.join(sorted(price_row.bills))}"]
    if price_row.shared and kind == "execute_seconds":
        said.append("a second is split over those running in it")
    if price_row.round_up_seconds is None:
        said.append("to the microsecond")
    else:
        said.append(f"rounded up to a multiple of {plain(price_row.round_up_seconds)} s")
    return "; ".join(said)


def _tiers(price_row: PriceRow) -> str:
    starts = ", ".join(str(tier.above_input_tokens) for tier in price_row.tiers)
    return f"the rate is that of the input's length (tiers above {starts} tokens)"


def _usd(pico_usd: int | None) -> str | None:
    return None if pico_usd is None else plain(pico_usd * _PICO)
