"""``gateway warmth``: what the ledger teaches about each deployment's keep-alive and boots."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gateway.cli_output import cell, console, print_csv, print_json, table
from gateway.cli_plot import bar
from gateway.settings import Settings


def show_warmth(settings: Settings, data_dir: Path, form: str, *, plot: bool) -> None:
    """A line for each configured deployment; with ``plot``, its curve."""
    rows = _rows(settings, data_dir)
    if form != "table":
        (print_json if form == "json" else print_csv)(rows)
        return
    shown = table(
        *("deployment", "state", "p_warm", "keep-alive p50", "boot p50", "p90", "p99"),
        *("cold", "warm", "unknown", "boots", "calibration error"),
    )
    for row in rows:
        boot, evidence = row["boot_seconds"], row["evidence"]
        shown.add_row(
            *(row["deployment"], row["state"], cell(row["p_warm"])),
            cell(row["keep_alive"]["p50_seconds"]),
            *(cell(boot[name]) for name in ("p50", "p90", "p99")),
            *(cell(evidence[name]) for name in ("cold", "warm", "unknown", "boots")),
            cell(row["calibration"]["error"]),
        )
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
