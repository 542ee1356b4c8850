"""What an attempt may have cost whose gateway died in the middle."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import settle_interrupted
from gateway.ledger.rows import AttemptRow


def interrupted(
    lived_seconds: int,
    now_seconds: int,
    max_output_tokens: int | None = None,
    reserved_pico_usd: int | None = None,
    ended_by_us: int | None = None,
    **rates: Any,
) -> AttemptRow:
    price = PriceRow.model_validate(
        {
            "name": "p",
            "effective_from": "2026-01-01",
            "source": "test",
            "checked_on": "2026-01-01",
            **rates,
        }
    )
    row = AttemptRow("att", "gen", 0, "generate", False, "m", "d", "p", "m", "r", 0, 0)
    row.price = price.record
    row.max_output_tokens, row.reserved_pico_usd = max_output_tokens, reserved_pico_usd
    return settle_interrupted(
        row,
        now_us=now_seconds * 1_000_000,
        last_seen_us=lived_seconds * 1_000_000,
        total_seconds=30,
        ended_by_us=ended_by_us,
    )


def test_seconds_are_bounded_by_the_deadline() -> None:
    row = interrupted(2, 100, usd_per_second="0.5")
    assert (row.status, row.cost_status) == ("interrupted", "estimated")
    assert (row.low_pico_usd, row.cost_pico_usd, row.high_pico_usd) == (0, 10**12, 15 * 10**12)


def test_a_job_may_go_on_after_the_restart() -> None:
    row = interrupted(2, 3, usd_per_second="0.5")  # restarted a second later
    assert (row.cost_pico_usd, row.high_pico_usd) == (10**12, 15 * 10**12)


@pytest.mark.parametrize(
    ("ended_by_us", "high_usd"),
    [(3_500_000, "1.75"), (1_000_000, "1"), (99_000_000, "15")],
    ids=["known", "before the last sign of life", "after the deadline"],
)
def test_what_ended_with_its_gateway_is_bounded_by_that(ended_by_us: int, high_usd: str) -> None:
    row = interrupted(2, 100, ended_by_us=ended_by_us, usd_per_second="0.5")
    assert (row.low_pico_usd, row.cost_pico_usd) == (0, 10**12)
    assert row.high_pico_usd == int(Decimal(high_usd) * 10**12)


@pytest.mark.parametrize("kind", ["boot", "queue"])
def test_a_price_for_waiting_alone_is_no_gift(kind: str) -> None:
    row = interrupted(2, 10, usd_per_second="0.5", bills=[kind])
    assert (row.cost_status, row.cost_pico_usd) == ("estimated", 10**12)
    assert (row.low_pico_usd, row.high_pico_usd) == (0, 15 * 10**12)


def test_images_that_nobody_counted_are_not_0() -> None:
    row = interrupted(2, 10, usd_per_image="0.04")
    assert (row.cost_status, row.cost_pico_usd, row.high_pico_usd) == ("unknown", None, None)


@pytest.mark.parametrize(("now_seconds", "estimated_seconds"), [(-3600, 0), (2, 2)])
def test_a_clock_that_was_set_back_is_no_bound(now_seconds: int, estimated_seconds: int) -> None:
    row = interrupted(5, now_seconds, usd_per_second="0.5")
    assert row.cost_pico_usd == estimated_seconds * 10**12 // 2
    assert (row.low_pico_usd, row.high_pico_usd) == (0, 15 * 10**12)
    assert row.completed_at_us == estimated_seconds * 1_000_000


@pytest.mark.parametrize(("max_output_tokens", "high"), [(64, 999), (None, None)])
def test_a_slice_that_was_held_is_no_bound(max_output_tokens: int | None, high: int | None) -> None:
    prices: dict[str, Any] = {
        "usd_per_million_input_tokens": "1",
        "usd_per_million_output_tokens": "1",
    }
    row = interrupted(2, 10, max_output_tokens, 999, **prices)
    assert (row.cost_status, row.high_pico_usd) == ("estimated", high)
