"""What lives at this moment: operations that run, and how each deployment stands."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import Request

from gateway.clock import rfc3339
from gateway.execution.run import Run
from gateway.execution.sofar import so_far_json
from gateway.http.dashboard import charts
from gateway.http.dashboard.asking import Asked
from gateway.http.dashboard.figures import UNKNOWN, percent, seconds, usd
from gateway.http.dashboard.tables import Column, Table
from gateway.http.dashboard.view import View
from gateway.http.dashboard.visits import Visit
from gateway.http.dashboard.warmth import LAST_SEEN, seen_text
from gateway.http.deployments import listed
from gateway.http.held import held_json
from gateway.http.reports import live_operation
from gateway.pulse import BEAT_SECONDS, KEPT_SECONDS
from gateway.warmth.standing import CORDONED, PAUSED, WORDS, marks_of, word_of

_SHOWN = 100  # of those that run


async def build(visited: Visit, asked: Asked, request: Request) -> View:
    """All of it is in memory, save the figures of the last 24 hours."""
    state = visited.state
    now_us = state.executor.clock.wall_us()
    running = [
        {
            **live_operation(run),
            "seconds": max(0.0, (now_us - run.received_at_us) / 1e6),
            **_doing(run),
            "so_far": so_far_json(run) if number < _SHOWN else None,
        }
        for number, run in enumerate(reversed(state.executor.runs.values()))
    ]
    found = listed(state)
    at = state.executor.clock.monotonic()
    beats = [asdict(beat) for beat in state.pulse.beats()]
    pulse = Table("The last half hour, each 10 s", _PULSE, beats, "now.csv?rows=pulse")
    pulse.feeds_chart = True
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    stands = Counter(word_of(one) for one in found)
    shown = {
        "running": Table("Operations that run", _RUNNING, running[:_SHOWN], in_cards=True),
        "count": len(running),
        "waiting": sum(run.waits_for_boot for run in state.executor.runs.values()),
        "stands": [(word, marks_of(word), stands[word]) for word in _ORDER if stands[word]],
        "day": await state.glance.look(state.reports, at, now_us),
        "pulse": pulse,
        "pulse_drawings": [_pulse(beats, now_us, size) for size in _SIZES],
        "axis": {
            "start": now_us / 1e6 - KEPT_SECONDS,
            "end": now_us / 1e6,
            "step": BEAT_SECONDS,
            "zone": "UTC",
        },
        "as_of": rfc3339(now_us),
        "deployments": [_stands(one, now) for one in found],
        "may_act": visited.caller.may("admin"),
    }
    table = Table("Deployments", _DEPLOYMENTS, found)
    if asked.one("rows") == "pulse":
        table = pulse
    return View("now.html", shown, table)


def _pulse(beats: list[dict[str, Any]], now_us: int, size: tuple[int, int]) -> charts.Drawing:
    length_us = BEAT_SECONDS * 1_000_000
    bars, over = [], []
    for beat in beats:
        at_us, calls = beat["start_at_us"], beat["calls"]
        said = f"{rfc3339(at_us)[11:19]} calls: {calls}"
        bars.append(charts.Bar(at_us, at_us + length_us, [("calls", float(calls), said)]))
        over.append((at_us + length_us // 2, float(beat["waiting"])))
    most = max([4.0, *(float(max(beat["calls"], beat["waiting"])) for beat in beats)])
    scale = [(value, f"{value:,g}") for value in charts.round_scale(most)]
    start_us = now_us - KEPT_SECONDS * 1_000_000
    step_us = 300_000_000 if size == charts.WIDE else 600_000_000
    first_us = -(-start_us // step_us) * step_us
    times = [(at_us, rfc3339(at_us)[11:16]) for at_us in range(first_us, now_us, step_us)]
    title = "Calls that came in, and how many waited for a boot, by ten seconds; figures below"
    waited = any(beat["waiting"] for beat in beats)
    return charts.bars(title, bars, size, start_us, now_us, scale, times, over if waited else ())


def _stands(found: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A deployment's word, how that is drawn, what it rests on, and what may be expected there."""
    word = word_of(found)
    marks = marks_of(word)
    if word == PAUSED:
        word = f"{PAUSED}: {found['closed']}"
    expected = ""
    if found["p_warm_evidence"] == "supervised":
        if found["boot_seconds"] is not None:
            expected = f"a boot takes about {seconds(found['boot_seconds'])}"
    elif found["state"] != UNKNOWN:
        expected = f"{percent(found['p_warm'])} to be warm"
        if found["boot_seconds"] is not None:
            expected += f", else a boot takes about {seconds(found['boot_seconds'])}"
        if found["p_warm_evidence"] == "kept":
            expected = f"kept up: {expected}"
    seen = seen_text(found["last_seen"], now)
    return {**found, "marks": marks, "word": word, "seen": seen, "expected": expected}


def _doing(run: Run) -> dict[str, Any]:
    """What an operation does, and where; one that is held back has no attempt there yet."""
    held = held_json(run)
    if held is not None:
        return {
            "doing": f"held, waits for a {held['waits_for']}",
            "deployment": held["deployment"],
        }
    return {
        "doing": "waits for a boot" if run.waits_for_boot else "works",
        "deployment": run.rows[-1].deployment if run.rows else None,
    }


def _start(so_far: dict[str, Any]) -> str:
    """An attempt that has not said whether it waits has no verdict yet."""
    return UNKNOWN if so_far["cold_start"] is None else str(so_far["cold_start"]["verdict"])


def _operation(row: dict[str, Any]) -> str:
    return f"operations/{row['id']}"


def _text(name: str) -> Column:
    return Column(name, lambda row: row[name], is_number=False)


_SIZES = (charts.WIDE, charts.NARROW)
_ORDER = (*WORDS, PAUSED, CORDONED)
_PULSE = (
    Column(
        "from",
        lambda row: rfc3339(row["start_at_us"]),
        lambda text: text[11:19],
        is_number=False,
        title="from (UTC)",
    ),
    *(
        Column(name, lambda row, name=name: row[name], title=title)  # type: ignore[misc]
        for name, title in (
            ("calls", "came in"),
            ("running", "running, at most"),
            ("waiting", "waiting for a boot, at most"),
        )
    ),
)
_RUNNING = (
    Column("id", lambda row: row["id"], link=_operation, is_number=False),
    _text("model"),
    Column("deployment", lambda row: row["deployment"], lambda v: v or "none yet", is_number=False),
    _text("doing"),
    Column("for", lambda row: row["seconds"], seconds, _operation),
    Column("start", lambda row: _start(row["so_far"]), is_number=False),
    Column("cost so far", lambda row: row["so_far"]["cost"]["total_usd"], usd, _operation),
)
_DEPLOYMENTS = (
    *(
        _text(name)
        for name in ("name", "provider", "provider_model", "hardware", "state", "stands")
    ),
    *(_text(name) for name in ("cordoned", "closed", "warming")),
    *(
        Column(name, lambda row, name=name: row[name])  # type: ignore[misc]
        for name in ("running", "queued", "p_warm", "boot_seconds", "expected_wait_seconds")
    ),
    *(_text(name) for name in ("queued_since", "p_warm_evidence")),
    *LAST_SEEN,
    Column("booting_left_seconds", lambda row: row["booting_left_seconds"]),
    _text("warm_until"),
    Column("last_error", lambda row: row["last_error"] and row["last_error"]["type"]),
    Column("last_error_at", lambda row: row["last_error"] and row["last_error"]["at"]),
)
