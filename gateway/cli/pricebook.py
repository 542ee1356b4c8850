"""``gateway prices`` and ``gateway reprice``: the price book, and costs computed again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gateway.cli.context import form_of, ledger_of, settings_of
from gateway.cli.options import ConfigOption, CsvOption, DataDirOption, JsonOption

prices_app = typer.Typer(
    help="List the price book.", invoke_without_command=True, rich_markup_mode=None
)


@prices_app.callback()
def prices(
    context: typer.Context,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    name: Annotated[str, typer.Option(help="Only prices whose name contains this.")] = "",
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List the price book.

    Rates, what they bill, from when, who says so, who checked it when, and which deployments use
    it: the rows that came with the gateway, the configuration's, those fetched from live sources.
    Warns of prices in use that were checked longer ago than price_book.stale_after_days.
    """
    if context.invoked_subcommand is not None:
        return
    from gateway.cli.prices import show_prices

    show_prices(settings_of(config, data_dir), name, form_of(as_json, as_csv))


@prices_app.command("fetch")
def prices_fetch(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="huggingface, lambda-cloud, modal, runpod; default: all that can be."),
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    name: Annotated[str, typer.Option(help="Only prices whose name contains this.")] = "",
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Ask live sources for prices, and keep what has changed.

    New rows are appended to prices/ in the data folder and hold from today; a gateway takes them at
    its next start. Exit status 1 when a source could not be read.
    """
    from gateway.cli.prices import fetch_prices

    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    sys.exit(0 if fetch_prices(settings, tuple(source or ()), name, form) else 1)


@prices_app.command("explain")
def prices_explain(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="An attempt, att_..., or an operation, gen_....")
    ],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Why did this cost that?

    Computes the cost again from the row in the ledger alone, line by line: quantity and where it
    was counted, price of one, rule, rounding, price row with its source. Exit status 1 when that
    does not give the booked figure.
    """
    from gateway.cli.costs import show_explanation

    form = form_of(as_json, as_csv)
    data_dir = ledger_of(settings_of(config, data_dir))
    sys.exit(0 if show_explanation(data_dir, id_, form) else 1)


def reprice(
    since: Annotated[str, typer.Option(help="RFC 3339: operations from then on.")],
    until: Annotated[str | None, typer.Option(help="RFC 3339; default: now.")] = None,
    deployment: Annotated[str | None, typer.Option(help="Only this deployment's.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider's.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the corrections; otherwise only look.")
    ] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What past attempts would cost under today's prices.

    The price in force when an attempt began is used. With --apply, attempts whose cost differs are
    corrected: the old figures stay beside the new ones. A gateway may run meanwhile.
    """
    from gateway.cli.costs import show_repricing

    form = form_of(as_json, as_csv)
    settings = settings_of(config, data_dir)
    ledger_of(settings)
    where = {"deployment": deployment, "provider": provider}
    show_repricing(settings, since, until, where, apply=apply, form=form)
