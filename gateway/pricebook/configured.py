"""Prices as configured: the book of dated rows, and what each deployment costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from pydantic import ValidationError

from gateway.accounting.prices import PriceBook, PriceRow, Tariff, built_in_rows
from gateway.pricebook.stored import stored_rows
from gateway.pricebook.token_prices import Hints, is_reference, token_tariff
from gateway.settings import ConfigError, DeploymentSettings, InlinePrice, Settings, explain


def price_book(settings: Settings) -> PriceBook:
    """The built-in rows, those that were fetched, the configuration's own. Raises ConfigError."""
    try:
        fetched = stored_rows(settings.server.data_dir)
        return PriceBook([*built_in_rows(), *fetched], own=settings.prices)
    except ValueError as error:
        raise ConfigError(f"prices: {error}") from error


def tariff_of(
    name: str,
    given: DeploymentSettings,
    book: PriceBook,
    providers: Mapping[str, Mapping[str, Any]],
) -> Tariff | None:
    """What a deployment costs; None where nobody said. Raises ConfigError."""
    if given.price is None:
        return None
    if isinstance(given.price, str) and is_reference(given.price):
        return token_tariff(given.price, _hints(given, providers), f"deployments.{name}.price")
    if isinstance(given.price, InlinePrice):
        stated: dict[str, Any] = given.price.model_dump(exclude_unset=True)
        try:
            row = PriceRow.model_validate(
                {
                    **stated,
                    "name": f"config:{name}",
                    "effective_from": date(1970, 1, 1),
                    "source": "configuration",
                    "checked_on": datetime.now(UTC).date(),
                    # Of the rates themselves: they may come from variables, whose values are no
                    # part of the configuration's revision, and two prices must not share an id.
                    "revision": hashlib.sha256(repr(sorted(stated.items())).encode()).hexdigest()[
                        :12
                    ],
                }
            )
        except ValidationError as error:
            raise ConfigError(explain(error, f"deployments.{name}.price: ")) from error
        return Tariff(row.name, [row])
    tariff = book.find(given.price)
    if tariff is None:
        known = ", ".join(book.names())
        raise ConfigError(f"deployments.{name}.price: no price named {given.price!r} ({known})")
    return tariff


def _hints(given: DeploymentSettings, providers: Mapping[str, Mapping[str, Any]]) -> Hints:
    block = providers.get(given.provider, {})
    kind, model = str(block.get("kind", given.provider)), given.model
    named = [given.provider, kind]
    if kind == "huggingface" and ":" in model:  # the router's names end in who serves
        model, _, served_by = model.rpartition(":")
        named = [f"huggingface_{served_by}"]
    base_url = block.get("base_url")
    return Hints(named, None if base_url is None else str(base_url), model)
