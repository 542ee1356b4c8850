"""``gateway warmth``: what the ledger teaches about each deployment's keep-alive and boots."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.cli.output import Column, cell, console, print_csv, print_json, table
from gateway.cli.plot import bar
from gateway.settings import Settings

_COLUMNS: Sequence[Column] = (
    ("deployment", lambda row: row["deployment"]),
    ("state", lambda row: row["state"]),
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
_WIDE = 120
"""From so many characters on a terminal has room for all columns."""
_WIDE_ONLY = ("p90", "p99", "boots", "calibration error")


def show_warmth(settings: Settings, data_dir: Path, form: str, *, plot: bool) -> None:
    """A line for each configured deployment; with ``plot``, its curve."""
    rows = _rows(settings, data_dir)
    if form != "table":
        (print_json if form == "json" else print_csv)(rows)
        return
    wide = console().width >= _WIDE
    columns = [column for column in _COLUMNS if wide or column[0] not in _WIDE_ONLY]
    shown = table(*(name for name, _ in columns))
    for row in rows:
        shown.add_row(*(cell(value(row)) for _, value in columns))
    console().print(shown)
    if plot:
        for row in rows:
            _plot(row)


def _plot(row: dict[str, Any]) -> None:
    keep_alive = row["keep_alive"]
    console().print(
        f"\n{row['deployment']}: P(warm) by seconds without work, from "
        f"{keep_alive['observed']} outcomes and the prior ({keep_alive['prior']['source']})",
        highlight=False,
    )
    shown = table("idle s", "", "p_warm", "95 %", "outcomes")
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
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports import Reports
    from gateway.registry import Registry
    from gateway.warm_start import remembered
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
