from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.accounting.metering import NOTHING, Count, Metered, TokenEstimator, meter
from gateway.accounting.prices import PriceBook, PriceRow, Tariff, built_in_rows
from gateway.accounting.pricing import Billable, Cost, Seconds, price
from providers.contract import Usage

DAY_US = 86_400_000_000


def row(**rates: Any) -> PriceRow:
    given = {
        "name": "p",
        "effective_from": "2026-01-01",
        "source": "test",
        "checked_on": "2026-01-01",
    }
    return PriceRow.model_validate({**given, **rates})


def exact(value: int) -> Count:
    return Count(value, "reported", value, value)


TOKENS = row(usd_per_million_input_tokens="0.05", usd_per_million_output_tokens="0.08")
SECONDS = row(usd_per_second="0.0001", bills=["execute", "boot"])


def lines(cost: Cost) -> dict[str, Decimal | None]:
    return {line.kind: line.usd for line in cost.lines}


def test_tokens() -> None:
    cost = price(TOKENS, Billable(Metered(exact(12), exact(40))))
    assert lines(cost) == {"input_tokens": Decimal("6E-7"), "output_tokens": Decimal("0.0000032")}
    assert (cost.status, cost.total_usd) == ("measured", Decimal("0.0000038"))
    assert cost.low_usd == cost.high_usd == cost.total_usd
    assert {line.price_id for line in cost.lines} == {"p@2026-01-01"}


@pytest.mark.parametrize(
    ("cached_rate", "expected"),
    [
        (None, {"input_tokens": Decimal("0.00005")}),
        ("0.01", {"input_tokens": Decimal("0.00001"), "cached_input_tokens": Decimal("0.000008")}),
    ],
)
def test_cached_tokens_are_part_of_the_input(
    cached_rate: str | None, expected: dict[str, Decimal]
) -> None:
    priced = row(
        usd_per_million_input_tokens="0.05", usd_per_million_cached_input_tokens=cached_rate
    )
    metered = Metered(exact(1000), exact(0), cached_input_tokens=exact(800))
    assert lines(price(priced, Billable(metered))) == expected


def test_seconds_bill_what_the_row_says() -> None:
    used = Billable(NOTHING, execute=Seconds(0.31), boot=Seconds(0.62), queue=Seconds(9.0))
    assert lines(price(SECONDS, used)) == {
        "execute_seconds": Decimal("0.000031"),
        "boot_seconds": Decimal("0.000062"),
    }
    only_execute = row(usd_per_second="0.0001")
    assert lines(price(only_execute, used)) == {"execute_seconds": Decimal("0.000031")}
    all_of_it = row(usd_per_second="0.0001", bills=["execute", "boot", "queue", "idle"])
    cost = price(all_of_it, used)
    assert cost.total_usd == Decimal("0.000993")
    assert cost.pending == ("idle",)


@pytest.mark.parametrize(
    ("seconds", "billed"),
    [(0.0, "0"), (0.000001, "1"), (0.999999, "1"), (1.0, "1"), (1.000001, "2"), (59.2, "60")],
)
def test_rounding_up_to_whole_seconds(seconds: float, billed: str) -> None:
    rounded = row(usd_per_second="1", round_up_seconds="1")
    cost = price(rounded, Billable(NOTHING, execute=Seconds(seconds)))
    assert cost.total_usd == Decimal(billed)


def test_no_price_is_unknown_and_not_zero() -> None:
    cost = price(None, Billable(Metered(exact(12), exact(40))))
    assert (cost.status, cost.total_usd, cost.known_usd) == ("unknown", None, Decimal(0))
    assert cost.high_usd is None


def test_one_unknown_line_hides_the_total_but_not_what_is_known() -> None:
    both = row(usd_per_million_input_tokens="1", usd_per_image="0.01")
    cost = price(both, Billable(Metered(exact(1_000_000), exact(0))))
    assert (cost.status, cost.total_usd, cost.known_usd) == ("unknown", None, Decimal(1))


def test_unknown_seconds_are_unknown() -> None:
    assert price(SECONDS, Billable(NOTHING)).total_usd is None


def test_an_estimate_has_bounds_and_no_bound_is_said() -> None:
    metered = Metered(Count(10, "estimated", 0, 300), Count(5, "estimated", 1, None))
    cost = price(TOKENS, Billable(metered))
    assert cost.status == "estimated"
    assert cost.low_usd == Decimal("8E-8")
    assert cost.high_usd is None
    bounded = Metered(Count(10, "estimated", 0, 300), Count(5, "estimated", 1, 64))
    assert price(TOKENS, Billable(bounded)).high_usd == Decimal("0.00002012")


def test_a_reported_price_is_the_price() -> None:
    cost = price(TOKENS, Billable(Metered(exact(12), exact(40)), reported_cost_usd=Decimal("0.5")))
    assert (cost.total_usd, cost.status) == (Decimal("0.5"), "measured")


def test_lines_are_quantised_and_add_up() -> None:
    odd = row(usd_per_million_input_tokens="0.333333", usd_per_million_output_tokens="0.777777")
    cost = price(odd, Billable(Metered(exact(7), exact(11))))
    known = [line.usd for line in cost.lines if line.usd is not None]
    assert all(usd == usd.quantize(Decimal("1E-12")) for usd in known)
    assert sum(known, Decimal(0)) == cost.total_usd


def test_the_row_in_force_is_the_latest_before_the_instant() -> None:
    old = row(usd_per_second="1")
    new = row(usd_per_second="2", effective_from="2026-02-01")
    tariff = Tariff("p", [new, old])
    begin_us = 1_769_904_000_000_000  # 2026-02-01T00:00:00Z
    assert tariff.at(begin_us - 1) is old
    assert tariff.at(begin_us) is new
    assert tariff.at(begin_us - 31 * DAY_US - 1) is None


def test_rows_are_appended_never_edited() -> None:
    with pytest.raises(ValueError, match="twice"):
        PriceBook([row(usd_per_second="1"), row(usd_per_second="2")])
    with pytest.raises(ValueError, match="rate"):
        row()


def test_the_built_in_rows_are_sound() -> None:
    book = PriceBook(built_in_rows())
    assert "local-cpu" in book.names()


def metered(usage: Usage | None, **given: Any) -> Metered:
    defaults = {
        "input_bytes": 40,
        "output_bytes": 80,
        "images": 0,
        "max_output_tokens": 64,
        "complete": True,
        "estimator": TokenEstimator(),
    }
    return meter(usage, **{**defaults, **given})


def test_reported_counts_are_taken_as_they_are_and_zero_is_zero() -> None:
    counted = metered(Usage(input_tokens=0, output_tokens=0))
    assert counted.input_tokens == exact(0)
    assert counted.output_tokens == exact(0)
    assert counted.cached_input_tokens is None
    own = metered(Usage(input_tokens=31, output_tokens=40, counted=True))
    assert own.input_tokens == Count(31, "counted", 31, 31)


def test_missing_counts_are_estimates_with_bounds() -> None:
    counted = metered(None)
    assert counted.input_tokens is not None and counted.output_tokens is not None
    assert (counted.input_tokens.value, counted.input_tokens.source) == (10, "estimated")
    assert counted.output_tokens == Count(20, "estimated", 1, 81)


def test_a_cut_answer_may_have_been_as_long_as_was_asked_for() -> None:
    assert metered(None, complete=False).output_tokens == Count(20, "estimated", 1, 64)
    unbounded = metered(None, complete=False, max_output_tokens=None).output_tokens
    assert unbounded is not None and unbounded.high is None


def test_the_estimator_learns_bytes_per_token() -> None:
    estimator = TokenEstimator()
    for _ in range(200):
        estimator.observe(300, 100)
    assert abs(estimator.bytes_per_token - 3.0) < 0.01
    assert estimator.estimate(300) in (99, 100, 101)
    before = estimator.bytes_per_token
    estimator.observe(3, 1)
    assert estimator.bytes_per_token == before
