"""``gateway warmth``: how each deployment stands, its keep-alive, its boots, and how sure that is.

The gateway that runs on the data folder knows best: it is asked, and its words are those of its
pages. Where none runs, or it cannot be asked, the ledger tells what it can, and that is said.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from gateway.cli.output import (
    Column,
    bars,
    cell,
    console,
    print_line,
    print_report,
    print_rows,
)
from gateway.cli.plot import bar
from gateway.settings import ConfigError, Settings

_NEVER = {"state": None, "by": None, "at": None}
_VERDICTS = {
    "too_few": "too few to tell",
    "within_chance": "no more than chance",
    "beyond_chance": "more than chance",
}
_COLUMNS: Sequence[Column] = (
    ("deployment", lambda row: row["deployment"]),
    ("state", lambda row: row["stands"]),
    ("last seen", lambda row: _seen(row["last_seen"])),
    ("p_warm", lambda row: row["p_warm"]),
    ("keep-alive p50", lambda row: row["keep_alive"]["p50_seconds"]),
    ("boot p50", lambda row: row["boot_seconds"]["p50"]),
    ("p90", lambda row: row["boot_seconds"]["p90"]),
    ("p99", lambda row: row["boot_seconds"]["p99"]),
    ("cold", lambda row: row["evidence"]["cold"]),
    ("warm", lambda row: row["evidence"]["warm"]),
    ("unknown", lambda row: row["evidence"]["unknown"]),
    ("boots", lambda row: row["evidence"]["boots"]),
    ("predictions", lambda row: row["calibration"]["predictions"]),
    ("calibration error", lambda row: _error(row["calibration"])),
)
_LEAVE_OUT = (
    *("calibration error", "predictions", "boots", "p99", "p90", "unknown", "warm", "cold"),
    *("keep-alive p50", "boot p50", "last seen"),
)


@dataclass(frozen=True, slots=True)
class Told:
    """Rows as ``GET /v1/warmth`` has them, and what they rest on, in a sentence.

    ``source``: ``gateway`` or ``ledger``. ``problem``: why it is not the one that runs; "": none.
    """

    rows: list[dict[str, Any]]
    source: str
    basis: str
    problem: str = ""


def show_warmth(
    settings: Settings,
    data_dir: Path | None,
    form: str,
    *,
    plot: bool,
    url: str | None,
    api_key: str | None,
) -> None:
    """A line for each deployment; with ``plot``, its curve and what came of its predictions.

    ``data_dir`` None: ``url`` is asked, and nobody else.
    """
    told = _asked(url, api_key) if data_dir is None else _told(settings, data_dir, api_key)
    rows = [{**row, "source": told.source} for row in told.rows]
    if told.problem and form != "table":
        typer.echo(f"gateway: {told.basis}", err=True)

    def show() -> None:
        print_rows(rows, _COLUMNS, "table", _LEAVE_OUT)
        print_line(told.basis)
        for row in rows if plot else ():
            _plot(row)

    flat = [{**row, "last_seen": row["last_seen"] or _NEVER} for row in rows]
    print_report(form, rows, flat, show)


def _told(settings: Settings, data_dir: Path, api_key: str | None) -> Told:
    from gateway.cli.client import configured_url
    from gateway.presence import announced, is_served

    if not is_served(data_dir):
        rows = _of_ledger(settings, data_dir, is_served=False)
        return Told(rows, "ledger", f"From the ledger alone: no gateway runs on {data_dir}.")
    try:
        return _asked(announced(data_dir) or configured_url(settings), api_key)
    except ConfigError as error:
        basis = (
            f"From the ledger alone: a gateway runs on {data_dir} and knows more, but {error}. "
            "Another --url or --api-key may help."
        )
        rows = _of_ledger(settings, data_dir, is_served=True)
        return Told(rows, "ledger", basis, str(error))


def _asked(url: str | None, api_key: str | None) -> Told:
    """What a running gateway says. Raises ConfigError."""
    from gateway.cli.client import Asked

    assert url is not None
    with contextlib.closing(Asked(url, api_key)) as gateway:
        rows = gateway.get("/v1/warmth")["data"]
    return Told(rows, "gateway", f"As the gateway at {gateway.url} sees it now.")


def _of_ledger(settings: Settings, data_dir: Path, *, is_served: bool) -> list[dict[str, Any]]:
    from gateway.execution.warm_start import remembered, without_gateway
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.reports import Reports
    from gateway.registry import Registry
    from gateway.warmth.view import warmth_json
    from providers.toolkit.http import open_http

    registry = Registry(settings, open_http)
    registry.build()
    at, wall_us = time.monotonic(), time.time_ns() // 1000
    history = Reports(database_path(data_dir)).warm_history(wall_us)
    found = []
    for name, warmth in remembered(registry.targets, history, at, wall_us).items():
        target = registry.targets[name]
        seen = warmth if is_served else without_gateway(target, warmth, at)
        found.append(warmth_json(name, target.provider, seen, at, wall_us))
    return found


def _seen(last: dict[str, Any] | None) -> str:
    if last is None:
        return "never"
    return f"{last['state']} {cell(last['at'])} ({last['by']})"


def _error(calibration: dict[str, Any]) -> str:
    verdict = calibration["verdict"]
    return "unknown" if verdict is None else f"{calibration['error']:.3f}, {_VERDICTS[verdict]}"


def _plot(row: dict[str, Any]) -> None:
    keep_alive, calibration = row["keep_alive"], row["calibration"]
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
    if not calibration["predictions"]:
        return
    print_line(
        f"\n{row['deployment']}: of {calibration['predictions']} predictions, Brier score "
        f"{calibration['brier_score']:.4f}, calibration error {calibration['error']:.3f}; "
        f"by chance alone up to {calibration['error_by_chance']:.3f}: "
        f"{_VERDICTS[calibration['verdict']]}"
    )
    shown = bars("predicted", "", "happened", "95 %", "predictions")
    for one in calibration["reliability"]:
        if one["count"]:
            shown.add_row(
                cell(one["predicted"]),
                bar(one["happened"]),
                cell(one["happened"]),
                f"{cell(one['low'])} to {cell(one['high'])}",
                str(one["count"]),
            )
    console().print(shown)
