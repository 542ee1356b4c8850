"""Charges, newest first: idle, standing and keep-warm time, fees, adjustments."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Request

from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.behind import facts_of_charges, link_to, price_link
from gateway.http.dashboard.figures import seconds, usd, when
from gateway.http.dashboard.tables import Column, Row, Table
from gateway.http.dashboard.view import View, read
from gateway.http.dashboard.visits import Visit
from gateway.ledger.reports.row_filters import CHARGE_KINDS, OF_CHARGES


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """The list, fifty at a time, and what all of it comes to."""
    query = asked.query(visited.caller, only=OF_CHARGES, limit="50")
    (found, sums), as_of = await read(
        visited, lambda reports: (reports.charges(query), reports.charges_come_to(query))
    )
    older = found["next_cursor"]
    csv_link = "charges.csv" + asked.link()
    table = Table("Charges, newest first (UTC)", _COLUMNS, found["data"], csv_link, in_cards=True)
    shown = {
        "older": older and asked.link(cursor=older),
        "newest": asked.link(cursor=None) if asked.one("cursor") else None,
        "as_of": as_of,
        "kinds": CHARGE_KINDS,
        "facts": [] if sums is None or sums["charges"] == 0 else facts_of_charges(asked, sums),
    }
    return View("charges.html", shown, table)


def _price(row: Row) -> str | None:
    return price_link(row["price_id"])


def _operation(row: Row) -> str | None:
    operation_id = row["operation_id"]
    return None if operation_id is None else f"operations/{quote(operation_id)}"


def _deployment(row: Row) -> str:
    return link_to("cost", [("deployment", row["deployment"]), ("group_by", "deployment")])


def _none(value: Any) -> str:
    return "none" if value is None else str(value)


_COLUMNS = (
    Column(
        *("start_time", lambda row: row["start_time"], when, _operation),
        is_number=False,
        title="from (UTC)",
    ),
    Column("kind", lambda row: row["kind"], is_number=False),
    Column(
        "deployment", lambda row: row["deployment"], link=_deployment, is_number=False, is_long=True
    ),
    Column("rule", lambda row: row["rule"], is_number=False, is_long=True),
    Column("stay", lambda row: row["stay"], _none, is_number=False, is_extra=True, is_aside=True),
    Column("seconds", lambda row: row["seconds"], seconds, is_label=True, title="for"),
    Column("quantity", lambda row: row["quantity"], _none, is_label=True, is_aside=True),
    Column(
        *("unit_price_usd", lambda row: row["unit_price_usd"], usd, _price),
        is_extra=True,
        is_aside=True,
    ),
    Column("cost_usd", lambda row: row["cost"]["total_usd"], usd, is_label=True),
    Column("cost_status", lambda row: row["cost"]["status"], is_number=False),
    Column("price_id", lambda row: row["price_id"], _none, _price, is_number=False, is_long=True),
    Column(
        *("operation", lambda row: row["operation_id"], _none, _operation),
        is_number=False,
        is_aside=True,
    ),
    Column("id", lambda row: row["id"], is_number=False, is_extra=True, is_aside=True),
)
