"""What lives at this moment: operations that run, and how each deployment stands."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from gateway.clock import rfc3339
from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.figures import UNKNOWN, percent, seconds, usd
from gateway.http.dashboard.tables import Column, Table
from gateway.http.dashboard.view import View
from gateway.http.dashboard.visits import Visit
from gateway.http.deployments import listed
from gateway.http.reports import live_operation
from gateway.sofar import so_far_json
from gateway.standing import PAUSED, word_of

_SHOWN = 100  # of those that run


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """No question to the database: all of it is in memory."""
    state = visited.state
    now_us = state.executor.clock.wall_us()
    running = [
        {
            **live_operation(run),
            "seconds": max(0.0, (now_us - run.received_at_us) / 1e6),
            "doing": "waits for a boot" if run.waits_for_boot else "works",
            "deployment": run.rows[-1].deployment if run.rows else None,
            "so_far": so_far_json(run) if number < _SHOWN else None,
        }
        for number, run in enumerate(reversed(state.executor.runs.values()))
    ]
    found = listed(state)
    shown = {
        "running": Table("Operations that run", _RUNNING, running[:_SHOWN]),
        "count": len(running),
        "as_of": rfc3339(now_us),
        "deployments": [_stands(one) for one in found],
        "may_act": visited.caller.may("admin"),
    }
    table = Table("Deployments", _DEPLOYMENTS, found)
    return View("now.html", shown, table)


def _stands(found: dict[str, Any]) -> dict[str, Any]:
    """A deployment's state as a word, its class, and what may be expected there."""
    word = word_of(found)
    if word == PAUSED:
        word = f"{PAUSED}: {found['closed']}"
    expected = ""
    if found["state"] != UNKNOWN:
        expected = f"{percent(found['p_warm'])} to be warm, else a boot takes about "
        expected += f"{seconds(found['boot_seconds'])}"
    return {**found, "word": word, "expected": expected}


def _start(so_far: dict[str, Any]) -> str:
    """An attempt that has not said whether it waits has no verdict yet."""
    return UNKNOWN if so_far["cold_start"] is None else str(so_far["cold_start"]["verdict"])


def _text(name: str) -> Column:
    return Column(name, lambda row: row[name], is_number=False)


_RUNNING = (
    Column(
        "id", lambda row: row["id"], link=lambda row: f"operations/{row['id']}", is_number=False
    ),
    _text("model"),
    Column("deployment", lambda row: row["deployment"], lambda v: v or "none yet", is_number=False),
    _text("doing"),
    Column("for", lambda row: row["seconds"], seconds),
    Column("start", lambda row: _start(row["so_far"]), is_number=False),
    Column("cost so far", lambda row: row["so_far"]["cost"]["total_usd"], usd),
)
_DEPLOYMENTS = (
    *(_text(name) for name in ("name", "provider", "provider_model", "hardware", "state")),
    *(_text(name) for name in ("cordoned", "closed", "warming")),
    *(
        Column(name, lambda row, name=name: row[name])  # type: ignore[misc]
        for name in ("running", "queued", "p_warm", "boot_seconds", "expected_wait_seconds")
    ),
    Column("booting_left_seconds", lambda row: row["booting_left_seconds"]),
    _text("warm_until"),
    Column("last_error", lambda row: row["last_error"] and row["last_error"]["type"]),
    Column("last_error_at", lambda row: row["last_error"] and row["last_error"]["at"]),
)
