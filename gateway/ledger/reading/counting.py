"""What an attempt counts for under a budget. ``spend`` says the same in SQL."""

from __future__ import annotations

from gateway.ledger.rows import AttemptRow


def counted_pico_usd(row: AttemptRow) -> int:
    """Its cost, where that is known well enough; else the most that it can have been.

    Of an answer that came to its end, an estimate will do, and of one that its caller broke off
    while it came: what was seen is what was made. Not so where seconds are paid for, which may go
    on, and not where it failed: all of it may have been made. Where nothing bounds the cost, what
    was set aside for it counts; never less than is known.
    """
    cost = row.cost_pico_usd
    if cost is not None and (row.cost_status == "measured" or _seen_whole(row)):
        return cost
    most = row.high_pico_usd if row.high_pico_usd is not None else row.reserved_pico_usd
    return max(row.known_pico_usd, most or 0)


def _seen_whole(row: AttemptRow) -> bool:
    if row.status == "cancelled" and row.first_output_seconds is not None:
        return "usd_per_second" not in (row.price or {})
    return row.status == "succeeded"
