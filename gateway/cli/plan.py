"""``gateway plan``: what to change, for the requests that you have."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import typer

from gateway.cli.bundles import unbundled
from gateway.cli.context import settings_of
from gateway.cli.options import Form, Place
from gateway.cli.output import cell, print_line, print_report, print_table, working
from gateway.cli.replaying import Asked, WindowOption, amount, families_of, price_row
from gateway.settings import ConfigError, Settings

_SHOWN = 20


@unbundled
def plan(
    *,
    price: Annotated[
        list[str],
        typer.Option(help="Price rows to choose from; repeatable, today's first."),
    ],
    asked: Asked,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="fixed, ski_rental, ski_randomised, histogram; repeatable, today's first."
        ),
    ] = None,
    wait_value: Annotated[
        str,
        typer.Option("--wait-value-usd-per-second", help="What a second of waiting is worth."),
    ] = "0.001",
    window: WindowOption = 300.0,
    boot_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Median boot at every price; default: as seen, or as its provider says."
        ),
    ] = None,
    boot_sigma: Annotated[
        float, typer.Option(min=0, help="Of lognormal boots that are given, or guessed.")
    ] = 0.8,
    place: Place,
    printed: Form,
) -> None:
    """What to change, for the requests that you have.

    Replays the ledger's last 30 days, or a trace, under each price with each keep-warm policy, and
    names the best with what it is expected to save in a month and how sure that is. Boots at each
    price are those that the ledger has seen there, else those that its provider is known for.
    """
    from gateway.simulation.boot_times import BootBook
    from gateway.simulation.plan import Candidate, Terms
    from gateway.simulation.plan import plan as planned
    from gateway.simulation.simulate import Plant
    from gateway.warmth.priors import GUESS_BOOT_SECONDS

    form = printed.name
    families = families_of(policy or ["fixed", "ski_rental", "histogram"])
    if "learned" in families:
        raise ConfigError("--policy learned needs a table: gateway simulate tries it")
    settings = settings_of(place.config, place.data_dir)
    rows = [row for name in price if (row := price_row(settings, name)) is not None]
    for row in rows:
        if row.usd_per_second is None:
            raise ConfigError(f"--price: {row.name} is not by the second, so there is no machine")
    found, seed = asked.read(settings), asked.seed
    given = None if boot_seconds is None else (boot_seconds, boot_sigma)
    boots = BootBook(found.boots, _prices_of(settings), rows[0].name, given, boot_sigma)
    plant = Plant(GUESS_BOOT_SECONDS, window_seconds=window, seed=seed)
    terms = Terms(plant, amount(wait_value), window, seed, boots)
    candidates = [Candidate(row, family) for row in rows for family in families]
    with working(f"Replaying {found.requests:,} requests, {len(candidates)} ways"):
        told = planned(found, candidates, terms)
    print_report(form, told, told["candidates"], lambda: _show(told))


def _prices_of(settings: Settings) -> dict[str, str]:
    """The price of each deployment that is configured, and has one."""
    from gateway.pricebook.configured import price_book, tariff_of

    book = price_book(settings)
    found = {}
    for name, deployment in settings.deployments.items():
        tariff = tariff_of(name, deployment, book, settings.providers)
        if tariff is not None:
            found[name] = tariff.name
    return found


def _show(told: dict[str, Any]) -> None:
    print_line(told["sentence"])
    rows = [
        [row["price"], row["policy"], _usd(row["burden_usd_per_month"])]
        for row in told["candidates"]
    ]
    print_table(("price", "policy", "paid and waited, USD a month"), rows)
    rows = []
    for row in told["routing"]:
        cold = "unknown" if row["cold_rate"] is None else f"{row['cold_rate']:.1%}"
        usd = _usd(row["burden_usd_per_month"])
        rows.append([row["name"], usd, cold, cell(row["mean_wait_seconds"])])
    print_table(("routing over two", "paid and waited, USD a month", "cold", "mean wait s"), rows)
    rows = []
    for row in told["deployments"][:_SHOWN]:
        saves = _usd(row["saving_usd_per_month"])
        rows.append([row["name"], f"{row['requests']:,}", row["price"], row["policy"], saves])
    heads = ("deployment", "requests", "best price", "best policy", "saves, USD a month")
    print_table(heads, rows, ("requests",))
    if len(told["deployments"]) > _SHOWN:
        print_line(f"... and {len(told['deployments']) - _SHOWN} deployments more: --json")
    for boots in told["boots"]:
        print_line(_boots(boots))
    for note in told["notes"]:
        print_line(f"Note: {note}")


def _usd(text: str) -> str:
    return f"{Decimal(text):,.2f}"


_SOURCES = {
    "given": "as given",
    "provider": "as known of its provider",
    "guess": "a guess, of which the interval knows nothing",
}


def _boots(boots: dict[str, Any]) -> str:
    """What boots at a price were taken to be, and why."""
    why = _SOURCES.get(boots["source"], f"from {boots['seen']:,} that were seen")
    told = f"Boots at {boots['price']}: {cell(boots['median_seconds'])} s in the middle, "
    told += f"{cell(boots['p90_seconds'])} s or less in nine of ten, {why}"
    if boots["range_seconds"] is not None:
        low, high = (cell(seconds) for seconds in boots["range_seconds"])
        told += f"; the middle may be {low} to {high} s, which is in the interval"
    own = boots["deployments_by_their_own"]
    return f"{told}. Of {own:,} deployments, their own are taken." if own else f"{told}."
