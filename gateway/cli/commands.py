"""The ``gateway`` command. The only place that reads the environment and talks to a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version
from textwrap import fill
from typing import Annotated, Any, NoReturn

import typer

from gateway.cli.cold_starts import cold_starts
from gateway.cli.compare import compare
from gateway.cli.context import form_of, ledger_of, settings_of
from gateway.cli.estimate import estimate
from gateway.cli.importing import import_app
from gateway.cli.keep_warm import keep_warm
from gateway.cli.ledger import ledger_app
from gateway.cli.options import (
    BucketOption,
    ConfigOption,
    CsvOption,
    DataDirOption,
    EndOption,
    GroupOption,
    JsonOption,
    KeyOption,
    PlotOption,
    StartOption,
    UrlOption,
    ZoneOption,
)
from gateway.cli.plan import plan
from gateway.cli.pricebook import prices_app, reprice
from gateway.cli.reconcile import reconcile
from gateway.cli.rows import charges, operations
from gateway.cli.simulate import simulate
from gateway.cli.top import top
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.settings import ConfigError

app = typer.Typer(
    name="gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys_app = typer.Typer(
    help="Make, list, rotate, revoke API keys.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(keys_app, name="keys")
app.add_typer(prices_app, name="prices")
app.add_typer(ledger_app, name="ledger")
app.add_typer(import_app, name="import")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway {version('serverless-inference-gateway')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which this is."),
    ] = False,
) -> None:
    """One door to serverless inference, and the truth about what it costs and how cold it is."""


def main() -> None:
    """Run the command line; what its user can mend is one message and exit status 2."""
    try:
        app()
    except ConfigError as error:
        _fail(str(error))
    except (StoreUnavailable, SchemaMismatch) as error:
        _fail(f"the ledger cannot be used: {error}")
    except BrokenPipeError:  # whoever read has had enough: gateway costs | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'a file'} cannot be used ({error.strerror or error})")


def _fail(message: str) -> NoReturn:
    told = f"gateway: {message}"
    if sys.stderr.isatty():  # words stay whole, as in all that is printed
        wide = shutil.get_terminal_size().columns
        told = fill(told, wide, break_long_words=False, break_on_hyphens=False)
    typer.echo(told, err=True)
    sys.exit(2)


@app.command()
def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Serve until told to stop (SIGTERM, Ctrl-C)."""
    settings = settings_of(config, data_dir, host=host, port=port)
    from gateway.cli.local import prepare_weights
    from gateway.serving import serve as run

    prepare_weights(settings)
    run(settings, typer.echo)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Default: the first one configured.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Longest answer, in tokens.")
    ] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Ask a model and see the bill.

    The answer streams to standard output; a line on standard error says what it cost and how cold
    it was. Asks the gateway at --url, else the one that runs at the configured address, else one
    that is started for this call alone. Exit status 1 when there was no answer.
    """
    settings = settings_of(config, data_dir)
    from gateway.cli.generate import ask

    sys.exit(ask(settings, prompt, model, max_output_tokens, url, api_key))


@app.command()
def check(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    hardware: Annotated[
        bool,
        typer.Option("--hardware", help="Ask providers what deployments run on, and price that."),
    ] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Check the configuration and print its routes.

    File, environment, plugins and prices are checked as at a start; nothing is dialled, except by
    --hardware: it asks the providers that can say it (Modal), which starts no machine. Exit status
    1 when one of these did not answer.
    """
    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    from gateway.cli.tables import show_routes

    if not hardware or form == "table":
        show_routes(settings, form)
    if hardware:
        from gateway.cli.hardware import show_hardware

        if not show_hardware(settings, form):
            raise typer.Exit(1)


@app.command()
def providers(
    config: ConfigOption = None,
    presets: Annotated[bool, typer.Option("--presets", help="Name the presets as well.")] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List installed plugins, and how far each was tried."""
    form = form_of(as_json, as_csv)
    settings = settings_of(config, None)
    from gateway.cli.tables import show_providers

    show_providers(settings, form, presets=presets)


@app.command()
def costs(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    start_time: StartOption = None,
    end_time: EndOption = None,
    group_by: GroupOption = None,
    bucket_width: BucketOption = "all",
    time_zone: ZoneOption = "UTC",
    plot: PlotOption = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What was spent, by group and time.

    Read from the ledger in the data folder, whether or not a gateway runs. Unknown is shown as
    unknown, never as 0.
    """
    from gateway.cli.tables import show_costs

    settings = settings_of(config, data_dir)
    query = _query(start_time, end_time, group_by, bucket_width, time_zone)
    show_costs(ledger_of(settings), query, form_of(as_json, as_csv), plot=plot)


app.command()(charges)
app.command()(operations)
app.command()(top)
app.command("cold-starts")(cold_starts)
app.command()(compare)
app.command()(estimate)
app.command()(simulate)
app.command()(plan)
app.command("keep-warm")(keep_warm)
app.command()(reconcile)
app.command()(reprice)


@app.command()
def budgets(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What each budget has spent, and has left.

    Read from the ledger in the data folder, whether or not a gateway runs. What running attempts
    have set aside, only the gateway knows: GET /v1/budgets.
    """
    from gateway.cli.budgets import show_budgets

    settings = settings_of(config, data_dir)
    ledger_of(settings)
    show_budgets(settings, form_of(as_json, as_csv))


@app.command()
def warmth(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    plot: PlotOption = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """How each deployment stands, stays warm, and boots.

    Asks the gateway that runs on the data folder, or the one at --url (a key of the scope
    reports, where it has keys). Where none can be asked it is learned from the newest attempts of
    the ledger, and a line below says so. Nothing is woken.
    """
    from gateway.cli.warmth import show_warmth

    settings, form = settings_of(config, data_dir), form_of(as_json, as_csv)
    here = ledger_of(settings) if url is None else None
    show_warmth(settings, here, form, plot=plot, url=url, api_key=api_key)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="The key's id in the ledger.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="generate, reports or admin; repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model that it may ask for; repeatable. Default: all."),
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="RFC 3339; from then on it is refused.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(help="Requests that it may make in a minute.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens, in and out, that it may use in a minute.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="What it may spend: 10.00/day; hour, month, total. Repeatable."),
    ] = None,
    time_zone: ZoneOption = "UTC",
    allow_unpriced: Annotated[
        bool, typer.Option("--allow-unpriced", help="Its budgets take models without a price.")
    ] = False,
    for_config: Annotated[
        bool,
        typer.Option("--for-config", help="Keep it nowhere; print the entry for the file."),
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a key.

    It is shown once. Its hash is kept in the data folder, where a running gateway finds it.
    """
    from gateway.cli import keys

    settings = settings_of(config, data_dir)
    given = {
        "name": name,
        "scopes": scope or ["generate"],
        "models": model,
        "expires_at": expires_at,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
    }
    if for_config:
        if budget:
            _fail("--budget: in the configuration a key's budgets stand under budgets")
        keys.make_for_configuration(given)
        return
    allowances = [
        keys.allowance(text, time_zone, allow_unpriced=allow_unpriced) for text in budget or ()
    ]
    keys.make(settings, given, allowances)


@keys_app.command("list")
def keys_list(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List the keys of the configuration and of the data folder."""
    from gateway.cli import keys

    form = form_of(as_json, as_csv)
    keys.show(settings_of(config, data_dir), form)


@keys_app.command("rotate")
def keys_rotate(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    grace_seconds: Annotated[
        int, typer.Option(min=0, max=30 * 86_400, help="How long the present secret stays good.")
    ] = 86_400,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give a key another secret, shown once.

    The present one stays good for a while, so that callers can change over.
    """
    from gateway.cli import keys

    keys.rotate(settings_of(config, data_dir), name, grace_seconds)


@keys_app.command("revoke")
def keys_revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Refuse a key from now on. Its name stays taken."""
    from gateway.cli import keys

    keys.revoke(settings_of(config, data_dir), name)


def _query(
    start_time: str | None,
    end_time: str | None,
    group_by: list[str] | None,
    bucket_width: str,
    time_zone: str,
) -> dict[str, Any]:
    return {
        "start_time": start_time,
        "end_time": end_time,
        "group_by": tuple(group_by or ()),
        "bucket_width": bucket_width,
        "time_zone": time_zone,
    }


_STATUSES = (
    "Exit status: 0 it is done; 1 it is done, and something is not as it should be; 2 it is not "
    "done, and the message says what to mend."
)
for _typer in (app, keys_app, prices_app, ledger_app, import_app):
    _typer.info.epilog = _STATUSES
    for _command in _typer.registered_commands:
        _command.epilog = _STATUSES
