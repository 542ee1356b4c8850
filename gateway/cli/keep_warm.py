"""``gateway keep-warm``: what keeping deployments warm has saved in a month, and what it wasted."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import typer

from gateway.cli.context import form_of, ledger_of, settings_of
from gateway.cli.options import ConfigOption, CsvOption, DataDirOption, JsonOption
from gateway.cli.output import Column, print_report, print_rows
from gateway.settings import ConfigError


def keep_warm(
    month: Annotated[str | None, typer.Option(help="2026-11 say; default: this one (UTC).")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What keep-warm policies saved and wasted.

    Of stays beyond the providers' own windows: how many ended with a request, which so did not wait
    for a boot, and how many for nothing; what they cost, and what the waiting would have been worth
    by the deployment's own wait_value_usd_per_second and boot_seconds. Stays that go on are open.
    """
    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    from gateway.keeping.statement import COLUMNS, month_of

    try:
        begin_us, end_us = month_of(month)
    except ValueError:
        raise ConfigError(f"--month is a year and a month, 2026-11 say; not {month!r}") from None
    rows = _statement(settings, begin_us, end_us)

    def show() -> None:
        print_rows(rows, _COLUMNS, "table", _LEAVE_OUT)

    print_report(form, rows, rows, show, COLUMNS)


_COLUMNS: list[Column] = [
    ("deployment", lambda row: row["deployment"]),
    ("avoided", lambda row: str(row["cold_starts_avoided"])),
    ("wasted", lambda row: str(row["stays_wasted"])),
    ("kept s", lambda row: f"{row['kept_seconds']:.0f}"),
    ("cost USD", lambda row: _usd(row["cost_usd"])),
    ("wasted USD", lambda row: _usd(row["wasted_usd"])),
    ("open USD", lambda row: _usd(row["open_usd"])),
    ("saved s", lambda row: row["waiting_saved_seconds"]),
    ("saved USD", lambda row: _usd(row["saved_usd"])),
    ("net USD", lambda row: _usd(row["net_usd"])),
    ("budget USD", lambda row: row["monthly_budget_usd"] or "none"),
]
_LEAVE_OUT = ("budget USD", "saved s", "kept s", "open USD", "wasted USD", "wasted")


def _statement(settings: Any, begin_us: int, end_us: int) -> list[dict[str, Any]]:
    from gateway.keeping.statement import statement
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.reports import Reports

    reports = Reports(database_path(ledger_of(settings)))
    try:
        return statement(reports.kept_warm(begin_us, end_us), settings.deployments)
    finally:
        reports.close()


def _usd(text: str | None) -> str:
    return "unknown" if text is None else f"{Decimal(text):.4f}"
