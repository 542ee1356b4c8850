"""``gateway keys``: keys in the data folder, whether or not a gateway runs."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from gateway.cli.output import Column, print_line, print_report, print_rows
from gateway.ledger.layout import keys_path
from gateway.limits.keylist import keys_json
from gateway.limits.keystore import NAME_PATTERN, KeyStore, KeyTaken, NoSuchKey, new_key
from gateway.settings import Allowance, ConfigError, KeySettings, Settings, explain

Model = TypeVar("Model", bound=BaseModel)


def make(settings: Settings, given: dict[str, Any], budgets: list[dict[str, Any]]) -> None:
    """Make a key and keep it; it is shown once."""
    secret, entry = _new(given)
    allowances = [_checked(Allowance, budget, "--budget: ") for budget in budgets]
    if re.fullmatch(NAME_PATTERN, entry.name) is None:
        raise ConfigError(f"{entry.name!r} is no name: use letters, digits, . _ -")
    if entry.name in {key.name for key in settings.auth.keys}:
        raise ConfigError(f"there is a key named {entry.name!r} in the configuration")
    try:
        _store(settings).create(entry, allowances, _now_us())
    except KeyTaken as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise _unusable(settings, error) from error
    typer.echo(f"Your key, shown only now: {secret}\n")
    typer.echo("A gateway with this data folder takes it within a second.")
    if not settings.needs_keys:
        typer.echo("But keys are off in this configuration: set auth.mode: keys.")


def make_for_configuration(given: dict[str, Any]) -> None:
    """Make a key and keep it nowhere; print the entry for the configuration file."""
    secret, entry = _new(given)
    typer.echo(f"Your key, shown only now: {secret}\n")
    typer.echo("Put this into the configuration:\n")
    typer.echo("auth:\n  mode: keys\n  keys:")
    written = entry.model_dump(mode="json", exclude_none=True)
    written["scopes"] = sorted(written["scopes"])
    if "models" in written:
        written["models"] = sorted(written["models"])
    typer.echo(f"    - {json.dumps(written)}")


def show(settings: Settings, form: str) -> None:
    """All keys, without their secrets."""
    try:
        stored = _store(settings).keys()
    except OSError as error:
        raise _unusable(settings, error) from error
    found = keys_json(settings.auth.keys, stored, _now_us())
    rows = [
        {
            **key,
            "scopes": " ".join(key["scopes"]),
            "models": None if key["models"] is None else " ".join(key["models"]),
            "budgets": " ".join(f"{one['limit_usd']}/{one['per']}" for one in key["budgets"]),
        }
        for key in found
    ]

    def show_table() -> None:
        if not rows:
            print_line("There are no keys.")
            return
        print_rows(rows, _COLUMNS, "table", ("sha256", "from", "budgets", "models"))

    print_report(form, found, rows, show_table, ("name", "source", "status", "scopes"))


_COLUMNS: list[Column] = [
    ("name", lambda key: key["name"]),
    ("scopes", lambda key: key["scopes"]),
    ("status", lambda key: key["status"]),
    ("expires", lambda key: key["expires_at"] or "never"),
    ("models", lambda key: key["models"] or "all"),
    ("budgets", lambda key: key["budgets"] or "none"),
    ("from", lambda key: key["source"]),
    ("sha256", lambda key: f"{key['sha256_begins']}..."),
]


def rotate(settings: Settings, name: str, grace_seconds: int) -> None:
    """Give a key another secret; the present one stays good for a while."""
    secret, digest = new_key()
    until_us = _now_us() + grace_seconds * 1_000_000
    _change(settings, name, lambda store: store.rotate(name, digest, until_us))
    typer.echo(f"Your key, shown only now: {secret}\n")
    until = datetime.fromtimestamp(until_us // 1_000_000, UTC)
    typer.echo(f"The one before it is good until {until:%Y-%m-%dT%H:%M:%SZ}.")


def revoke(settings: Settings, name: str) -> None:
    """Refuse a key from now on."""
    _change(settings, name, lambda store: store.revoke(name, _now_us()))
    typer.echo(f"{name} is revoked; a running gateway refuses it within a second.")


def allowance(text: str, time_zone: str, *, allow_unpriced: bool) -> dict[str, Any]:
    """A budget from ``10.00/day``. Raises ConfigError."""
    limit_usd, slash, per = text.partition("/")
    if not slash:
        raise ConfigError("--budget is an amount and a time, 10.00/day say")
    return {
        "limit_usd": limit_usd,
        "per": per,
        "time_zone": time_zone,
        "allow_unpriced": allow_unpriced,
    }


def _new(given: dict[str, Any]) -> tuple[str, KeySettings]:
    secret, digest = new_key()
    return secret, _checked(KeySettings, {**given, "sha256": digest}, "")


def _checked(model: type[Model], given: dict[str, Any], prefix: str) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise ConfigError(explain(error, prefix)) from error


def _change(settings: Settings, name: str, change: Any) -> None:
    if name in {key.name for key in settings.auth.keys}:
        raise ConfigError(f"{name!r} stands in the configuration; it is changed there")
    try:
        change(_store(settings))
    except NoSuchKey:
        raise ConfigError(f"there is no key named {name!r}, or it is revoked") from None
    except OSError as error:
        raise _unusable(settings, error) from error


def _store(settings: Settings) -> KeyStore:
    return KeyStore(keys_path(settings.server.data_dir))


def _now_us() -> int:
    return time.time_ns() // 1000


def _unusable(settings: Settings, error: Exception) -> ConfigError:
    return ConfigError(f"{keys_path(settings.server.data_dir)} cannot be used ({error})")
