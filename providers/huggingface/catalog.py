"""The router's list of models: who serves what, at which price. Data for ``gateway prices fetch``.

Source: GET /v1/models, https://huggingface.co/docs/inference-providers/hub-api (2026-08-22).
Prices are USD for a million tokens, without a markup; a provider that states none is listed all
the same. An id without a provider may be served by another one at every call, so a price belongs
to the provider that served it (the revision of an attempt), not to the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from providers.contract import Http, ProtocolViolation
from providers.huggingface.wire import Wire

MAX_LIST_BYTES = 32 << 20
READ_TIMEOUT_SECONDS = 30.0
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Offer:
    """One model at one provider. A price of None is unknown; it is 0 only where it is said."""

    provider: str
    is_live: bool
    usd_per_million_input_tokens: Decimal | None = None
    usd_per_million_output_tokens: Decimal | None = None


# All offers, by the model's id.
Catalog: TypeAlias = Mapping[str, tuple[Offer, ...]]


async def read_catalog(http: Http, base_url: str) -> Catalog:
    """Ask the router; it wants no token for this. Raises ProviderError."""
    wire = Wire(http, read_timeout_seconds=READ_TIMEOUT_SECONDS)
    async with wire.send("GET", f"{base_url}/v1/models") as answer:
        return parse_catalog(await answer.read(MAX_LIST_BYTES))


def parse_catalog(raw: bytes) -> Catalog:
    """The list as it came. A row that cannot be read is left out. Raises ProtocolViolation."""
    try:
        body = json.loads(raw, parse_float=Decimal)
    except ValueError as exc:
        raise _unreadable() from RuntimeError(type(exc).__name__)
    rows = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(rows, list):
        raise _unreadable()
    offers: dict[str, tuple[Offer, ...]] = {}
    for row in rows:
        name = row.get("id") if isinstance(row, Mapping) else None
        given = row.get("providers") if isinstance(row, Mapping) else None
        if isinstance(name, str) and isinstance(given, list):
            offers[name] = tuple(offer for item in given if (offer := _offer(item)) is not None)
    return offers


def _offer(item: Any) -> Offer | None:
    provider = item.get("provider") if isinstance(item, Mapping) else None
    if not isinstance(provider, str):
        return None
    pricing = item.get("pricing")
    prices = pricing if isinstance(pricing, Mapping) else {}
    free = _ZERO if item.get("is_free") is True else None
    return Offer(
        provider,
        item.get("status") == "live",
        _first(_decimal(prices.get("input")), free),
        _first(_decimal(prices.get("output")), free),
    )


def _first(stated: Decimal | None, free: Decimal | None) -> Decimal | None:
    return free if stated is None else stated


def _decimal(value: Any) -> Decimal | None:
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        return None
    return value


def _unreadable() -> ProtocolViolation:
    return ProtocolViolation("The provider's list of models cannot be read.")
