"""``gateway plan``: what to change, for the requests that you have."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import typer

from gateway.cli.context import form_of, settings_of
from gateway.cli.options import (
    ConfigOption,
    CsvOption,
    DataDirOption,
    EndOption,
    JsonOption,
    StartOption,
)
from gateway.cli.output import cell, print_line, print_report, print_table
from gateway.cli.simulate import (
    BootOption,
    ByOption,
    CallsOption,
    ExecuteOption,
    SeedOption,
    SyntheticOption,
    TokensOption,
    TraceOption,
    WindowOption,
    amount,
    calls,
    families_of,
    price_row,
    streams_of,
    token_rates,
)
from gateway.settings import ConfigError

_SHOWN = 20


def plan(
    price: Annotated[
        list[str],
        typer.Option(help="Price rows to choose from; repeatable, today's first."),
    ],
    trace: TraceOption = None,
    by: ByOption = None,
    synthetic: SyntheticOption = None,
    streams: Annotated[int, typer.Option(min=1, help="With --synthetic: how many.")] = 50,
    days: Annotated[float, typer.Option(min=0.01, help="With --synthetic: how long.")] = 7.0,
    calls_per_day: CallsOption = None,
    execute_seconds: ExecuteOption = 1.0,
    tokens_per_second: TokensOption = None,
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
    boot_seconds: BootOption = 20.0,
    boot_sigma: Annotated[float, typer.Option(min=0, help="Of lognormal boots.")] = 0.8,
    seed: SeedOption = 1,
    start_time: StartOption = None,
    end_time: EndOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What to change, for the requests that you have.

    Replays the ledger's last 30 days, or a trace, under each price with each keep-warm policy, and
    names the best with what it is expected to save in a month and how sure that is. Boots have the
    median of --boot-seconds.
    """
    from gateway.ledger.errors import BadQuery
    from gateway.simulation.plan import Candidate, Terms
    from gateway.simulation.plan import plan as planned
    from gateway.simulation.simulate import Plant
    from gateway.simulation.streams import Reading

    form = form_of(as_json, as_csv)
    families = families_of(policy or ["fixed", "ski_rental", "histogram"])
    if "learned" in families:
        raise ConfigError("--policy learned needs a table: gateway simulate tries it")
    settings = settings_of(config, data_dir)
    rows = [row for name in price if (row := price_row(settings, name)) is not None]
    for row in rows:
        if row.usd_per_second is None:
            raise ConfigError(f"--price: {row.name} is not by the second, so there is no machine")
    low, high = calls(calls_per_day)
    try:
        found = streams_of(
            settings,
            trace,
            (synthetic, streams, days),
            Reading(by, low, high, execute_seconds, seed, token_rates(tokens_per_second)),
            (start_time, end_time),
        )
    except BadQuery as error:
        raise ConfigError(error.message) from error
    plant = Plant(boot_seconds, boot_sigma, window_seconds=window, seed=seed)
    terms = Terms(plant, amount(wait_value), window, seed)
    candidates = [Candidate(row, family) for row in rows for family in families]
    told = planned(found, candidates, terms)
    print_report(form, told, told["candidates"], lambda: _show(told))


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
    for note in told["notes"]:
        print_line(f"Note: {note}")


def _usd(text: str) -> str:
    return f"{Decimal(text):,.2f}"
