"""The requests of a model wherever they could be served: the page of ``gateway compare``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from starlette.datastructures import QueryParams

from gateway.http.comparison import asked as comparison_asked
from gateway.http.comparison import compared
from gateway.http.dashboard.asking import SPANS, Asked
from gateway.http.dashboard.behind import link_to, price_link
from gateway.http.dashboard.figures import seconds, usd
from gateway.http.dashboard.render import base_of
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
    from gateway.comparison.page import WAITS, body

    replayed: str | None = None
    if found["traffic"]["origin"] == "ledger":
        kept = [pair for pair in asked.filters() if pair[0] != "model"]
        replayed = link_to("operations", [("model", ask.model), *kept])
    base = base_of(request)

    def link(candidate: dict[str, Any], column: str) -> str | None:
        """Money is computed from a price row, waits from the requests that were replayed."""
        if column in ("#", "candidate"):
            return None
        priced = None if column in WAITS else price_link(candidate["price_id"])
        leads = priced or replayed
        return None if leads is None else base + leads

    text = body(found, link)
    shown = {
        "models": models,
        "model": ask.model,
        "found": found,
        "body": text,
        "replayed": replayed,
    }
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
