"""What a list of rows comes to: so that whoever follows a figure finds it again above the rows.

Sums answer as far as they go; filters that only rows can answer are answered by the rows, up to
``EXACT_ROWS`` of them. Beyond, what is not known is None and never a part of it. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.ledger.errors import BadQuery
from gateway.ledger.months.archive import Snapshot
from gateway.ledger.reports import selection
from gateway.ledger.reports.answering import first_pruned, plan_of
from gateway.ledger.reports.charge_rows import charges_of, charges_with
from gateway.ledger.reports.cost_report import COUNTED, CostReport, cost_row
from gateway.ledger.reports.planning import by_rows
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.row_filters import CHARGE_KINDS, kinds_of, spans
from gateway.ledger.reports.views import usd
from gateway.ledger.schema import attempts
from gateway.ledger.sums.rolled import sums_of
from gateway.ledger.sums.rollup import LineSums, Sums

EXACT_ROWS = 50_000


def operations_come_to(
    snapshot: Snapshot, query: ReportQuery, most_rows_read: int | None
) -> dict[str, Any] | None:
    """The attempts that a question is about, and the charges beside them, as a row of the cost
    report; with ``attempts_usd`` and ``charges_usd``, what is known of each. None: only reading
    more rows than may be read would tell. Single values are None where only they are not known.
    """
    query = replace(query, bucket_width="all", group_by=(), cursor=None)
    try:
        total = _total(snapshot, replace(query, only={}), most_rows_read)
    except BadQuery:
        return None
    if not query.only:
        return _row(total)
    rows = by_rows(query).rows
    if total.attempts + total.charges > EXACT_ROWS or first_pruned(snapshot, rows) is not None:
        return _partly(total, query)
    return _row(_by_rows(snapshot, query))


def charges_come_to(
    snapshot: Snapshot, query: ReportQuery, most_rows_read: int | None
) -> dict[str, Any] | None:
    """Charges that a question is about: how many, of how many the cost is not known, what is known
    of the others, and the ``seconds`` of their periods. None and None values as above.
    """
    query = replace(query, bucket_width="all", group_by=(), cursor=None)
    try:
        total = _total(snapshot, replace(query, only={}), most_rows_read)
    except BadQuery:
        return None
    lines = LineSums()
    for kind in kinds_of(query.only):
        lines.merge(total.lines.get(kind, LineSums()))
    rows = by_rows(query).rows
    if lines.lines <= EXACT_ROWS and first_pruned(snapshot, rows) is None:
        found = _Charges()
        for start, end in rows:
            part = replace(query, start_at_us=start, end_at_us=end)
            found.add(charge for charge, _ in charges_with(snapshot, part))
        return found.json()
    only = query.only.keys() - {"kind"}
    of_unknown = query.only.get("cost_status") == ("unknown",) and len(only) == 1
    known = None if only else usd(lines.usd)
    return {
        "charges": lines.unknown_lines if of_unknown else None if only else lines.lines,
        "unknown_charges": None if only and not of_unknown else lines.unknown_lines,
        "known_usd": known,
        "measured_usd": None,
        "estimated_usd": None,
        "seconds": None,
    }


def _total(snapshot: Snapshot, query: ReportQuery, most_rows_read: int | None) -> Sums:
    report = CostReport(query)
    plan = plan_of(snapshot, query, most_rows_read)
    report.rolled(sums_of(snapshot.connection, query, plan, (*COUNTED, "boots")))
    for start, end in plan.rows:
        _read(snapshot, replace(query, start_at_us=start, end_at_us=end), report, charges=True)
    return report.all()


def _by_rows(snapshot: Snapshot, query: ReportQuery) -> Sums:
    report = CostReport(query)
    # A charge has a status too, and begins at an hour; the other filters are of attempts alone.
    charges = not query.only.keys() - {"cost_status", "hour"}
    for start, end in by_rows(query).rows:
        for since, until in spans(query, start, end):
            part = replace(query, start_at_us=since, end_at_us=until)
            _read(snapshot, part, report, charges=charges)
    return report.all()


def _read(snapshot: Snapshot, part: ReportQuery, report: CostReport, *, charges: bool) -> None:
    a = attempts.c
    money = (a.cost_pico_usd, a.known_pico_usd, a.low_pico_usd, a.high_pico_usd)
    columns = (a.operation_at_us, a.cost_status, *money, a.cost_lines)
    rows = snapshot.attempts(
        selection.attempts_of(part, *columns), part.start_at_us, part.end_at_us
    )
    report.attempts(rows)
    if charges:
        report.charges(charges_of(snapshot, part))


def _row(total: Sums) -> dict[str, Any]:
    charged = sum(total.lines[kind].usd for kind in CHARGE_KINDS if kind in total.lines)
    return {
        **cost_row(total),
        "attempts_usd": usd(total.known_usd - charged),
        "charges_usd": usd(charged),
    }


def _partly(total: Sums, query: ReportQuery) -> dict[str, Any] | None:
    """What the sums know of it all the same."""
    only = dict(query.only)
    row: dict[str, Any] = dict.fromkeys(_row(Sums()))
    match only.get("cost_status") if len(only) == 1 else None:
        case ("unknown",):
            known = total.known_usd - total.measured_usd - total.estimated_usd
            counts = ("unknown_attempts", "unknown_charges")
            row |= {name: getattr(total, name) for name in counts}
            row |= {"attempts": total.unknown_attempts, "charges": total.unknown_charges}
            return row | {"known_usd": usd(known)}
        case ("measured",):
            return row | {name: usd(total.measured_usd) for name in ("known_usd", "measured_usd")}
        case ("estimated",):
            return row | {name: usd(total.estimated_usd) for name in ("known_usd", "estimated_usd")}
    if only == {"caused_boot": ("true",)}:
        return row | {"attempts": total.boots, "charges": 0}
    if only.keys() == {"line"}:
        kinds = {kind: line for kind, line in total.lines.items() if kind in only["line"]}
        return row | {"lines": cost_row(Sums(lines=kinds))["lines"], "charges": 0}
    return None


@dataclass(slots=True)
class _Charges:
    count: int = 0
    unknown: int = 0
    microseconds: int = 0
    known: dict[str, int] = field(default_factory=dict)

    def add(self, charges: Iterable[Any]) -> None:
        for charge in charges:
            cost = charge["cost_pico_usd"]
            self.count += 1
            self.unknown += cost is None
            self.microseconds += charge["period_end_at_us"] - charge["period_start_at_us"]
            self.known[charge["status"]] = self.known.get(charge["status"], 0) + (cost or 0)

    def json(self) -> dict[str, Any]:
        return {
            "charges": self.count,
            "unknown_charges": self.unknown,
            "known_usd": usd(sum(self.known.values())),
            "measured_usd": usd(self.known.get("measured", 0)),
            "estimated_usd": usd(self.known.get("estimated", 0)),
            "seconds": self.microseconds / 1e6,
        }
