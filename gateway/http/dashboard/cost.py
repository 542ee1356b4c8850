"""What was spent: over time, by group, and for what. Unknown is shown as unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from fastapi import Request

from gateway.http.dashboard import charts
from gateway.http.dashboard.asking import Asked, whole
from gateway.http.dashboard.behind import Behind, Fact
from gateway.http.dashboard.figures import UNKNOWN, minute, said, usd
from gateway.http.dashboard.over_time import axis, colours, extent, micros, times
from gateway.http.dashboard.paid_for import PARTS, part_usd
from gateway.http.dashboard.tables import Column, Link, Row, Table
from gateway.http.dashboard.view import View, read
from gateway.http.dashboard.visits import Visit
from gateway.ledger.reports.cost_report import added_up, known_usd
from gateway.ledger.reports.query import MOST_ROWS, ReportQuery
from gateway.reconciliation.statements import Statements

GROUPS = ("provider", "deployment", "model", "key")


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """One question, by bucket; the sums of the range are its rows added up."""
    query = asked.query(
        visited.caller, group_by="provider", bucket_width="1d", limit=str(MOST_ROWS)
    )
    series, as_of = await read(visited, lambda reports: reports.costs(query))
    sums = _by_group(series["data"])
    if series["next_cursor"] is not None:  # more than is drawn: then it is not all of them
        sums = (await read(visited, lambda reports: reports.costs(whole(query))))[0]["data"]
    everything = added_up(sums) if sums else None
    rows = sorted(sums, key=lambda row: -Decimal(row["known_usd"]))
    caption = f"Cost by {', '.join(query.group_by)}, as far as it is known"
    table = Table(caption, _columns(query, asked), rows, f"cost.csv{asked.link(rows=None)}")
    names = [_name(row) for row in rows]
    by_time = Table("The figures of the drawing", _series_columns(query, asked), series["data"])
    if asked.one("rows") == "buckets":
        table = by_time
    by_time.csv_link = "cost.csv" + asked.link(rows="buckets")
    by_time.feeds_chart = True
    known = None if everything is None else known_usd(everything)
    drawings = []
    if known is not None:
        drawings = [_bars(query, series["data"], names, size) for size in _SIZES]
    shown = {
        "groups": GROUPS,
        "as_of": as_of,
        "facts": [] if everything is None else _facts(asked, query, everything, known),
        "everything": everything,
        "known": known,
        "drawings": drawings,
        "splits": [_split(rows, size[0]) for size in _SIZES],
        "key": _key(names),
        "by_time": by_time,
        "axis": axis(query, series["data"]),
        "by": query.group_by,
        "more": series["next_cursor"],
        "reconciled": await asyncio.to_thread(_reconciled, visited),
    }
    return View("cost.html", shown, table)


_SIZES = (charts.WIDE, charts.NARROW)


def _key(names: list[str]) -> list[tuple[str, str]]:
    """A colour and its group; the last colour is for all groups that are left."""
    found = [(kind, name) for name, kind in colours(names).items()]
    rest = len(found) - charts.COLOURS + 1
    return found if rest <= 1 else [*found[:-rest], (found[-1][0], f"{rest} others")]


def _by_group(rows: Sequence[Row]) -> list[Row]:
    """The same without buckets."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row["group"].values()), []).append(row)
    return [{"group": same[0]["group"], **added_up(same)} for same in found.values()]


def _facts(asked: Asked, query: ReportQuery, found: Row, known: str | None) -> list[Fact]:
    """All groups together, each figure with the rows behind it."""
    behind, row = Behind(asked, replace(query, group_by=())), {**found, "group": {}}
    attempts, charges = found["unknown_attempts"], found["unknown_charges"]
    high = found["range_usd"]["high"]
    status = {name: ("cost_status", name) for name in ("measured", "estimated", UNKNOWN)}
    facts = [Fact("known_usd", "known", usd(known), known, behind.rows(row))]
    for name in ("measured", "estimated"):
        value = None if known is None else found[f"{name}_usd"]
        link = behind.rows(row, status[name])
        facts.append(Fact(f"{name}_usd", f"of it {name}", usd(value), value, link))
    said_of = f"{said(attempts)} of {said(found['attempts'])} attempts"
    link = behind.operations(row, status[UNKNOWN])
    facts.append(Fact("unknown_attempts", "of unknown cost", said_of, attempts, link))
    if charges:
        said_of = f"{said(charges)} of {said(found['charges'])} charges"
        link = behind.charges(row, status[UNKNOWN])
        facts.append(Fact("unknown_charges", "and", said_of, charges, link))
    facts.append(Fact("high_usd", "at most", _bound(high), high, behind.rows(row)))
    return facts


def _reconciled(visited: Visit) -> list[dict[str, Any]]:
    """Until when each provider's own bill was held against the ledger."""
    state = visited.state
    statements = Statements(state.settings.server.data_dir)
    found = []
    for provider in sorted({target.provider for target in state.registry.targets.values()}):
        through = statements.through(provider)
        until, difference = (None, None) if through is None else through
        found.append({"provider": provider, "through": until, "difference": difference})
    return found


def _name(row: Row) -> str:
    return ", ".join("none" if value is None else str(value) for value in row["group"].values())


def _group_columns(query: ReportQuery, link: Link | None = None) -> list[Column]:
    return [
        Column(name, lambda row, name=name: row["group"][name], _or_none, link, is_number=False)  # type: ignore[misc]
        for name in query.group_by
    ]


def _or_none(value: Any) -> str:
    return "none" if value is None else str(value)


def _columns(query: ReportQuery, asked: Asked) -> list[Column]:
    behind = Behind(asked, query)

    def of_part(part: str) -> Column:
        return Column(
            f"{part}_usd",
            lambda row: part_usd(row, part),
            usd,
            lambda row: behind.part(row, part),
            is_spare=part in ("fees", "other"),
        )

    return [
        *(
            _group_columns(query, behind.rows)
            or [Column("all", lambda row: "all", link=behind.rows, is_number=False)]
        ),
        Column("attempts", lambda row: row["attempts"], link=behind.operations),
        Column("known_usd", known_usd, usd, behind.rows),
        *(of_part(part) for part in PARTS),
        Column(
            "estimated_usd",
            lambda row: known_usd(row, "estimated_usd"),
            usd,
            lambda row: behind.rows(row, ("cost_status", "estimated")),
        ),
        _unknown_attempts(behind),
        Column("charges", lambda row: row["charges"], link=behind.charges, is_spare=True),
        _unknown_charges(behind),
        Column("high_usd", lambda row: row["range_usd"]["high"], _bound, behind.rows),
    ]


def _unknown_attempts(behind: Behind) -> Column:
    return Column(
        "unknown_attempts",
        lambda row: row["unknown_attempts"],
        link=lambda row: behind.operations(row, ("cost_status", UNKNOWN)),
    )


def _unknown_charges(behind: Behind) -> Column:
    return Column(
        "unknown_charges",
        lambda row: row["unknown_charges"],
        link=lambda row: behind.charges(row, ("cost_status", UNKNOWN)),
        is_spare=True,
    )


def _bound(value: str | None) -> str:
    return "no bound" if value is None else usd(value)


def _series_columns(query: ReportQuery, asked: Asked) -> list[Column]:
    behind = Behind(asked, query, in_bucket=True)
    return [
        Column("from", lambda row: row["start_time"], minute, is_number=False, title="from (UTC)"),
        *_group_columns(query),
        Column("attempts", lambda row: row["attempts"], link=behind.operations),
        Column("known_usd", known_usd, usd, behind.rows),
        _unknown_attempts(behind),
        _unknown_charges(behind),
    ]


def _bars(
    query: ReportQuery, rows: Sequence[Row], names: list[str], size: tuple[int, int]
) -> charts.Drawing:
    by_name = colours(names)
    stacks: dict[int, tuple[int, list[tuple[str, float, str]], int]] = {}
    for row in rows:
        start_us, end_us = micros(row["start_time"]), micros(row["end_time"])
        _, parts, unknown = stacks.setdefault(start_us, (end_us, [], 0))
        value = known_usd(row)
        title = f"{row['start_time'][:16]} {_name(row)}: {usd(value)}"
        parts.append((by_name.get(_name(row), "s6"), float(value or 0), title))
        missing = unknown + row["unknown_attempts"] + row["unknown_charges"]
        stacks[start_us] = (end_us, parts, missing)
    found = [
        charts.Bar(start, end, sorted(parts), "?" if missing else "")
        for start, (end, parts, missing) in sorted(stacks.items())
    ]
    most = max((sum(value for _, value, _ in bar.parts) for bar in found), default=0.0)
    scale = [(value, usd(f"{value:.12f}")) for value in charts.round_scale(most)]
    start_us, end_us = extent(query, rows)
    marks = times(query, start_us, end_us, 11 if size == charts.WIDE else 5)
    title = f"Known cost over time by {_or_none(', '.join(query.group_by))}; figures below"
    return charts.bars(title, found, size, start_us, end_us, scale, marks)


def _split(rows: Sequence[Row], width: int) -> charts.Drawing:
    """What each group was paid for, in percent of what is known of it."""
    lines = []
    for row in rows[:12]:
        values = [(part, part_usd(row, part)) for part in PARTS]
        total = sum((max(Decimal(v), Decimal(0)) for _, v in values if v), Decimal(0))
        parts, at = [], 0.0
        for part, value in values:
            if value is not None and total and Decimal(value) > 0:
                share = float(Decimal(value) / total * 100)
                parts.append((part, at, share, f"{part}: {usd(value)}, {share:.1f} %"))
                at += share
        missing = row["unknown_attempts"] + row["unknown_charges"]
        note = usd(known_usd(row)) + (f" + {missing} {UNKNOWN}" if missing and total else "")
        lines.append(charts.Line(_name(row) or "all", parts, note))
    return charts.lying(
        "What was paid for, by group; figures above",
        lines,
        width,
        100.0,
        [(share * 100, text) for share, text in charts.SHARES],
    )
