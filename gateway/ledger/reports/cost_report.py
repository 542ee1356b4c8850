"""What attempts and charges cost, by group. Exact: whole numbers are added up, never floats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from gateway.ledger.numbers import EXACT, decimal, plain
from gateway.ledger.reports.grouping import Groups, Place
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.views import usd, usd_or_null
from gateway.ledger.sums.rollup import LineSums, Sums

COUNTED = ("attempts", "unknown_attempts", "charges", "unknown_charges", "unbounded")


class CostReport:
    """Sums by bucket and group, from rollups and from rows; then a page of them.

    Unknown: counted, never summed as 0; ``range_usd.high`` is null where nothing bounds it.
    """

    def __init__(self, query: ReportQuery) -> None:
        self._groups = Groups(query, Sums)

    def rolled(self, sums: Iterable[tuple[Place, Sums]]) -> None:
        """Sums of whole hours or quarters."""
        for place, given in sums:
            self._groups.of(place.at_us, place.values).merge(given)

    def attempts(self, rows: Iterable[Sequence[Any]]) -> None:
        """(operation_at_us, cost_status, cost, known, low, high, cost_lines), money in pico-USD,
        each followed by its group's values.
        """
        for at_us, status, cost, known, low, high, lines, *values in rows:
            total = self._groups.of(at_us, values)
            total.attempts += 1
            total.unknown_attempts += cost is None
            total.money(status, cost, known, low, high, 1)
            total.cost_lines(lines)

    def charges(self, rows: Iterable[Sequence[Any]]) -> None:
        """(period_start_at_us, status, cost, low, high, kind, quantity), then group values."""
        for at_us, status, cost, low, high, kind, quantity, *values in rows:
            total = self._groups.of(at_us, values)
            total.charges += 1
            total.unknown_charges += cost is None
            total.money(status, cost, cost or 0, cost if low is None else low, high, 1)
            total.line(kind, quantity, usd_or_null(cost), 1)

    def page(self) -> dict[str, Any]:
        """The rows that were asked for."""
        return self._groups.page(cost_row)

    def all(self) -> Sums:
        """Everything as one sum, where it was asked for without groups and buckets."""
        return self._groups.of(0, ())


def added_up(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one report as one row, without group and time: what the report would say of all.

    Unknown: a sum of lines is None where every one of them is; no bound of one is none of all.
    """
    counts = ("attempts", "charges", "unknown_attempts", "unknown_charges")
    highs = [row["range_usd"]["high"] for row in rows]
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for line in row["lines"]:
            lines.setdefault(line["kind"], []).append(line)
    return {
        **{name: sum(row[name] for row in rows) for name in counts},
        **{
            name: _sum(row[name] for row in rows)
            for name in ("known_usd", "measured_usd", "estimated_usd")
        },
        "range_usd": {
            "low": _sum(row["range_usd"]["low"] for row in rows),
            "high": None if None in highs else _sum(highs),
        },
        "lines": [
            {
                "kind": kind,
                "quantity": _sum(line["quantity"] for line in found),
                "usd": _sum(line["usd"] for line in found),
                "unknown_lines": sum(line["unknown_lines"] for line in found),
            }
            for kind, found in sorted(lines.items())
        ],
    }


def _sum(texts: Iterable[str | None]) -> str | None:
    """What is known of some decimals; None where none is."""
    known = [Decimal(text) for text in texts if text is not None]
    if not known:
        return None
    total = Decimal(0)
    for number in known:
        total = EXACT.add(total, number)
    return plain(total)


def known_usd(row: dict[str, Any], column: str = "known_usd") -> str | None:
    """A sum of what is known; None where nothing is: that 0 would read as free of charge."""
    unknown = row["unknown_attempts"] + row["unknown_charges"]
    if unknown == row["attempts"] + row["charges"] and not Decimal(row["known_usd"]):
        return None
    known: str = row[column]
    return known


def cost_row(sums: Sums) -> dict[str, Any]:
    """Sums as a row of the report."""
    high = None if sums.unbounded else sums.high_usd
    return {
        "attempts": sums.attempts,
        "charges": sums.charges,
        "known_usd": usd(sums.known_usd),
        "measured_usd": usd(sums.measured_usd),
        "estimated_usd": usd(sums.estimated_usd),
        "range_usd": {"low": usd(sums.low_usd), "high": usd_or_null(high)},
        "unknown_attempts": sums.unknown_attempts,
        "unknown_charges": sums.unknown_charges,
        "lines": [_line(kind, line) for kind, line in sorted(sums.lines.items()) if line.lines],
    }


def _line(kind: str, line: LineSums) -> dict[str, Any]:
    quantity = usd_sum = None
    if line.lines > line.unquantified_lines:
        quantity = plain(decimal(line.quantity, line.finer_quantity))
    if line.lines > line.unknown_lines:
        usd_sum = plain(decimal(line.usd, line.finer_usd))
    return {
        "kind": kind,
        "quantity": quantity,
        "usd": usd_sum,
        "unknown_lines": line.unknown_lines,
    }
