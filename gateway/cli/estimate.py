"""``gateway estimate``: what a model would take and cost on hardware that nobody has asked yet."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import typer

from gateway.cli.context import form_of
from gateway.cli.options import ConfigOption, CsvOption, JsonOption
from gateway.cli.output import Column, cell, print_line, print_report, print_rows, print_table
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
    as_csv: CsvOption = False,
) -> None:
    """A model's seconds and dollars on some card.

    A roofline, with ranges. Nothing is measured: every figure is an estimate, from a data sheet and
    stated assumptions.
    """
    from gateway.estimates.estimate import Question
    from gateway.estimates.estimate import estimate as answer
    from gateway.estimates.late_2022 import claims

    form = form_of(as_json, as_csv)
    if late_2022:
        rows = [claim.row() for claim in claims()]
        columns: list[Column] = [(name, lambda row, name=name: row[name]) for name in rows[0]]  # type: ignore[misc]
        print_report(form, rows, rows, lambda: print_rows(rows, columns, "table"))
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
    print_report(form, found, _figures(found), lambda: _print_estimate(found))


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
    from gateway.pricebook.configured import price_book

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


_SECONDS = (
    *("seconds_per_token", "tokens_per_second_each", "tokens_per_second"),
    *("prefill_seconds", "decode_seconds", "request_seconds"),
)


def _figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Seconds and dollars, one a row; dollars are text, exact."""
    told = {name: found[name] for name in _SECONDS}
    told |= {name: span for name, span in (found["cost"] or {}).items() if isinstance(span, dict)}
    return [
        {"figure": name, **{end: span[end] for end in ("value", "low", "high")}}
        for name, span in told.items()
    ]


def _print_estimate(found: dict[str, Any]) -> None:
    """An estimate: seconds and dollars with their ranges, then what they rest on."""
    hardware, memory, cost = found["hardware"], found["memory"], found["cost"]
    print_line(
        f"{found['model']} on {hardware['gpus']} x {hardware['gpu']}, batch {found['batch']}, "
        f"{found['input_tokens']} + {found['output_tokens']} tokens"
    )
    print_line(f"{found['regime']} bound: {found['why']}")
    rows = [
        [
            row["figure"],
            *(
                f"{row[end]:g}" if isinstance(row[end], float) else cell(row[end])
                for end in ("value", "low", "high")
            ),
        ]
        for row in _figures(found)
    ]
    print_table(("estimated", "value", "low", "high"), rows)
    sizes = []
    for name in ("weights_bytes", "kv_cache_bytes", "gpu_bytes"):
        size = memory[name]
        shown = cell(None if size is None else f"{size / 1e9:.3g}")
        sizes.append([name.removesuffix("_bytes"), shown])
    print_table(("memory", "GB"), sizes)
    if cost is not None:
        print_line(f"Rate: ${cost['usd_per_gpu_hour']} for a card-hour ({cost['source']})")
    for said in found["assumptions"]:
        if said["low"] == said["high"]:
            span = f"{said['value']:g}"
        else:
            span = f"{said['value']:g} ({said['low']:g} to {said['high']:g})"
        print_line(f"Assumed: {said['name']} {span}, {said['from']}")
    for doubt in found["doubts"]:
        print_line(f"Doubt: {doubt}")
