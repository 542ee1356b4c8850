"""``gateway budgets``: what the ledger says that each budget has spent."""

from __future__ import annotations

import time
from typing import Any

from gateway.cli.output import Column, print_json, print_rows
from gateway.ledger.layout import keys_path
from gateway.ledger.reading.spend import SpendQuery, spent
from gateway.limits.book import Balance
from gateway.limits.budgets import Budget, budget_json
from gateway.limits.keystore import KeyStore
from gateway.settings import ConfigError, Settings


def show_budgets(settings: Settings, form: str) -> None:
    """Each budget in its present window; what is set aside at the moment is not known here."""
    rows = _rows(settings)
    if form == "json":
        print_json(rows)
        return
    names = ("name", "per", "limit_usd", "spent_usd", "left_usd", "unknown_attempts", "end_time")
    columns: list[Column] = [
        (name, lambda row, name=name: row[name])  # type: ignore[misc]
        for name in names
    ]
    if form == "table":  # a budget without an end is not one whose end is unknown
        columns[-1] = ("begins anew", lambda row: row["end_time"] or "never")
    print_rows(rows, columns, form, ("unknown_attempts", "begins anew", "spent_usd"))


def _rows(settings: Settings) -> list[dict[str, Any]]:
    data_dir = settings.server.data_dir
    try:
        stored = KeyStore(keys_path(data_dir)).keys()
    except OSError as error:
        raise ConfigError(f"{keys_path(data_dir)} cannot be read ({error})") from error
    configured = {key.name for key in settings.auth.keys}
    live = [k for k in stored if k.revoked_at_us is None and k.name not in configured]
    of_keys = [given for key in live for given in key.budget_settings()]
    now_us = time.time_ns() // 1000
    budgets = [Budget(given) for given in (*settings.budgets, *of_keys)]
    windows = [budget.window(now_us) for budget in budgets]
    queries = [
        SpendQuery(window.start_at_us, window.end_at_us, b.settings.key, b.settings.tag)
        for b, window in zip(budgets, windows, strict=True)
    ]
    found = spent(data_dir, queries, {}) or []
    rows = []
    for budget, window, sums in zip(budgets, windows, found, strict=True):
        balance = Balance(sums.pico_usd, 0, sums.unknown_attempts)
        rows.append({**budget_json(budget, window, balance), "reserved_usd": None})
    return rows
