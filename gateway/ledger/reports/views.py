"""Attempt rows as the JSON of the public API: the live answer and the reports say the same.

Money leaves as a decimal string, exact from pico-USD; None is "not known" and stays null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.clock import rfc3339
from gateway.ledger.rows import AttemptRow

_PICO = 10**12


def usd(pico_usd: int) -> str:
    """``93000000`` as ``"0.000093"``: no exponent, no trailing zeros."""
    whole, fraction = divmod(abs(pico_usd), _PICO)
    text = f"{whole}.{fraction:012d}".rstrip("0").rstrip(".")
    return f"-{text}" if pico_usd < 0 else text


def usd_or_null(pico_usd: int | None) -> str | None:
    """As ``usd``; None stays None."""
    return None if pico_usd is None else usd(pico_usd)


def bounds(
    status: str, known_pico_usd: int, low_pico_usd: int | None, high_pico_usd: int | None
) -> tuple[int, int | None]:
    """Between which pico-USD the cost of a row lies; high None: nothing bounds it."""
    low = known_pico_usd if low_pico_usd is None else low_pico_usd
    if high_pico_usd is None and status == "measured":
        return low, known_pico_usd
    return low, high_pico_usd


def cost_json(row: AttemptRow) -> dict[str, Any]:
    """The cost of one attempt."""
    return operation_cost_json([row])


def operation_cost_json(rows: Sequence[AttemptRow]) -> dict[str, Any]:
    """The cost of an operation: the sum over its attempts, null while any of them is unknown."""
    statuses = {row.cost_status for row in rows}
    known = sum(row.known_pico_usd for row in rows)
    total: int | None = 0
    low, high = 0, 0 if rows else None
    for row in rows:
        cost = row.cost_pico_usd
        total = None if total is None or cost is None else total + cost
        row_low, row_high = bounds(
            row.cost_status, row.known_pico_usd, row.low_pico_usd, row.high_pico_usd
        )
        low += row_low
        high = None if high is None or row_high is None else high + row_high
    exact = statuses == {"measured"}
    return {
        "total_usd": usd_or_null(total if rows else None),
        "known_usd": usd(known),
        "status": next(
            (word for word in ("unknown", "estimated") if word in statuses),
            "measured" if exact else "unknown",
        ),
        "range_usd": None if exact else {"low": usd(low), "high": usd_or_null(high)},
        "pending": list(dict.fromkeys(word for row in rows for word in row.pending)),
        "lines": [line for row in rows for line in row.cost_lines],
    }


def timing_json(row: AttemptRow) -> dict[str, Any]:
    """Where the time of one attempt went, in seconds.

    ``held_seconds`` only where it was held, ``unattended_seconds`` only where nobody waited.
    """
    held = {} if row.held_seconds is None else {"held_seconds": row.held_seconds}
    left = row.unattended_seconds
    return {
        **held,
        "queue_seconds": row.queue_seconds,
        "boot_seconds": row.boot_seconds,
        "wait_seconds": row.wait_seconds,
        "first_output_seconds": row.first_output_seconds,
        "execute_seconds": row.execute_seconds,
        "gateway_seconds": row.gateway_seconds,
        "total_seconds": row.total_seconds,
        **({} if left is None else {"unattended_seconds": left}),
    }


def usage_json(row: AttemptRow) -> dict[str, Any]:
    """What one attempt used; reasoning tokens and images only where there were any."""
    sources = {
        name: source
        for name, source in (
            ("input_tokens", row.input_tokens_source),
            ("output_tokens", row.output_tokens_source),
        )
        if source is not None
    }
    words = set(sources.values())
    usage: dict[str, Any] = {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "source": "mixed" if len(words) > 1 else next(iter(words), None),
        "sources": sources,
    }
    if row.reasoning_tokens is not None:
        usage["reasoning_tokens"] = row.reasoning_tokens
    if row.images:
        usage["images"] = row.images
    return usage


def cold_start_json(row: AttemptRow) -> dict[str, Any]:
    """The verdict on one attempt, with what it rests on."""
    return {
        "verdict": row.verdict,
        "evidence": row.evidence,
        "caused_boot": row.caused_boot,
        "boot_seconds": row.boot_seconds,
        "idle_before_seconds": row.idle_before_seconds,
    }


def attempt_json(row: AttemptRow) -> dict[str, Any]:
    """One attempt as it stands in the list of its operation."""
    shown = {
        "id": row.attempt_id,
        "deployment": row.deployment,
        "status": row.status,
        "upstream_id": row.upstream_id,
        "cost_usd": usd_or_null(row.cost_pico_usd),
        "verdict": row.verdict,
    }
    if row.lookup is not None:
        shown["lookup"] = row.lookup
    return shown


def operation_json(rows: Sequence[AttemptRow]) -> dict[str, Any]:
    """An operation without its output, from all of its attempts (one at least).

    Usage, timing and verdict are those of the attempt that answered; money is that of all.
    """
    ordered = sorted(rows, key=lambda row: row.ordinal)
    answering = _answering(ordered)
    timing = timing_json(answering)
    if answering.completed_at_us is not None:
        # The caller also waited for the gateway, and for the attempts before this one.
        timing["total_seconds"] = (answering.completed_at_us - answering.operation_at_us) / 1e6
    return {
        "id": answering.operation_id,
        "model": answering.model,
        "provider": answering.provider,
        "deployment": answering.deployment,
        "created_at": rfc3339(answering.operation_at_us),
        "status": "cancelled" if answering.status == "lost_hedge" else answering.status,
        "finish_reason": answering.finish_reason,
        "usage": usage_json(answering),
        "cost": operation_cost_json(ordered),
        "timing": timing,
        "cold_start": cold_start_json(answering),
        "attempts": [attempt_json(row) for row in ordered],
        "tags": answering.tags,
        **({} if ordered[0].choice is None else {"candidates": ordered[0].choice}),
    }


def _answering(ordered: Sequence[AttemptRow]) -> AttemptRow:
    """The attempt that succeeded, else one that runs, else the last that was not a lost hedge."""
    for status in ("succeeded", "running"):
        for row in reversed(ordered):
            if row.status == status:
                return row
    return next((row for row in reversed(ordered) if row.status != "lost_hedge"), ordered[-1])
