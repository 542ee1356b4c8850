"""What a starting gateway has to know about money that belongs to no single attempt. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.ledger.months import EVER_US, Snapshot
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


def stays(snapshot: Snapshot, deployment: str, since_us: int) -> list[tuple[int, int]]:
    """Begin and end of each stay that a keep-warm policy wanted, in microseconds of the epoch."""
    c = charges.c
    found = select(c.period_start_at_us, c.period_end_at_us).where(
        c.kind == "keep_warm", c.deployment == deployment, c.period_start_at_us >= since_us
    )
    return [(begin, end) for begin, end in snapshot.charges(found, since_us, EVER_US)]


@dataclass(slots=True)
class KeptWarm:
    """What keeping one deployment warm came to, by whether it was of use (``rule``)."""

    deployment: str
    rule: str
    stays: int = 0
    microseconds: int = 0
    cost_pico_usd: int = 0
    unpriced_stays: int = 0


def kept_warm(snapshot: Snapshot, start_at_us: int, end_at_us: int) -> list[KeptWarm]:
    """All stays that keep-warm policies wanted and that began in a range of time."""
    c = charges.c
    found = (
        select(
            c.deployment,
            c.rule,
            func.count(),
            func.sum(c.period_end_at_us - c.period_start_at_us),
            func.coalesce(func.sum(c.cost_pico_usd), 0),
            func.count() - func.count(c.cost_pico_usd),
        )
        .where(
            c.kind == "keep_warm",
            c.period_start_at_us >= start_at_us,
            c.period_start_at_us < end_at_us,
        )
        .group_by(c.deployment, c.rule)
    )
    sums: dict[tuple[str, str], KeptWarm] = {}
    for name, rule, stays, lasted, cost, unpriced in snapshot.charges(
        found, start_at_us, end_at_us
    ):
        row = sums.setdefault((name, rule), KeptWarm(name, rule))
        row.stays += stays
        row.microseconds += int(lasted)
        row.cost_pico_usd += int(cost)
        row.unpriced_stays += unpriced
    return [sums[key] for key in sorted(sums)]
