"""``gateway prices fetch``: ask the live sources, and append what has changed.

A row begins on the day of the fetch and carries its source and instant. What says the same as
before is only noted as seen. A gateway that runs takes new rows at its next start.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from gateway.accounting.prices import PriceBook, PriceRow, built_in_rows
from gateway.ledger.layout import take
from gateway.price_settings import PriceSourceSettings
from gateway.pricebook import (
    source_huggingface,
    source_lambda_cloud,
    source_modal,
    source_runpod,
)
from gateway.pricebook.asking import Asked, Found
from gateway.pricebook.stored import append_rows, note_seen, prices_dir, stored_rows
from gateway.settings import ConfigError, Settings, explain
from providers.contract import Http, ProviderError, ProviderSettings

Read = Callable[[Asked], Awaitable[Found]]
SOURCES: Mapping[str, Read] = {
    "huggingface": source_huggingface.read,
    "lambda-cloud": source_lambda_cloud.read,
    "modal": source_modal.read,
    "runpod": source_runpod.read,
}
_NEEDS = {
    "lambda-cloud": "price_book.sources.lambda-cloud.api_key",
    "modal": "a provider block of kind modal",
    "runpod": "a provider block of kind runpod",
}


@dataclass(slots=True)
class Fetched:
    """What came of one source. ``problem``: why nothing did."""

    source: str
    new: list[PriceRow] = field(default_factory=list)
    unchanged: int = 0
    left_out: list[str] = field(default_factory=list)
    problem: str | None = None
    skipped: bool = False


async def fetch(
    settings: Settings,
    sources: tuple[str, ...],
    open_http: Callable[[ProviderSettings], Http],
    *,
    name: str = "",
    now: datetime | None = None,
) -> list[Fetched]:
    """Ask each source; none given: all that need no credentials or have them.

    Only rows whose name contains ``name`` are kept. Raises ConfigError, before anything is asked.
    """
    for source in sources:
        if source not in SOURCES:
            raise ConfigError(f"no source of prices named {source!r} ({', '.join(SOURCES)})")
        if missing := _missing(settings, source):
            raise ConfigError(f"prices of {source} need {missing}")
    folder = prices_dir(settings.server.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = take(folder / ".lock", create=True)
    if lock is None:
        raise ConfigError("another 'gateway prices fetch' is at work on this data folder")
    try:
        at = (now or datetime.now(UTC)).replace(microsecond=0)
        return [await _one(settings, source, open_http, name, at) for source in sources or SOURCES]
    finally:
        os.close(lock)


async def _one(
    settings: Settings,
    source: str,
    open_http: Callable[[ProviderSettings], Http],
    name: str,
    at: datetime,
) -> Fetched:
    done = Fetched(source)
    if missing := _missing(settings, source):
        done.problem, done.skipped = f"not asked: needs {missing}", True
        return done
    block = _block(settings, source)
    given = settings.price_book.sources.get(source) or _like(block)  # type: ignore[call-overload]
    http = open_http(given)
    key = given.api_key
    asked = Asked(
        http, given.base_url, None if key is None else key.get_secret_value(), dict(block)
    )
    try:
        found = await SOURCES[source](asked)
        _keep(settings, done, found, name, at)
    except ProviderError as error:
        done.problem = f"{type(error).__name__}: {error.detail}"
    finally:
        await http.aclose()
    return done


def _keep(settings: Settings, done: Fetched, found: Found, name: str, at: datetime) -> None:
    data_dir = settings.server.data_dir
    known = [*built_in_rows(), *stored_rows(data_dir)]
    book, ids, seen = PriceBook(known), {row.id for row in known}, {}
    done.left_out = [each for each in found.left_out if name.lower() in each.lower()]
    for each, rates in found.offers.items():
        if name.lower() not in each.lower():
            continue
        row = _row(each, rates, found.source, at)
        while row.id in ids:
            row = _row(each, rates, found.source, (row.fetched_at or at) + timedelta(seconds=1))
        tariff = book.find(each)
        latest = None if tariff is None else tariff.rows[0]
        if latest is not None and latest.terms == row.terms:
            done.unchanged += 1
            seen[latest.id] = at.date()
            continue
        done.new.append(row)
    if done.new:
        append_rows(data_dir, done.source, done.new)
    if seen:
        note_seen(data_dir, seen)


def _row(name: str, rates: Mapping[str, Any], source: str, at: datetime) -> PriceRow:
    try:
        return PriceRow.model_validate(
            {
                "name": name,
                "effective_from": at.date(),
                "source": source,
                "checked_on": at.date(),
                "fetched_at": at,
                **rates,
            }
        )
    except ValidationError as error:
        raise ConfigError(explain(error, f"prices from {source}: {name}: ")) from error


def _missing(settings: Settings, source: str) -> str | None:
    """What a source needs and does not have."""
    if source in ("modal", "runpod") and not _block(settings, source):
        return _NEEDS[source]
    if source == "lambda-cloud":
        given = settings.price_book.sources.get("lambda-cloud")
        return _NEEDS[source] if given is None or given.api_key is None else None
    return None


def _block(settings: Settings, source: str) -> Mapping[str, Any]:
    """The provider block of that kind, without its kind; the first one where there are several."""
    for name, block in settings.providers.items():
        if block.get("kind", name) == source:
            return {key: value for key, value in block.items() if key != "kind"}
    return {}


def _like(block: Mapping[str, Any]) -> PriceSourceSettings:
    """The common keys of a provider block: its address, proxy, authorities."""
    common = ProviderSettings.model_fields
    try:
        return PriceSourceSettings.model_validate(
            {key: value for key, value in block.items() if key in common}
        )
    except ValidationError as error:
        raise ConfigError(explain(error, "providers: ")) from error
