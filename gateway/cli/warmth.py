"""``gateway warmth``: what the ledger teaches about each deployment's keep-alive and boots."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.cli.output import Column, bars, cell, console, print_line, print_report, print_rows
from gateway.cli.plot import bar
from gateway.settings import Settings

_COLUMNS: Sequence[Column] = (
    ("deployment", lambda row: row["deployment"]),
    ("state", lambda row: row["stands"]),
    ("p_warm", lambda row: row["p_warm"]),
    ("keep-alive p50", lambda row: row["keep_alive"]["p50_seconds"]),
    ("boot p50", lambda row: row["boot_seconds"]["p50"]),
    ("p90", lambda row: row["boot_seconds"]["p90"]),
    ("p99", lambda row: row["boot_seconds"]["p99"]),
    ("cold", lambda row: row["evidence"]["cold"]),
    ("warm", lambda row: row["evidence"]["warm"]),
    ("unknown", lambda row: row["evidence"]["unknown"]),
    ("boots", lambda row: row["evidence"]["boots"]),
    ("calibration error", lambda row: row["calibration"]["error"]),
)
_LEAVE_OUT = ("calibration error", "boots", "p99", "p90", "unknown", "warm", "cold")


def show_warmth(settings: Settings, data_dir: Path, form: str, *, plot: bool) -> None:
    """A line for each configured deployment; with ``plot``, its curve."""
    rows = _rows(settings, data_dir)

    def show() -> None:
        print_rows(rows, _COLUMNS, "table", _LEAVE_OUT)
        for row in rows if plot else ():
            _plot(row)

    print_report(form, rows, rows, show)


def _plot(row: dict[str, Any]) -> None:
    keep_alive = row["keep_alive"]
    print_line(
        f"\n{row['deployment']}: P(warm) by seconds without work, from "
        f"{keep_alive['observed']} outcomes and the prior ({keep_alive['prior']['source']})"
    )
    shown = bars("idle s", "", "p_warm", "95 %", "outcomes")
    for point in keep_alive["curve"]:
        shown.add_row(
            cell(point["idle_seconds"]),
            bar(point["p_warm"]),
            cell(point["p_warm"]),
            f"{cell(point['low'])} to {cell(point['high'])}",
            f"{point['observed']:.0f}",
        )
    console().print(shown)


def _rows(settings: Settings, data_dir: Path) -> list[dict[str, Any]]:
    from gateway.execution.warm_start import remembered
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.reports import Reports
    from gateway.registry import Registry
    from gateway.warmth.view import warmth_json
    from providers.toolkit.http import open_http

    registry = Registry(settings, open_http)
    registry.build()
    at, wall_us = time.monotonic(), time.time_ns() // 1000
    history = Reports(database_path(data_dir)).warm_history(wall_us)
    found = remembered(registry.targets, history, at, wall_us)
    return [
        warmth_json(name, registry.targets[name].provider, warmth, at, wall_us)
        for name, warmth in found.items()
    ]
