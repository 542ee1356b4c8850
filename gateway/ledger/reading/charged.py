"""What a starting gateway has to know about money that belongs to no single attempt. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select

from gateway.ledger.months.archive import EVER_US, Snapshot
from gateway.ledger.schema import charges


def standing_until(snapshot: Snapshot, deployments: Sequence[str]) -> dict[str, int]:
    """Until when standing machines have been booked, in microseconds since the epoch."""
    c = charges.c
    last: dict[str, int] = {}
    for name in deployments:
        # By the index of time, newest first: there is one for each hour.
        newest = (
            select(c.period_end_at_us)
            .where(c.kind == "standing", c.deployment == name)
            .order_by(c.period_start_at_us.desc())
            .limit(1)
        )
        for (until_us,) in snapshot.charges(newest, 0, EVER_US):
            last[name] = until_us
            break  # the main file comes first, then the months, the newest before the others
    return last


def idle_gaps(snapshot: Snapshot, deployment: str, since_us: int) -> set[str]:
    """Ids of the idle charges that are booked."""
    c = charges.c
    found = select(c.charge_id).where(
        c.kind == "idle", c.deployment == deployment, c.period_start_at_us >= since_us
    )
    return {row[0] for row in snapshot.charges(found, since_us, EVER_US)}


def stays(snapshot: Snapshot, deployment: str, since_us: int) -> list[tuple[int, int]]:
    """Begin and end of each stay that a keep-warm policy wanted, in microseconds of the epoch."""
    c = charges.c
    found = select(c.period_start_at_us, c.period_end_at_us).where(
        c.kind == "keep_warm", c.deployment == deployment, c.period_start_at_us >= since_us
    )
    return [(begin, end) for begin, end in snapshot.charges(found, since_us, EVER_US)]


def kept_pico_usd(
    snapshot: Snapshot, deployment: str, since_us: int, told: Mapping[str, int]
) -> int:
    """What keeping it warm has cost since then. ``told``: of some charges of that time, by their
    ids, which may not be here yet.
    """
    c = charges.c
    total = select(func.sum(c.cost_pico_usd)).where(
        c.kind == "keep_warm", c.deployment == deployment, c.period_start_at_us >= since_us
    )
    here = {row[0] for row in snapshot.find(sorted(told), c.charge_id, select(c.charge_id))}
    booked = sum(int(row[0] or 0) for row in snapshot.charges(total, since_us, EVER_US))
    return booked + sum(pico_usd for of, pico_usd in told.items() if of not in here)
