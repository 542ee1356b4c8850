"""The figures as plain tables, and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.aims import Aim
from tests.benchmarks.ledger import LedgerCheck
from tests.benchmarks.memory import MemoryPoint
from tests.benchmarks.rounds import Record
from tests.benchmarks.startup import StartupResult
from tests.benchmarks.targets import NGINX


@dataclass
class Section:
    """One part of the report: a heading, a table, lines under it, and the same as data."""

    name: str
    heading: str
    columns: Sequence[str]
    rows: list[Sequence[str]]
    lines: list[str] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    figures: Any = None

    def text(self) -> str:
        parts = ["", self.heading, _table(self.columns, self.rows), *self.lines]
        parts += [_aim_line(aim) for aim in self.aims]
        return "\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        aims = [
            {
                "what": aim.what,
                "aim": f"{aim.relation} {aim.aim:g}",
                "measured": aim.measured,
                "met": aim.met,
            }
            for aim in self.aims
        ]
        return {"figures": self.figures, "aims": aims}


def load_section(
    name: str, heading: str, records: Sequence[Record], aims: list[Aim], events_per_answer: int
) -> Section:
    """Requests or streams; the column of events only where an answer has more than one."""
    yardstick = next((record for record in records if record.target.name == NGINX), None)
    figures = [_load_figures(record, yardstick, events_per_answer) for record in records]
    columns = ["target", "req/s", "(min - max)", "x nginx", "p50 ms", "p99 ms", "CPU us/req",
               "children us/req", "RSS MB", "children MB"]  # fmt: skip
    rows = [_load_row(each) for each in figures]
    if events_per_answer > 1:
        columns.insert(1, "events/s")
        for row, each in zip(rows, figures, strict=True):
            row.insert(1, f"{each['events_per_second']:,.0f}")
    checks = {record.target.name: record.checks for record in records if record.checks}
    lines = [_ledger_line(target, each) for target, each in checks.items()]
    return Section(name, heading, columns, list(rows), lines, aims, figures)


def _load_figures(
    record: Record, yardstick: Record | None, events_per_answer: int
) -> dict[str, Any]:
    assert record.after is not None
    rates = [each.load.requests_per_second for each in record.rounds]
    rate = record.median_of(lambda each: each.load.requests_per_second)
    return {
        "target": " ".join(filter(None, [record.target.name, record.target.version])),
        "requests": sum(each.load.requests for each in record.rounds),
        "requests_per_second": rate,
        "requests_per_second_of_rounds": rates,
        "events_per_second": rate * events_per_answer,
        "ratio_to_nginx": None if yardstick is None else record.ratio_to(yardstick),
        "p50_seconds": record.median_of(lambda each: each.load.p50_seconds),
        "p99_seconds": record.median_of(lambda each: each.load.p99_seconds),
        "cpu_seconds_per_request": record.cpu_seconds_per_request(),
        "children_cpu_seconds_per_request": record.cpu_seconds_per_request(children=True),
        "rss_bytes_before": record.before.rss_bytes,
        "rss_bytes_after": record.after.rss_bytes,
        "children_rss_bytes_after": record.after.children_rss_bytes,
        "ready_seconds": record.target.process.ready_seconds,
        "ledger_checks": [_check_figures(check) for check in record.checks],
    }


def _check_figures(check: LedgerCheck) -> dict[str, Any]:
    return {
        "answered": check.answered,
        "attempts": check.booked.attempts,
        "upstream_calls": check.booked.upstream_calls,
        "succeeded_usd": str(check.booked.succeeded_usd),
        "complaints": check.complaints(),
    }


def _load_row(each: dict[str, Any]) -> list[str]:
    rates = each["requests_per_second_of_rounds"]
    ratio = each["ratio_to_nginx"]
    return [
        each["target"],
        f"{each['requests_per_second']:,.0f}",
        f"({min(rates):,.0f} - {max(rates):,.0f})",
        "-" if ratio is None else f"{ratio:.4f}",
        f"{each['p50_seconds'] * 1e3:.2f}",
        f"{each['p99_seconds'] * 1e3:.2f}",
        f"{each['cpu_seconds_per_request'] * 1e6:.0f}",
        f"{each['children_cpu_seconds_per_request'] * 1e6:.0f}",
        f"{each['rss_bytes_before'] / 1e6:.0f} -> {each['rss_bytes_after'] / 1e6:.0f}",
        f"{each['children_rss_bytes_after'] / 1e6:.0f}",
    ]


def _ledger_line(target: str, checks: Sequence[LedgerCheck]) -> str:
    answered = sum(check.answered for check in checks)
    succeeded = sum(check.booked.attempts.get("succeeded", 0) for check in checks)
    cut = sum(check.booked.attempts.get("cancelled", 0) for check in checks)
    calls = sum(check.booked.upstream_calls for check in checks)
    usd = sum(check.booked.succeeded_usd for check in checks)
    verdict = "DOES NOT AGREE" if any(check.complaints() for check in checks) else "agrees"
    return (
        f"{target} ledger {verdict}: {answered:,} answers seen by the load in {len(checks)} runs; "
        f"{calls:,} calls reached the upstream; "
        f"booked {succeeded:,} succeeded (${usd}) and {cut} cancelled"
    )


def startup_section(result: StartupResult, aims: list[Aim]) -> Section:
    """Each run, and their median."""
    runs = result.runs_seconds
    row = [
        f"{result.median_seconds:.2f}",
        f"({min(runs):.2f} - {max(runs):.2f})",
        f"{result.median_cpu_seconds:.2f}",
        str(len(runs)),
    ]
    figures = {
        "median_seconds": result.median_seconds,
        "runs_seconds": runs,
        "median_cpu_seconds": result.median_cpu_seconds,
    }
    heading = "startup: seconds from the start of `gateway serve` to its first 200 on /healthz"
    return Section(
        "startup",
        heading,
        ["median", "(min - max)", "CPU seconds", "runs"],
        [row],
        [],
        aims,
        figures,
    )


def memory_section(points: Sequence[MemoryPoint], aims: list[Aim]) -> Section:
    """One row a point."""
    rows = [
        [
            f"{point.requests:,}",
            f"{point.rss_bytes / 1e6:.1f}",
            f"{point.children_rss_bytes / 1e6:.1f}",
        ]
        for point in points
    ]
    figures = [
        {
            "requests": point.requests,
            "rss_bytes": point.rss_bytes,
            "children_rss_bytes": point.children_rss_bytes,
        }
        for point in points
    ]
    heading = "memory: resident set of a new gateway"
    columns = ["after requests", "RSS MB", "children MB"]
    return Section("memory", heading, columns, list(rows), [], aims, figures)


def _aim_line(aim: Aim) -> str:
    if aim.measured is None:
        return f"  aim: {aim.what} {aim.relation} {aim.aim:g}: not measured"
    verdict = "met" if aim.met else "NOT met"
    return f"  aim: {aim.what} {aim.relation} {aim.aim:g}: measured {aim.measured:.4g}, {verdict}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
