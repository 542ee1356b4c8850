"""The requests of a model wherever they could be served: the page of ``gateway compare``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import Request
from starlette.datastructures import QueryParams

from gateway.http.comparison import asked as comparison_asked
from gateway.http.comparison import compared
from gateway.http.dashboard.asking import SPANS, Asked
from gateway.http.dashboard.figures import seconds, usd
from gateway.http.dashboard.tables import Column, Table
from gateway.http.dashboard.view import View
from gateway.http.dashboard.visits import Visit
from gateway.http.reports import caught_up


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """Of the first model where none is named."""
    state = visited.state
    models = sorted(state.settings.models)
    if not models:
        return View("compare.html", {"found": None}, Table("Candidates", _COLUMNS))
    said = [(name, value) for name, value in asked.params if name != "last"]
    if not asked.one("model") and models:
        said.append(("model", models[0]))
    if asked.one("last") in SPANS and not asked.one("start_time"):
        said.append(("start_time", (datetime.now(UTC) - SPANS[asked.one("last")]).isoformat()))
    ask, query = comparison_asked(state, QueryParams(said))
    await caught_up(state)
    found = await asyncio.to_thread(compared, state, ask, query)
    from gateway.comparison.page import body

    shown = {"models": models, "model": ask.model, "found": found, "body": body(found)}
    table = Table("Candidates", _COLUMNS, found["candidates"], "compare.csv" + asked.link())
    return View("compare.html", shown, table)


def _text(name: str) -> Column:
    return Column(name, lambda row: row[name], is_number=False)


def _usd(name: str) -> Column:
    return Column(name, lambda row: row[name], usd)


def _wait(name: str) -> Column:
    return Column(f"wait_{name}", lambda row: row["waits"][name], seconds)


_COLUMNS = (
    _text("name"),
    _text("hardware"),
    _text("price_id"),
    _text("status"),
    *(_usd(f"{part}_usd") for part in ("total", "active", "boot", "idle", "tokens")),
    *(_usd(f"{part}_usd") for part in ("other", "standing")),
    Column("cold_rate", lambda row: row["waits"]["cold_rate"]),
    *(_wait(f"{name}_seconds") for name in ("p50", "p95", "p99")),
)
