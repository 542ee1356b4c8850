"""The last 24 hours in three figures, for the first page: it never waits long for the database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports

_FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 0.3
_DAY_US = 86_400_000_000


@dataclass(slots=True)
class Glance:
    """What was read last, and when (monotonic seconds); one question at a time for all viewers."""

    day: dict[str, Any] | None = None
    _asked_at: float = float("-inf")
    _asking: asyncio.Task[None] | None = field(default=None, repr=False)

    async def look(self, reports: Any, now: float, wall_us: int) -> dict[str, Any] | None:
        """Of the last 24 hours, some seconds old at most where the database is quick.

        None where nothing could be read yet. ``reports`` opens them.
        """
        if self._asking is None and now - self._asked_at >= _FRESH_SECONDS:
            self._asked_at = now
            self._asking = asyncio.create_task(self._read(reports, wall_us))
        if self._asking is not None:
            await asyncio.wait((self._asking,), timeout=_PATIENCE_SECONDS)
        return self.day

    async def _read(self, reports: Any, wall_us: int) -> None:
        try:
            self.day = await asyncio.to_thread(lambda: _day(reports(), wall_us))
        except (StoreUnavailable, SchemaMismatch):
            self.day = None
        finally:
            self._asking = None


def _day(reports: Reports, wall_us: int) -> dict[str, Any]:
    from gateway.ledger.reports.cost_report import known_usd

    query = ReportQuery(start_at_us=wall_us - _DAY_US, end_at_us=wall_us, bucket_width="all")
    costs, starts = reports.costs(query)["data"], reports.cold_starts(query)["data"]
    cost, start = costs[0] if costs else None, starts[0] if starts else None
    return {
        "attempts": 0 if cost is None else cost["attempts"],
        "known_usd": None if cost is None else known_usd(cost),
        "unknown": 0 if cost is None else cost["unknown_attempts"] + cost["unknown_charges"],
        "cold": 0 if start is None else start["cold"],
        "told": 0 if start is None else start["cold"] + start["warm"],
        "cold_rate": None if start is None else start["cold_rate"],
    }
