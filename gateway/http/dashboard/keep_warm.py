"""What keeping warm has saved and wasted in a month, and what would have been best."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fastapi import Request

from gateway.clock import rfc3339
from gateway.http.dashboard import charts
from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.behind import Pair, link_to, price_link
from gateway.http.dashboard.figures import UNKNOWN, seconds, usd
from gateway.http.dashboard.tables import Column, Link, Row, Table
from gateway.http.dashboard.view import View, read
from gateway.http.dashboard.visits import Visit
from gateway.http.reports import caught_up
from gateway.http.state import State
from gateway.keeping.statement import month_of, statement
from gateway.ledger.errors import BadQuery
from gateway.ledger.stay_rules import REST, UNUSED, USED
from gateway.registry import Target

_SIZES = (charts.WIDE, charts.NARROW)


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """The statement of one month; ``plan`` names a deployment whose requests are replayed."""
    state = visited.state
    month = asked.one("month") or f"{datetime.now(UTC):%Y-%m}"
    try:
        begin_us, end_us = month_of(month)
    except ValueError:
        raise BadQuery("month", "month is a year and a month, 2026-11 say.") from None
    kept, as_of = await read(visited, lambda reports: reports.kept_warm(begin_us, end_us))
    rows = statement(kept, state.settings.deployments)
    table = Table(f"Keeping warm in {month} (UTC)", _columns(begin_us, end_us), rows, in_cards=True)
    table.csv_link = f"keep-warm.csv{asked.link(rows=None)}"
    wanted, plan = asked.one("plan"), None
    if wanted:
        plan = await _planned(state, wanted)
    caption = "What each policy would have cost in a month"
    tried = Table(caption, _tried_columns(wanted), in_cards=True)
    if plan is not None:
        tried.rows = plan["candidates"]
    tried.csv_link = f"keep-warm.csv{asked.link(rows='plan')}"
    priced = [row for row in rows if row["cost_usd"] is not None]
    worth_drawing = any(Decimal(row["cost_usd"]) for row in priced)
    shown = {
        "month": month,
        "as_of": as_of,
        "sentence": _sentence(rows, month) if rows else None,
        "drawings": [_drawn(priced, size[0]) for size in _SIZES] if worth_drawing else [],
        "choices": [t.name for t in state.registry.targets.values() if _by_seconds(state, t)],
        "plan": plan,
        "tried": tried,
    }
    return View("keep-warm.html", shown, tried if asked.one("rows") == "plan" else table)


async def _planned(state: State, name: str) -> dict[str, Any]:
    from gateway.http.planning import planned

    target = state.registry.targets.get(name)
    if target is None or not _by_seconds(state, target):
        raise BadQuery("plan", "plan names a deployment whose price is by the second.")
    await caught_up(state)
    return await asyncio.to_thread(planned, state, target)


def _by_seconds(state: State, target: Target) -> bool:
    row = None if target.tariff is None else target.tariff.at(state.executor.clock.wall_us())
    return row is not None and row.usd_per_second is not None


def _sentence(rows: Sequence[Row], month: str) -> str:
    """The month in words; what is not known of any deployment is not known of all."""
    avoided = sum(row["cold_starts_avoided"] for row in rows)
    wasted = sum(row["stays_wasted"] for row in rows)
    words = f"In {month} it has avoided {avoided:,} cold start{'s' * (avoided != 1)}, "
    words += f"and {wasted:,} stay{'s' * (wasted != 1)} ended unused. "
    cost, lost, saved = (_sum(rows, name) for name in ("cost_usd", "wasted_usd", "saved_usd"))
    words += f"It cost {usd(cost)}, {usd(lost)} of it for nothing"
    if goes_on := sum(row["stays_open"] for row in rows):
        stays = f"{goes_on:,} stay{'s' * (goes_on != 1)} that go{'es' * (goes_on == 1)} on"
        words += f", {usd(_sum(rows, 'open_usd'))} for {stays}"
    words += "; "
    words += f"the waiting that it saved was worth {usd(saved)}."
    if cost is not None and saved is not None:
        net = Decimal(saved) - Decimal(cost)
        words += f" Together that is {usd(format(net, 'f'))}."
    return words


def _sum(rows: Sequence[Row], name: str) -> str | None:
    values = [row[name] for row in rows]
    if None in values:
        return None
    return format(sum(map(Decimal, values), Decimal(0)), "f")


def _drawn(rows: Sequence[Row], width: int) -> charts.Drawing:
    """What was paid, used and wasted, on one scale with what the waiting was worth."""
    lines, most = [], 0.0
    for row in rows[:20]:
        cost, wasted = float(row["cost_usd"]), float(row["wasted_usd"])
        open_ = float(row["open_usd"])
        used = cost - wasted - open_
        saved = None if row["saved_usd"] is None else float(row["saved_usd"])
        parts = [
            ("used", 0.0, used, f"of use: {usd(str(used))}"),
            ("wasted", used, wasted, f"for nothing: {usd(row['wasted_usd'])}"),
            ("open", used + wasted, open_, f"of stays that go on: {usd(row['open_usd'])}"),
        ]
        lines.append(charts.Line(f"{row['deployment']}: paid", parts, usd(row["cost_usd"])))
        gained = [] if saved is None else [("saved", 0.0, saved, f"worth {usd(row['saved_usd'])}")]
        lines.append(charts.Line("waiting saved", gained, usd(row["saved_usd"])))
        most = max(most, cost, saved or 0.0)
    marks = [(value, usd(f"{value:.12f}")) for value in charts.round_scale(most)]
    title = "What keeping warm cost, used and wasted, and what the waiting was worth; figures below"
    return charts.lying(title, lines, width, marks[-1][0], marks)


def _usd(name: str) -> Column:
    return Column(name, lambda row: row[name], usd)


def _policy(value: str | None) -> str:
    return "none now" if value is None else value


def _budget(value: str | None) -> str:
    return "none" if value is None else usd(value)


def _columns(begin_us: int, end_us: int) -> list[Column]:
    """Each figure leads to the charges that it is of; what is worth what, to those it is from."""

    month = [("start_time", rfc3339(begin_us)), ("end_time", rfc3339(end_us))]

    def charges(*more: Pair) -> Link:
        rest = [("kind", "keep_warm"), *month, *more]
        return lambda row: link_to("charges", [("deployment", row["deployment"]), *rest])

    def usd_of(name: str, *more: Pair) -> Column:
        return Column(name, lambda row: row[name], usd, charges(*more))

    ended_used, waited = ("rule", USED), ("rule", REST)
    return [
        Column("deployment", lambda row: row["deployment"], link=charges(), is_number=False),
        Column("policy", lambda row: row["policy"], _policy, is_number=False),
        Column(
            "cold_starts_avoided", lambda row: row["cold_starts_avoided"], link=charges(ended_used)
        ),
        Column("stays_wasted", lambda row: row["stays_wasted"], link=charges(("rule", UNUSED))),
        Column("stays_open", lambda row: row["stays_open"], link=charges(("stay", "open"))),
        Column("kept_seconds", lambda row: row["kept_seconds"], seconds, charges()),
        usd_of("cost_usd"),
        usd_of("wasted_usd", ("stay", "unused")),
        usd_of("open_usd", ("stay", "open")),
        Column(
            "waiting_saved_seconds",
            lambda row: row["waiting_saved_seconds"],
            lambda text: UNKNOWN if text is None else seconds(float(text)),
            charges(ended_used, waited),
        ),
        usd_of("saved_usd", ended_used, waited),
        usd_of("net_usd"),
        Column("monthly_budget_usd", lambda row: row["monthly_budget_usd"], _budget, is_label=True),
    ]


def _tried_columns(deployment: str) -> list[Column]:
    """What each policy would have cost is replayed from the deployment's own requests."""
    replayed = link_to("operations", [("deployment", deployment), ("last", "30d")])
    return [
        Column("policy", lambda row: row["policy"], is_number=False),
        Column(
            "price",
            lambda row: row["price"],
            link=lambda row: price_link(row["price"]),
            is_number=False,
        ),
        Column(
            "burden_usd_per_month",
            lambda row: row["burden_usd_per_month"],
            usd,
            lambda row: replayed,
        ),
    ]
