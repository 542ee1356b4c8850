"""The router's price list, read as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from providers.contract import Http, ProtocolViolation
from providers.huggingface.catalog import parse_catalog, read_catalog
from tests.emulators.huggingface import HuggingFace

MODEL = "deepseek-ai/DeepSeek-V4-Pro"


async def test_prices_are_exact_and_unknown_is_not_zero(
    emulator: Callable[[Any], str], http: Http
) -> None:
    app = HuggingFace()
    catalog = await read_catalog(http, emulator(app))
    assert "authorization" not in app.received[-1].headers  # nobody needs one for this
    novita, _, featherless, _ = catalog[MODEL]
    assert novita.usd_per_million_input_tokens == Decimal("1.69")
    assert novita.usd_per_million_output_tokens == Decimal("3.38")
    assert featherless.usd_per_million_input_tokens is None
    assert featherless.usd_per_million_output_tokens is None


def test_free_is_said() -> None:
    rows = [{"id": "o/m", "providers": [{"provider": "p", "status": "live", "is_free": True}]}]
    (offer,) = parse_catalog(json.dumps({"data": rows}).encode())["o/m"]
    assert offer.usd_per_million_input_tokens == 0 == offer.usd_per_million_output_tokens


def test_rows_that_cannot_be_read_are_left_out() -> None:
    rows: list[Any] = [
        3,
        {"id": "o/a"},
        {"id": "o/b", "providers": [None, {"provider": 7}, {"provider": "p", "pricing": "free"}]},
        {"id": "o/c", "providers": [{"provider": "p", "pricing": {"input": -1, "output": True}}]},
    ]
    offers = parse_catalog(json.dumps({"data": rows}).encode())
    assert sorted(offers) == ["o/b", "o/c"]
    for (offer,) in offers.values():
        assert offer.usd_per_million_input_tokens is offer.usd_per_million_output_tokens is None
        assert not offer.is_live


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"data": {}}'])
def test_no_list_at_all(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_catalog(raw)
