"""``gateway compare``: the requests that you have, at every place that could serve them."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.context import form_of
from gateway.cli.options import (
    ConfigOption,
    CsvOption,
    DataDirOption,
    EndOption,
    JsonOption,
    StartOption,
)
from gateway.cli.output import cell, print_line, print_report, print_table, write
from gateway.cli.replaying import ColumnOption, WhereOption, values_of
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
    trace_where: WhereOption = None,
    column: ColumnOption = None,
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
    """Your requests wherever they could be served.

    What they would cost, and wait, over the ledger's last 30 days, a trace, or made-up traffic:
    at every deployment of the model, every price for the same card, and a card of your own.
    Unknown stays unknown, and is never the cheapest.
    """
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
    form = form_of(as_json, as_csv)
    if trace is not None and requests_per_day is not None:
        raise ConfigError("--trace or --requests-per-day, not both")
    found = _answer(
        model,
        given,
        tuple(price or ()),
        (trace, trace_where or [], tuple(column or ())),
        filters or [],
        (start_time, end_time),
        (config, data_dir),
    )
    if html is not None:
        from gateway.comparison.page import page

        write("--html", html, page(found).encode())
    rows = [_flat(candidate) for candidate in found["candidates"]]
    print_report(form, found, rows, lambda: _print_comparison(found))


def _answer(
    model: str | None,
    given: dict[str, str],
    prices: tuple[str, ...],
    traced: tuple[Path | None, list[str], tuple[str, ...]],
    filters: list[str],
    times: tuple[str | None, str | None],
    places: tuple[Path | None, Path | None],
) -> dict[str, Any]:
    from gateway.cli.tables import range_of
    from gateway.comparison.ask import ask_of
    from gateway.comparison.candidates import deployments_of
    from gateway.comparison.run import answer
    from gateway.ledger.errors import BadQuery
    from gateway.ledger.layout import database_path, journal_dir
    from gateway.ledger.reports.query import ReportQuery
    from gateway.ledger.reports.reports import Reports
    from gateway.pricebook.configured import price_book

    config, data_dir = places
    trace, where = traced[0], values_of(traced[1])
    if where and trace is None:
        raise ConfigError("--trace-where belongs to --trace, which is not named")
    read: dict[str, Any] = {"trace": trace, "trace_where": where, "columns": traced[2]}
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
            return answer(settings, book, ask, query, None, **read)
        reports = Reports(database_path(settings.server.data_dir))
        try:
            return answer(settings, book, ask, query, reports, **read)
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


def _print_comparison(found: dict[str, Any]) -> None:
    """The answer, the candidates cheapest first, and what it all rests on."""
    print_line(found["sentence"])
    names = ("candidate", "card", "USD", "from", "to", "status", "active", "boot", "idle")
    heads = (*names, "tokens", "other", "own", "cold", "p50 s", "p95 s", "p99 s")
    rows = []
    for candidate in found["candidates"]:
        span = candidate["range_usd"] or {"low": None, "high": None}
        waits = candidate["waits"]
        rows.append(
            [
                candidate["name"],
                candidate["hardware"] or "",
                *(_dollars(usd) for usd in (candidate["total_usd"], span["low"], span["high"])),
                candidate["status"],
                *(
                    _dollars(candidate[f"{part}_usd"])
                    for part in ("active", "boot", "idle", "tokens", "other", "standing")
                ),
                "unknown" if waits["cold_rate"] is None else f"{waits['cold_rate']:.1%}",
                *(cell(waits[f"{name}_seconds"]) for name in ("p50", "p95", "p99")),
            ]
        )
    print_table(heads, rows, _LEAVE_OUT)
    for candidate in found["candidates"]:
        for said in _beside(candidate):
            print_line(f"{candidate['name']}: {said}")
    for note in (*found["traffic"]["notes"], *found["assumptions"]):
        print_line(f"Note: {note}")


_LEAVE_OUT = (
    *("own", "other", "tokens", "p99 s", "p50 s", "idle", "boot", "active"),
    *("from", "to", "status", "card", "cold"),
)
"""What goes first where there is too little room; what it costs and how long it waits stay."""


def _beside(candidate: dict[str, Any]) -> list[str]:
    """What a line of the table has no room for."""
    said = []
    execute, boot, even = candidate["execute"], candidate["boot"], candidate["break_even"]
    if execute is not None:
        said.append(f"{execute['mean_seconds']:g} s a request, {execute['basis']}")
    if boot is not None and candidate["keep_alive"]["seconds"] is not None:
        keep = candidate["keep_alive"]
        said.append(
            f"boot {boot['seconds']:g} s ({boot['basis']}), kept {keep['seconds']:g} s "
            f"({keep['basis']})"
        )
    if even is not None:
        shares = "; ".join(
            f"batch {at['batch']}: "
            + ("never" if at["utilisation"] > 1 else f"{at['utilisation']:.1%} of the day busy")
            for at in even["by_batch"]
            if at["utilisation"] is not None
        )
        said.append(
            f"up all day it beats {even['against']} from {even['requests_per_day']:,.0f} "
            f"requests a day ({shares or 'at an unknown use'})"
        )
    ends = candidate["sensitivity"]["boot"]
    if ends:
        first, last = ends
        said.append(
            f"with boots of {first['boot_seconds']:g} to {last['boot_seconds']:g} s: "
            f"{_dollars(first['total_usd'])} to {_dollars(last['total_usd'])} USD, "
            f"p95 {cell(first['wait_p95_seconds'])} to {cell(last['wait_p95_seconds'])} s"
        )
    if (candidate["sampling_error"] or 0) >= 0.0005:
        said.append(f"a sample: the total is good to {candidate['sampling_error']:.1%}")
    said += candidate["notes"]
    if candidate["unknown"]:
        said.append(f"not known: {'; '.join(candidate['unknown'])}")
    return said


def _dollars(usd: str | None) -> str:
    """Enough digits to compare by; --json has all of them."""
    if usd is None:
        return "unknown"
    amount = Decimal(usd)
    return f"{amount:,.2f}" if amount >= 1 else f"{float(amount):.3g}"
