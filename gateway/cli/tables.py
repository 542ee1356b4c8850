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
from gateway.cli.output import Column, print_json, print_line, print_rows
from gateway.cli.output import cell as _cell
from gateway.cli.output import console as _console
from gateway.cli.output import table as _table
from gateway.ledger.errors import BadQuery
from gateway.ledger.layout import database_path
from gateway.ledger.query import MOST_ROWS
from gateway.settings import ConfigError, Settings


def show_routes(settings: Settings) -> None:
    """Each model with the deployments behind it, as they were resolved."""
    from gateway.cli.prices import check_warnings
    from gateway.registry import Registry
    from providers.toolkit.http import open_http

    registry = Registry(settings, open_http)
    registry.build()
    table = _table("model", "deployment", "provider", "provider's model", "price", "hardware")
    for model, given in settings.models.items():
        for name in given.deployments:
            target = registry.targets[name]
            prices = [] if target.tariff is None else target.tariff.rows
            table.add_row(
                model,
                name,
                target.provider,
                target.provider_model,
                prices[0].id if prices else "unknown",
                target.hardware or "",
            )
    _console().print(table)
    routed = {name for given in settings.models.values() for name in given.deployments}
    for name in registry.targets.keys() - routed:
        _console().print(f"deployment:{name} belongs to no model", highlight=False)
    for line in check_warnings(settings):
        print_line(f"warning: {line}")
    print_line("The configuration is sound.")


def show_providers(settings: Settings, *, presets: bool) -> None:
    """Installed plugins: where each comes from and what was ever tried against it."""
    from gateway.registry import list_plugins

    table = _table("provider", "from", "in use", "status", "what")
    for info in list_plugins(settings):
        plugin = info.plugin
        table.add_row(
            info.name,
            info.origin,
            "yes" if info.enabled else "no",
            "cannot be loaded" if plugin is None else plugin.status,
            str(info.problem) if plugin is None else plugin.summary,
        )
    _console().print(table)
    if presets:
        table = _table("preset", "of", "base_url")
        for info in list_plugins(settings):
            for name, block in (info.plugin.presets if info.plugin else {}).items():
                table.add_row(name, info.name, str(block.get("base_url", "")))
        _console().print(table)


def show_costs(data_dir: Path, query: dict[str, Any], form: str, *, plot: bool = False) -> None:
    """The cost report; a terminal gets the short of it, JSON and CSV get all."""
    from gateway.ledger.cost_report import known_usd as _known

    rows = report_rows(data_dir, "costs", query)
    if form == "json":
        print_json(rows)
        return
    columns: list[Column] = [*group_columns(query), ("attempts", lambda row: row["attempts"])]
    if form == "table":
        columns += [
            ("known USD", lambda row: _known(row, "known_usd")),
            ("estimated", lambda row: _known(row, "estimated_usd")),
            ("at most", lambda row: _at_most(row["range_usd"]["high"])),
            ("unpriced", lambda row: row["unknown_attempts"]),
        ]
    else:
        columns += [
            ("known_usd", lambda row: _known(row, "known_usd")),
            ("measured_usd", lambda row: _known(row, "measured_usd")),
            ("estimated_usd", lambda row: _known(row, "estimated_usd")),
            ("low_usd", lambda row: row["range_usd"]["low"]),
            ("high_usd", lambda row: row["range_usd"]["high"]),
            ("unknown_attempts", lambda row: row["unknown_attempts"]),
        ]
    print_rows(rows, columns, form)
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
    from gateway.ledger.cost_report import known_usd

    known = [known_usd(row) for row in rows]
    most = max((float(usd) for usd in known if usd is not None), default=0.0)
    table = _table(*(name for name, _ in groups), f"known USD, 0 to {most:.3g}", "", "")
    taken = sum(max([len(_cell(value(row))) for row in rows] or [0]) + 2 for _, value in groups)
    width = fitting(_console().width, 1, taken + 24)
    for row, usd in zip(rows, known, strict=True):
        share = None if usd is None else float(usd) / most if most else 0.0
        missing = usd is not None and (row["unknown_attempts"] or row["unknown_charges"])
        names = [_cell(value(row)) for _, value in groups]
        table.add_row(*names, bar(share, width), _cell(usd), "+?" if missing else "")
    _console().print(table)


def show_ledger_info(data_dir: Path, *, as_json: bool) -> None:
    """What the durable record holds."""
    from gateway.ledger.inspect import info

    found = info(data_dir)
    if as_json:
        print_json(found)
        return
    table = _table("what", "value")
    for name, value in found.items():
        if isinstance(value, dict):
            for part, count in value.items():
                table.add_row(f"{name}: {part}", _cell(count))
        elif isinstance(value, list):
            table.add_row(name, str(len(value)))
        else:
            table.add_row(name, _cell(value))
    _console().print(table)


def report_rows(data_dir: Path, report: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """All pages of a report. Raises ConfigError."""
    from gateway.ledger.reports import ReportQuery, Reports

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
        columns.append(("from", lambda row: row["start_time"]))
    for name in (*query["group_by"], *query.get("by", ())):
        columns.append((name, lambda row, name=name: row["group"].get(name)))  # type: ignore[misc]
    return columns
