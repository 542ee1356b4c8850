"""What commands that replay requests have in common: options, and the streams that they say."""

from __future__ import annotations

import contextlib
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from gateway.accounting.prices import PriceRow
    from gateway.simulation.families import Family
    from gateway.simulation.streams import Streams

TraceOption = Annotated[
    Path | None, typer.Option(help="CSV of requests, or of counts by minute; else the ledger.")
]
ByOption = Annotated[
    str | None, typer.Option("--by", help="The column that says whose a request is.")
]
SyntheticOption = Annotated[
    str | None,
    typer.Option(
        help="Made-up streams: periodic, diurnal, bursty, gpu, batch, rare, on_off, heavy."
    ),
]
StreamsOption = Annotated[int, typer.Option(min=1, help="With --synthetic: how many.")]
DaysOption = Annotated[float, typer.Option(min=0.01, help="With --synthetic: how long.")]
CallsOption = Annotated[
    str | None, typer.Option(help="Keep streams with so many requests a day: 24:1440 say.")
]
ValueOption = Annotated[
    str,
    typer.Option(
        "--wait-value-usd-per-second",
        help="What a second of waiting is worth; without --price, in prices of an idle second.",
    ),
]
WindowOption = Annotated[
    float, typer.Option("--window", min=0, help="Seconds that fixed keeps it up.")
]
PriceOption = Annotated[str | None, typer.Option(help="A price row, by its name.")]
SeedOption = Annotated[int, typer.Option(help="Of all that is drawn.")]
ExecuteOption = Annotated[
    float, typer.Option(min=0, help="Of requests whose duration is not known.")
]


TokensOption = Annotated[
    str | None,
    typer.Option(help="IN:OUT, 5000:50 say: durations of a trace that says tokens only."),
]


def families_of(names: list[str]) -> list[Family]:
    """Policies by name. Raises ConfigError."""
    from gateway.simulation.families import FAMILIES

    for name in names:
        if name not in FAMILIES:
            raise ConfigError(f"--policy is one of {', '.join(FAMILIES)}; not {name!r}")
    return cast("list[Family]", names)


def price_row(settings: Settings, name: str | None, option: str = "--price") -> PriceRow | None:
    """The price row in force now, by name. Raises ConfigError."""
    from gateway.pricebook.configured import price_book

    if name is None:
        return None
    tariff = price_book(settings).find(name)
    row = None if tariff is None else tariff.at(time.time_ns() // 1000)
    if row is None:
        raise ConfigError(f"{option}: there is no price named {name!r}")
    return row


def streams_of(
    settings: Settings,
    *,
    trace: Path | None,
    synthetic: tuple[str | None, int, float],
    calls_per_day: str | None,
    tokens_per_second: str | None,
    by: str | None,
    execute_seconds: float,
    seed: int,
    times: tuple[str | None, str | None],
) -> Streams:
    """The streams that a command is about; ``synthetic``: kind, streams, days.

    Raises ConfigError.
    """
    from gateway.cli.context import ledger_of
    from gateway.cli.tables import range_of
    from gateway.ledger.errors import BadQuery
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.query import ReportQuery
    from gateway.ledger.reports.reports import Reports
    from gateway.simulation import sources
    from gateway.simulation.streams import Reading

    low, high = _calls(calls_per_day)
    rates = _token_rates(tokens_per_second)
    reading = Reading(by, low, high, execute_seconds, seed, rates)
    kind, count, days = synthetic
    try:
        if trace is not None:
            return sources.of_trace(trace, reading)
        if kind is not None:
            return sources.of_kind(kind, count, days, reading.seed)
        start_at_us, end_at_us = range_of(*times)
        with contextlib.closing(Reports(database_path(ledger_of(settings)))) as reports:
            return sources.of_ledger(reports, ReportQuery(start_at_us, end_at_us), reading)
    except BadQuery as error:
        raise ConfigError(error.message) from error


def _calls(text: str | None) -> tuple[float, float]:
    """Least and most requests a day. Raises ConfigError."""
    if text is None:
        return 0.0, float("inf")
    low, sign, high = text.partition(":")
    try:
        if not sign:
            raise ValueError(text)
        return float(low or 0), float(high or "inf")
    except ValueError:
        raise ConfigError(f"--calls-per-day is LOW:HIGH, 24:1440 say; not {text!r}") from None


def _token_rates(text: str | None) -> tuple[float, float] | None:
    """Tokens in and out a second. Raises ConfigError."""
    if text is None:
        return None
    given, _, made = text.partition(":")
    try:
        rates = float(given), float(made)
    except ValueError:
        rates = 0.0, 0.0
    if not all(0 < rate < float("inf") for rate in rates):
        raise ConfigError(f"--tokens-per-second is IN:OUT, 5000:50 say; not {text!r}") from None
    return rates


def amount(text: str) -> Decimal:
    """What a waiting second is worth. Raises ConfigError."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ConfigError(f"--wait-value-usd-per-second: {text!r} is no number") from None
    if not value.is_finite() or value < 0:
        raise ConfigError("--wait-value-usd-per-second is 0 or more")
    return value
