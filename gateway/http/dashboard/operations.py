"""Operations, newest first, and one of them: where its seconds and its dollars went."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from fastapi import Request

from gateway.accounting.explain import explained
from gateway.clock import rfc3339
from gateway.http.dashboard import charts
from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.behind import facts_of_operations, price_link
from gateway.http.dashboard.figures import percent, seconds, usd, when
from gateway.http.dashboard.ledger_rows import anchor, columns_of
from gateway.http.dashboard.tables import Column, Link, Table
from gateway.http.dashboard.view import View, read
from gateway.http.dashboard.visits import Visit
from gateway.http.held import held_by_deployment
from gateway.http.reports import find_operation
from gateway.ledger.phases import since_dispatch
from gateway.ledger.reports.row_filters import OF_OPERATIONS
from gateway.ledger.rows import AttemptRow

_PHASES = (
    ("held", "waiting at the gateway"),
    ("queue", "waiting for a place at the provider"),
    ("boot", "waiting for a boot"),
    ("wait", "waiting, queue and boot not told apart"),
    ("first", "work until the first output, or without any"),
    ("stream", "from the first output to the end"),
)


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """The list, fifty at a time."""
    query = asked.query(visited.caller, only=OF_OPERATIONS, limit="50")
    (found, sums), as_of = await read(
        visited, lambda reports: (reports.operations(query), reports.operations_come_to(query))
    )
    older = found["next_cursor"]
    table = Table(
        "Operations, newest first (UTC)",
        _LIST,
        found["data"],
        "operations.csv" + asked.link(),
        in_cards=True,
    )
    shown = {
        "older": older and asked.link(cursor=older),
        "newest": asked.link(cursor=None) if asked.one("cursor") else None,
        "as_of": as_of,
        "held": held_by_deployment(visited.state.executor.runs.values(), visited.caller.sees_only),
        "facts": [] if sums is None or not _any(sums) else facts_of_operations(asked, sums),
    }
    return View("operations.html", shown, table)


def _any(sums: dict[str, Any]) -> bool:
    return any(sums[name] != 0 for name in ("attempts", "charges"))


async def build_one(visited: Visit, asked: Asked, request: Request) -> View:
    """One operation: waterfall, lines of its cost, and why it went where it went."""
    operation_id = request.path_params["operation_id"]
    found = await find_operation(visited.state, visited.caller, operation_id)
    rows: list[AttemptRow] = []
    if "cost" in found:
        from gateway.ledger.reading.attempts import attempts_of

        data_dir = visited.state.settings.server.data_dir
        rows = await asyncio.to_thread(attempts_of, data_dir, found["id"])
    told = [explained(row) for row in rows]
    tables = {
        "timing": Table("Where the time of each attempt went", _TIMING, [_timed(r) for r in rows]),
        "lines": Table("Lines of the cost", _LINES, _lines(told)),
        "candidates": Table("What was considered", _CANDIDATES, _considered(found)),
    }
    for name, table in tables.items():
        table.csv_link = f"{_link(found)}.csv?rows={name}"
        table.in_cards = True
    shown = {
        "operation": found,
        "drawings": _waterfalls(rows),
        "phases": _drawn_phases(rows),
        "told": told,
        "ledger": columns_of(rows),
        **tables,
    }
    return View("operation.html", shown, tables.get(asked.one("rows"), tables["timing"]))


def _link(row: dict[str, Any]) -> str:
    return f"operations/{quote(row['id'])}"


def _tags(row: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row["tags"].items())


_LIST = (
    Column("created_at", lambda row: row["created_at"], when, _link, is_number=False),
    Column("model", lambda row: row["model"], is_number=False, is_plain=True),
    Column("deployment", lambda row: row["deployment"], is_number=False, is_plain=True),
    Column("status", lambda row: row["status"], is_number=False, is_plain=True),
    Column("start", lambda row: row["cold_start"]["verdict"], is_number=False, is_plain=True),
    Column("cost_usd", lambda row: row["cost"]["total_usd"], usd, _link),
    Column("cost_status", lambda row: row["cost"]["status"], is_number=False, is_extra=True),
    Column(
        "first_output_seconds", lambda row: row["timing"]["first_output_seconds"], seconds, _link
    ),
    Column("total_seconds", lambda row: row["timing"]["total_seconds"], seconds, _link),
    Column("attempts", lambda row: len(row["attempts"]), link=_link, is_extra=True, is_aside=True),
    Column("tags", _tags, is_number=False, is_long=True, is_extra=True, is_aside=True),
    Column("id", lambda row: row["id"], is_number=False, is_extra=True, is_aside=True),
)


def _timed(row: AttemptRow) -> dict[str, Any]:
    return {
        "operation": row.operation_id,
        "attempt": row.attempt_id,
        "deployment": row.deployment,
        "status": row.status,
        "error": row.error_type,
        "begun_at": rfc3339(row.begun_at_us),
        "held": row.held_seconds,
        "queue": row.queue_seconds,
        "boot": row.boot_seconds,
        "wait": row.wait_seconds,
        "first": row.first_output_seconds,
        "execute": row.execute_seconds,
        "total": row.total_seconds,
        "verdict": row.verdict,
        "evidence": row.evidence,
    }


def _seconds(name: str, key: str, column: str) -> Column:
    return Column(name, lambda row: row[key], seconds, _row(column))


def _row(column: str) -> Link:
    """To the column of the ledger's row, on this page."""
    return lambda row: f"operations/{quote(row['operation'])}{anchor(row['attempt'], column)}"


def _held(value: float | None) -> str:
    return "none" if value is None else seconds(value)


def _none(value: Any) -> str:
    return "none" if value is None else str(value)


_TIMING = (
    Column("deployment", lambda row: row["deployment"], is_number=False),
    Column("status", lambda row: row["status"], is_number=False),
    Column("error", lambda row: row["error"], _none, is_number=False),
    Column("begun at", lambda row: row["begun_at"], when, is_number=False, is_aside=True),
    Column("held", lambda row: row["held"], _held, _row("held_seconds"), is_aside=True),
    _seconds("queue", "queue", "queue_seconds"),
    _seconds("boot", "boot", "boot_seconds"),
    _seconds("wait (both)", "wait", "wait_seconds"),
    _seconds("first output", "first", "first_output_seconds"),
    _seconds("work", "execute", "execute_seconds"),
    _seconds("total", "total", "total_seconds"),
    Column("start", lambda row: row["verdict"], is_number=False),
    Column("evidence", lambda row: row["evidence"], _none, is_number=False),
    Column("attempt", lambda row: row["attempt"], is_number=False, is_aside=True),
)


def _lines(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **line,
            "deployment": one["deployment"],
            "operation": one["operation_id"],
            "attempt": one["attempt_id"],
        }
        for one in told
        for line in one["lines"]
    ]


def _considered(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was expected of each is in the row of the first attempt."""
    first = {"operation": found["id"]}
    if found.get("attempts"):
        first["attempt"] = found["attempts"][0]["id"]
    return [{**first, **one} for one in found.get("candidates") or ()]


def _price(row: dict[str, Any]) -> str | None:
    return price_link(row["price_id"])


_LINES = (
    Column("deployment", lambda row: row["deployment"], is_number=False),
    Column("what", lambda row: row["kind"], is_number=False),
    Column("quantity", lambda row: row["booked_quantity"], link=_row("cost_lines")),
    Column("from", lambda row: row["quantity_from"], is_number=False, is_long=True),
    Column("price of one", lambda row: row["unit_price_usd"], usd, _price),
    Column("booked", lambda row: row["booked_usd"], usd, _row("cost_lines")),
    Column("status", lambda row: row["status"], is_number=False),
    Column("price row", lambda row: row["price_id"], _none, _price, is_number=False, is_long=True),
    Column("rule", lambda row: row["rule"], is_number=False, is_long=True),
)


def _beside(row: dict[str, Any]) -> str | None:
    told = row.get("dual_boot") or row.get("hedge")
    return None if told is None else str(told)


_CANDIDATES = (
    Column("deployment", lambda row: row["deployment"], is_number=False),
    Column("provider", lambda row: row["provider"], is_number=False),
    Column("expected cost", lambda row: row["expected_usd"], usd, _row("choice")),
    Column("expected wait", lambda row: row["expected_wait_seconds"], seconds, _row("choice")),
    Column("state", lambda row: row["state"], is_number=False, title="likeliest state"),
    Column("P(warm)", lambda row: row["p_warm"], percent, _row("choice")),
    Column("boot", lambda row: row["boot_seconds"], seconds, _row("choice")),
    Column("left out because", lambda row: row["excluded"], _none, is_number=False),
    Column("beside another", _beside, _none, is_number=False),
)


def _waterfalls(rows: list[AttemptRow]) -> list[charts.Drawing]:
    """The attempts on one clock, wide and narrow; what is unknown is not drawn."""
    if not rows:
        return []
    lines, most = [], 0.0
    for row in rows:
        begin = max(0.0, (row.begun_at_us - rows[0].operation_at_us) / 1e6)
        parts = []
        for kind, start, end in _spans(row):
            parts.append((kind, begin + start, end - start, f"{kind}: {seconds(end - start)}"))
            most = max(most, begin + end)
        note = f"{row.status}, {seconds(row.total_seconds)}"
        lines.append(charts.Line(row.deployment, parts, note))
    title = f"Waterfall of {len(rows)} attempt(s); the table below has its figures"
    scale = [(at, seconds(at)) for at in charts.round_scale(most)]
    sizes = (charts.WIDE, charts.NARROW)
    return [charts.lying(title, lines, size[0], scale[-1][0], scale) for size in sizes]


def _drawn_phases(rows: list[AttemptRow]) -> list[tuple[str, str]]:
    """The key has the phases that are drawn, no others."""
    there = {kind for row in rows for kind, _, _ in _spans(row)}
    return [phase for phase in _PHASES if phase[0] in there]


def _spans(row: AttemptRow) -> list[tuple[str, float, float]]:
    """Kind, begin and end in seconds from the dispatch, one after the other; held: before it."""
    ends: list[tuple[str, float | None]]
    boot, wait = since_dispatch(
        row.held_seconds, row.verdict, row.caused_boot, row.boot_seconds, row.wait_seconds
    )
    if row.queue_seconds is None and boot is None:
        ends = [("wait", wait)]
    else:
        queue = row.queue_seconds or 0.0
        ends = [("queue", row.queue_seconds)]
        ends += [("boot", None if boot is None else queue + boot)]
    last = "first" if row.first_output_seconds is None else "stream"
    ends += [("first", row.first_output_seconds), (last, row.total_seconds)]
    found, at = [], 0.0
    if row.held_seconds:
        found.append(("held", -row.held_seconds, 0.0))
    for kind, end in ends:
        if end is not None and end > at:
            found.append((kind, at, end))
            at = end
    return found
