"""The price book: the rows that costs and comparisons are computed from, or one of them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import Request

from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.behind import link_to, price_link
from gateway.http.dashboard.figures import usd
from gateway.http.dashboard.tables import Column, Row, Table
from gateway.http.dashboard.view import View
from gateway.http.dashboard.visits import Visit
from gateway.pricebook.listing import RATES, Listed, bills_text, listed, rates_text, today


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """All rows, those whose name contains ``name``, or the one with ``id``."""
    wanted = asked.one("id")
    name = wanted.rpartition("@")[0] or asked.one("name")
    found = await asyncio.to_thread(listed, visited.state.settings, today(), name)
    rows = [_row(one) for one in found if wanted in ("", one.row.id)]
    table = Table("Price rows", _COLUMNS, rows, "prices.csv" + asked.link(), in_cards=True)
    facts = Table("What it says", _FIELDS, _fields(rows[0])) if wanted and rows else None
    return View("prices.html", {"wanted": wanted, "fields": facts}, table)


def _row(one: Listed) -> Row:
    return {**one.json(), "rates": rates_text(one.row), "billed": bills_text(one.row)}


def _fields(row: Row) -> list[Row]:
    """One row of the book, a line for each thing that it says."""
    names = ("name", "effective_from", "in_force", *RATES, "may_add", "tiers", "bills")
    names += ("round_up_seconds", "shared", "origin", "source", "checked_on", "note")
    found = [{"what": name, "value": row[name]} for name in names if row[name] not in (None, [])]
    return found + [
        {"what": "used by", "value": name, "link": link_to("operations", [("deployment", name)])}
        for name in row["deployments"]
    ]


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rounded(rates: str) -> str:
    """A rate by the hour has many digits by the second; the row's own page has all of them."""
    return re.sub(r"\$([0-9]+\.[0-9]+)", lambda found: usd(found[1]), rates)


_FIELDS = (
    Column("what", lambda row: row["what"], is_number=False),
    Column(
        "value",
        lambda row: row["value"],
        _said,
        lambda row: row.get("link"),
        is_number=False,
        is_long=True,
    ),
)
_COLUMNS = (
    Column("id", lambda row: row["id"], link=lambda row: price_link(row["id"]), is_number=False),
    Column("rates", lambda row: row["rates"], _rounded, is_number=False, is_long=True),
    Column("billed", lambda row: row["billed"], is_number=False, is_long=True),
    Column("in_force", lambda row: row["in_force"], is_number=False),
    Column("origin", lambda row: row["origin"], is_number=False, is_extra=True, is_aside=True),
    Column("checked_on", lambda row: row["checked_on"], is_number=False),
    Column("age_days", lambda row: row["age_days"], is_label=True, is_extra=True, is_aside=True),
    Column(
        "deployments",
        lambda row: ", ".join(row["deployments"]),
        lambda text: text or "nobody",
        is_number=False,
        is_long=True,
    ),
    Column(
        *("source", lambda row: row["source"]),
        is_number=False,
        is_long=True,
        is_extra=True,
        is_aside=True,
    ),
)
