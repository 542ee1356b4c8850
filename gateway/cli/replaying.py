"""What commands that replay requests have in common: which requests, and how they are read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gateway.cli.options import EndOption, StartOption
from gateway.cli.output import working
from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from gateway.accounting.prices import PriceRow
    from gateway.simulation.families import Family
    from gateway.simulation.streams import Reading, Streams

WindowOption = Annotated[
    float, typer.Option("--window", min=0, help="Seconds that fixed keeps it up.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        help="WHAT=COLUMN, for names in the trace that are not known: instant=born, "
        "duration=took:ms. Repeatable."
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(help="Keep the trace's lines with COLUMN=VALUE; repeatable."),
]


@dataclass(frozen=True)
class Asked:
    """Which requests are replayed, as it is typed."""

    trace: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of requests, or of counts by minute; repeatable. Else the ledger."),
    ] = None
    by: Annotated[
        str | None,
        typer.Option("--by", help="The column that says whose a request is; several: a,b."),
    ] = None
    column: ColumnOption = None
    trace_where: WhereOption = None
    synthetic: Annotated[
        str | None,
        typer.Option(
            help="Made-up streams: periodic, diurnal, bursty, gpu, batch, rare, on_off, heavy."
        ),
    ] = None
    streams: Annotated[int, typer.Option(min=1, help="With --synthetic: how many.")] = 50
    days: Annotated[float, typer.Option(min=0.01, help="With --synthetic: how long.")] = 7.0
    calls_per_day: Annotated[
        str | None, typer.Option(help="Keep streams with so many requests a day: 24:1440 say.")
    ] = None
    execute_seconds: Annotated[
        float, typer.Option(min=0, help="Of requests whose duration is not known.")
    ] = 1.0
    tokens_per_second: Annotated[
        str | None,
        typer.Option(help="IN:OUT, 5000:50 say: durations of a trace that says tokens only."),
    ] = None
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 1
    start_time: StartOption = None
    end_time: EndOption = None

    def read(self, settings: Settings) -> Streams:
        """The streams that a command is about. Raises ConfigError."""
        from gateway.cli.context import ledger_of
        from gateway.cli.tables import range_of
        from gateway.ledger.errors import BadQuery
        from gateway.ledger.layout import database_path
        from gateway.ledger.reports.query import ReportQuery
        from gateway.ledger.reports.reports import Reports
        from gateway.simulation import sources

        if self.trace and self.synthetic is not None:
            raise ConfigError("--trace or --synthetic, not both")
        reading = self._reading()
        try:
            with working("Reading the requests"):
                if self.trace:
                    return sources.of_trace(self.trace, reading)
                if self.synthetic is not None:
                    return sources.of_kind(self.synthetic, self.streams, self.days, self.seed)
                start_at_us, end_at_us = range_of(self.start_time, self.end_time)
                query = ReportQuery(start_at_us, end_at_us)
                with contextlib.closing(Reports(database_path(ledger_of(settings)))) as reports:
                    return sources.of_ledger(reports, query, reading)
        except BadQuery as error:
            raise ConfigError(error.message) from error

    def _reading(self) -> Reading:
        from gateway.simulation.streams import Reading

        low, high = _calls(self.calls_per_day)
        return Reading(
            self.by,
            low,
            high,
            self.execute_seconds,
            self.seed,
            _token_rates(self.tokens_per_second),
            tuple(self.column or ()),
            values_of(self.trace_where or ()),
        )


def families_of(names: list[str]) -> list[Family]:
    """Policies by name. Raises ConfigError."""
    from gateway.simulation.families import FAMILIES

    for name in names:
        if name not in FAMILIES:
            raise ConfigError(f"--policy is one of {', '.join(FAMILIES)}; not {name!r}")
    return cast("list[Family]", list(dict.fromkeys(names)))


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


def values_of(given: Sequence[str]) -> dict[str, str]:
    """COLUMN=VALUE, each; the last of a column counts. Raises ConfigError."""
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"{text!r} is not COLUMN=VALUE, model=M0001 say")
        found[name] = value
    return found
