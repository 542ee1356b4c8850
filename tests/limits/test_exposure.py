from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import worst_case_pico_usd
from gateway.limits.exposure import Exposure, Rates, exposure_of


def row(**rates: Any) -> PriceRow:
    return PriceRow.model_validate(
        {
            "name": "p",
            "effective_from": date(2026, 1, 1),
            "source": "a test",
            "checked_on": date(2026, 1, 1),
            **rates,
        }
    )


def of(price: PriceRow, **bounds: Any) -> Exposure:
    usual = {
        "input_bytes": 1000,
        "max_output_tokens": None,
        "total_seconds": 100.0,
        "slice_pico_usd": None,
    }
    return exposure_of(Rates.of(price), **{**usual, **bounds})


TOKENS = {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.08"}


@pytest.mark.parametrize(
    "price",
    [
        row(**TOKENS),
        row(usd_per_request="0.001"),
        row(usd_per_second="0.0001", bills=["execute", "boot"]),
        row(usd_per_second="0.0001", round_up_seconds="10", bills=["execute", "queue"]),
        row(**TOKENS, usd_per_second="0.001"),
    ],
    ids=lambda price: "+".join(sorted(price.model_dump(exclude_defaults=True))[4:]),
)
def test_what_has_a_bound_is_worth_its_worst_case(price: PriceRow) -> None:
    exposure = of(price, max_output_tokens=64)
    worst = worst_case_pico_usd(price, input_bytes=1000, max_output_tokens=64, total_seconds=100.0)
    assert exposure.at(10**6, 0, 100_000_000) == worst
    assert exposure.at(10**6, 0, 10**12) == worst  # time does not go on for ever
    assert exposure.wanted(0, 0, 99_000_000) == worst  # nor is more set aside than it can cost
    assert exposure.grows == (price.usd_per_second is not None)


def test_slices() -> None:
    open_ended = of(row(**TOKENS))
    assert open_ended.wanted(0, 0, 0) - open_ended.at(0, 0, 0) == 512 * 80_000
    assert open_ended.at(7, 0, 0) - open_ended.at(0, 0, 0) == 7 * 80_000
    timed = of(row(usd_per_second="0.001"), max_output_tokens=5)
    assert timed.wanted(0, 0, 0) == 10 * 10**9
    assert timed.wanted(0, 0, 4_000_000) == 14 * 10**9
    assert of(row(usd_per_second="0.001"), slice_pico_usd=7).wanted(0, 0, 0) == 7
    pictures = of(row(usd_per_image="0.04"))
    assert (pictures.wanted(0, 0, 0), pictures.wanted(0, 2, 0)) == (4 * 10**10, 12 * 10**10)
    assert of(row(usd_per_request="0.01"), slice_pico_usd=7).wanted(0, 0, 0) == 10**10


def test_waiting_is_paid_for_where_the_price_says_so() -> None:
    assert of(row(usd_per_second="1", bills=["execute", "boot"])).bills_waiting
    assert not of(row(usd_per_second="1")).bills_waiting
    assert of(row(usd_per_second="1", bills=["idle"])).at(0, 0, 10**7) == 0
