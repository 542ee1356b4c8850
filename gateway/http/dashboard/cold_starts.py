"""How often calls found a deployment cold, on what evidence, and how long boots took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from gateway.http.dashboard import charts, spread, warmth
from gateway.http.dashboard.asking import Asked, whole
from gateway.http.dashboard.behind import Behind, Pair, link_to
from gateway.http.dashboard.figures import minute, percent, seconds, when
from gateway.http.dashboard.over_time import axis, extent, micros, times
from gateway.http.dashboard.tables import Column, Link, Row, Table
from gateway.http.dashboard.view import View, read
from gateway.http.dashboard.visits import Visit
from gateway.http.warmth import listed
from gateway.ledger.reports.query import MOST_ROWS, ReportQuery, zone
from gateway.ledger.reports.reports import Reports

GROUPS = ("deployment", "provider", "model", "key")
_VERDICTS = ("warm", "cold", "unknown")
_TABLES = {
    "hours": "hours",
    "boots": "bins_of_boots",
    "calls": "calls",
    "warmth": "warmth",
    "curve": "points",
    "quality": "quality",
    "calibration": "bins",
}
"""What ``rows`` says in the URL, and the table that it means."""
_NEWEST = 300  # operations on the strips: each is drawn
_SIZES = (charts.WIDE, charts.NARROW)


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """The sums by group, all groups together by bucket, and the newest operations by themselves."""
    query = asked.query(
        visited.caller, group_by="deployment", bucket_width="1d", limit=str(MOST_ROWS)
    )
    answers, as_of = await read(visited, lambda reports: _ask(reports, query))
    sums, series, by_hour, newest = answers
    rows = sums["data"]
    table = Table(
        f"Cold starts by {', '.join(query.group_by)}",
        _columns(query, asked),
        rows,
        f"cold-starts.csv{asked.link(rows=None)}",
    )
    everything = replace(query, group_by=())
    by_time = Table("The figures of the drawing", _by_time(everything, asked), series["data"])
    by_time.csv_link = "cold-starts.csv" + asked.link(rows="buckets")
    by_time.feeds_chart = True
    behind = "operations?" + urlencode(asked.filters())
    booted = [row for row in rows if row["boot_seconds"]["count"]]
    shown: dict[str, Any] = {
        "groups": GROUPS,
        "as_of": as_of,
        "more": series["next_cursor"] or sums["next_cursor"],
        "drawings": [_bars(query, series["data"], size) for size in _SIZES] if rows else [],
        "strips": [_strips(query, newest["data"], size) for size in _SIZES] if rows else [],
        "newest": newest,
        "behind": behind,
        "boots": [_boots(booted, size[0]) for size in _SIZES] if booted else [],
        "by_time": by_time,
        "axis": axis(query, series["data"]),
        "sums": table,
        "calls": Table("The attempts of the drawing", _CALLS, _calls(newest["data"])),
        **spread.section(by_hour["data"], query.time_zone, Behind(asked, everything)),
        **warmth.section(await listed(visited.state, asked.all("deployment"))),
    }
    tables = {"buckets": by_time}
    for rows_of, name in _TABLES.items():
        tables[rows_of] = shown[name]
        shown[name].csv_link = "cold-starts.csv" + asked.link(rows=rows_of)
    return View("cold-starts.html", shown, tables.get(asked.one("rows"), table))


def _ask(reports: Reports, query: ReportQuery) -> tuple[dict[str, Any], ...]:
    by_time = replace(query, group_by=(), cursor=None)
    by_hour = replace(whole(query), group_by=(), by=("hour",))
    newest = replace(query, cursor=None, limit=_NEWEST)
    return (
        reports.cold_starts(whole(query)),
        reports.cold_starts(by_time),
        reports.cold_starts(by_hour),
        reports.operations(newest),
    )


def _name(row: Row) -> str:
    return ", ".join("none" if value is None else str(value) for value in row["group"].values())


def _columns(query: ReportQuery, asked: Asked) -> list[Column]:
    behind = Behind(asked, query)

    def split(row: Row) -> str:
        return link_to("cold-starts", [*behind.pairs(row), ("group_by", "evidence")])

    return [
        Column(
            ", ".join(query.group_by) or "all",
            _name,
            lambda text: text or "all",
            behind.ended,
            is_number=False,
        ),
        *_counts(behind),
        *(_boot(name, _with(behind, _BOOTS)) for name in ("p50", "p90", "p99")),
        *(_wait(name, _with(behind, _WAITS)) for name in ("p50", "p99")),
        Column("evidence", _evidence, link=split, is_number=False, is_long=True),
    ]


_BOOTS = ("sample", "boot")
_WAITS = ("sample", "wait")
_JUDGED = (("verdict", "cold"), ("verdict", "warm"))  # what the rate of cold starts is of


def _with(behind: Behind, *more: Pair) -> Link:
    return lambda row: behind.ended(row, *more)


def _counts(behind: Behind) -> list[Column]:
    """Attempts that have ended, by verdict; each with the operations that they belong to."""
    return [
        Column("attempts", lambda row: row["attempts"], link=behind.ended),
        *(
            Column(name, lambda row, name=name: row[name], link=_with(behind, ("verdict", name)))  # type: ignore[misc]
            for name in ("cold", "warm", "unknown")
        ),
        Column("cold_rate", lambda row: row["cold_rate"], percent, _with(behind, *_JUDGED)),
        Column("boots", lambda row: row["boots"], link=_with(behind, ("caused_boot", "true"))),
    ]


def _boot(name: str, link: Link) -> Column:
    return Column(
        *(f"boot_{name}_seconds", lambda row: row["boot_seconds"][name], seconds, link),
        is_aside=name == "p90",  # the drawing of boots has it, too
    )


def _wait(name: str, link: Link) -> Column:
    return Column(f"wait_{name}_seconds", lambda row: row["wait_seconds"][name], seconds, link)


def _evidence(row: Row) -> str:
    return ", ".join(f"{name} {count}" for name, count in row["evidence"].items()) or "none"


def _by_time(query: ReportQuery, asked: Asked) -> list[Column]:
    return [
        Column("from", lambda row: row["start_time"], minute, is_number=False, title="from (UTC)"),
        *_counts(Behind(asked, query, in_bucket=True)),
    ]


def _calls(operations: Sequence[Row]) -> list[Row]:
    return [
        {**attempt, "operation": row["id"], "created_at": row["created_at"]}
        for row in operations
        for attempt in row["attempts"]
    ]


def _operation(row: Row) -> str:
    return f"operations/{row['operation']}"


_CALLS = (
    Column("created_at", lambda row: row["created_at"], when, _operation, is_number=False),
    *(
        Column(name, lambda row, name=name: row[name], is_number=False)  # type: ignore[misc]
        for name in ("deployment", "verdict", "status", "operation")
    ),
)


def _bars(query: ReportQuery, rows: Sequence[Row], size: tuple[int, int]) -> charts.Drawing:
    found = [
        charts.Bar(
            micros(row["start_time"]),
            micros(row["end_time"]),
            [
                (name, float(row[name]), f"{row['start_time'][:16]} {name}: {row[name]}")
                for name in _VERDICTS
            ],
        )
        for row in rows
    ]
    most = max((float(row["attempts"]) for row in rows), default=0.0)
    scale = [
        (value, f"{value:,g}" if value < 1000 else f"{value:,.0f}")
        for value in charts.round_scale(max(most, 4.0))
    ]
    start_us, end_us = extent(query, rows)
    marks = times(query, start_us, end_us, 11 if size == charts.WIDE else 5)
    rates = [
        ((micros(row["start_time"]) + micros(row["end_time"])) // 2, row["cold_rate"])
        for row in rows
        if row["cold_rate"] is not None
    ]
    title = "Attempts over time by verdict, and the cold rate; figures below"
    return charts.bars(title, found, size, start_us, end_us, scale, marks, rates, charts.SHARES)


def _boots(rows: Sequence[Row], width: int) -> charts.Drawing:
    """From the median boot to the slowest 1 in 100, a line for each group."""
    lines, most = [], 0.0
    for row in rows[:20]:
        boot = row["boot_seconds"]
        p50, p90, p99 = boot["p50"], boot["p90"], boot["p99"]
        parts = [
            ("p50", 0.0, p50, f"half of the boots: up to {seconds(p50)}"),
            ("p90", p50, p90 - p50, f"9 in 10: up to {seconds(p90)}"),
            ("p99", p90, p99 - p90, f"99 in 100: up to {seconds(p99)}"),
        ]
        lines.append(
            charts.Line(
                _name(row),
                [p for p in parts if p[2] > 0],
                f"{boot['count']} boot{'s' * (boot['count'] != 1)}",
            )
        )
        most = max(most, p99)
    scale = [(at, seconds(at)) for at in charts.round_scale(most)]
    title = "Boot seconds by group: half, 9 in 10, 99 in 100; figures in the table"
    return charts.lying(title, lines, width, scale[-1][0], scale)


def _strips(query: ReportQuery, operations: Sequence[Row], size: tuple[int, int]) -> charts.Drawing:
    """A line for each deployment, a mark for each attempt at the time its operation came in."""
    wide = size == charts.WIDE
    begin_us = min((micros(row["created_at"]) for row in operations), default=query.start_at_us)
    span = max(1.0, float(query.end_at_us - begin_us))
    marks: dict[str, list[tuple[str, float, float, str]]] = {}
    for row in reversed(operations):
        at = float(micros(row["created_at"]) - begin_us)
        for attempt in row["attempts"]:
            verdict = attempt["verdict"]
            title = f"{when(row['created_at'])} {verdict}"
            parts = marks.setdefault(attempt["deployment"], [])
            parts.append((verdict, at, span / (500 if wide else 160), title))
    lines = []
    for name, parts in sorted(marks.items()):
        # What was cold is drawn last: it must not be hidden by the warm calls around it.
        parts.sort(key=lambda part: part[0] == "cold")
        lines.append(charts.Line(name, parts, f"{len(parts)} attempt{'s' * (len(parts) != 1)}"))
    scale = [
        (0.0, f"from {datetime.fromtimestamp(begin_us / 1e6, zone(query.time_zone)):%d %b %H:%M}")
    ]
    scale += [
        (float(at_us - begin_us), text)
        for at_us, text in times(query, begin_us, query.end_at_us, 11 if wide else 4)
        if (at_us - begin_us) / span > (0.14 if wide else 0.4)
    ]
    title = "The newest attempts in time, a line for each deployment; figures: Operations"
    return charts.lying(title, lines[:20], size[0], span, scale)
