"""``gateway cold-starts``: how cold it was, drawn and explained."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.context import form_of, ledger_of, settings_of
from gateway.cli.options import (
    BucketOption,
    ConfigOption,
    CsvOption,
    DataDirOption,
    EndOption,
    GroupOption,
    JsonOption,
    PlotOption,
    StartOption,
    ZoneOption,
)
from gateway.cli.output import (
    bars,
    cell,
    console,
    print_json,
    print_line,
    print_report,
    print_table,
)
from gateway.settings import ConfigError

_CAUSES = {
    "idle_gap_mix": "longer or shorter gaps between calls",
    "keep_alive": "gaps of the same length that end cold more or less often",
    "routing_share": "more or fewer calls to the colder deployments",
    "scale_out": "calls beside others that need another machine",
    "new_revision": "revisions of the model that were not seen before",
    "evidence_mix": "more or fewer attempts with a verdict",
}
_LEAVE_OUT = (
    *("rate_low", "rate_high", "boot_p99", "boot_p90"),
    *("boot_p50", "boots", "unknown", "warm", "attempts"),
)


def cold_starts(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    start_time: StartOption = None,
    end_time: EndOption = None,
    group_by: GroupOption = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", help="hour or idle_gap as well; repeatable.")
    ] = None,
    bucket_width: BucketOption = "all",
    time_zone: ZoneOption = "UTC",
    plot: PlotOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Why the cold rate changed; with --against.")
    ] = False,
    against: Annotated[
        str | None, typer.Option(help="Compare with so long before the range: 7d, 12h, 30m.")
    ] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Verdicts with evidence, boots and their seconds.

    Read from the ledger in the data folder, whether or not a gateway runs. Grouped by deployment
    unless --group-by says otherwise. cold_rate counts those who waited, boots those that were
    caused. With --explain the range is as long as what it is compared with, unless it is given.
    """
    form = form_of(as_json, as_csv)
    if explain != (against is not None):
        raise ConfigError("--explain and --against belong together")
    if explain and (plot or by or group_by):
        raise ConfigError("--explain is of all deployments together, and has no drawing")
    place = ledger_of(settings_of(config, data_dir))
    if against is not None:
        _explain(place, start_time, end_time, against, form)
        return
    query: dict[str, Any] = {
        "start_time": start_time,
        "end_time": end_time,
        "group_by": tuple(group_by or ["deployment"]),
        "by": tuple(by or ()),
        "bucket_width": bucket_width,
        "time_zone": time_zone,
    }
    _show(place, query, form, plot=plot)


def _show(data_dir: Path, query: dict[str, Any], form: str, *, plot: bool) -> None:
    from gateway.cli.output import Column, print_rows
    from gateway.cli.tables import group_columns, report_rows

    rows = report_rows(data_dir, "cold_starts", query)
    if form == "json":
        print_json(rows)
        return
    columns: list[Column] = [
        *group_columns(query),
        ("attempts", lambda row: row["attempts"]),
        ("cold", lambda row: row["cold"]),
        ("warm", lambda row: row["warm"]),
        ("unknown", lambda row: row["unknown"]),
        ("cold_rate", lambda row: row["cold_rate"]),
        ("rate_low", lambda row: _edge(row, "low")),
        ("rate_high", lambda row: _edge(row, "high")),
        ("boots", lambda row: row["boots"]),
        ("boot_p50", lambda row: row["boot_seconds"]["p50"]),
        ("boot_p90", lambda row: row["boot_seconds"]["p90"]),
        ("boot_p99", lambda row: row["boot_seconds"]["p99"]),
    ]
    if form == "csv":
        columns.append(("evidence", _evidence))
    print_rows(rows, columns, form, _LEAVE_OUT)
    if form != "table":
        return
    if plot:
        _plot(rows)
    if not query["by"]:
        for row in rows:
            where = " ".join(str(value) for value in row["group"].values())
            print_line(f"{where}: {_evidence(row)}")


def _edge(row: dict[str, Any], name: str) -> float | None:
    found = row["cold_rate_interval"]
    return None if found is None else found[name]


def _plot(rows: list[dict[str, Any]]) -> None:
    """Cold rates with their intervals, and boots on one scale."""
    from gateway.cli.plot import bar, fitting, interval_bar

    names = [
        " ".join("unknown" if value is None else str(value) for value in row["group"].values())
        for row in rows
    ]
    width = fitting(console().width, 2, max(map(len, names), default=0) + 2 * 7 + 4 * 2)
    longest = max((row["boot_seconds"]["p90"] or 0.0 for row in rows), default=0.0)
    shown = bars("", "cold rate, 0 to 1", "", f"boot p90, 0 to {cell(longest)} s", "")
    for name, row in zip(names, rows, strict=True):
        rate, p90 = row["cold_rate"], row["boot_seconds"]["p90"]
        shown.add_row(
            name,
            interval_bar(_edge(row, "low"), rate, _edge(row, "high"), width),
            cell(rate),
            bar(None if p90 is None or not longest else p90 / longest, width),
            cell(p90),
        )
    console().print(shown)


def _evidence(row: dict[str, Any]) -> str:
    found = row["evidence"].items()
    return ", ".join(f"{name} {count}" for name, count in found) or "no evidence"


def _explain(
    data_dir: Path, start_time: str | None, end_time: str | None, against: str, form: str
) -> None:
    from gateway.cli.tables import range_of
    from gateway.ledger.errors import BadQuery
    from gateway.ledger.layout import database_path
    from gateway.ledger.reports.query import ReportQuery, duration_us
    from gateway.ledger.reports.reports import Reports

    try:
        against_us = duration_us(against)
        begin, end = range_of(start_time, end_time, timedelta(microseconds=against_us))
        found = Reports(database_path(data_dir)).explanation(ReportQuery(begin, end), against_us)
    except BadQuery as error:
        raise ConfigError(error.message) from error
    changes = {**found["causes"], "together": found["change"]}
    rows = [{"cause": cause, "change": change} for cause, change in changes.items()]
    print_report(form, found, rows, lambda: _tell(found))


def _tell(found: dict[str, Any]) -> None:
    for name in ("before", "after"):
        one = found[name]
        print_line(
            f"{name}: {one['start_time']} to {one['end_time']}: {one['cold']} cold, {one['warm']} "
            f"warm, {one['unknown']} unknown; cold rate {cell(one['cold_rate'])}"
        )
    if found["change"] is None:
        print_line("Without verdicts on both sides there is nothing to compare.")
        return
    causes = sorted(found["causes"].items(), key=lambda item: -abs(item[1]))
    rows = [[cause, f"{change:+.4f}", _CAUSES[cause]] for cause, change in causes]
    rows.append(["together", f"{found['change']:+.4f}", "the change of the cold rate"])
    print_table(("cause", "change", "what"), rows)
