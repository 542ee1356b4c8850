"""What an attempt counts for under a budget. ``gateway.ledger.spend`` says the same in SQL."""

from __future__ import annotations

from gateway.ledger.rows import AttemptRow


def counted_pico_usd(row: AttemptRow) -> int:
    """Its cost; where that is not known, or its gateway died, the most that it can have been.

    Where nothing bounds it, what was set aside for it; never less than is known.
    """
    if row.cost_pico_usd is not None and row.status != "interrupted":
        return row.cost_pico_usd
    most = row.high_pico_usd if row.high_pico_usd is not None else row.reserved_pico_usd
    return max(row.known_pico_usd, most or 0)
