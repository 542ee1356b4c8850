"""What an operation that runs has cost so far: by the rules of its bill, on a copy.

An estimate, and not yet all of those rules: what may go on at the provider after a cancellation, a
boot that several waited for, and which attempt of a race has answered count only when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from gateway.accounting.settle import Observed, settle, settle_unknown
from gateway.attempt import Attempt
from gateway.execution import Run
from gateway.ledger.rows import AttemptRow
from gateway.ledger.views import cold_start_json, operation_cost_json


def so_far_json(run: Run) -> dict[str, Any]:
    """Cost, verdict and seconds as they would stand if it ended at this moment.

    The cost's status is never ``measured``: it is not over.
    """
    rows = so_far(run)
    cost = operation_cost_json(rows)
    now = run.clock.monotonic()
    return {
        "cost": {
            "total_usd": cost["total_usd"],
            "known_usd": cost["known_usd"],
            "status": "unknown" if cost["total_usd"] is None else "estimated",
        },
        "cold_start": None if not rows else cold_start_json(rows[-1]),
        "seconds": round(max(0.0, now - run.received_at), 6),
    }


def so_far(run: Run) -> Sequence[AttemptRow]:
    """The rows of its attempts: those that have ended, and those that run as if they had."""
    running = {id(attempt.row): attempt for attempt in run.attempts_now}
    return [
        _if_it_ended(run, running[id(row)])
        if row.status == "running" and id(row) in running
        else row
        for row in list(run.rows)
    ]


def _if_it_ended(run: Run, attempt: Attempt) -> AttemptRow:
    at, target = run.clock.monotonic(), attempt.target
    row, timeline = replace(attempt.row), copy(attempt.timeline)
    timeline.end(at)
    price = None if target.tariff is None else target.tariff.at(row.begun_at_us)
    seen = Observed(
        timeline,
        attempt.usage,
        input_bytes=run.order.input_bytes,
        output_bytes=run.answer.text_bytes,
        images=run.answer.images,
        boot_limit_seconds=target.timeouts.boot_seconds,
        share_seconds=attempt.share_seconds_until(at)
        if price is not None and price.shared and timeline.work_began
        else None,
    )
    try:
        settle(row, seen, price, target.estimator)
    except (ArithmeticError, ValueError, TypeError):
        settle_unknown(row)  # figures of an adapter that cannot be computed with
    return row
