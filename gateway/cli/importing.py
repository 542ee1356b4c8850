"""``gateway import``: history from a provider's own list, its exports, or a CSV file."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.context import form_of, settings_of
from gateway.cli.options import ConfigOption, CsvOption, DataDirOption, JsonOption, instant
from gateway.cli.output import print_line, print_report
from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from gateway.history.importing import Importer, Tally

import_app = typer.Typer(
    help="Bring history from elsewhere into the ledger.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_SPAN = re.compile(r"(\d{1,4})([dh])")

MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", help="owner/model=deployment: price and names of yours; repeatable."),
]
HardwareOption = Annotated[
    str | None,
    typer.Option("--hardware", help="Prices all other models: gpu-l40s, say. Else: unknown."),
]


@import_app.command("replicate")
def replicate(
    since: Annotated[str, typer.Option(help="30d, 12h, or an RFC 3339 time.")] = "30d",
    until: Annotated[str | None, typer.Option(help="RFC 3339; default: now.")] = None,
    provider: Annotated[str, typer.Option(help="The provider block to use.")] = "replicate",
    mapped: MapOption = None,
    hardware: HardwareOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Read the account's own list of predictions.

    Newest first. Stamps and metrics outlive input and output, so seconds, verdicts and costs are as
    of a live call. It may be repeated and broken off: a prediction is one row, and the next run
    goes on.
    """
    from gateway.history.rules import rules_for

    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    now = datetime.now(UTC)
    begin, end = _instant(since, "--since", now), _instant(until, "--until", now) if until else now
    rules = rules_for(settings, provider, mapped=mapped or (), hardware=hardware)

    def work(importer: Importer) -> None:
        asyncio.run(_list(settings, provider, importer, begin, end))

    tally = _run(settings, rules, work, begin)
    _report(tally, begin, form)


@import_app.command("modal")
def modal(
    files: Annotated[
        list[Path], typer.Argument(help="Printed by `modal function calls APP/FUNCTION --json`.")
    ],
    deployment: Annotated[
        str | None, typer.Option(help="The deployment that the function is; prices the calls.")
    ] = None,
    provider: Annotated[str, typer.Option(help="The provider block to use.")] = "modal",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Read calls that Modal's own command exported.

    Its billing report holds no calls: that is what `gateway reconcile` compares the ledger with.
    """
    from gateway.history.rules import rules_for
    from gateway.plugins import installed, load_plugin

    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    rules = rules_for(settings, provider, deployment=deployment)
    read = load_plugin(installed()["modal"], "modal").read_export
    assert read is not None

    def work(importer: Importer) -> None:
        for path in files:
            try:
                jobs = read(path.read_bytes())
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
            except ValueError as error:
                raise ConfigError(f"{path}: {error}") from error
            for job in jobs:
                importer.take(job)

    _report(_run(settings, rules, work, None), None, form)


@import_app.command("csv")
def from_csv(
    files: Annotated[list[Path], typer.Argument(help="CSV files with the documented header.")],
    provider: Annotated[str, typer.Option(help="Whose jobs they are: a name for the ledger.")],
    mapped: MapOption = None,
    hardware: HardwareOption = None,
    deployment: Annotated[
        str | None, typer.Option(help="The deployment that all other jobs are booked under.")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Read jobs from CSV files, one a line.

    Header: upstream_id, created_at, model and status, and any of completed_at, queue_seconds,
    boot_seconds, wait_seconds, execute_seconds, input_tokens, output_tokens, cached_input_tokens,
    images, cost_usd, instance_id. An empty cell is "not known".
    """
    from gateway.history.csvfile import read_jobs
    from gateway.history.rules import rules_for

    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    rules = rules_for(
        settings, provider, mapped=mapped or (), deployment=deployment, hardware=hardware
    )

    def work(importer: Importer) -> None:
        for path in files:
            for job in read_jobs(path):
                importer.take(job)

    _report(_run(settings, rules, work, None), None, form)


async def _list(
    settings: Settings, name: str, importer: Importer, since: datetime, until: datetime
) -> None:
    from gateway.history.listing import Progress, read_list
    from gateway.registry import Registry
    from providers.contract import Findable, ProviderError
    from providers.toolkit.http import open_http

    registry = Registry(settings, open_http)
    try:
        _, provider = registry.connect(name)
        if not isinstance(provider, Findable):
            raise ConfigError(f"provider {name!r} has no list of past jobs that could be read")
        progress = Progress(settings.server.data_dir, name)
        await read_list(provider, importer, progress, since, until)
    except ProviderError as error:
        importer.flush()
        raise ConfigError(
            f"{name}: {error.detail} {importer.tally.added} jobs were imported; "
            "the next run goes on from there"
        ) from error
    finally:
        await registry.aclose()


def _run(
    settings: Settings, rules: Any, work: Callable[[Importer], None], since: datetime | None
) -> Tally:
    """Read, write, ship. Raises ConfigError with words for the operator."""
    from gateway.history.importing import Importer
    from gateway.ledger import layout
    from gateway.ledger.errors import LedgerUnavailable
    from gateway.ledger.imports import ImportJournal, Origins, bring_in

    data_dir = settings.server.data_dir
    data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        lock = layout.take(data_dir / "import.lock", create=True)
        if lock is None:
            raise ConfigError("another import is at work in this data folder")
        stack.callback(os.close, lock)
        if not bring_in(data_dir):
            raise ConfigError(
                "the database is behind the journal, so that it is not known what it holds "
                "already; try again"
            )
        try:
            with (
                ImportJournal(data_dir) as journal,
                Origins(data_dir) as origins,
                _Bar(since) as show,
            ):
                importer = Importer(journal, origins, rules, show)
                try:
                    work(importer)
                finally:
                    importer.flush()
        except LedgerUnavailable as error:
            raise ConfigError(error.detail) from error
        finally:
            shipped = bring_in(data_dir)
    if not shipped:
        typer.echo("gateway: the running gateway will bring the rows in shortly", err=True)
    return importer.tally


class _Bar:
    """A progress bar on a terminal, and nothing elsewhere; a context."""

    def __init__(self, since: datetime | None) -> None:
        self._since = since
        self._began = datetime.now(UTC)
        self._progress: Any = None

    def __enter__(self) -> Callable[[Tally], None]:
        if not sys.stderr.isatty():
            return lambda tally: None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True)
        )
        self._progress.start()
        self._task = self._progress.add_task("reading", total=None if self._since is None else 1.0)
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _show(self, tally: Tally) -> None:
        share = 0.0
        if self._since is not None and tally.oldest_at_us is not None:
            whole = (self._began - self._since).total_seconds()
            share = (self._began.timestamp() - tally.oldest_at_us / 1e6) / whole
        self._progress.update(
            self._task,
            completed=min(1.0, share),
            description=f"{tally.read} read, {tally.added} new",
        )


def _report(tally: Tally, since: datetime | None, form: str) -> None:
    from gateway.clock import rfc3339
    from gateway.ledger.views import usd

    oldest = None if tally.oldest_at_us is None else rfc3339(tally.oldest_at_us)
    newest = None if tally.newest_at_us is None else rfc3339(tally.newest_at_us)
    asked = None if since is None else rfc3339(round(since.timestamp() * 1e6))
    # Of jobs whose cost nobody knows the sum is not 0: there is none.
    known_usd = usd(tally.known_pico_usd) if tally.unpriced < max(1, tally.added) else None
    said = {
        "read": tally.read,
        "added": tally.added,
        "already_imported": tally.known,
        "went_through_the_gateway": tally.live,
        "unfinished_or_undated": tally.unfinished,
        "strange": tally.strange,
        "by_status": tally.by_status,
        "known_usd": known_usd,
        "unpriced": tally.unpriced,
        "asked_since": asked,
        "oldest": oldest,
        "newest": newest,
    }
    if form != "table":
        print_report(form, said, [said], lambda: None)
        return
    print_line(
        f"{tally.read} jobs read: {tally.added} added, {tally.known} imported before, "
        f"{tally.live} went through the gateway, {tally.unfinished} unfinished or undated."
    )
    if tally.strange:
        print_line(f"{tally.strange} have figures that cannot be computed with.")
    if tally.added:
        more = f", and {tally.unpriced} whose cost is unknown" if tally.unpriced else ""
        told = "unknown" if known_usd is None else f"{known_usd} USD{more}"
        print_line(f"Cost of the added: {told}.")
    if oldest is not None:
        more = "" if asked is None else f"; asked for was {asked}"
        print_line(f"They go back to {oldest}{more}.")


def _instant(text: str, option: str, now: datetime) -> datetime:
    span = _SPAN.fullmatch(text)
    if span is not None:
        count = int(span[1])
        return now - (timedelta(days=count) if span[2] == "d" else timedelta(hours=count))
    try:
        return instant(text, option)
    except ConfigError:
        raise ConfigError(f"{option}: 30d, 12h or an RFC 3339 time; not {text!r}") from None
