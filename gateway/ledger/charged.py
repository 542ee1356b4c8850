"""What a starting gateway has to know about money that belongs to no single attempt. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from gateway.ledger.schema import attempts, charges


def last_ended(
    connection: Connection, deployments: Sequence[str], since_us: int
) -> dict[str, tuple[str, int]]:
    """The attempt that ended last at each deployment since an instant: its id, and when it ended.

    Only what went through a gateway, and only what may have used a machine: a refusal leaves one as
    it was.
    """
    a = attempts.c
    of_interest = (
        a.deployment.in_(deployments),
        a.operation_at_us >= since_us,
        a.origin == "live",
        a.completed_at_us.is_not(None),
        (a.status == "succeeded") | (a.cost_pico_usd.is_(None)) | (a.cost_pico_usd != 0),
    )
    newest = (
        select(a.deployment, func.max(a.completed_at_us).label("at_us"))
        .where(*of_interest)
        .group_by(a.deployment)
        .subquery()
    )
    found = select(a.deployment, a.attempt_id, a.completed_at_us).join(
        newest,
        (a.deployment == newest.c.deployment) & (a.completed_at_us == newest.c.at_us),
    )
    return {name: (attempt_id, at_us) for name, attempt_id, at_us in connection.execute(found)}


def standing_until(connection: Connection, deployments: Sequence[str]) -> dict[str, int]:
    """Until when standing machines have been booked, in microseconds since the epoch."""
    c = charges.c
    found = (
        select(c.deployment, func.max(c.period_end_at_us))
        .where(c.kind == "standing", c.deployment.in_(deployments))
        .group_by(c.deployment)
    )
    return {name: until_us for name, until_us in connection.execute(found)}
