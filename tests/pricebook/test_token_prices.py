"""Prices out of genai-prices: held against the package itself, model by model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from genai_prices import Usage, types
from genai_prices.data_snapshot import get_snapshot

from gateway.accounting.metering import Count, Metered
from gateway.accounting.prices import PriceBook, Tariff
from gateway.accounting.pricing import Billable, Cost, price
from gateway.pricebook import token_prices
from gateway.pricebook.configured import tariff_of
from gateway.pricebook.token_prices import Hints, token_tariff
from gateway.settings import ConfigError, DeploymentSettings
from providers.contract import Delta, Finished
from providers.contract import Usage as Reported
from tests.gateway_app.gateways import running_gateway
from tests.pricebook.conftest import Here

VERSION = version("genai-prices")
NOWHERE = Hints((), None, "")
DAYS = (date(2025, 1, 1), date(2026, 8, 1), date(2026, 11, 26), date(2027, 2, 1))
COUNTS = ((0, 0, 0), (12, 40, 0), (1000, 7, 999), (150_000, 3, 0), (400_000, 9, 250_000))


def exact(value: int) -> Count:
    return Count(value, "reported", value, value)


def cost_of(tariff: Tariff, day: date, counts: tuple[int, int, int]) -> Cost:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    row = tariff.at(int(at.timestamp()) * 1_000_000)
    fresh, out, cached = counts
    return price(row, Billable(Metered(exact(fresh), exact(out), exact(cached))))


def every_model() -> list[tuple[Any, Any]]:
    return [(provider, model) for provider in get_snapshot().providers for model in provider.models]


def test_every_price_is_the_packages_or_refused_with_words() -> None:
    priced, refused = 0, 0
    for provider, model in every_model():
        reference = f"genai-prices:{provider.id}/{model.id}"
        try:
            tariff = token_tariff(reference, NOWHERE, "price")
        except ConfigError as error:
            assert str(error).startswith("price: ") and len(str(error)) > 40
            refused += 1
            continue
        priced += 1
        for day in DAYS:
            for counts in COUNTS:
                fresh, out, cached = counts
                usage = Usage(input_tokens=fresh, output_tokens=out, cache_read_tokens=cached)
                at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
                rates = model.get_prices(at)
                theirs = rates.calc_price(usage)["total_price"]
                if getattr(rates, "requests_kcount", None) is not None:
                    theirs += Decimal(0)  # the package charges a request where one is reported
                    theirs += _per_request(rates) - _requests_in(rates, usage)
                ours = cost_of(tariff, day, counts)
                assert ours.total_usd is not None
                assert abs(ours.total_usd - theirs) < Decimal("3E-12"), (reference, day, counts)
                assert ours.low_usd <= ours.total_usd
                assert ours.high_usd is not None and ours.high_usd >= ours.total_usd
    assert priced > 1900 and refused > 200


def _per_request(rates: Any) -> Decimal:
    return Decimal(rates.requests_kcount) / 1000


def _requests_in(rates: Any, usage: Usage) -> Decimal:
    """What the package itself put on requests, so that it is not counted twice."""
    without = types.ModelPrice(**{k: v for k, v in vars(rates).items() if k != "requests_kcount"})
    total: Decimal = rates.calc_price(usage)["total_price"]
    return total - without.calc_price(usage)["total_price"]


@pytest.mark.parametrize(
    ("reference", "counts", "low", "usd", "high"),
    [
        # Cached tokens are a part of the input tokens.
        ("openai/gpt-4o", (1000, 100, 800), None, "0.0025", None),
        # All tokens of a request beyond the threshold cost the tier's rates.
        ("google/gemini-2.5-pro", (200_000, 10, 0), None, "0.2501", None),
        ("google/gemini-2.5-pro", (200_001, 10, 0), None, "0.5001525", None),
        # What is written to the cache costs more, and nobody counts it here: a range.
        ("anthropic/claude-sonnet-4-5", (1000, 10, 0), "0.00315", "0.00315", "0.00615"),
        ("anthropic/claude-sonnet-4-5", (1000, 10, 1000), "0.00045", "0.00045", "0.00045"),
    ],
)
def test_the_figures_by_hand(
    reference: str,
    counts: tuple[int, int, int],
    low: str | None,
    usd: str,
    high: str | None,
) -> None:
    tariff = token_tariff(f"genai-prices:{reference}", NOWHERE, "price")
    cost = cost_of(tariff, date(2026, 9, 1), counts)
    assert cost.total_usd == Decimal(usd)
    assert cost.low_usd == Decimal(low or usd)
    assert cost.high_usd == Decimal(high or usd)
    assert cost.status == ("measured" if (high or usd) == usd else "estimated")


def test_the_version_and_the_source_stand_in_every_cost() -> None:
    tariff = token_tariff("genai-prices:openai/gpt-4o", NOWHERE, "price")
    cost = cost_of(tariff, date(2026, 11, 26), (1, 1, 0))
    assert {line.price_id for line in cost.lines} == {f"genai-prices:openai/gpt-4o@{VERSION}"}
    record = tariff.rows[0].record
    assert str(record["source"]).startswith(f"genai-prices {VERSION}: https://")
    assert cost.pending == ("web_searches", "storage_searches")


@pytest.mark.parametrize(
    ("hints", "name"),
    [
        (Hints(["openai", "openai_chat"], None, "gpt-4o"), "genai-prices:openai/gpt-4o"),
        (Hints(["mine", "openai_chat"], "https://api.openai.com/v1", "gpt-4o"), "openai/gpt-4o"),
        (Hints(["groq"], None, "llama-3.3-70b-versatile"), "groq/llama-3.3-70b-versatile"),
    ],
)
def test_whose_model_it_is(hints: Hints, name: str) -> None:
    assert token_tariff("genai-prices", hints, "price").name.endswith(name)


def test_a_name_at_the_router_ends_in_who_serves_it() -> None:
    model = "MiniMaxAI/MiniMax-M1-80k"
    given = DeploymentSettings(provider="hf", model=f"{model}:novita", price="genai-prices")
    found = tariff_of("d", given, PriceBook([]), {"hf": {"kind": "huggingface"}})
    assert found is not None and found.name == f"genai-prices:huggingface_novita/{model}"
    anyone = given.model_copy(update={"model": f"{model}:cheapest"})
    with pytest.raises(ConfigError, match="knows no provider"):
        tariff_of("d", anyone, PriceBook([]), {"hf": {"kind": "huggingface"}})


@pytest.mark.parametrize(
    ("reference", "hints", "words"),
    [
        ("genai-prices:nobody/m", NOWHERE, "knows no provider 'nobody'"),
        ("genai-prices:openai/no-such-model", NOWHERE, "knows no model 'no-such-model' at openai"),
        ("genai-prices:gpt-4o", NOWHERE, "is not genai-prices:<provider>/<model>"),
        ("genai-prices", Hints(["my-openai-proxy"], None, "gpt-4o"), "knows no provider of that"),
        ("genai-prices", Hints(["x"], "http://127.0.0.1:9/v1", "gpt-4o"), "knows no provider of"),
    ],
)
def test_what_is_not_known_is_an_error_and_not_0(reference: str, hints: Hints, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        token_tariff(reference, hints, "deployments.x.price")
    assert str(caught.value).startswith("deployments.x.price: ") and words in str(caught.value)


def model(**prices: Any) -> Any:
    given = prices.pop("conditional", None) or types.ModelPrice(
        **{key: Decimal(value) for key, value in prices.items()}
    )
    return types.ModelInfo(id="m", match=types.ClauseEquals(equals="m"), prices=given)


def by_the_hour() -> Any:
    from datetime import time

    return [
        types.ConditionalPrice(prices=types.ModelPrice(input_mtok=Decimal(1))),
        types.ConditionalPrice(
            constraint=types.TimeOfDateConstraint(time(1), time(2)),
            prices=types.ModelPrice(input_mtok=Decimal(2)),
        ),
    ]


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (model(), "lists no price for it"),
        (model(input_mtok="1"), "lists no price for its output"),
        (model(input_mtok="1", output_mtok="1", audio_hours="3"), "also billed by audio_hours"),
        (model(input_mtok="1", output_mtok="1", future_kthing="3"), "also billed by future_kthing"),
        (
            model(input_mtok="1", output_mtok="1", cache_write_mtok="0.5"),
            "cache_write_mtok) are cheaper than input_mtok",
        ),
        (model(conditional=by_the_hour()), "changes with the hour of the day"),
    ],
)
def test_what_cannot_be_right_is_refused(offered: Any, words: str) -> None:
    provider = types.Provider(id="p", name="P", api_pattern="x", models=[offered])
    with pytest.raises(token_prices.Unpriced, match=words.replace(")", r"\)")):
        token_prices._rows(provider, offered, "1", date(2026, 1, 1))


def test_dated_prices_become_dated_rows() -> None:
    offered = model(
        conditional=[
            types.ConditionalPrice(
                prices=types.ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2))
            ),
            types.ConditionalPrice(
                constraint=types.StartDateConstraint(date(2026, 12, 1)),
                prices=types.ModelPrice(input_mtok=Decimal(3), output_mtok=Decimal(4)),
            ),
        ]
    )
    provider = types.Provider(id="p", name="P", api_pattern="x", models=[offered])
    rows = token_prices._rows(provider, offered, "9.9", date(2026, 1, 1))
    tariff = Tariff("m", rows)
    assert cost_of(tariff, date(2026, 11, 30), (10**6, 0, 0)).total_usd == 1
    cost = cost_of(tariff, date(2026, 12, 1), (10**6, 0, 0))
    assert cost.total_usd == 3
    assert cost.lines[0].price_id == "genai-prices:p/m@9.9/2026-12-01"


CONFIG = """
providers: {{groq: {{api_key: k}}}}
deployments:
  a: {{provider: groq, model: {model}, price: {price}}}
models: {{a: {{deployments: [a]}}}}
"""


def test_check_prices_and_errors(here: Here, written: Callable[[str], Path]) -> None:
    good = written(CONFIG.format(model="llama-3.3-70b-versatile", price="genai-prices"))
    out = here("check", "-c", good).out
    assert f"genai-prices:groq/llama-3.3-70b-versatile@{VERSION}" in out
    listed = here("prices", "-c", good, "--name", "genai-prices").out
    assert "genai-prices" in listed.splitlines()[1] and " a " in listed
    bad = written(CONFIG.format(model="no-such-model", price="genai-prices"))
    for command in ("check", "prices"):
        ran = here(command, "-c", bad)
        assert (ran.status, ran.out) == (2, "")
        assert "deployments.a.price: genai-prices knows no model 'no-such-model' at groq" in ran.err


def test_an_attempt_keeps_the_version(tmp_path: Path) -> None:
    price_of = "genai-prices:openai/gpt-4o"
    tree = {
        "deployments": {"d": {"provider": "scripted", "model": "d", "price": price_of}},
        "models": {"d": {"deployments": ["d"]}},
    }
    with running_gateway(tree, tmp_path / "data") as gateway:
        gateway.scripts.only("d", (Delta("x"), Finished(("stop",), Reported(1000, 100, 800))))
        answer = gateway.answer("d")
        (row,) = gateway.rows(answer["id"])
    assert answer["cost"]["total_usd"] == "0.0025"
    assert answer["cost"]["pending"] == ["web_searches", "storage_searches"]
    assert row["price"]["revision"] == VERSION
    assert row["cost_lines"][0]["price_id"] == f"{price_of}@{VERSION}"
