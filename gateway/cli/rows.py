"""``gateway operations`` and ``gateway charges``: the ledger's rows themselves, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.context import form_of, ledger_of, settings_of
from gateway.cli.options import (
    ConfigOption,
    CsvOption,
    DataDirOption,
    EndOption,
    JsonOption,
    StartOption,
    ZoneOption,
)
from gateway.cli.output import Column, print_json, print_line, print_rows
from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import MOST_ROWS, ReportQuery
from gateway.settings import ConfigError

Values = list[str] | None
ProviderOption = Annotated[Values, typer.Option("--provider", help="Only of these; repeatable.")]
DeploymentOption = Annotated[Values, typer.Option("--deployment", help="Only of these.")]
ModelOption = Annotated[Values, typer.Option("--model", help="Only of these.")]
KeyNameOption = Annotated[Values, typer.Option("--key", help="Only of keys of these names.")]
TagOption = Annotated[Values, typer.Option("--tag", help="name=value; only with it.")]
StatusOption = Annotated[Values, typer.Option("--status", help="succeeded, failed, ended …")]
VerdictOption = Annotated[Values, typer.Option("--verdict", help="cold, warm or unknown.")]
EvidenceOption = Annotated[Values, typer.Option("--evidence", help="What the verdict rests on.")]
OriginOption = Annotated[Values, typer.Option("--origin", help="live or imported.")]
CostStatusOption = Annotated[
    Values, typer.Option("--cost-status", help="measured, estimated or unknown.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")]


def charges(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    start_time: StartOption = None,
    end_time: EndOption = None,
    provider: ProviderOption = None,
    deployment: DeploymentOption = None,
    kind: Annotated[
        Values, typer.Option("--kind", help="idle, standing, keep_warm, fee, adjustment.")
    ] = None,
    rule: Annotated[Values, typer.Option("--rule", help="How it is allocated.")] = None,
    stay: Annotated[
        Values, typer.Option("--stay", help="Of keep-warm: used, unused, rest or open.")
    ] = None,
    cost_status: CostStatusOption = None,
    model: ModelOption = None,
    key: KeyNameOption = None,
    tag: TagOption = None,
    status: StatusOption = None,
    verdict: VerdictOption = None,
    evidence: EvidenceOption = None,
    origin: OriginOption = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Idle, standing, keep-warm and other charges.

    Money that belongs to no single attempt, newest first, each with its period and the rule by
    which it is allocated. Model, key, tags, status, verdict and origin are those of the attempt
    that a charge is for. Read from the ledger in the data folder, whether or not a gateway runs.
    """
    filters = {
        "provider": provider,
        "deployment": deployment,
        "model": model,
        "key": key,
        "status": status,
        "verdict": verdict,
        "evidence": evidence,
        "origin": origin,
    }
    only = {"kind": kind, "rule": rule, "stay": stay, "cost_status": cost_status}
    query = _query(start_time, end_time, filters, tag, only)
    _show("charges", query, _CHARGES, limit, form_of(as_json, as_csv), config, data_dir)


def operations(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    start_time: StartOption = None,
    end_time: EndOption = None,
    provider: ProviderOption = None,
    deployment: DeploymentOption = None,
    model: ModelOption = None,
    key: KeyNameOption = None,
    tag: TagOption = None,
    status: StatusOption = None,
    verdict: VerdictOption = None,
    evidence: EvidenceOption = None,
    origin: OriginOption = None,
    cost_status: CostStatusOption = None,
    line: Annotated[
        Values, typer.Option("--line", help="Only with a cost line of this kind.")
    ] = None,
    caused_boot: Annotated[
        Values, typer.Option("--caused-boot", help="true, false or unknown.")
    ] = None,
    sample: Annotated[
        Values, typer.Option("--sample", help="Those that the boot or wait percentiles are of.")
    ] = None,
    boot_seconds: Annotated[
        Values, typer.Option("--boot-seconds", help="Boots of a range: 2..3 or 1000.. say.")
    ] = None,
    hour: Annotated[Values, typer.Option("--hour", help="Hours of the day, 0 to 23.")] = None,
    time_zone: ZoneOption = "UTC",
    limit: LimitOption = 100,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What was asked: each operation, newest first.

    Without inputs and outputs. An operation is shown whole where one of its attempts is meant. Read
    from the ledger in the data folder, whether or not a gateway runs.
    """
    filters = {
        "provider": provider,
        "deployment": deployment,
        "model": model,
        "key": key,
        "status": status,
        "verdict": verdict,
        "evidence": evidence,
        "origin": origin,
    }
    only = {
        "cost_status": cost_status,
        "line": line,
        "caused_boot": caused_boot,
        "sample": sample,
        "boot_seconds": boot_seconds,
        "hour": hour,
    }
    query = _query(start_time, end_time, filters, tag, only, time_zone)
    _show("operations", query, _OPERATIONS, limit, form_of(as_json, as_csv), config, data_dir)


def _query(
    start_time: str | None,
    end_time: str | None,
    filters: Mapping[str, Values],
    tags: Values,
    only: Mapping[str, Values],
    time_zone: str = "UTC",
) -> ReportQuery:
    from gateway.cli.tables import range_of

    start_at_us, end_at_us = range_of(start_time, end_time)
    wanted = {name: tuple(values) for name, values in filters.items() if values}
    for text in tags or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--tag is written name=value; not {text!r}")
        wanted[f"tag:{name}"] = (*wanted.get(f"tag:{name}", ()), value)
    try:
        return ReportQuery(
            start_at_us=start_at_us,
            end_at_us=end_at_us,
            time_zone=time_zone,
            filters=wanted,
            only={name: tuple(values) for name, values in only.items() if values},
        )
    except BadQuery as error:
        raise ConfigError(error.message) from error


def _show(
    which: str,
    query: ReportQuery,
    columns: Sequence[Column],
    limit: int,
    form: str,
    config: Path | None,
    data_dir: Path | None,
) -> None:
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.reports import Reports

    reports = Reports(database_path(ledger_of(settings_of(config, data_dir))))
    read = getattr(reports, which)
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    try:
        while True:
            most = min(MOST_ROWS, limit - len(rows))
            page = read(replace(query, limit=most, cursor=cursor))
            rows += page["data"]
            cursor = page["next_cursor"]
            if cursor is None or len(rows) >= limit:
                break
    finally:
        reports.close()
    if form == "json":
        print_json(rows)
        return
    print_rows(rows, columns, form, _LEAVE_OUT[which])
    if cursor is not None and form == "table":
        print_line(f"The newest {len(rows)}; there may be more: --limit.")


def _field(*path: str) -> Any:
    def value(row: Any) -> Any:
        for name in path:
            row = row[name]
        return row

    return value


def _text(*path: str) -> Any:
    """What there is none of stays empty: it is not unknown."""
    read = _field(*path)
    return lambda row: "" if read(row) is None else read(row)


_CHARGES: list[Column] = [
    ("from", _field("start_time")),
    ("until", _field("end_time")),
    ("kind", _field("kind")),
    ("deployment", _field("deployment")),
    ("provider", _field("provider")),
    ("rule", _field("rule")),
    ("quantity", _text("quantity")),
    ("unit_price_usd", _text("unit_price_usd")),
    ("usd", _field("cost", "total_usd")),
    ("status", _field("cost", "status")),
    ("price_id", _text("price_id")),
    ("operation", _text("operation_id")),
    ("stay", _text("stay")),
    ("id", _field("id")),
]
_OPERATIONS: list[Column] = [
    ("created_at", _field("created_at")),
    ("model", _field("model")),
    ("deployment", _field("deployment")),
    ("status", _field("status")),
    ("verdict", _field("cold_start", "verdict")),
    ("usd", _field("cost", "total_usd")),
    ("cost_status", _field("cost", "status")),
    ("first_output_seconds", _field("timing", "first_output_seconds")),
    ("total_seconds", _field("timing", "total_seconds")),
    ("attempts", lambda row: len(row["attempts"])),
    ("id", _field("id")),
]
_LEAVE_OUT = {
    "charges": (
        *("price_id", "unit_price_usd", "operation", "provider", "quantity", "rule", "until"),
        *("id", "status"),
    ),
    "operations": (
        *("first_output_seconds", "attempts", "total_seconds", "deployment", "cost_status"),
        *("created_at", "verdict"),
    ),
}
"""What goes first where a terminal has too little room."""
