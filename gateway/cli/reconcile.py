"""``gateway reconcile``: the ledger against a provider's own bill."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.context import settings_of
from gateway.cli.options import ConfigOption, CsvOption, DataDirOption, JsonOption, instant
from gateway.cli.output import print_json, print_line, print_table
from gateway.settings import ConfigError

if TYPE_CHECKING:
    from gateway.reconciliation.statement import Group, Statement

_COLUMNS: Sequence[tuple[str, Callable[[Group], object]]] = (
    ("what", lambda group: group.what),
    ("period", lambda group: group.period),
    ("jobs", lambda group: group.jobs),
    ("verdict", lambda group: group.verdict),
    ("bill_usd", lambda group: _plain(group.bill_usd)),
    ("ledger_usd", lambda group: _plain(group.ours.usd)),
    ("low_usd", lambda group: _plain(group.ours.low_usd)),
    ("high_usd", lambda group: _plain(group.ours.high_usd)),
    ("difference_usd", lambda group: _plain(group.difference_usd)),
    ("name", lambda group: group.name),
    ("detail", lambda group: group.detail),
)
_TABLE = (
    *("what", "period", "jobs", "verdict", "bill_usd", "ledger_usd", "difference_usd"),
    *("name", "detail"),
)
_SHOWN = 40  # lines of a table; JSON and CSV have all


def reconcile(
    provider: Annotated[str, typer.Option(help="Whose bill it is, by its configured name.")],
    bill: Annotated[Path, typer.Option(help="CSV, or JSON: a list of objects.")],
    by: Annotated[
        str | None, typer.Option(help="jobs or sums; default: jobs where the bill has ids.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="RFC 3339; default: the bill's begin.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339; default: the bill's end.")] = None,
    mapped: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=ours; repeatable.")
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option("--name", help="the bill's name of a model=deployment; repeatable."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Book the differences as adjustments.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Hold the ledger against a provider's own bill.

    Each difference beyond the error bar is named, where there is evidence for a name. Exit status
    1 when one is left without.
    """
    from gateway.ledger.layout import journal_dir
    from gateway.reconciliation.comparison import Question, compare

    if by not in (None, "jobs", "sums"):
        raise ConfigError("--by: jobs or sums")
    if as_json and as_csv:
        raise ConfigError("--json or --csv, not both")
    settings = settings_of(config, data_dir)
    if not journal_dir(settings.server.data_dir).is_dir():
        raise ConfigError(f"there is no ledger in {settings.server.data_dir}")
    statement = compare(
        settings,
        Question(
            provider,
            bill,
            by,
            None if since is None else instant(since, "--since"),
            None if until is None else instant(until, "--until"),
            mapped or (),
            named or (),
            apply,
        ),
    )
    _print(statement, "json" if as_json else "csv" if as_csv else "table")
    sys.exit(0 if all(group.is_explained for group in statement.groups) else 1)


def _print(statement: Statement, form: str) -> None:
    total = statement.total()
    if form == "json":
        groups = [{name: value(group) for name, value in _COLUMNS} for group in statement.groups]
        said = {
            "provider": statement.provider,
            "by": statement.by,
            "since": statement.since,
            "until": statement.until,
            **_counts(statement),
            **total,
            "groups": groups,
        }
        print_json(said)
        return
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow([name for name, _ in _COLUMNS])
        writer.writerows([[value(group) for _, value in _COLUMNS] for group in statement.groups])
        if statement.left_out:
            typer.echo(_left_out(statement), err=True)
        return
    rows = []
    for group in statement.groups[:_SHOWN]:
        cells = {name: value(group) for name, value in _COLUMNS}
        rows.append(["" if cells[name] is None else str(cells[name]) for name in _TABLE])
    print_table(_TABLE, rows)
    if len(statement.groups) > _SHOWN:
        print_line(f"... and {len(statement.groups) - _SHOWN} more: --csv or --json")
    counts = ", ".join(f"{count} {name}" for name, count in _counts(statement).items())
    print_line(f"{counts.replace('_', ' ')}.")
    _summary(statement, total)


def _counts(statement: Statement) -> dict[str, int]:
    return {
        "matched": statement.count("matched"),
        "provider_only": statement.count("provider_only"),
        "gateway_only": statement.count("gateway_only"),
        "different": statement.count("different"),
    }


def _summary(statement: Statement, total: dict[str, Any]) -> None:
    bar = total["range_usd"]
    percent = total["difference_percent"]
    print_line(
        f"Bill {total['bill_usd']} USD, ledger {total['ledger_usd']} USD "
        f"({bar['low']} to {bar['high'] or 'unknown'}), difference {total['difference_usd']} USD"
        f"{'' if percent is None else f' ({percent} %)'}."
    )
    for name, usd in total["named_usd"].items():
        print_line(f"  {name}: {usd} USD")
    if total["unexplained"]:
        print_line(f"  unexplained: {total['unexplained_usd']} USD, {total['unexplained']} of them")
    if statement.left_out:
        print_line(_left_out(statement))
    print_line(f"Reconciled through {statement.until}, {statement.provider}.")


def _left_out(statement: Statement) -> str:
    left = statement.left_out
    bill, ledger = _plain(left.bill_usd), _plain(left.ours.usd)
    return (
        f"Left out, outside the period: {left.lines} lines of the bill ({bill} USD), "
        f"{left.ours.rows} rows of the ledger ({ledger} USD)."
    )


def _plain(usd: Any) -> str | None:
    from gateway.reconciliation.statement import plain

    return plain(usd)
