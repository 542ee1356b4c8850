"""What ``explanation`` is told, from the sums and, where there are none, from rows. Reads only.

Which attempts were the first with a revision is asked of the rows, one for each revision: the sums
say in which stretch it lies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Select

from gateway.ledger.errors import BadQuery
from gateway.ledger.months.archive import Snapshot
from gateway.ledger.reports import selection
from gateway.ledger.reports.answering import check_rows, plan_of
from gateway.ledger.reports.explanation import Period, cell_of
from gateway.ledger.reports.planning import Plan, Span
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.schema import attempts
from gateway.ledger.sums.gaps import gap_of
from gateway.ledger.sums.rolled import cold_by_evidence, revisions_of

MOST_REVISIONS = 300
"""Of a question over HTTP: each of them is looked for in an hour's rows."""

_A = attempts.c
_COLUMNS = (
    *(_A.operation_at_us, _A.operation_id, _A.deployment, _A.verdict, _A.idle_before_seconds),
    _A.upstream_revision,
)


class _First(NamedTuple):
    """The first attempt of a revision."""

    at_us: int
    operation_id: str
    verdict: str
    gap: int


def periods_of(
    snapshot: Snapshot, queries: Sequence[ReportQuery], most_rows_read: int | None
) -> list[Period]:
    """The attempts of some times that follow each other. Raises BadQuery."""
    whole = replace(queries[0], end_at_us=queries[-1].end_at_us)
    plan_of(snapshot, whole, most_rows_read, "against")  # refuses what is too much together
    gathering = _Gathering(snapshot, whole)
    periods = [
        gathering.period(query, plan_of(snapshot, query, most_rows_read, "against"))
        for query in queries
    ]
    if most_rows_read is not None:
        gathering.check_revisions()
    for deployment, first in gathering.changes():
        period = periods[sum(first.at_us >= query.end_at_us for query in queries[:-1])]
        period.add(deployment, cell_of(first.gap), first.verdict, -1)
        period.add(deployment, "new_revision", first.verdict, 1)
    return periods


class _Gathering:
    """Attempts by cell, and of each deployment's revisions the first attempt, or where it lies."""

    def __init__(self, snapshot: Snapshot, whole: ReportQuery) -> None:
        self._snapshot = snapshot
        self._whole = whole
        self._found: dict[str, dict[str, _First]] = defaultdict(dict)
        self._within: dict[str, dict[str, Span]] = defaultdict(dict)

    def period(self, query: ReportQuery, plan: Plan) -> Period:
        """The attempts of one time, as if no revision were new."""
        period = Period()
        connection = self._snapshot.connection
        by_deployment = replace(query, group_by=("deployment",))
        counts = cold_by_evidence(connection, by_deployment, plan, by_gap=True)
        for place, gap, verdict, _, count, _ in counts:
            period.add(place.values[0], cell_of(gap), verdict, count)
        for deployment, revision, begin_us, end_us in revisions_of(connection, query, plan):
            within = self._within[deployment]
            within[revision] = min(within.get(revision, (begin_us, end_us)), (begin_us, end_us))
        for start_us, end_us in plan.rows:
            part = replace(query, start_at_us=start_us, end_at_us=end_us)
            for at_us, of, deployment, verdict, idle, revision in self._rows(part):
                first = _First(at_us, of, verdict, gap_of(idle))
                period.add(deployment, cell_of(first.gap), verdict, 1)
                if revision is not None:
                    found = self._found[deployment]
                    found[revision] = min(found.get(revision, first), first)
        return period

    def check_revisions(self) -> None:
        """Raises BadQuery if there are very many."""
        count = sum(len(revisions) for revisions in self._within.values())
        if count > MOST_REVISIONS:
            raise BadQuery(
                "against",
                f"There are {count:,} revisions in this time, and the first attempt of each would "
                f"have to be found; that is done for {MOST_REVISIONS} at most. Ask for a shorter "
                "range, or for one deployment.",
            )

    def changes(self) -> Iterator[tuple[str, _First]]:
        """Deployment and first attempt of each revision, but for its first one."""
        for deployment in sorted(self._within.keys() | self._found.keys()):
            found, within = self._found[deployment], self._within[deployment]
            if len(found.keys() | within.keys()) < 2:
                continue
            for revision, span in within.items():
                if revision not in found or span[0] < found[revision].at_us:
                    found[revision] = self._first(deployment, revision, span)
            for first in sorted(found.values())[1:]:
                yield deployment, first

    def _first(self, deployment: str, revision: str, span: Span) -> _First:
        query = replace(self._whole, start_at_us=span[0], end_at_us=span[1])
        check_rows(self._snapshot, query)
        of_both = (_A.deployment == deployment, _A.upstream_revision == revision)
        wanted = _wanted(query).where(*of_both).order_by(_A.operation_at_us, _A.operation_id)
        (row,) = islice(self._snapshot.in_order(wanted.limit(1), *span), 1)
        return _First(row[0], row[1], row[3], gap_of(row[4]))

    def _rows(self, query: ReportQuery) -> Iterator[Any]:
        return self._snapshot.attempts(_wanted(query), query.start_at_us, query.end_at_us)


def _wanted(query: ReportQuery) -> Select[Any]:
    return selection.attempts_of(query, *_COLUMNS).where(_A.status != "running")
