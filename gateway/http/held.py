"""Operations that wait at the gateway for a place at a deployment: they have no attempt there yet.

So the ledger knows nothing of them, and lists say here that they are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.clock import rfc3339
from gateway.execution.run import Run
from gateway.execution.waking import Held


def held_json(run: Run) -> dict[str, Any] | None:
    """Where one waits, for what, and since when; None: it does not."""
    held = run.held
    if held is None:
        return None
    return {
        "deployment": held.deployment,
        "waits_for": _waits_for(held),
        "since": rfc3339(_since_us(run, held)),
    }


def held_by_deployment(runs: Iterable[Run], sees_only: str | None) -> list[dict[str, Any]]:
    """How many wait where and for what, and since when the first of them does.

    ``sees_only``: of this key alone; None: of all.
    """
    since_us: dict[tuple[str, str], list[int]] = {}
    for run in runs:
        held = run.held
        if held is not None and sees_only in (None, run.order.key_id):
            place = (held.deployment, _waits_for(held))
            since_us.setdefault(place, []).append(_since_us(run, held))
    return [
        {
            "deployment": deployment,
            "waits_for": waits_for,
            "operations": len(found),
            "since": rfc3339(min(found)),
        }
        for (deployment, waits_for), found in sorted(since_us.items())
    ]


def _waits_for(held: Held) -> str:
    return "boot" if held.cold else "place"


def _since_us(run: Run, held: Held) -> int:
    return run.received_at_us + round((held.since - run.received_at) * 1e6)
