"""``gateway estimate``: what a model would take and cost on hardware that nobody has asked yet."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from gateway.cli.options import ConfigOption, JsonOption
from gateway.cli.output import cell, console, print_json, table
from gateway.settings import ConfigError, load


def estimate(
    model: Annotated[
        str | None, typer.Argument(help="A known model; or none, and --parameters.")
    ] = None,
    gpu: Annotated[str, typer.Option(help="The card: t4 l4 a10g l40s a100-80 h100 ...")] = "h100",
    gpus: Annotated[
        int | None, typer.Option(min=1, help="Cards; default: as many as hold it.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Requests worked on together.")] = 1,
    input_tokens: Annotated[int, typer.Option(min=0, help="Of one request.")] = 600,
    output_tokens: Annotated[int, typer.Option(min=1, help="Of one request.")] = 200,
    parameters: Annotated[
        float | None, typer.Option(min=1, help="Of a model that is not known: 8e9.")
    ] = None,
    layers: Annotated[int | None, typer.Option(min=1, help="For the KV cache.")] = None,
    kv_heads: Annotated[int | None, typer.Option(min=1, help="For the KV cache.")] = None,
    head_dim: Annotated[int | None, typer.Option(min=1, help="For the KV cache.")] = None,
    weight_bytes: Annotated[
        float | None, typer.Option(min=0.1, help="Of a parameter: 2 fp16, 1 fp8, 0.5 int4.")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="A price row that is for seconds, modal-h100 say.")
    ] = None,
    usd_per_hour: Annotated[
        str | None, typer.Option(help="For one card; instead of --price.")
    ] = None,
    requests_per_day: Annotated[
        float | None, typer.Option(min=0, help="For the cost of a day and a month.")
    ] = None,
    utilisation: Annotated[
        float, typer.Option(min=0.001, max=1, help="Share of paid seconds with work.")
    ] = 1.0,
    memory_efficiency: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Share of the bandwidth; else 0.45-0.85.")
    ] = None,
    compute_efficiency: Annotated[
        float | None, typer.Option(min=0.01, max=1, help="Share of the TFLOPS; else 0.3-0.7.")
    ] = None,
    overhead_ms: Annotated[
        float | None, typer.Option(min=0, help="Added to each step; else 0-5.")
    ] = None,
    late_2022: Annotated[
        bool, typer.Option("--late-2022", help="A well-known sum of December 2022, done again.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """A model's seconds and dollars on some card.

    A roofline, with ranges. Nothing is measured: every figure is an estimate, from a data sheet and
    stated assumptions.
    """
    from gateway.estimates.estimate import Question
    from gateway.estimates.estimate import estimate as answer
    from gateway.estimates.late_2022 import claims

    if late_2022:
        _print_rows([claim.row() for claim in claims()], as_json=as_json)
        return
    found = answer(
        Question(
            shape=_shape(model, parameters, layers, kv_heads, head_dim, weight_bytes),
            gpu=_gpu(gpu),
            gpus=gpus,
            batch=batch,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            memory_efficiency=memory_efficiency,
            compute_efficiency=compute_efficiency,
            overhead_seconds=None if overhead_ms is None else overhead_ms / 1e3,
            rate=_rate(price, usd_per_hour, config),
            requests_per_day=(None if requests_per_day is None else Decimal(str(requests_per_day))),
            utilisation=utilisation,
        )
    )
    if as_json:
        print_json(found)
    else:
        _print_estimate(found)


def _shape(
    model: str | None,
    parameters: float | None,
    layers: int | None,
    kv_heads: int | None,
    head_dim: int | None,
    weight_bytes: float | None,
) -> Any:
    from datetime import UTC, datetime

    from gateway.estimates.tables import Shape, find, shapes

    given = {
        name: value
        for name, value in (
            ("parameters", None if parameters is None else round(parameters)),
            ("layers", layers),
            ("kv_heads", kv_heads),
            ("head_dim", head_dim),
            ("weight_bytes", weight_bytes),
        )
        if value is not None
    }
    known = None if model is None else find(shapes(), model)
    if known is not None:
        return known.model_copy(update=given)
    if parameters is None:
        names = ", ".join(shape.name for shape in shapes())
        what = "name a model" if model is None else f"no model named {model!r} is known"
        raise ConfigError(f"{what} ({names}), or say --parameters")
    today = datetime.now(UTC).date()
    name = model or f"{parameters:g} parameters"
    return Shape.model_validate(
        {"name": name, "source": "command line", "checked_on": today, **given}
    )


def _gpu(name: str) -> Any:
    from gateway.estimates.tables import find, gpus

    found = find(gpus(), name)
    if found is None:
        names = ", ".join(gpu.name for gpu in gpus())
        raise ConfigError(f"--gpu: no card named {name!r} is known ({names})")
    return found


def _rate(price: str | None, usd_per_hour: str | None, config: Any) -> Any:
    from gateway.estimates.estimate import Rate
    from gateway.estimates.hardware import hardware_of
    from gateway.registry import price_book

    if price is not None and usd_per_hour is not None:
        raise ConfigError("--price or --usd-per-hour, not both")
    if usd_per_hour is not None:
        try:
            usd = Decimal(usd_per_hour)
        except InvalidOperation:
            usd = Decimal(-1)
        if not (usd.is_finite() and usd >= 0):
            raise ConfigError("--usd-per-hour is an amount of dollars, 2.50 say")
        return Rate(usd, "--usd-per-hour")
    if price is None:
        return None
    tariff = price_book(load(config, os.environ)).find(price)
    row = None if tariff is None else tariff.rows[0]
    if row is None or row.usd_per_second is None:
        raise ConfigError(f"--price: no price for seconds is named {price!r}")
    hardware = hardware_of(row.name)
    cards = 1 if hardware is None else hardware.count
    return Rate(row.usd_per_second * 3600 / cards, f"{row.id}, {row.source}")


def _print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Rows of one shape, their keys as columns."""
    if as_json:
        print_json(rows)
        return
    shown = table(*(rows[0] if rows else ()))
    for row in rows:
        shown.add_row(*(cell(value) for value in row.values()))
    console().print(shown)


def _print_estimate(found: dict[str, Any]) -> None:
    """An estimate: seconds and dollars with their ranges, then what they rest on."""
    hardware, memory, cost = found["hardware"], found["memory"], found["cost"]
    say = console()
    say.print(
        f"{found['model']} on {hardware['gpus']} x {hardware['gpu']}, batch {found['batch']}, "
        f"{found['input_tokens']} + {found['output_tokens']} tokens",
        highlight=False,
    )
    say.print(f"{found['regime']} bound: {found['why']}", highlight=False, soft_wrap=True)
    shown = table("estimated", "value", "low", "high")
    for name in (
        *("seconds_per_token", "tokens_per_second_each", "tokens_per_second"),
        *("prefill_seconds", "decode_seconds", "request_seconds"),
    ):
        shown.add_row(name, *(f"{found[name][end]:g}" for end in ("value", "low", "high")))
    for name, amount in (cost or {}).items():
        if isinstance(amount, dict):
            shown.add_row(name, amount["value"], amount["low"], amount["high"])
    say.print(shown)
    shown = table("memory", "GB")
    for name in ("weights_bytes", "kv_cache_bytes", "gpu_bytes"):
        size = memory[name]
        shown.add_row(
            name.removesuffix("_bytes"), cell(None if size is None else f"{size / 1e9:.3g}")
        )
    say.print(shown)
    if cost is not None:
        say.print(
            f"Rate: ${cost['usd_per_gpu_hour']} for a card-hour ({cost['source']})",
            highlight=False,
            soft_wrap=True,
        )
    for said in found["assumptions"]:
        if said["low"] == said["high"]:
            span = f"{said['value']:g}"
        else:
            span = f"{said['value']:g} ({said['low']:g} to {said['high']:g})"
        say.print(f"Assumed: {said['name']} {span}, {said['from']}", highlight=False)
    for doubt in found["doubts"]:
        say.print(f"Doubt: {doubt}", highlight=False, soft_wrap=True)
