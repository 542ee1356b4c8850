"""A comparison as JSON: money as decimal strings, seconds without digits that mean nothing."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from gateway.clock import rfc3339
from gateway.comparison.evaluate import Outcome
from gateway.comparison.seconds import Timing
from gateway.warmth.arrivals import UNKNOWN, Traffic

_PICO = Decimal("1E-12")


def traffic_json(traffic: Traffic) -> dict[str, Any]:
    """What the comparison is over."""
    days = traffic.days
    return {
        "origin": traffic.origin,
        "start_time": rfc3339(traffic.start_at_us),
        "end_time": rfc3339(traffic.end_at_us),
        "days": _short(days),
        "requests": traffic.requests,
        "requests_per_day": _short(traffic.requests / days) if days else None,
        "mean_input_tokens": _short(mean_of(traffic, "input_tokens")),
        "mean_output_tokens": _short(mean_of(traffic, "output_tokens")),
        "left_out": traffic.left_out,
        "sample": {
            "requests_read": traffic.requests_read,
            "stretches_read": len(traffic.stretches),
            "stretches": traffic.stretches_in_range,
        }
        if traffic.is_sample
        else None,
        "notes": traffic.notes,
    }


def outcome_json(outcome: Outcome, traffic: Traffic) -> dict[str, Any]:
    """One candidate; null is "not known"."""
    candidate, timing, spent, waits = (
        outcome.candidate,
        outcome.timing,
        outcome.spent,
        outcome.waits,
    )
    row, boot, keep = candidate.row, candidate.boot, candidate.keep_alive
    replica = candidate.has_replica
    total = outcome.total_usd
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "provider": candidate.provider,
        "hardware": None if candidate.hardware is None else str(candidate.hardware),
        "price_id": None if row is None else row.id,
        "price_source": None if row is None else row.source,
        "bills": [] if row is None or row.usd_per_second is None else sorted(row.bills),
        "status": outcome.status,
        "total_usd": _usd(total),
        "known_usd": _usd(outcome.known_usd),
        "range_usd": None
        if outcome.low_usd is None
        else {"low": _usd(outcome.low_usd), "high": _usd(outcome.high_usd)},
        "usd_per_request": _usd(
            total / traffic.requests if total is not None and traffic.requests else None
        ),
        **{name: _usd(usd) for name, usd in outcome.parts.items()},
        "sampling_error": _short(outcome.sampling_error),
        "execute": None
        if timing is None
        else {
            "status": timing.status,
            "basis": timing.basis,
            "mean_seconds": _mean_seconds(timing),
            "low_factor": _short(timing.low),
            "high_factor": _short(timing.high),
        },
        "waits": {
            "p50_seconds": _short(waits.p50),
            "p95_seconds": _short(waits.p95),
            "p99_seconds": _short(waits.p99),
            "mean_seconds": _short(waits.mean),
            "cold_rate": _short(waits.cold_rate),
            "boots": waits.boots,
            "basis": waits.basis,
        },
        "boot": None
        if boot is None or not replica
        else {
            "seconds": _short(boot.seconds),
            "low": _short(boot.low),
            "high": _short(boot.high),
            "status": boot.status,
            "basis": boot.basis,
        },
        "keep_alive": {"seconds": keep.seconds, "basis": keep.basis} if replica else None,
        "places": candidate.places,
        "replicas": outcome.replicas,
        "utilisation": _short(spent.busy_us / spent.replica_us)
        if spent is not None and spent.replica_us
        else None,
        "sensitivity": {
            "boot": [money(told) for told in outcome.boot_sensitivity],
            "one_at_a_time": money(outcome.one_at_a_time),
        },
        "unknown": outcome.unknown,
        "notes": outcome.notes,
    }


def _mean_seconds(timing: Timing) -> float | None:
    count = sum(len(column) for column in timing.columns)
    return _short(sum(sum(column) for column in timing.columns) / 1e6 / count) if count else None


def mean_of(traffic: Traffic, name: str) -> float | None:
    """The mean of a column over all requests; None where any is not known."""
    total = count = 0
    for stretch in traffic.stretches:
        column = getattr(stretch.arrivals, name)
        if UNKNOWN in column:
            return None
        total, count = total + sum(column), count + len(column)
    return total / count if count else None


def money(found: Any) -> Any:
    """Dollars as text, seconds and shares without digits that mean nothing."""
    if isinstance(found, dict):
        return {name: money(value) for name, value in found.items()}
    if isinstance(found, list):
        return [money(value) for value in found]
    if isinstance(found, Decimal):
        return _usd(found)
    return _short(found) if isinstance(found, float) else found


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def _usd(amount: Decimal | None) -> str | None:
    if amount is None:
        return None
    text = format(amount.quantize(_PICO, rounding=ROUND_HALF_EVEN), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
