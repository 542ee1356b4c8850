"""``gateway keep-warm``: what keeping deployments warm has saved in a month, and what it wasted."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import typer

from gateway.cli_context import ledger_of
from gateway.cli_options import ConfigOption, DataDirOption, JsonOption, settings_of
from gateway.cli_output import console, print_json, table
from gateway.settings import ConfigError

_PICO = Decimal("1E-12")


def keep_warm(
    month: Annotated[str | None, typer.Option(help="2026-11 say; default: this one (UTC).")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """What keep-warm policies saved and wasted.

    Of stays beyond the providers' own windows: how many ended with a request, which so did not wait
    for a boot, and how many for nothing; what they cost, and what the waiting would have been worth
    by the deployment's own wait_value_usd_per_second and boot_seconds.
    """
    settings = settings_of(config, data_dir)
    begin_us, end_us = _range(month)
    rows = _statement(settings, begin_us, end_us)
    if as_json:
        print_json(rows)
        return
    names = ("deployment", "avoided", "wasted", "kept s", "cost USD", "wasted USD", "saved s")
    shown = table(*names, "saved USD", "net USD", "budget USD")
    for row in rows:
        shown.add_row(
            row["deployment"],
            str(row["cold_starts_avoided"]),
            str(row["stays_wasted"]),
            f"{row['kept_seconds']:.0f}",
            _usd(row["cost_usd"]),
            _usd(row["wasted_usd"]),
            "unknown" if row["waiting_saved_seconds"] is None else row["waiting_saved_seconds"],
            _usd(row["saved_usd"]),
            _usd(row["net_usd"]),
            "none" if row["monthly_budget_usd"] is None else row["monthly_budget_usd"],
        )
    console().print(shown)


def _statement(settings: Any, begin_us: int, end_us: int) -> list[dict[str, Any]]:
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports import Reports
    from gateway.stays import REST, UNUSED, USED

    reports = Reports(database_path(ledger_of(settings)))
    try:
        kept = reports.kept_warm(begin_us, end_us)
    finally:
        reports.close()
    policies = {
        name: given.keep_warm
        for name, given in settings.deployments.items()
        if given.keep_warm is not None
    }
    rows = []
    for name in sorted({row.deployment for row in kept} | set(policies)):
        own = [row for row in kept if row.deployment == name]
        used = [row for row in own if row.rule == USED]
        unused = [row for row in own if row.rule == UNUSED]
        given = policies.get(name)
        avoided = sum(row.stays for row in used)
        known = not any(row.unpriced_stays for row in own)
        cost = sum(row.cost_pico_usd for row in own) * _PICO if known else None
        wasted = sum(row.cost_pico_usd for row in unused) * _PICO if known else None
        seconds = saved = None
        if given is not None:
            waited = sum(row.microseconds for row in own if row.rule == REST)
            seconds = avoided * Decimal(str(given.boot_seconds)) - Decimal(waited) / 1_000_000
            saved = seconds * given.wait_value_usd_per_second
        budget = None if given is None else given.monthly_budget_usd
        rows.append(
            {
                "deployment": name,
                "policy": None if given is None else given.policy,
                "cold_starts_avoided": avoided,
                "stays_wasted": sum(row.stays for row in unused),
                "kept_seconds": sum(row.microseconds for row in own) / 1e6,
                "cost_usd": _text(cost),
                "wasted_usd": _text(wasted),
                "waiting_saved_seconds": _text(seconds),
                "saved_usd": _text(saved),
                "net_usd": None if cost is None or saved is None else _text(saved - cost),
                "monthly_budget_usd": _text(budget),
            }
        )
    return rows


def _range(month: str | None) -> tuple[int, int]:
    try:
        begin = (
            datetime.now(UTC) if month is None else datetime.strptime(f"{month} +0000", "%Y-%m %z")
        )
    except ValueError:
        raise ConfigError(f"--month is a year and a month, 2026-11 say; not {month!r}") from None
    begin = begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return int(begin.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"


def _usd(text: str | None) -> str:
    return "unknown" if text is None else f"{Decimal(text):.4f}"
