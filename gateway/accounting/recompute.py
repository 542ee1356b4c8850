"""From a row of the ledger back to what it used: to explain a cost, or to price it again.

A row keeps counts, seconds and its cost lines, but not how far an estimate could be off, nor the
share of a machine that ran others as well (only the line that was booked for it). What cannot be
told from the row is an estimate here, with the bounds that the row allows, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.accounting.metering import Count, CountSource, Metered
from gateway.accounting.prices import PriceRow
from gateway.accounting.pricing import Billable, Cost, Seconds, price
from gateway.ledger.rows import AttemptRow

_ZERO = Decimal(0)


def refused_before_work(row: AttemptRow) -> bool:
    """Whether the attempt cost nothing because the provider refused it before any work.

    One that succeeded was not; one under a price for standing machines costs nothing either way.
    """
    free = row.cost_status == "measured" and row.cost_pico_usd == 0 and not row.cost_lines
    return free and row.status != "succeeded" and not _for_standing_machines(row)


def priced_by_provider(row: AttemptRow) -> bool:
    """Whether the provider itself put the price on the attempt."""
    return any(line["kind"] == "reported" for line in row.cost_lines)


def recomputed(row: AttemptRow, price_row: PriceRow | None) -> Cost:
    """What an ended attempt costs under a price row. Raises ValueError on an unreadable line."""
    if refused_before_work(row):
        return Cost("measured", _ZERO, _ZERO, _ZERO, _ZERO, ())
    return price(price_row, billable(row, price_row))


def billable(row: AttemptRow, price_row: PriceRow | None) -> Billable:
    """Everything of an ended attempt that a price row may put money on."""
    booked = {line["kind"]: line for line in row.cost_lines}
    if "reported" in booked:
        return Billable(Metered(), reported_cost_usd=Decimal(booked["reported"]["usd"]))
    if row.status == "interrupted" and not _told_later(row):
        return _interrupted(row, price_row)
    metered = Metered(
        _count(row.input_tokens, row.input_tokens_source, None) or _none_of(booked, "input_tokens"),
        _count(row.output_tokens, row.output_tokens_source, row.max_output_tokens)
        or _none_of(booked, "output_tokens"),
        _count(row.cached_input_tokens, "reported", None),  # nobody estimates these
        row.reasoning_tokens,
        row.images,
    )
    return Billable(
        metered,
        execute=_execute(row, price_row, booked.get("execute_seconds")),
        boot=_boot(row, booked.get("boot_seconds")),
        queue=None if row.queue_seconds is None else Seconds(row.queue_seconds),
    )


def _told_later(row: AttemptRow) -> bool:
    """Whether the provider's later word was enough to price it."""
    measured = all(line["status"] == "measured" for line in row.cost_lines)
    return asked_later(row) and measured


def asked_later(row: AttemptRow) -> bool:
    """Whether the provider told of the attempt after it was booked."""
    return row.lookup in ("looked_up", "found")


def _for_standing_machines(row: AttemptRow) -> bool:
    """Whether the price puts nothing on any attempt."""
    rates = {key for key in row.price or () if key.startswith("usd_per_")}
    return rates == {"usd_per_second"} and (row.price or {}).get("bills") == ["standing"]


def _count(value: int | None, source: str | None, high: int | None) -> Count | None:
    if value is None:
        return None
    if source == "estimated" or source is None:
        return Count(value, "estimated", 0, None if high is None else max(high, value))
    known: CountSource = "counted" if source == "counted" else "reported"
    return Count(value, known, value, value)


def _none_of(booked: Mapping[str, dict[str, Any]], kind: str) -> Count | None:
    """Tokens of an attempt that was refused: none, which only its booked line says."""
    if kind in booked and booked[kind]["quantity"] == "0":
        return Count(0, "reported", 0, 0)
    return None


def _execute(
    row: AttemptRow, price_row: PriceRow | None, booked: dict[str, Any] | None
) -> Seconds | None:
    whole = row.execute_seconds
    if whole is None:
        return None
    was_shared = bool((row.price or {}).get("shared"))
    if price_row is None:
        return Seconds(whole)
    shared = price_row.shared
    if shared and not was_shared:
        return Seconds(whole, 0.0, whole)  # whose seconds they were beside is not kept
    if booked is None or booked["quantity"] is None:
        return Seconds(whole) if row.status == "succeeded" else Seconds(whole, 0.0, None)
    value = float(booked["quantity"]) if shared else whole
    if booked["status"] != "measured":
        return Seconds(value, 0.0, None)
    step = (row.price or {}).get("round_up_seconds")
    if shared and step is not None and Decimal(step) != price_row.round_up_seconds:
        return Seconds(value, max(0.0, value - float(step)), value)  # it was rounded up to this
    return Seconds(value)


def _boot(row: AttemptRow, booked: dict[str, Any] | None) -> Seconds | None:
    if row.caused_boot is False:
        return None
    if booked is not None:
        waited = row.wait_seconds if row.boot_seconds is None else row.boot_seconds
        if booked["status"] == "measured":
            return Seconds(waited or 0.0)
        if row.caused_boot is None and booked["quantity"] is not None:
            waited = min(waited or 0.0, float(booked["quantity"]))  # others carry the rest
        return Seconds(waited or 0.0, 0.0, None)
    if "boot" in (row.price or {}).get("bills", ()):
        return None  # it was looked for when the attempt ended, and there was none
    if row.boot_seconds is not None:
        if row.status != "succeeded":
            return Seconds(row.boot_seconds, 0.0, None)
        caused = row.caused_boot is True
        return Seconds(row.boot_seconds, *(() if caused else (0.0, row.boot_seconds)))
    if row.wait_seconds is None or row.queue_seconds is not None:
        return None
    return Seconds(row.wait_seconds, 0.0, row.wait_seconds)  # of it anything may have been a boot


def _interrupted(row: AttemptRow, price_row: PriceRow | None) -> Billable:
    tokens = Metered(
        Count(row.input_tokens or 0, "estimated", 0, None),
        Count(0, "estimated", 0, row.max_output_tokens),
    )
    seconds = None if row.total_seconds is None else Seconds(row.total_seconds, 0.0, None)
    if price_row is None or "execute" in price_row.bills:
        return Billable(tokens, execute=seconds)
    if "boot" in price_row.bills:
        return Billable(tokens, boot=seconds)
    return Billable(tokens, queue=seconds)
