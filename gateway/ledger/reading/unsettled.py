"""Attempts whose provider may know better than the books. Reads only; it blocks: use a thread."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gateway.ledger.codec import attempt_row
from gateway.ledger.reading.looking import is_behind, known_upstream_ids, reading
from gateway.ledger.rows import AttemptRow

# Ended by the gateway's own patience, or broken off: the provider's account came no more.
_CUT_SHORT = ("BootTimeout", "DeadlineExceeded", "StreamInterrupted", "UpstreamTimeout")
MOST_ROWS = 10_000


class Unsettled:
    """The database of one data folder, as far as lookups need it. Raises StoreUnavailable."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def read(
        self, deployments: Iterable[str], since_us: int, own_journal: str
    ) -> list[AttemptRow] | None:
        """Attempts of these deployments that came in since then and are to be asked about.

        Oldest first, at most ``MOST_ROWS``. None: the database does not hold yet what earlier
        gateways wrote, and so does not know what was asked before.
        """
        from sqlalchemy import and_, or_, select

        from gateway.ledger.months.archive import EVER_US
        from gateway.ledger.schema import attempts

        a = attempts.c
        cut_short = or_(a.cost_status != "measured", a.error_type.in_(_CUT_SHORT))
        wanted = (
            select(attempts)
            .where(
                a.operation_at_us >= since_us,
                a.deployment.in_(list(deployments)),
                a.origin == "live",
                a.lookup.is_(None),
                or_(
                    a.status.in_(("interrupted", "cancelled", "lost_hedge")),
                    and_(a.status == "failed", cut_short),
                ),
            )
            .order_by(a.operation_at_us)
            .limit(MOST_ROWS)
        )
        with reading(self._data_dir) as snapshot:
            if is_behind(self._data_dir, snapshot, own_journal):
                return None
            if snapshot is None:
                return []
            found = snapshot.attempts(wanted, since_us, EVER_US)
            rows = [attempt_row(dict(row._mapping)) for row in found]
        return sorted(rows, key=lambda row: row.operation_at_us)[:MOST_ROWS]

    def known(self, upstream_ids: Iterable[str], since_us: int, until_us: int) -> set[str]:
        """Those of the provider's ids that some attempt of that time has."""
        with reading(self._data_dir) as snapshot:
            if snapshot is None:
                return set()
            return known_upstream_ids(snapshot, upstream_ids, since_us, until_us)
