"""``gateway ledger``: looking after the durable record. A gateway may run meanwhile."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.context import form_of, ledger_of, settings_of
from gateway.cli.options import ConfigOption, CsvOption, DataDirOption, JsonOption, instant
from gateway.cli.output import print_report
from gateway.settings import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

ledger_app = typer.Typer(
    help="Look after the durable record.", no_args_is_help=True, rich_markup_mode=None
)

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_END_OF_TIME_US = 253_402_300_799_000_000


@ledger_app.command("info")
def info(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Files, rows, totals, and what is not in the database yet."""
    from gateway.cli.tables import show_ledger_info

    form = form_of(as_json, as_csv)
    show_ledger_info(ledger_of(settings_of(config, data_dir)), form)


@ledger_app.command("verify")
def verify(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Hold journal, rows and sums against each other.

    Exit status 1 when something is wrong. An attempt that a dead gateway left open is: the next
    start ends it. One that runs in a living gateway is not.
    """
    from gateway.ledger.care.inspect import verify as problems_of

    form = form_of(as_json, as_csv)
    problems = problems_of(ledger_of(settings_of(config, data_dir)))

    def show() -> None:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{len(problems)} problems" if problems else "The ledger is sound.")

    rows = [{"problem": problem} for problem in problems]
    print_report(form, {"sound": not problems, "problems": problems}, rows, show, ["problem"])
    sys.exit(1 if problems else 0)


@ledger_app.command("migrate")
def migrate(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Bring an older ledger up to date, and move months that are over into files of their own.

    A running gateway does the same in the background, a little at a time. Can be stopped and
    started again; nothing is lost and nothing is done twice.
    """
    settings = settings_of(config, data_dir)
    from gateway.ledger.layout import database_path
    from gateway.ledger.months.upkeep import Upkeep, maintenance
    from gateway.ledger.shipping.store import Store

    folder = ledger_of(settings)
    with maintenance(folder) as ours:
        if not ours:
            raise ConfigError("another migration, prune or backup is going on; try again")
    upkeep = Upkeep(folder, busy_timeout_seconds=30.0)
    store = Store.open(
        database_path(folder), rollup_tags=settings.ledger.rollup_tags, busy_timeout_seconds=30.0
    )
    moved = 0
    try:
        with _progress() as bar:
            task = bar.add_task("rows", total=None)
            while done := upkeep.step(store):
                moved += done
                bar.update(task, completed=moved)
    finally:
        store.close()
    typer.echo(f"The ledger is up to date; {moved} rows were summed up or moved.")


@ledger_app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder for the copy.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Copy journal and database as of one moment.

    The copy is a data folder: start a gateway with it as --data-dir to restore.
    """
    from rich.console import Console

    from gateway.ledger.care.backup import BackupRefused
    from gateway.ledger.care.backup import backup as copy

    console = Console(stderr=True)
    folder = ledger_of(settings_of(config, data_dir))
    try:
        with console.status("copying"):
            copied = copy(
                folder,
                target,
                lambda name, size: console.print(f"{name}  {size:,} bytes", highlight=False),
            )
    except BackupRefused as error:
        raise ConfigError(str(error)) from error
    typer.echo(f"{copied:,} bytes are in {target}.")


@ledger_app.command("prune")
def prune(
    before: Annotated[
        str | None, typer.Option(help="Delete months before this one, 2026-01 say.")
    ] = None,
    keep_days: Annotated[
        int | None, typer.Option(min=1, help="Delete months that are wholly older.")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete the attempts of old months; hourly sums stay for ever.

    Without an option, what ledger.attempts_days says.
    """
    settings = settings_of(config, data_dir)
    import time

    from gateway.ledger.layout import archive_dir, database_path
    from gateway.ledger.months.archive import month_of
    from gateway.ledger.months.sealing import Sealer
    from gateway.ledger.months.upkeep import first_kept, maintenance
    from gateway.ledger.shipping.store import Store

    if before is not None and keep_days is not None:
        raise ConfigError("--before or --keep-days, not both")
    if before is None:
        days = keep_days or settings.ledger.attempts_days
        if days is None:
            raise ConfigError("ledger.attempts_days keeps all; say --before or --keep-days")
        before = first_kept(time.time_ns() // 1000, days)
    if _MONTH.fullmatch(before) is None:
        raise ConfigError("--before is a month, 2026-01 say")
    if before > month_of(time.time_ns() // 1000):
        raise ConfigError("--before is this month at the latest")
    folder = ledger_of(settings)
    Store.open(database_path(folder), busy_timeout_seconds=30.0).close()
    sealer = Sealer(database_path(folder), archive_dir(folder), busy_timeout_seconds=30.0)
    with maintenance(folder) as ours:
        if not ours:
            raise ConfigError("another migration, prune or backup is going on; try again")
        months = sealer.prune(before)
        with _progress() as bar:
            task = bar.add_task("rows that no month's file held", total=None)
            rows = 0
            while done := sealer.prune_step(before):
                rows += done
                bar.update(task, completed=rows)
    typer.echo(f"{len(months)} months and {rows} further rows before {before} were deleted.")


@ledger_app.command("export")
def export(
    form: Annotated[str, typer.Option("--format", help="csv or focus.")] = "csv",
    start_time: Annotated[
        str | None, typer.Option("--start-time", help="RFC 3339; default: the beginning.")
    ] = None,
    end_time: Annotated[
        str | None, typer.Option("--end-time", help="RFC 3339; default: all there is.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Attempts and charges as CSV, or as rows of FOCUS, the FinOps bill format.

    An empty cell is "not known", never 0.
    """
    from gateway.ledger.reports.export import export as write

    if form not in ("csv", "focus"):
        raise ConfigError("--format is csv or focus")
    folder = ledger_of(settings_of(config, data_dir))
    given: Any = {
        "form": form,
        "start_at_us": _at_us(start_time, "--start-time", 0),
        "end_at_us": _at_us(end_time, "--end-time", _END_OF_TIME_US),
    }
    if output is not None and not output.name:
        raise ConfigError("--output is the name of a file")
    if output is None:
        write(folder, sys.stdout, **given)
        return
    half = output.with_name(f".{output.name}.half")
    try:
        with half.open("w", encoding="utf-8", newline="") as file:
            lines = write(folder, file, **given)
        half.replace(output)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror})") from error
    finally:
        half.unlink(missing_ok=True)
    typer.echo(f"{lines} lines are in {output}.", err=True)


def _at_us(text: str | None, option: str, otherwise: int) -> int:
    if text is None:
        return otherwise
    return round(instant(text, option).timestamp() * 1_000_000)


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
