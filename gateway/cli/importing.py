"""``gateway import``: history from a provider's own list, its exports, or a CSV file."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.context import form_of, settings_of
from gateway.cli.imported import book_all, report, run
from gateway.cli.options import ConfigOption, CsvOption, DataDirOption, JsonOption, instant
from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from gateway.history.importing import Importer
    from providers.contract import BilledSum

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

    tally = run(settings, rules, work, begin)
    report(tally, begin, form)


@import_app.command("modal")
def modal(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Printed by `modal function calls APP/FUNCTION --json` or by `modal billing "
            "report --json` or `--csv`. None: Modal is asked for its billing report."
        ),
    ] = None,
    since: Annotated[str, typer.Option(help="Without files: 30d, 12h or RFC 3339.")] = "30d",
    until: Annotated[
        str | None, typer.Option(help="Without files: RFC 3339; default: now.")
    ] = None,
    deployment: Annotated[
        str | None, typer.Option(help="The deployment that the function is; prices the calls.")
    ] = None,
    named: Annotated[
        list[str] | None,
        typer.Option("--name", help="an app's name=deployment; repeatable."),
    ] = None,
    provider: Annotated[str, typer.Option(help="The provider block to use.")] = "modal",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Read calls and billing reports that Modal's own command exported, or ask for the report.

    Calls become attempts. A report becomes charges: of each app and hour what it has beyond the
    attempts and charges that are booked there, so that all together are the report.
    """
    from gateway.history.billed import is_report, read_report, taken_out
    from gateway.history.rules import rules_for
    from gateway.plugins import installed, load_plugin

    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    rules = rules_for(settings, provider, deployment=deployment)
    read = load_plugin(installed()["modal"], "modal").read_export
    assert read is not None
    exports = {path: _bytes_of(path) for path in files or ()}
    calls = {path: raw for path, raw in exports.items() if not is_report(raw)}
    reports = [read_report(path, "modal") for path, raw in exports.items() if is_report(raw)]
    if not exports:
        now = datetime.now(UTC)
        begin = _instant(since, "--since", now)
        end = _instant(until, "--until", now) if until else now
        reports.append(asyncio.run(_billed(settings, provider, begin, end)))

    def work(importer: Importer) -> None:
        for path, raw in calls.items():
            try:
                jobs = read(raw)
            except ValueError as error:
                raise ConfigError(
                    f"{path}: {error}, nor a billing report with the begin of its intervals"
                ) from error
            for job in jobs:
                importer.take(job)

    tally = None
    if calls:
        tally = run(settings, rules, work, None, taken_out(settings, provider, named or ()))
    booking = book_all(settings, provider, reports, named or ()) if reports else None
    report(tally, None, form, booking)


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

    report(run(settings, rules, work, None), None, form)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


async def _billed(
    settings: Settings, name: str, since: datetime, until: datetime
) -> list[BilledSum]:
    from gateway.registry import Registry
    from providers.contract import Billing, ProviderError
    from providers.toolkit.http import open_http

    registry = Registry(settings, open_http)
    try:
        _, provider = registry.connect(name)
        if not isinstance(provider, Billing):
            raise ConfigError(f"provider {name!r} has no billing report that could be read")
        return list(await provider.billed(since, until))
    except ValueError as error:
        raise ConfigError(f"providers.{name}: {error}") from error
    except ProviderError as error:
        raise ConfigError(f"{name}: {error.detail} Nothing was imported.") from error
    finally:
        await registry.aclose()


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


def _instant(text: str, option: str, now: datetime) -> datetime:
    span = _SPAN.fullmatch(text)
    if span is not None:
        count = int(span[1])
        return now - (timedelta(days=count) if span[2] == "d" else timedelta(hours=count))
    try:
        return instant(text, option)
    except ConfigError:
        raise ConfigError(f"{option}: 30d, 12h or an RFC 3339 time; not {text!r}") from None
