"""``gateway top``: what a running gateway does, in a terminal, while it does it."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.context import form_of, settings_of
from gateway.cli.options import ConfigOption, CsvOption, JsonOption, KeyOption, UrlOption
from gateway.cli.output import console, print_csv, print_json

if TYPE_CHECKING:
    from gateway.cli.client import Asked


def top(
    url: UrlOption = None,
    api_key: KeyOption = None,
    every_seconds: Annotated[
        float, typer.Option(min=0.2, max=3600, help="How often it is asked.")
    ] = 2.0,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="What rates are taken over.")] = 15,
    once: Annotated[bool, typer.Option("--once", help="Print it and end.")] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    config: ConfigOption = None,
) -> None:
    """Deployments as they stand, live.

    Asks a running gateway (a key of the scope reports, where it has keys) and shows of each
    deployment: off, booting and for how long still, or warm and until when it is expected to be,
    after "likely" where that is believed and not proved; what runs and waits there; requests a
    minute, cold rate and dollars an hour over the last --minutes; its last failed attempt since
    the start; and what budgets have left. Ctrl-C ends it. In a pipe, and with --once, --json or
    --csv, it is printed once.
    """
    from gateway.cli.client import Asked, configured_url

    form = form_of(as_json, as_csv)
    where = url or configured_url(settings_of(config, None))
    with contextlib.closing(Asked(where, api_key)) as gateway:
        if form == "json":
            print_json(look(gateway, minutes))
        elif form == "csv":
            print_csv(look(gateway, minutes)["deployments"])
        elif once or not sys.stdout.isatty():
            from gateway.cli.top_view import Screen

            console().print(Screen(look(gateway, minutes)))
        else:
            _watch(gateway, minutes, every_seconds)


def _watch(gateway: Asked, minutes: int, every_seconds: float) -> None:
    """Until Ctrl-C. What was seen last stays while the gateway does not answer."""
    from rich.live import Live

    from gateway.cli.client import NoAnswer
    from gateway.cli.top_view import Screen

    seen = look(gateway, minutes)  # one that cannot be asked at all is said without a screen
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(Screen(seen), console=console(), screen=True, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(every_seconds)
            try:
                seen, problem = look(gateway, minutes), ""
            except NoAnswer as error:
                problem = str(error)
            live.update(Screen(seen, problem), refresh=True)


def look(gateway: Asked, minutes: int) -> dict[str, Any]:
    """All that is shown, as JSON has it; null is "not known". Raises NoAnswer, ConfigError."""
    now = datetime.now(UTC)
    asked = {"start_time": (now - timedelta(minutes=minutes)).isoformat(), "limit": "1000"}
    deployments = gateway.get("/v1/deployments")["data"]
    told = [
        gateway.get(path, group_by="deployment", **asked)
        for path in ("/v1/cold-starts", "/v1/costs")
    ]
    verdicts, costs = ({row["group"]["deployment"]: row for row in one["data"]} for one in told)
    return {
        "url": gateway.url,
        "at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "minutes": minutes,
        "deployments": [
            _row(one, verdicts.get(one["name"]), costs.get(one["name"]), minutes)
            for one in deployments
        ],
        "budgets": gateway.get("/v1/budgets")["data"],
    }


def _row(
    found: dict[str, Any],
    verdicts: dict[str, Any] | None,
    cost: dict[str, Any] | None,
    minutes: int,
) -> dict[str, Any]:
    from gateway.ledger.reports.cost_report import known_usd
    from gateway.warmth.standing import word_of

    known = "0" if cost is None else known_usd(cost)
    per_hour = None if known is None else Decimal(known) * 60 / minutes
    names = ("running", "queued", "queued_since", "p_warm", "expected_wait_seconds")
    return {
        **{name: found[name] for name in ("name", "provider", "provider_model", "hardware")},
        "state": found["state"],
        "stands": word_of(found),
        **{
            name: found[name]
            for name in (*names, "booting_left_seconds", "warm_until", "last_seen")
        },
        "requests_per_minute": (0 if verdicts is None else verdicts["attempts"]) / minutes,
        "cold_rate": None if verdicts is None else verdicts["cold_rate"],
        "usd_per_hour": None if per_hour is None else f"{per_hour:.12f}",
        "unknown_attempts": 0 if cost is None else cost["unknown_attempts"],
        "last_error": found["last_error"],
    }
