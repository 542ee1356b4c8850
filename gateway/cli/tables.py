"""Tables for people, JSON and CSV for programs.

What only one command needs is imported in it: a report should not wait for an HTTP client.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from gateway.cli.options import instant
from gateway.cli.output import (
    Column,
    bars,
    field,
    print_json,
    print_line,
    print_report,
    print_rows,
    print_table,
    text_or_empty,
)
from gateway.cli.output import cell as _cell
from gateway.cli.output import console as _console
from gateway.ledger.errors import BadQuery
from gateway.ledger.layout import database_path
from gateway.ledger.reports.query import MOST_ROWS
from gateway.settings import ConfigError, Settings


def show_routes(settings: Settings, form: str) -> None:
    """Each model with the deployments behind it, as they were resolved."""
    from gateway.cli.prices import check_warnings
    from gateway.registry import Registry
    from providers.toolkit.http import open_http

    registry = Registry(settings, open_http)
    registry.build()
    routed = {name for given in settings.models.values() for name in given.deployments}
    places = [
        (model, name) for model, given in settings.models.items() for name in given.deployments
    ]
    alone = [name for name in registry.targets if name not in routed]
    rows = []
    for model, name in [*places, *((None, name) for name in alone)]:
        target = registry.targets[name]
        prices = [] if target.tariff is None else target.tariff.rows
        rows.append(
            {
                "model": model,
                "deployment": name,
                "provider": target.provider,
                "provider_model": target.provider_model,
                "price": prices[0].id if prices else None,
                "hardware": target.hardware,
            }
        )
    warnings = check_warnings(settings)

    def show() -> None:
        routes = [row for row in rows if row["model"] is not None]
        print_rows(routes, _ROUTES, "table", ("hardware", "provider", "provider's model"))
        for name in alone:
            print_line(f"deployment:{name} belongs to no model")
        for line in warnings:
            print_line(f"warning: {line}")
        print_line("The configuration is sound.")

    print_report(form, {"sound": True, "routes": rows, "warnings": warnings}, rows, show)


_ROUTES: list[Column] = [
    ("model", field("model")),
    ("deployment", field("deployment")),
    ("provider", field("provider")),
    ("provider's model", field("provider_model")),
    ("price", field("price")),
    ("hardware", text_or_empty("hardware")),
]


def show_providers(settings: Settings, form: str, *, presets: bool) -> None:
    """Installed plugins: where each comes from and what was ever tried against it."""
    from gateway.plugins import list_plugins

    found = list_plugins(settings)
    rows: list[dict[str, Any]] = [
        {
            "provider": info.name,
            "from": info.origin,
            "in_use": info.enabled,
            "status": "cannot be loaded" if info.plugin is None else info.plugin.status,
            "what": str(info.problem) if info.plugin is None else info.plugin.summary,
        }
        for info in found
    ]
    known: list[dict[str, Any]] = [
        {"preset": name, "of": info.name, "base_url": str(block.get("base_url", ""))}
        for info in found
        for name, block in (info.plugin.presets if info.plugin else {}).items()
    ]

    def show() -> None:
        print_rows(rows, _PROVIDERS, "table", ("from",))
        if presets:
            print_table(("preset", "of", "base_url"), [[*row.values()] for row in known])

    told = {"providers": rows, **({"presets": known} if presets else {})}
    print_report(form, told, known if presets else rows, show)


_PROVIDERS: list[Column] = [
    ("provider", field("provider")),
    ("from", field("from")),
    ("in use", lambda row: "yes" if row["in_use"] else "no"),
    ("status", field("status")),
    ("what", field("what")),
]


def show_costs(data_dir: Path, query: dict[str, Any], form: str, *, plot: bool = False) -> None:
    """The cost report; a terminal gets the short of it, JSON and CSV get all."""
    from gateway.ledger.reports.cost_report import known_usd as _known

    rows = report_rows(data_dir, "costs", query)
    if form == "json":
        print_json(rows)
        return
    columns: list[Column] = [*group_columns(query), ("attempts", field("attempts"))]
    if form == "table":
        columns += [
            ("known USD", lambda row: _known(row, "known_usd")),
            ("estimated", lambda row: _known(row, "estimated_usd")),
            ("at most", lambda row: _at_most(row["range_usd"]["high"])),
            ("unpriced", field("unknown_attempts")),
        ]
    else:
        columns += [
            ("known_usd", lambda row: _known(row, "known_usd")),
            ("measured_usd", lambda row: _known(row, "measured_usd")),
            ("estimated_usd", lambda row: _known(row, "estimated_usd")),
            ("low_usd", field("range_usd", "low")),
            ("high_usd", field("range_usd", "high")),
            ("unknown_attempts", field("unknown_attempts")),
        ]
    print_rows(rows, columns, form, ("unpriced", "at most", "estimated", "attempts"))
    if plot and form == "table":
        _plot_costs(rows, group_columns(query))


def _at_most(text: str | None) -> str | None:
    """A bound for people, to a millionth of a dollar and never below what it is."""
    if text is None:
        return None
    shown = Decimal(text).quantize(Decimal("0.000001"), ROUND_CEILING)
    return f"{shown.normalize():f}"


def _plot_costs(rows: list[dict[str, Any]], groups: list[Column]) -> None:
    """Known dollars as bars on one scale; "?" stands where nothing is known, "+?" for a part."""
    from gateway.cli.plot import bar, fitting
    from gateway.ledger.reports.cost_report import known_usd

    known = [known_usd(row) for row in rows]
    most = max((float(usd) for usd in known if usd is not None), default=0.0)
    table = bars(*(name for name, _ in groups), f"known USD, 0 to {most:.3g}", "", "")
    taken = sum(max([len(_cell(value(row))) for row in rows] or [0]) + 2 for _, value in groups)
    width = fitting(_console().width, 1, taken + 24)
    for row, usd in zip(rows, known, strict=True):
        share = None if usd is None else float(usd) / most if most else 0.0
        missing = usd is not None and (row["unknown_attempts"] or row["unknown_charges"])
        names = [_cell(value(row)) for _, value in groups]
        table.add_row(*names, bar(share, width), _cell(usd), "+?" if missing else "")
    _console().print(table)


def show_ledger_info(data_dir: Path, form: str) -> None:
    """What the durable record holds."""
    from gateway.ledger.care.inspect import info

    found = info(data_dir)
    rows: list[dict[str, Any]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            rows += [{"what": f"{name}: {part}", "value": count} for part, count in value.items()]
        else:
            rows.append({"what": name, "value": len(value) if isinstance(value, list) else value})

    def show() -> None:
        print_rows(rows, [(name, lambda row, name=name: row[name]) for name in _WHAT], "table")  # type: ignore[misc]

    print_report(form, found, rows, show)


_WHAT = ("what", "value")


def report_rows(data_dir: Path, report: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """All pages of a report. Raises ConfigError."""
    from gateway.ledger.reports.reports import ReportQuery, Reports

    start_at_us, end_at_us = range_of(query["start_time"], query["end_time"])
    try:
        asked = ReportQuery(
            start_at_us=start_at_us,
            end_at_us=end_at_us,
            bucket_width=query["bucket_width"],
            time_zone=query["time_zone"],
            group_by=query["group_by"],
            limit=MOST_ROWS,
            by=query.get("by", ()),
        )
        read = getattr(Reports(database_path(data_dir)), report)
        page = read(asked)
        rows: list[dict[str, Any]] = page["data"]
        while page["next_cursor"] is not None:
            page = read(replace(asked, cursor=page["next_cursor"]))
            rows += page["data"]
    except BadQuery as error:
        raise ConfigError(error.message) from error
    return rows


def range_of(
    start_time: str | None, end_time: str | None, span: timedelta = timedelta(days=30)
) -> tuple[int, int]:
    """Start and end in microseconds since the epoch; the last ``span``. Raises ConfigError."""
    end = _instant(end_time, "--end-time") or datetime.now(UTC)
    start = _instant(start_time, "--start-time") or end - span
    return round(start.timestamp() * 1e6), round(end.timestamp() * 1e6)


def _instant(text: str | None, option: str) -> datetime | None:
    return None if text is None else instant(text, option)


def group_columns(query: dict[str, Any]) -> list[Column]:
    """What tells rows apart: the begin of the bucket, and the group."""
    columns: list[Column] = []
    if query["bucket_width"] != "all":
        columns.append(("from", field("start_time")))
    for name in (*query["group_by"], *query.get("by", ())):
        columns.append((name, lambda row, name=name: row["group"].get(name)))  # type: ignore[misc]
    return columns
