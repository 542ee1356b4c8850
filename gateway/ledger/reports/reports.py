"""Questions to the ledger's database, answered as JSON-ready dicts. Reads only.

Call it from a worker thread: it blocks. Whole hours, and quarters of one, are answered by their
sums, whatever is less by the rows themselves (about 8 us of one core for each); ``planning`` says
which is which.
SQLAlchemy is imported when the first question is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.clock import rfc3339
from gateway.ledger.codec import attempt_row
from gateway.ledger.errors import BadQuery, StoreUnavailable
from gateway.ledger.reading.uses import PastUse, uses
from gateway.ledger.reports import row_filters
from gateway.ledger.reports.cold_start_report import ColdStartReport
from gateway.ledger.reports.cost_report import COUNTED, CostReport
from gateway.ledger.reports.planning import by_rows
from gateway.ledger.reports.query import ReportQuery, cursor
from gateway.ledger.reports.traffic import MOST_ROWS, read_traffic
from gateway.ledger.reports.views import operation_json
from gateway.ledger.rows import AttemptRow
from gateway.warmth.arrivals import Traffic
from gateway.warmth.history import Past

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gateway.ledger.months.archive import Archive, Snapshot
    from gateway.ledger.reports.kept_warm import KeptWarm

__all__ = ["BadQuery", "ReportQuery", "Reports", "StoreUnavailable"]

EXACT_ATTEMPTS = 50_000
MOST_ROWS_READ = 100_000
"""What a report over HTTP may read, about a second of one core; sums have no such bound."""


class Reports:
    """Reports over one ledger. A database that does not exist yet is an empty one.

    ``most_rows_read``: a question about costs or cold starts that the sums cannot answer (a tag
    that is not rolled up, what an upgrade has not summed up yet) is refused beyond so many
    attempts; None answers it, however long that takes. Raises BadQuery (the question),
    StoreUnavailable and SchemaMismatch (the database).
    """

    def __init__(self, database: Path | str, *, most_rows_read: int | None = None) -> None:
        self._database = database
        self._most_rows_read = most_rows_read
        self._engine: Engine | None = None
        self._archive: Archive | None = None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        if self._archive is not None:
            self._archive.close()

    def as_of(self) -> str | None:
        """When the last line of the journal came into the database; None: never."""
        from gateway.ledger.reports import selection

        with self._reading() as snapshot:
            wanted = selection.shipped_at()
            at_us = None if snapshot is None else snapshot.connection.scalar(wanted)
        return None if at_us is None else rfc3339(at_us)

    def operations(self, query: ReportQuery) -> dict[str, Any]:
        """Operations with an attempt that the query is about, newest first, each one whole.

        A page may have fewer than ``limit``, or none, and lead on all the same; see ``newest``.
        """
        from gateway.ledger.reports.newest import newest

        before = _before(query)
        with self._reading() as snapshot:
            if snapshot is None:
                return _nothing()
            shown, more = newest(snapshot, query, before)
            wanted = [operation_id for _, operation_id in shown]
            span = (shown[-1][0], shown[0][0] + 1) if shown else (0, 0)
            rows = _operations(snapshot, wanted, query.key_id, span)
        return {
            "data": [operation_json(rows[operation_id]) for operation_id in wanted],
            "next_cursor": None if more is None else cursor(list(more)),
        }

    def operation(self, operation_id: str, key_id: str | None = None) -> dict[str, Any] | None:
        """One operation without its output; None if there is none, or it is another key's."""
        with self._reading() as snapshot:
            if snapshot is None:
                return None
            rows = _operations(snapshot, [operation_id], key_id, None).get(operation_id)
        return None if rows is None else operation_json(rows)

    def charges(self, query: ReportQuery) -> dict[str, Any]:
        """Charges that begin in the range, newest first; see ``charge_list``. Pages as above."""
        from gateway.ledger.reports.charge_list import newest_charges

        before = _before(query)
        with self._reading() as snapshot:
            if snapshot is None:
                return _nothing()
            shown, more = newest_charges(snapshot, query, before)
        return {"data": shown, "next_cursor": None if more is None else cursor(list(more))}

    def operations_come_to(self, query: ReportQuery) -> dict[str, Any] | None:
        """See ``behind.operations_come_to``."""
        from gateway.ledger.reports import behind

        with self._reading() as snapshot:
            if snapshot is None:
                return None
            return behind.operations_come_to(snapshot, query, self._most_rows_read)

    def charges_come_to(self, query: ReportQuery) -> dict[str, Any] | None:
        """See ``behind.charges_come_to``."""
        from gateway.ledger.reports import behind

        with self._reading() as snapshot:
            if snapshot is None:
                return None
            return behind.charges_come_to(snapshot, query, self._most_rows_read)

    def costs(self, query: ReportQuery) -> dict[str, Any]:
        """What attempts and charges cost; see ``cost_report``."""
        from gateway.ledger.reports import selection
        from gateway.ledger.reports.answering import plan_of
        from gateway.ledger.reports.charge_rows import charges_of
        from gateway.ledger.schema import attempts
        from gateway.ledger.sums.rolled import sums_of

        a = attempts.c
        money = (a.cost_pico_usd, a.known_pico_usd, a.low_pico_usd, a.high_pico_usd)
        columns = (a.operation_at_us, a.cost_status, *money, a.cost_lines)
        row_filters.refused_by_sums(query.only)
        report = CostReport(query)  # refuses a wrong cursor, ledger or none
        with self._reading() as snapshot:
            if snapshot is None:
                return _nothing()
            plan = plan_of(snapshot, query, self._most_rows_read)
            report.rolled(sums_of(snapshot.connection, query, plan, COUNTED))
            for start, end in plan.rows:
                part = replace(query, start_at_us=start, end_at_us=end)
                rows = snapshot.attempts(selection.attempts_of(part, *columns), start, end)
                report.attempts(rows)
                report.charges(charges_of(snapshot, part))
            return report.page()

    def cold_starts(self, query: ReportQuery) -> dict[str, Any]:
        """How often attempts were cold; see ``cold_start_report``. Running ones have no verdict.

        Percentiles are exact while the range has at most ``EXACT_ATTEMPTS`` attempts whose rows
        are there; beyond, they are within 1 %, and a distribution says so.
        """
        from sqlalchemy import case

        from gateway.ledger.reports import selection
        from gateway.ledger.reports.answering import first_pruned, plan_of
        from gateway.ledger.schema import attempts
        from gateway.ledger.sums.rolled import cold_by_evidence, seconds_of

        a = attempts.c
        lost = a.status == "lost_hedge"  # it saw a part of its boot, and nobody waited for it
        boot, wait = (case((lost, None), else_=x) for x in (a.boot_seconds, a.wait_seconds))
        seconds = (a.caused_boot, boot, wait, a.idle_before_seconds)
        columns = (a.operation_at_us, a.verdict, a.evidence, *seconds)
        row_filters.refused_by_sums(query.only)
        report = ColdStartReport(query)
        with self._reading() as snapshot:
            if snapshot is None:
                return _nothing()
            connection = snapshot.connection
            # The hour of the day is that of each hour's sums; whatever it is asked by besides.
            hourly = replace(query, by=(), bucket_width="1h") if "hour" in query.by else query
            by_gap = "idle_gap" in query.by
            plan = plan_of(snapshot, hourly, self._most_rows_read, "by" if by_gap else None)
            counts = list(cold_by_evidence(connection, hourly, plan, by_gap=by_gap))
            few = sum(count for *_, count, _ in counts) <= EXACT_ATTEMPTS
            if few and first_pruned(snapshot, by_rows(query).rows) is None:
                plan = by_rows(query)
            else:
                report.rolled(counts)
                report.sketched(seconds_of(connection, hourly, plan, by_gap=by_gap))
            for start, end in plan.rows:
                part = replace(query, start_at_us=start, end_at_us=end)
                found = selection.attempts_of(part, *columns).where(a.status != "running")
                report.attempts(snapshot.attempts(found, start, end))
            return report.page()

    def explanation(self, query: ReportQuery, against_us: int) -> dict[str, Any]:
        """Why the cold rate is another one than in the ``against_us`` before; see ``explain``."""
        from gateway.ledger.reports.explaining import periods_of
        from gateway.ledger.reports.explanation import Period, explain

        start_us = max(0, query.start_at_us - against_us)
        after = replace(query, group_by=(), by=(), bucket_width="all", cursor=None)
        before = replace(after, start_at_us=start_us, end_at_us=query.start_at_us)
        periods = [Period(), Period()]
        with self._reading() as snapshot:
            if snapshot is not None:
                periods = periods_of(snapshot, (before, after), self._most_rows_read)
        told = explain(*periods)
        times = ((start_us, query.start_at_us), (query.start_at_us, query.end_at_us))
        for name, (begin, end) in zip(("before", "after"), times, strict=True):
            told[name] = {"start_time": rfc3339(begin), "end_time": rfc3339(end), **told[name]}
        return told

    def warm_history(self, before_us: int) -> dict[str, list[Past]]:
        """See ``warm_history.recent``."""
        from gateway.ledger.reading import warm_history

        with self._reading() as snapshot:
            if snapshot is None:
                return {}
            return warm_history.recent(snapshot.connection, before_us)

    def uses(self, deployment: str, since_us: int) -> list[PastUse]:
        """See ``uses``."""
        with self._reading() as snapshot:
            return [] if snapshot is None else uses(snapshot, deployment, since_us)

    def stays(self, deployment: str, since_us: int) -> list[tuple[int, int]]:
        """See ``charged.stays``."""
        from gateway.ledger.reading import charged

        with self._reading() as snapshot:
            return [] if snapshot is None else charged.stays(snapshot, deployment, since_us)

    def kept_pico_usd(self, deployment: str, since_us: int, told: Mapping[str, int]) -> int:
        """See ``charged.kept_pico_usd``."""
        from gateway.ledger.reading import charged

        with self._reading() as snapshot:
            if snapshot is None:
                return sum(told.values())
            return charged.kept_pico_usd(snapshot, deployment, since_us, told)

    def idle_gaps(self, deployment: str, since_us: int) -> set[str]:
        """See ``charged.idle_gaps``."""
        from gateway.ledger.reading import charged

        with self._reading() as snapshot:
            return set() if snapshot is None else charged.idle_gaps(snapshot, deployment, since_us)

    def standing_until(self, deployments: list[str]) -> dict[str, int]:
        """See ``charged.standing_until``."""
        from gateway.ledger.reading import charged

        with self._reading() as snapshot:
            return {} if snapshot is None else charged.standing_until(snapshot, deployments)

    def kept_warm(self, start_at_us: int, end_at_us: int) -> list[KeptWarm]:
        """See ``kept_warm``."""
        from gateway.ledger.reports import kept_warm

        with self._reading() as snapshot:
            return [] if snapshot is None else kept_warm.kept_warm(snapshot, start_at_us, end_at_us)

    def traffic(self, query: ReportQuery, most_rows: int = MOST_ROWS) -> Traffic:
        """The requests themselves, in columns; a sample beyond ``most_rows`` attempts."""
        with self._reading() as snapshot:
            if snapshot is None:
                return Traffic("ledger", query.start_at_us, query.end_at_us, [], 0)
            return read_traffic(snapshot, query, most_rows)

    @contextmanager
    def _reading(self) -> Iterator[Snapshot | None]:
        """One snapshot of the database; None while there is none."""
        from sqlalchemy import inspect
        from sqlalchemy.exc import DBAPIError

        from gateway.ledger.engines import engine_for
        from gateway.ledger.layout import archive_dir
        from gateway.ledger.months.archive import Archive, Snapshot
        from gateway.ledger.months.migration import check_schema

        if isinstance(self._database, Path) and not self._database.exists():
            yield None
            return
        if self._engine is None:
            self._engine = engine_for(self._database, read_only=True)
            if isinstance(self._database, Path):
                self._archive = Archive(archive_dir(self._database.parent))
        try:
            with self._engine.begin() as connection:
                if not inspect(connection).has_table("meta"):
                    yield None
                    return
                check_schema(connection)
                yield Snapshot(connection, self._archive)
        except DBAPIError as error:
            raise StoreUnavailable(str(error.orig)) from error


def _operations(
    snapshot: Snapshot, wanted: list[str], key_id: str | None, span: tuple[int, int] | None
) -> dict[str, list[AttemptRow]]:
    """All attempts of operations; where it is not known when they came in, of all months."""
    from gateway.ledger.months.archive import EVER_US
    from gateway.ledger.reports import selection

    rows: dict[str, list[AttemptRow]] = {}
    found = selection.whole_operations(wanted, key_id)
    for row in snapshot.attempts(found, *(span or (0, EVER_US))):
        rows.setdefault(row.operation_id, []).append(attempt_row(dict(row._mapping)))
    return rows


def _before(query: ReportQuery) -> tuple[int, str] | None:
    """The place that a list goes on from. Raises BadQuery."""
    after = query.after()
    if after is None:
        return None
    if not isinstance(after[1], str):
        raise BadQuery("cursor", "cursor belongs to another report.")
    return after[0], after[1]


def _nothing() -> dict[str, Any]:
    return {"data": [], "next_cursor": None}
