"""What a starting gateway has to know about money that belongs to no single attempt. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from gateway.ledger.months import EVER_US, Snapshot
from gateway.ledger.rows import AttemptRow
from gateway.ledger.schema import attempts, charges

_MOST_BEFORE = 64


def _of_interest(deployments: Sequence[str], since_us: int) -> list[ColumnElement[bool]]:
    a = attempts.c
    return [
        a.deployment.in_(deployments),
        a.operation_at_us >= since_us,
        a.origin == "live",
        a.completed_at_us.is_not(None),
        (a.status == "succeeded") | (a.cost_pico_usd.is_(None)) | (a.cost_pico_usd != 0),
    ]


def last_ended(
    snapshot: Snapshot, deployments: Sequence[str], since_us: int
) -> dict[str, tuple[str, int]]:
    """The attempt that ended last at each deployment since an instant: its id, and when it ended.

    Only what went through a gateway, and only what may have used a machine: a refusal leaves one as
    it was.
    """
    a = attempts.c
    # SQLite gives the other columns of the row that has the greatest value.
    found = (
        select(a.deployment, func.max(a.completed_at_us), a.attempt_id)
        .where(*_of_interest(deployments, since_us))
        .group_by(a.deployment)
    )
    last: dict[str, tuple[str, int]] = {}
    for name, at_us, attempt_id in snapshot.attempts(found, since_us, EVER_US):
        if name not in last or last[name][1] < at_us:
            last[name] = (attempt_id, at_us)
    return last


def ended_before(
    snapshot: Snapshot, row: AttemptRow, since_us: int, *, shared: bool
) -> list[tuple[str, int]]:
    """Attempts of the same deployment that may have left the machine that this one took: id and
    end, the last one first, at most ``_MOST_BEFORE``. Not those whose idle time has been booked.

    ``shared``: one machine for all, which is idle only after the last of them.
    """
    a, c = attempts.c, charges.c
    here = _of_interest([row.deployment], since_us)
    if shared:
        began, ended = a.begun_at_us < row.begun_at_us, a.completed_at_us > row.begun_at_us
        beside = select(a.attempt_id).where(*here, began, ended).limit(1)
        if list(snapshot.attempts(beside, since_us, EVER_US)):
            return []
    found = (
        select(a.attempt_id, a.completed_at_us)
        .where(*here, a.completed_at_us <= row.begun_at_us)
        .order_by(a.completed_at_us.desc())
        .limit(1 if shared else _MOST_BEFORE)
    )
    rows = [(str(one), int(at_us)) for one, at_us in snapshot.attempts(found, since_us, EVER_US)]
    rows = sorted(rows, key=lambda one: one[1], reverse=True)[: 1 if shared else _MOST_BEFORE]
    known = select(c.attempt_id).where(
        c.kind == "idle", c.attempt_id.in_([attempt_id for attempt_id, _ in rows])
    )
    booked = {attempt_id for (attempt_id,) in snapshot.charges(known, since_us, EVER_US)}
    return [one for one in rows if one[0] not in booked]


def standing_until(snapshot: Snapshot, deployments: Sequence[str]) -> dict[str, int]:
    """Until when standing machines have been booked, in microseconds since the epoch."""
    c = charges.c
    found = (
        select(c.deployment, func.max(c.period_end_at_us))
        .where(c.kind == "standing", c.deployment.in_(deployments))
        .group_by(c.deployment)
    )
    last: dict[str, int] = {}
    for name, until_us in snapshot.charges(found, 0, EVER_US):
        last[name] = max(until_us, last.get(name, 0))
    return last


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
