"""Which attempts used a deployment's machines, and when. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.accounting.coldstart import Verdict

if TYPE_CHECKING:
    from gateway.ledger.months.archive import Snapshot

MOST_USES = 20_000  # of one deployment: a start must not take long


@dataclass(frozen=True, slots=True)
class PastUse:
    """An attempt that has ended. ``worked`` is false for a refusal, which used no machine;
    ``cut_off``: its gateway died, and had booked nothing that came before it.
    """

    attempt_id: str
    begun_at_us: int
    completed_at_us: int
    verdict: Verdict
    worked: bool
    cut_off: bool = False

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> PastUse:
        """Of a decoded row that has ended. One that was cut off may have cost nothing so far."""
        cut_off = row["status"] == "interrupted"
        return cls(
            row["attempt_id"],
            row["begun_at_us"],
            row["completed_at_us"],
            row["verdict"],
            worked=cut_off or row["status"] == "succeeded" or row["cost_pico_usd"] != 0,
            cut_off=cut_off,
        )


def uses(snapshot: Snapshot, deployment: str, since_us: int) -> list[PastUse]:
    """The last attempts at a deployment that went through a gateway, at most ``MOST_USES``."""
    from sqlalchemy import select

    from gateway.ledger.months.archive import EVER_US
    from gateway.ledger.schema import attempts

    a = attempts.c
    found = (
        select(
            *(a.operation_at_us, a.attempt_id, a.begun_at_us, a.completed_at_us, a.verdict),
            a.status.in_(("succeeded", "interrupted"))
            | a.cost_pico_usd.is_(None)
            | (a.cost_pico_usd != 0),
            a.status == "interrupted",
        )
        .where(
            a.deployment == deployment,
            a.operation_at_us >= since_us,
            a.origin == "live",
            a.completed_at_us.is_not(None),
        )
        .order_by(a.operation_at_us.desc())
        .limit(MOST_USES)
    )
    rows = [tuple(row) for row in snapshot.attempts(found, since_us, EVER_US)]
    rows.sort(reverse=True)
    return [
        PastUse(row[1], row[2], row[3], row[4], worked=bool(row[5]), cut_off=bool(row[6]))
        for row in rows[:MOST_USES]
    ]
