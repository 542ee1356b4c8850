"""``gateway compare``: the requests that you have, at every place that could serve them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_options import (
    ConfigOption,
    CsvOption,
    DataDirOption,
    EndOption,
    JsonOption,
    StartOption,
)
from gateway.settings import ConfigError, load


def compare(
    model: Annotated[
        str | None, typer.Argument(help="A model's name; may be left out where there is one.")
    ] = None,
    max_wait_p95_seconds: Annotated[
        str | None, typer.Option(help="The cheapest must not let 1 in 20 wait longer.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="CSV of requests to compare over, not the ledger's.")
    ] = None,
    trace_where: Annotated[
        list[str] | None,
        typer.Option(help="Keep the trace's lines with COLUMN=VALUE; repeatable."),
    ] = None,
    measured_on: Annotated[
        str | None, typer.Option(help="The card that a trace's durations are from.")
    ] = None,
    requests_per_day: Annotated[
        str | None, typer.Option(help="Made-up traffic; with --input-tokens, --output-tokens.")
    ] = None,
    input_tokens: Annotated[str | None, typer.Option(help="Of each request.")] = None,
    output_tokens: Annotated[str | None, typer.Option(help="Of each request.")] = None,
    price: Annotated[
        list[str] | None, typer.Option(help="A further price row to hold beside; repeatable.")
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="What the model is (gateway estimate), for scaling.")
    ] = None,
    keep_alive_seconds: Annotated[
        str | None, typer.Option(help="For all, instead of what providers say.")
    ] = None,
    boot_seconds: Annotated[
        str | None, typer.Option(help="For all, instead of what was measured.")
    ] = None,
    places: Annotated[
        str | None, typer.Option(help="Requests that one replica runs at once; else any number.")
    ] = None,
    own_gpu: Annotated[str | None, typer.Option(help="A card of your own: h100 say.")] = None,
    capex_usd: Annotated[str | None, typer.Option(help="Its price, host included.")] = None,
    life_years: Annotated[str | None, typer.Option(help="Years of use; 4.")] = None,
    watts: Annotated[str | None, typer.Option(help="Power, host included; 1000.")] = None,
    usd_per_kwh: Annotated[str | None, typer.Option(help="Power's price; 0.10.")] = None,
    pue: Annotated[str | None, typer.Option(help="Cooling and so on; 1.3.")] = None,
    ops_usd_month: Annotated[str | None, typer.Option(help="People, rack, network; 0.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="deployment=NAME, tag:team=search ...; repeatable."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page to mail to somebody.")] = None,
    start_time: StartOption = None,
    end_time: EndOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What your requests would cost, and wait, wherever they could be served.

    Over the ledger's last 30 days, a trace, or made-up traffic: every deployment of the model,
    every price for the same card, and a card of your own. Unknown stays unknown, and is never the
    cheapest.
    """
    from gateway.cli_tables import print_comparison, print_csv_rows

    given = {
        name: text
        for name, text in (
            ("max_wait_p95_seconds", max_wait_p95_seconds),
            ("measured_on", measured_on),
            ("requests_per_day", requests_per_day),
            ("input_tokens", input_tokens),
            ("output_tokens", output_tokens),
            ("shape", shape),
            ("keep_alive_seconds", keep_alive_seconds),
            ("boot_seconds", boot_seconds),
            ("places", places),
            ("own_gpu", own_gpu),
            ("capex_usd", capex_usd),
            ("life_years", life_years),
            ("watts", watts),
            ("usd_per_kwh", usd_per_kwh),
            ("pue", pue),
            ("ops_usd_month", ops_usd_month),
        )
        if text is not None
    }
    if as_json and as_csv:
        raise ConfigError("--json or --csv, not both")
    if trace is not None and requests_per_day is not None:
        raise ConfigError("--trace or --requests-per-day, not both")
    found = _answer(
        model,
        given,
        tuple(price or ()),
        (trace, trace_where or []),
        filters or [],
        (start_time, end_time),
        (config, data_dir),
    )
    if html is not None:
        from gateway.comparison.page import page

        try:
            html.write_text(page(found), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"--html: {html} cannot be written ({error.strerror})") from error
    if as_json:
        json.dump(found, sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif as_csv:
        print_csv_rows([_flat(candidate) for candidate in found["candidates"]])
    else:
        print_comparison(found)


def _answer(
    model: str | None,
    given: dict[str, str],
    prices: tuple[str, ...],
    traced: tuple[Path | None, list[str]],
    filters: list[str],
    times: tuple[str | None, str | None],
    places: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    from gateway.cli_tables import range_of
    from gateway.comparison.ask import ask_of
    from gateway.comparison.candidates import deployments_of
    from gateway.comparison.run import answer
    from gateway.ledger.errors import BadQuery
    from gateway.ledger.layout import database_path, journal_dir
    from gateway.ledger.query import ReportQuery
    from gateway.ledger.reports import Reports
    from gateway.registry import price_book

    config, data_dir = places
    trace, where = traced[0], {name: values[-1] for name, values in _filters(traced[1]).items()}
    if where and trace is None:
        raise ConfigError("--trace-where belongs to --trace, which is not named")
    settings = load(
        config, os.environ, None if data_dir is None else {"server": {"data_dir": data_dir}}
    )
    if model is None:
        if len(settings.models) != 1:
            raise ConfigError(f"say which model: {', '.join(settings.models)}")
        model = next(iter(settings.models))
    start_at_us, end_at_us = range_of(*times)
    try:
        deployments_of(settings, model)
        ask = ask_of({**given, "model": model}, prices)
        query = ReportQuery(
            start_at_us=start_at_us,
            end_at_us=end_at_us,
            filters={**_filters(filters), "model": (model,)},
        )
        there = journal_dir(settings.server.data_dir).is_dir()
        if not there and trace is None and ask.requests_per_day is None:
            raise ConfigError(f"there is no ledger in {settings.server.data_dir}")
        book = price_book(settings)
        if not there:
            return answer(settings, book, ask, query, None, trace=trace, trace_where=where)
        reports = Reports(database_path(settings.server.data_dir))
        try:
            return answer(settings, book, ask, query, reports, trace=trace, trace_where=where)
        finally:
            reports.close()
    except BadQuery as error:
        raise ConfigError(error.message) from error


def _filters(given: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"{text!r} is not NAME=VALUE, deployment=llama-acme say")
        found[name] = (*found.get(name, ()), value)
    return found


def _flat(candidate: dict[str, Any]) -> dict[str, Any]:
    """One line of CSV: an empty cell is "not known"."""
    span, execute = candidate["range_usd"] or {}, candidate["execute"] or {}
    waits, boot = candidate["waits"], candidate["boot"] or {}
    even = candidate["break_even"] or {}
    return {
        **{name: candidate[name] for name in ("name", "kind", "hardware", "price_id", "status")},
        "total_usd": candidate["total_usd"],
        "low_usd": span.get("low"),
        "high_usd": span.get("high"),
        "usd_per_request": candidate["usd_per_request"],
        **{
            name: candidate[name]
            for name in (
                *("active_usd", "boot_usd", "idle_usd"),
                *("tokens_usd", "other_usd", "standing_usd"),
            )
        },
        "execute_status": execute.get("status"),
        "mean_execute_seconds": execute.get("mean_seconds"),
        "boot_seconds": boot.get("seconds"),
        **{name: value for name, value in waits.items() if name != "basis"},
        "utilisation": candidate["utilisation"],
        "break_even_requests_per_day": even.get("requests_per_day"),
        "within_limit": candidate["within_limit"],
        "unknown": "; ".join(candidate["unknown"]),
    }
