"""The requests that the ledger holds, in columns: what ``compare`` reads, and nothing else of it.

A request is an operation with an attempt that succeeded, at the time at which it came in. Reading
every attempt of ten million takes more than a minute, so beyond ``most_rows`` whole stretches of
the range are read: drawn one from each equal part of it, by a fixed seed, so that the same
question gets the same answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.ledger.reports.query import ReportQuery
from gateway.warmth.arrivals import (
    UNKNOWN,
    Arrivals,
    Measured,
    Stretch,
    Traffic,
    stretches_of,
)

if TYPE_CHECKING:
    from gateway.ledger.months.archive import Snapshot

MOST_ROWS = 120_000
_PROBES = 24
_LOOKBACK_US = 7_200_000_000  # longer than any keep-alive window that is known


def read_traffic(snapshot: Snapshot, query: ReportQuery, most_rows: int) -> Traffic:
    """The traffic that a query is about, from one snapshot of the database."""
    reader = _Reader(snapshot, query)
    start, end = reader.span()
    found = Traffic("ledger", query.start_at_us, query.end_at_us, [], 1)
    rows = reader.count(start, end, most_rows + 1)
    if rows <= most_rows:
        found.stretches.append(reader.stretch(query.start_at_us, query.end_at_us, found))
        return found
    rows = reader.guess_rows(start, end)
    length, numbers = stretches_of(start, end, rows, most_rows)
    found.start_at_us, found.end_at_us = start, end
    found.stretches_in_range = max(1, (end - start) // length)
    for number in numbers:
        begin = start + number * length
        found.stretches.append(reader.stretch(begin, begin + length, found))
    found.notes.append(
        f"The range holds about {rows:,} attempts; {len(numbers)} stretches of "
        f"{length // 1_000_000:,} s each, drawn over all of it, stand for it."
    )
    return found


class _Reader:
    def __init__(self, snapshot: Snapshot, query: ReportQuery) -> None:
        from gateway.ledger.schema import attempts

        self._snapshot = snapshot
        self._query = query
        self._a = attempts.c
        self._numbers: dict[str, int] = {}
        self._any_status = "status" in query.filters

    def span(self) -> tuple[int, int]:
        """The range, cut to where there is anything."""
        from sqlalchemy import func, select

        at, query = self._a.operation_at_us, self._query
        ends = []
        for which in (func.min(at), func.max(at)):
            inside = select(which).where(at >= query.start_at_us, at < query.end_at_us)
            found = self._snapshot.attempts(inside, query.start_at_us, query.end_at_us)
            ends += [row[0] for row in found if row[0] is not None]
        if not ends:
            return query.start_at_us, query.end_at_us
        return min(ends), max(ends) + 1

    def count(self, start_at_us: int, end_at_us: int, most: int) -> int:
        """Attempts in a range, of whatever kind, up to ``most``: an index is all that is read."""
        from sqlalchemy import literal, select

        at = self._a.operation_at_us
        inside = select(literal(1)).where(at >= start_at_us, at < end_at_us).limit(most)
        return sum(1 for _ in self._snapshot.attempts(inside, start_at_us, end_at_us))

    def guess_rows(self, start_at_us: int, end_at_us: int) -> int:
        """About how many attempts a range holds, from short stretches all over it."""
        part = (end_at_us - start_at_us) // _PROBES
        length = max(1, min(part, 600_000_000))
        begins = (start_at_us + number * part for number in range(_PROBES))
        seen = sum(self.count(begin, begin + length, 1_000_000) for begin in begins)
        return max(1, seen * part // length)

    def stretch(self, start_at_us: int, end_at_us: int, traffic: Traffic) -> Stretch:
        """All requests of a stretch; what was measured goes to ``traffic``."""
        from gateway.ledger.reports import selection

        a = self._a
        columns = (
            *(a.operation_at_us, a.status, a.deployment, a.execute_seconds, a.input_tokens),
            *(a.output_tokens, a.images, a.cost_status, a.cost_pico_usd),
            *(a.verdict, a.caused_boot, a.boot_seconds, a.wait_seconds),
        )
        asked = self._between(start_at_us, end_at_us)
        found = selection.attempts_of(asked, *columns).order_by(a.operation_at_us)
        rows = Arrivals()
        add = rows.add
        for row in self._snapshot.in_order(found, start_at_us, end_at_us):
            at, status, deployment, execute, input_tokens, output_tokens, images = row[:7]
            cost_status, cost, *cold = row[7:]
            waited = cold[3] if cold[3] is not None else cold[2]
            number = self._numbers.get(deployment)
            if number is None:
                number = self._numbers[deployment] = len(traffic.sources)
                traffic.sources.append(deployment)
                traffic.measured[deployment] = Measured()
            seen = traffic.measured[deployment]
            if status != "lost_hedge":  # it saw a part of its boot, and nobody waited for it
                _measure(seen, *cold)
            if status != "succeeded" and not self._any_status:
                traffic.left_out += 1
                continue
            seen.requests += 1
            add(
                at,
                source=number,
                execute_us=UNKNOWN if execute is None else round(execute * 1e6),
                input_tokens=UNKNOWN if input_tokens is None else input_tokens,
                output_tokens=UNKNOWN if output_tokens is None else output_tokens,
                images=UNKNOWN if images is None else images,
                cost_pico_usd=cost if cost is not None and cost_status == "measured" else -1,
                wait_us=UNKNOWN if waited is None else round(waited * 1e6),
            )
        return Stretch(start_at_us, end_at_us, rows, self._before(start_at_us))

    def _before(self, at_us: int) -> tuple[int, int] | None:
        """The last request before an instant, if it was not long ago."""
        from gateway.ledger.reports import selection

        a = self._a
        asked = self._between(max(0, at_us - _LOOKBACK_US), at_us)
        last = (
            selection.attempts_of(asked, a.operation_at_us, a.execute_seconds)
            .order_by(a.operation_at_us.desc())
            .limit(1)
        )
        found = self._snapshot.attempts(last, asked.start_at_us, at_us)
        row = max(found, key=lambda row: row[0], default=None)
        return None if row is None else (row[0], round((row[1] or 0.0) * 1e6))

    def _between(self, start_at_us: int, end_at_us: int) -> ReportQuery:
        return replace(self._query, start_at_us=start_at_us, end_at_us=end_at_us, group_by=())


def _measure(
    seen: Measured, verdict: str, caused: bool | None, boot: float | None, wait: float | None
) -> None:
    if verdict == "cold":
        seen.cold += 1
        if boot is not None and caused is not False:
            seen.boot_seconds.append(boot)
    elif verdict == "warm":
        seen.warm += 1
        wait = 0.0 if wait is None else wait
    if wait is not None:
        seen.wait_seconds.append(wait)
