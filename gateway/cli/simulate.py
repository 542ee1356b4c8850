"""``gateway simulate``: what keep-warm policies and routes would have done with a trace."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.bundles import unbundled
from gateway.cli.context import settings_of
from gateway.cli.options import Form, Place
from gateway.cli.output import cell, print_line, print_report, print_table, working, write
from gateway.cli.replaying import Asked, WindowOption, amount, families_of, price_row
from gateway.settings import ConfigError, Settings

if TYPE_CHECKING:
    from gateway.accounting.prices import PriceRow
    from gateway.simulation.families import Family
    from gateway.simulation.routes import Site
    from gateway.simulation.simulate import Plant


@unbundled
def simulate(
    *,
    asked: Asked,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="fixed, ski_rental, ski_randomised, histogram, learned; repeatable. "
            "Default: fixed, ski_rental and histogram."
        ),
    ] = None,
    wait_value: Annotated[
        str | None,
        typer.Option(
            "--wait-value-usd-per-second",
            help="What a second of waiting is worth; default: 0.001. Without --price it is in "
            "prices of an idle second; default: 14.",
        ),
    ] = None,
    window: WindowOption = 300.0,
    boot_seconds: Annotated[
        float, typer.Option(min=0.001, help="Length of a boot; of most, if drawn.")
    ] = 20.0,
    boot_sigma: Annotated[
        float, typer.Option(min=0, help="Boots are lognormal, with this sigma; 0: all equal.")
    ] = 0.0,
    price: Annotated[str | None, typer.Option(help="A price row, by its name.")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Most machines of a deployment.")] = 1,
    places: Annotated[
        int | None, typer.Option(min=1, help="Requests that one machine runs at once.")
    ] = None,
    providers: Annotated[
        list[str] | None,
        typer.Option(
            help="Route each stream over deployments: a number of equal ones, or price rows by "
            "name, repeatable, each with its billing, and boots and keep-alive as far as known."
        ),
    ] = None,
    call_off: Annotated[
        bool,
        typer.Option(
            "--call-off/--no-call-off",
            help="With --providers: whether the slower of two boots ends when the other is up.",
        ),
    ] = True,
    train_share: Annotated[
        float, typer.Option(min=0, max=0.99, help="The first part trains; the rest is counted.")
    ] = 0.5,
    compare: Annotated[
        bool, typer.Option("--compare", help="Hold policies against fixed at its cost.")
    ] = False,
    frontier: Annotated[
        Path | None, typer.Option(help="Draw cost against wait into this file: .svg or .png.")
    ] = None,
    save_table: Annotated[
        Path | None, typer.Option(help="Write what learned has learned, for keep_warm.table.")
    ] = None,
    place: Place,
    printed: Form,
) -> None:
    """What keep-warm policies and routing would have done.

    Replays a trace, the ledger's last 30 days or made-up streams on a virtual clock, through the
    objects that the gateway itself uses: cold starts, waits, what is paid for, and bounds of what
    could be known. Each stream has a deployment of its own, of one replica or several.
    """
    from gateway.simulation import answer
    from gateway.simulation.families import Scene, stakes_of
    from gateway.simulation.holdout import learn_and_hold
    from gateway.simulation.learning import LearnMissing
    from gateway.simulation.png import PngMissing
    from gateway.simulation.simulate import Plant

    form = printed.name
    families = families_of(policy or ["fixed", "ski_rental", "histogram"])
    if providers and policy and len(families) > 1:
        raise ConfigError("--providers routes under one policy: name one --policy")
    settings = settings_of(place.config, place.data_dir)
    row = price_row(settings, price)
    if row is not None and row.usd_per_second is None:
        raise ConfigError(f"--price: {row.name} is not by the second, so there is no machine")
    for option, path in (("--frontier", frontier), ("--save-table", save_table)):
        if path is not None and not path.absolute().parent.is_dir():
            raise ConfigError(f"{option}: there is no folder {path.parent}")
    worth = amount(wait_value or ("14" if row is None else "0.001"))
    found, seed = asked.read(settings), asked.seed
    try:
        counted = found.start_at_us + round((found.end_at_us - found.start_at_us) * train_share)
        plant = Plant(boot_seconds, boot_sigma, replicas, places, window, seed=seed)
        scene = Scene(found.streams, plant, counted, found.end_at_us, window)
        stakes = stakes_of(row, boot_seconds, worth)
        learned = None
        if "learned" in families or save_table is not None:
            with working("Learning"):
                learned = learn_and_hold(scene, stakes, found.start_at_us, seed)
            scene = replace(scene, table=learned)
        told: dict[str, Any] = {"trace": answer.trace_json(found, counted)}
        if learned is not None:
            note = (
                f"learned goes by {learned.goes_by}: requests that were held out bear out no more"
            )
            told["trace"]["notes"] = [*told["trace"]["notes"], note]
        if providers:
            known = window if families[0] == "fixed" else None
            sites, notes = sites_of(settings, providers, (plant, row, known))
            told["trace"]["notes"] = [*told["trace"]["notes"], *notes]
            with working(f"Routing {found.requests:,} requests"):
                told["routes"] = answer.routes_json(scene, stakes, families[0], sites, call_off)
        else:
            with working(f"Replaying {found.requests:,} requests"):
                told["policies"] = answer.policies_json(scene, stakes, families, row)
        if compare:
            others: list[Family] = [family for family in families if family != "fixed"]
            with working("Holding policies against each other"):
                told["held"] = answer.held_json(scene, stakes, others)
        if frontier is not None:
            with working("Drawing the frontier"):
                told["frontier"] = answer.frontier_json(scene, stakes, families, row)
            write("--frontier", frontier, drawn(told["frontier"], frontier.suffix))
    except (LearnMissing, PngMissing) as error:
        raise ConfigError(str(error)) from error
    if save_table is not None and learned is not None:
        write("--save-table", save_table, json.dumps(learned.to_json()).encode())
    print_report(form, told, told.get("routes") or told["policies"], lambda: _show(told))


def sites_of(
    settings: Settings, given: list[str], equal: tuple[Plant, PriceRow | None, float | None]
) -> tuple[list[Site], list[str]]:
    """What ``--providers`` names, and what is known of it. Raises ConfigError."""
    from gateway.simulation.routes import equal_sites, site_of
    from gateway.simulation.streams import AS_FAST

    plant, row, window_seconds = equal
    if len(given) == 1 and given[0].isdecimal():
        if int(given[0]) < 1:
            raise ConfigError("--providers is 1 or more, or names of price rows")
        return equal_sites(int(given[0]), plant, row, window_seconds), []
    rows = [found for name in given if (found := price_row(settings, name, "--providers"))]
    if len({found.name for found in rows}) < len(rows):
        raise ConfigError("--providers: each price row once")
    pairs = [site_of(found, plant, plant.window_seconds) for found in rows]
    notes = [told for _, told in pairs]
    return [site for site, _ in pairs], notes if len(pairs) < 2 else [*notes, AS_FAST]


def drawn(points: list[dict[str, Any]], suffix: str) -> bytes:
    """The frontier as a file of this kind. Raises PngMissing."""
    from gateway.simulation.drawing import frontier
    from gateway.simulation.png import png
    from gateway.simulation.svg import svg

    shapes = frontier(points)
    return png(shapes) if suffix.lower() == ".png" else svg(shapes).encode()


def _show(told: dict[str, Any]) -> None:
    trace = told["trace"]
    print_line(_replayed(trace))
    for note in trace["notes"]:
        print_line(f"Note: {note}")
    for name in ("policies", "routes"):
        if name in told:
            _outcomes(told[name])
    if "held" in told:
        _held(told["held"])


def _replayed(trace: dict[str, Any]) -> str:
    """What was replayed: how much, from when to when, of which the end is counted."""
    requests, streams, seconds = trace["requests"], trace["streams"], trace["days"] * 86_400
    unit, name = next(pair for pair in _LENGTHS if seconds >= 2 * pair[0] or pair[0] == 1)
    lasting = f"over {seconds / unit:.3g} {name}" if seconds > 1e-5 else "at one instant"
    told = (
        f"{requests:,} request{'s' * (requests != 1)} of {streams:,} stream{'s' * (streams != 1)} "
        f"{lasting}"
    )
    if trace["start_time"] is not None:
        told += f", from {cell(trace['start_time'])} to {cell(trace['end_time'])}"
    return (
        f"{told}, {cell(trace['mean_execute_seconds'])} s each on average; the last "
        f"{trace['counted_share']:.0%} of the time is counted."
    )


_LENGTHS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


def _outcomes(rows: list[dict[str, Any]]) -> None:
    names = ("name", "requests", "cold", "boots", "ahead", "p50 s", "p95 s", "p99 s")
    shown = []
    for row in rows:
        each, waits = max(1, row["requests"]), row["wait_seconds"]
        shown.append(
            [
                row["name"],
                f"{row['requests']:,}",
                "unknown" if row["cold_rate"] is None else f"{row['cold_rate']:.1%}",
                f"{row['boots']:,}",
                f"{row['boots_ahead']:,}",
                *(cell(waits[name]) for name in ("p50", "p95", "p99", "mean")),
                *(cell(row[f"{kind}_seconds"] / each) for kind in ("busy", "boot", "idle")),
                "" if row["total_usd"] is None else f"{Decimal(row['total_usd']):.2f}",
            ]
        )
    heads = (*names, "mean s", "busy s/req", "boot s/req", "idle s/req", "USD")
    leave_out = ("busy s/req", "ahead", "p50 s", "requests", "boot s/req", "mean s", "boots")
    print_table(heads, shown, leave_out)


def _held(held: dict[str, Any]) -> None:
    fixed, best = held["fixed"], held["clairvoyant"]
    print_line(
        f"At the cost of a fixed window of {held['window_seconds']:g} s "
        f"({fixed['replica_seconds']:,.0f} replica seconds, {fixed['cold']:,} cold "
        f"start{'s' * (fixed['cold'] != 1)}):"
    )
    shown = []
    for row in held["policies"]:
        span = row["interval"]
        shown.append(
            [
                row["name"],
                f"{row['cold']:,.0f}",
                "unknown" if row["change"] is None else f"{row['change']:+.1%}",
                "unknown" if span is None else f"{span[0]:+.1%} to {span[1]:+.1%}",
                "unknown" if row["gap_closed"] is None else f"{row['gap_closed']:.0%}",
                f"{row['wait_value_in_idle_seconds']:.3g} idle s",
            ]
        )
    heads = ("policy", "cold starts", "change", "95 % interval", "gap closed", "waiting worth")
    print_table(heads, shown, ("waiting worth", "gap closed"))
    for row in held["policies"]:
        if not row["reached"]:
            print_line(
                f"{row['name']} comes to {row['replica_seconds']:,.0f} replica seconds there, and "
                "no nearer."
            )
    if best["keep_cold"] is None:
        print_line("No bound is known where boots differ in length, or there are several replicas.")
        return
    print_line(
        f"Who knows every gap and only holds: {best['keep_cold']:,.1f} cold starts at that cost. "
        f"Who also boots ahead: none, at {best['prewarm_replica_seconds']:,.0f} replica seconds."
    )
