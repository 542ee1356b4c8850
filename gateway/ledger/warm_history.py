"""The newest attempts, as far as they tell how warm their deployments are. Reads only."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.ledger.schema import attempts
from gateway.warmth.history import Past

MOST_ROWS = 20_000
"""Read at a start, of all deployments together: about half a second of one core."""


def recent(
    connection: Connection, before_us: int, most_rows: int = MOST_ROWS
) -> dict[str, list[Past]]:
    """The newest attempts that went through a gateway and have ended, by deployment.

    Only what came in before ``before_us``: of what came since, the reader has seen for itself.
    """
    a = attempts.c
    found = (
        select(
            a.deployment,
            a.attempt_id,
            a.begun_at_us,
            a.completed_at_us,
            a.verdict,
            a.caused_boot,
            a.queue_seconds,
            a.boot_seconds,
            a.wait_seconds,
            a.first_output_seconds,
            a.instance_id,
            a.upstream_revision,
            a.status,
            a.cost_pico_usd,
        )
        .where(a.operation_at_us < before_us, a.origin == "live", a.completed_at_us.is_not(None))
        .order_by(a.operation_at_us.desc(), a.operation_id.desc())
        .limit(most_rows)
    )
    by_deployment: dict[str, list[Past]] = {}
    for name, *row in connection.execute(found):
        (attempt_id, begun, completed, verdict, caused, queue, boot, wait, first, *rest) = row
        instance_id, revision, status, cost = rest
        worked = status == "succeeded" or cost != 0  # an unknown cost may be one
        after = wait if wait is not None and first is not None else first
        past = Past(
            *(attempt_id, begun, completed, verdict, caused, queue, boot, after),
            *(instance_id, revision, worked),
        )
        by_deployment.setdefault(name, []).append(past)
    return by_deployment
