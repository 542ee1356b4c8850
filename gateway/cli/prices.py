"""What ``gateway prices`` prints: the price book."""

from __future__ import annotations

from typing import Any

from gateway.cli.output import Column, print_json, print_line, print_report, print_rows
from gateway.pricebook.listing import RATES, Listed, bills_text, listed, rates_text, today
from gateway.settings import Settings


def show_prices(settings: Settings, name: str, form: str) -> None:
    """Every row of the book; a terminal gets the rates in words, JSON and CSV get all."""
    found = listed(settings, today(), name)
    if form == "json":
        print_json([one.json() for one in found])
        return
    if form == "csv":
        rows = [one.json() for one in found]
        names = [key for key in _CSV if key not in ("tiers", "deployments", "bills")]
        columns: list[Column] = [(key, lambda row, key=key: row[key]) for key in names]  # type: ignore[misc]
        columns.append(("bills", lambda row: " ".join(row["bills"])))
        columns.append(("tiers", lambda row: len(row["tiers"])))
        columns.append(("deployments", lambda row: " ".join(row["deployments"])))
        print_rows(rows, columns, "csv")
        return
    rows = [{"listed": one} for one in found]
    print_rows(rows, _TABLE, "table", ("source", "bills", "origin", "from", "checked", "used by"))
    for line in stale_warnings(found):
        print_line(f"warning: {line}")
    unused = sum(one.stale and not one.deployments for one in found)
    if unused:
        days = settings.price_book.stale_after_days
        print_line(f"{unused} prices that no deployment uses were not checked for {days} days.")
    unpriced = [key for key, given in settings.deployments.items() if given.price is None]
    if unpriced and not name:
        print_line(f"Without a price, so of unknown cost: {', '.join(unpriced)}")


def fetch_prices(settings: Settings, sources: tuple[str, ...], name: str, form: str) -> bool:
    """Ask live sources and say what came of it. False when one could not be read."""
    import asyncio

    from gateway.pricebook.fetching import fetch
    from providers.toolkit.http import open_http

    done = asyncio.run(fetch(settings, sources, open_http, name=name))
    told = [
        {
            "source": one.source,
            "new": [row.record for row in one.new],
            "unchanged": one.unchanged,
            "left_out": one.left_out,
            "problem": one.problem,
        }
        for one in done
    ]
    rows = [
        {**said, "new": len(one.new), "left_out": len(one.left_out)}
        for said, one in zip(told, done, strict=True)
    ]

    def show() -> None:
        for one in done:
            if one.problem is not None:
                print_line(f"{one.source}: {one.problem}")
                continue
            print_line(
                f"{one.source}: {len(one.new)} new, {one.unchanged} unchanged, "
                f"{len(one.left_out)} left out"
            )
            for row in one.new:
                print_line(f"  {row.id}  {rates_text(row)}")

    print_report(form, told, rows, show)
    return all(one.problem is None or one.skipped for one in done)


def stale_warnings(found: list[Listed]) -> list[str]:
    """One sentence for each price that is used and was not checked for too long."""
    return [said for one in found if (said := one.warning()) is not None]


def check_warnings(settings: Settings) -> list[str]:
    """The same, for ``gateway check``."""
    return stale_warnings(listed(settings, today()))


def _one(row: dict[str, Any]) -> Listed:
    found: Listed = row["listed"]
    return found


_CSV = (
    *("id", "name", "origin", "effective_from", "in_force", *RATES),
    *("round_up_seconds", "shared", "source", "checked_on", "age_days", "stale", "note"),
)
_TABLE: list[Column] = [
    ("price", lambda row: _one(row).row.name),
    ("rates", lambda row: rates_text(_one(row).row)),
    ("bills", lambda row: bills_text(_one(row).row)),
    ("from", lambda row: _one(row).row.effective_from),
    ("checked", lambda row: f"{_one(row).checked_on}{' STALE' if _one(row).stale else ''}"),
    ("origin", lambda row: _one(row).origin),
    ("used by", lambda row: ", ".join(_one(row).deployments) or "-"),
    ("source", lambda row: _one(row).row.source),
]
