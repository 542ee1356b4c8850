"""Token prices out of the package ``genai-prices``, made into dated rows when the gateway starts.

``price: genai-prices`` looks for the deployment's own provider and model, ``price:
genai-prices:openai/gpt-4o`` for these. A row keeps the rates, the package's version (it stands in
the row's id, so in every cost line) and where the package has them from. Pricing then goes on as
with any other row: the package is imported here, on first use (0.2 to 0.8 s), and asked once.

Right, or refused with words: what this gateway does not count is never left out silently. Kinds of
tokens that cost more (written to a cache, audio) make a range; searches are named with every cost;
a price that changes with the hour, or by a unit that nobody counts here, is refused.

Source: genai-prices 0.2.3 (https://github.com/pydantic/genai-prices, read 2026-11-26). Its cached
tokens are a part of the input tokens, as ours are; crossing a tier moves all tokens to its rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from gateway.accounting.prices import PriceRow, Tariff, TokenTier
from gateway.settings import ConfigError

PREFIX = "genai-prices"
_SINCE_EVER = date(1970, 1, 1)
# The newest price change in the data that had taken effect when the release came out (2026-11; its
# day is not known). Another release is taken to be as old as the newest change in its own data.
_DATA_OF = {"0.2.3": date(2026, 11, 9)}

_PLAIN = {"input_mtok", "output_mtok", "cache_read_mtok", "requests_kcount"}
_DEARER_INPUT = {
    *("cache_write_mtok", "cache_write_1h_mtok"),
    *("input_audio_mtok", "input_image_mtok", "input_video_mtok"),
}
_DEARER_CACHED = {"cache_audio_read_mtok", "cache_image_read_mtok"}
_DEARER_OUTPUT = {
    *("output_audio_mtok", "output_image_mtok", "output_video_mtok"),
    *("output_reasoning_mtok", "output_citation_mtok"),
}
_MAY_ADD = {"web_searches_kcount": "web_searches", "storage_searches_kcount": "storage_searches"}


@dataclass(frozen=True, slots=True)
class Hints:
    """What a deployment says of itself: names to try as the package's provider, and its model."""

    providers: Sequence[str]
    base_url: str | None
    model: str


class Unpriced(ValueError):
    """The package cannot price it; the message says why and what to do."""


def is_reference(price: object) -> bool:
    """Whether a deployment's ``price`` means this package."""
    return isinstance(price, str) and (price == PREFIX or price.startswith(f"{PREFIX}:"))


def token_tariff(price: str, hints: Hints, place: str) -> Tariff:
    """The rows that a reference means. Raises ConfigError beginning with ``place``."""
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ImportError as error:
        raise ConfigError(
            f"{place}: needs the package 'genai-prices': "
            "pip install 'serverless-inference-gateway[prices]'"
        ) from error
    snapshot = get_snapshot()
    try:
        provider, model = _found(snapshot, price, hints)
        rows = list(_rows(provider, model, genai_prices.__version__, _data_day(snapshot)))
    except Unpriced as error:
        raise ConfigError(f"{place}: {error}") from error
    return Tariff(rows[0].name, rows)


def _found(snapshot: Any, price: str, hints: Hints) -> tuple[Any, Any]:
    from genai_prices.data_snapshot import find_provider_by_id

    stated = price.partition(":")[2]
    if stated:
        wanted, _, name = stated.partition("/")
        if not name:
            raise Unpriced(f"{price!r} is not {PREFIX}:<provider>/<model>")
        provider = find_provider_by_id(snapshot.providers, wanted)
        if provider is None:
            known = ", ".join(sorted(one.id for one in snapshot.providers))
            raise Unpriced(f"genai-prices knows no provider {wanted!r} ({known})")
    else:
        name = hints.model
        provider = _guessed(snapshot, hints)
        if provider is None:
            raise Unpriced(
                "genai-prices knows no provider of that name or address; "
                f"say {PREFIX}:<provider>/<model>"
            )
    for model in provider.models:
        if model.id == name:
            return provider, model
    try:
        provider, model = snapshot.find_provider_model(name, provider, None, None)
    except LookupError:
        raise Unpriced(
            f"genai-prices knows no model {name!r} at {provider.id}; its cost would be unknown. "
            f"Say {PREFIX}:<provider>/<model>, or give the price yourself"
        ) from None
    return provider, model


def _guessed(snapshot: Any, hints: Hints) -> Any:
    from genai_prices.data_snapshot import find_provider_by_id

    for name in hints.providers:
        # Only its own ids: a block called "my-openai-proxy" is no evidence for OpenAI's prices.
        provider = next((one for one in snapshot.providers if one.id == name.lower()), None)
        if provider is None and name.isalpha():
            provider = find_provider_by_id(snapshot.providers, name)
        if provider is not None:
            return provider
    if hints.base_url is not None:
        try:
            return snapshot.find_provider(None, None, hints.base_url)
        except LookupError:
            return None
    return None


def _rows(provider: Any, model: Any, version: str, data_day: date) -> list[PriceRow]:
    rows = []
    for begin in _days(model):
        at = datetime.combine(begin or _SINCE_EVER, time(), UTC)
        rates = _rates_of(model.get_prices(at))
        if "usd_per_million_output_tokens" not in rates and not _embeds(model):
            raise Unpriced("genai-prices lists no price for its output; give the price yourself")
        revision = version if begin is None else f"{version}/{begin}"
        note = f"{model.name or model.id} at {provider.name}."
        pages = ", ".join(provider.pricing_urls or [])
        if model.price_variants:
            note += " Standard processing: batches and other service tiers cost something else."
        try:
            rows.append(
                PriceRow.model_validate(
                    {
                        **rates,
                        "name": f"{PREFIX}:{provider.id}/{model.id}",
                        "effective_from": begin or _SINCE_EVER,
                        "source": f"genai-prices {version}: {pages}",
                        "checked_on": data_day,
                        "note": note,
                        "revision": revision,
                    }
                )
            )
        except ValidationError as error:
            raise Unpriced(f"genai-prices has a price that cannot be used: {error}") from error
    return rows


def _embeds(model: Any) -> bool:
    """Whether no tokens come out, so that only the input has a price."""
    said = f"{model.id} {model.name or ''}".lower()
    return any(word in said for word in ("embed", "rerank"))


def _days(model: Any) -> list[date | None]:
    """The days on which another price begins; None: since ever."""
    from genai_prices.types import StartDateConstraint

    if not isinstance(model.prices, list):
        return [None]
    days: set[date] = set()
    for conditional in model.prices:
        constraint = conditional.constraint
        if constraint is None:
            continue
        if not isinstance(constraint, StartDateConstraint):
            raise Unpriced(
                "its price changes with the hour of the day, which a price row cannot say; "
                "give the price yourself"
            )
        days.add(constraint.start_date)
    return [None, *sorted(days)]


def _rates_of(price: Any) -> dict[str, Any]:
    """The keys of a price row. Raises Unpriced."""
    from genai_prices.types import TieredPrices

    given: dict[str, Any] = {
        key: value
        for key, value in vars(price).items()
        if value is not None and not key.startswith("_")
    }
    if not given:
        raise Unpriced("genai-prices lists no price for it: its cost would be unknown, not 0")
    strange = set(given).difference(_PLAIN, _DEARER_INPUT, _DEARER_CACHED, _DEARER_OUTPUT, _MAY_ADD)
    if strange:
        raise Unpriced(
            f"it is also billed by {', '.join(sorted(strange))}, which the gateway does not count; "
            "give the price yourself"
        )
    starts = sorted(
        {
            tier.start
            for value in given.values()
            if isinstance(value, TieredPrices)
            for tier in value.tiers
        }
    )
    rates: dict[str, Any] = _token_rates(given, 0)
    tiers = [
        TokenTier.model_validate({**_token_rates(given, start + 1), "above_input_tokens": start})
        for start in starts
    ]
    if tiers:
        rates["tiers"] = tiers
    if "requests_kcount" in given:
        rates["usd_per_request"] = _at(given["requests_kcount"], 0) / 1000
    adds = tuple(word for key, word in _MAY_ADD.items() if key in given)
    if adds:
        rates["may_add"] = adds
    return rates


def _token_rates(given: Mapping[str, Any], input_tokens: int) -> dict[str, Decimal]:
    """Rates of a request with so many input tokens."""
    at = {key: _at(value, input_tokens) for key, value in given.items()}
    rates = {}
    for plain, key in (
        ("input_mtok", "usd_per_million_input_tokens"),
        ("output_mtok", "usd_per_million_output_tokens"),
        ("cache_read_mtok", "usd_per_million_cached_input_tokens"),
    ):
        if plain in at:
            rates[key] = at[plain]
    for base_key, others, most in (
        ("input_mtok", _DEARER_INPUT, "usd_per_million_input_tokens_at_most"),
        ("cache_read_mtok", _DEARER_CACHED, "usd_per_million_cached_input_tokens_at_most"),
        ("output_mtok", _DEARER_OUTPUT, "usd_per_million_output_tokens_at_most"),
    ):
        apart = [at[key] for key in others if key in at]
        if not apart:
            continue
        base = at.get(base_key)
        if base is None or min(apart) < base:
            kinds = ", ".join(sorted(key for key in others if key in at))
            raise Unpriced(
                f"some of its tokens ({kinds}) are cheaper than {base_key}, and the gateway does "
                "not count them apart; give the price yourself"
            )
        if max(apart) > base:
            rates[most] = max(apart)
    return rates


def _at(value: Any, input_tokens: int) -> Decimal:
    """A rate, of the tier that so many input tokens reach."""
    from genai_prices.types import TieredPrices

    if not isinstance(value, TieredPrices):
        return Decimal(value)
    reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
    return Decimal(reached[-1] if reached else value.base)


def _data_day(snapshot: Any) -> date:
    """How old the package's data is known to be."""
    import genai_prices
    from genai_prices.types import StartDateConstraint

    known = _DATA_OF.get(genai_prices.__version__)
    if known is not None:
        return known
    today = datetime.now(UTC).date()
    days = [
        conditional.constraint.start_date
        for provider in snapshot.providers
        for model in provider.models
        if isinstance(model.prices, list)
        for conditional in model.prices
        if isinstance(conditional.constraint, StartDateConstraint)
    ]
    return max((day for day in days if day <= today), default=_SINCE_EVER)
