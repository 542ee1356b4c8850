"""What an operation that runs has cost so far: what its bill would be if it were cancelled now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.execution.booking import if_it_ended
from gateway.execution.run import Run
from gateway.ledger.reports.views import cold_start_json, operation_cost_json
from gateway.ledger.rows import AttemptRow


def so_far_json(run: Run) -> dict[str, Any]:
    """Cost, verdict and seconds as they would stand if it ended at this moment."""
    rows = so_far(run)
    cost = operation_cost_json(rows)
    now = run.clock.monotonic()
    return {
        "cost": {name: cost[name] for name in ("total_usd", "known_usd", "status", "range_usd")},
        "cold_start": None if not rows else cold_start_json(rows[-1]),
        "seconds": round(max(0.0, now - run.received_at), 6),
    }


def so_far(run: Run) -> Sequence[AttemptRow]:
    """The rows of its attempts: those that have ended, and those that run as if they had."""
    at = run.clock.monotonic()
    return [
        if_it_ended(attempt, at) if attempt.row.status == "running" else attempt.row
        for attempt in run.attempts
    ]
