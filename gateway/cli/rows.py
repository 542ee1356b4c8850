"""``gateway operations`` and ``gateway charges``: the ledger's rows themselves, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from gateway.cli.bundles import unbundled
from gateway.cli.context import ledger_of, settings_of
from gateway.cli.options import EndOption, Form, Place, StartOption, ZoneOption
from gateway.cli.output import Column, field, print_json, print_line, print_rows, text_or_empty
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


@dataclass(frozen=True)
class Rows:
    """Which rows: of what range of time, of which attempts, and how many."""

    start_time: StartOption = None
    end_time: EndOption = None
    provider: ProviderOption = None
    deployment: DeploymentOption = None
    model: ModelOption = None
    key: KeyNameOption = None
    tag: TagOption = None
    status: StatusOption = None
    verdict: VerdictOption = None
    evidence: EvidenceOption = None
    origin: OriginOption = None
    cost_status: CostStatusOption = None
    limit: LimitOption = 100

    def query(self, only: Mapping[str, Values], time_zone: str = "UTC") -> ReportQuery:
        """What is asked; ``only``: further filters, of one kind of rows. Raises ConfigError."""
        from gateway.cli.tables import range_of

        start_at_us, end_at_us = range_of(self.start_time, self.end_time)
        wanted = {name: tuple(given) for name in _FILTERS if (given := getattr(self, name))}
        for text in self.tag or ():
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"--tag is written name=value; not {text!r}")
            wanted[f"tag:{name}"] = (*wanted.get(f"tag:{name}", ()), value)
        further = {**only, "cost_status": self.cost_status}
        try:
            return ReportQuery(
                start_at_us=start_at_us,
                end_at_us=end_at_us,
                time_zone=time_zone,
                filters=wanted,
                only={name: tuple(values) for name, values in further.items() if values},
            )
        except BadQuery as error:
            raise ConfigError(error.message) from error


_FILTERS = (
    *("provider", "deployment", "model", "key"),
    *("status", "verdict", "evidence", "origin"),
)


@unbundled
def charges(
    *,
    place: Place,
    rows: Rows,
    kind: Annotated[
        Values, typer.Option("--kind", help="idle, standing, keep_warm, fee, adjustment.")
    ] = None,
    rule: Annotated[Values, typer.Option("--rule", help="How it is allocated.")] = None,
    stay: Annotated[
        Values, typer.Option("--stay", help="Of keep-warm: used, unused, rest or open.")
    ] = None,
    printed: Form,
) -> None:
    """Idle, standing, keep-warm and other charges.

    Money that belongs to no single attempt, newest first, each with its period and the rule by
    which it is allocated. Model, key, tags, status, verdict and origin are those of the attempt
    that a charge is for. Read from the ledger in the data folder, whether or not a gateway runs.
    """
    query = rows.query({"kind": kind, "rule": rule, "stay": stay})
    _show("charges", query, _CHARGES, rows.limit, printed.name, place)


@unbundled
def operations(
    *,
    place: Place,
    rows: Rows,
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
    printed: Form,
) -> None:
    """What was asked: each operation, newest first.

    Without inputs and outputs. An operation is shown whole where one of its attempts is meant. Read
    from the ledger in the data folder, whether or not a gateway runs.
    """
    only = {
        "line": line,
        "caused_boot": caused_boot,
        "sample": sample,
        "boot_seconds": boot_seconds,
        "hour": hour,
    }
    query = rows.query(only, time_zone)
    _show("operations", query, _OPERATIONS, rows.limit, printed.name, place)


def _show(
    which: str,
    query: ReportQuery,
    columns: Sequence[Column],
    limit: int,
    form: str,
    place: Place,
) -> None:
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.reports import Reports

    reports = Reports(database_path(ledger_of(settings_of(place.config, place.data_dir))))
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


_CHARGES: list[Column] = [
    ("from", field("start_time")),
    ("until", field("end_time")),
    ("kind", field("kind")),
    ("deployment", field("deployment")),
    ("provider", field("provider")),
    ("rule", field("rule")),
    ("quantity", text_or_empty("quantity")),
    ("unit_price_usd", text_or_empty("unit_price_usd")),
    ("usd", field("cost", "total_usd")),
    ("status", field("cost", "status")),
    ("price_id", text_or_empty("price_id")),
    ("operation", text_or_empty("operation_id")),
    ("stay", text_or_empty("stay")),
    ("id", field("id")),
]
_OPERATIONS: list[Column] = [
    ("created_at", field("created_at")),
    ("model", field("model")),
    ("deployment", field("deployment")),
    ("status", field("status")),
    ("verdict", field("cold_start", "verdict")),
    ("usd", field("cost", "total_usd")),
    ("cost_status", field("cost", "status")),
    ("first_output_seconds", field("timing", "first_output_seconds")),
    ("total_seconds", field("timing", "total_seconds")),
    ("attempts", lambda row: len(row["attempts"])),
    ("id", field("id")),
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
