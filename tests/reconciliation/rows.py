"""Attempts that ended without their provider's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.accounting.prices import PriceBook, built_in_rows
from gateway.ledger.rows import AttemptRow
from tests.ledger.samples import NOON_US, begun

PRICES = PriceBook(built_in_rows())
SECOND_US = 1_000_000


def price(name: str) -> dict[str, Any]:
    tariff = PRICES.find(name)
    assert tariff is not None
    return tariff.rows[0].record


def broken_off(number: int = 0, **changes: Any) -> AttemptRow:
    """One that lived for 10 s until its gateway died; an L40S at Replicate, estimated."""
    usual: dict[str, Any] = {
        "status": "interrupted",
        "provider": "replicate",
        "deployment": "l40s",
        "upstream_id": f"job-{number}",
        "completed_at_us": NOON_US + 10 * SECOND_US,
        "error_type": "Interrupted",
        "total_seconds": 10.0,
        "price": price("replicate-gpu-l40s"),
        "cost_status": "estimated",
        "cost_pico_usd": 9_750_000_000,
        "known_pico_usd": 9_750_000_000,
        "low_pico_usd": 0,
        "high_pico_usd": 877_500_000_000,
        "input_tokens": 7,
        "input_tokens_source": "estimated",
    }
    return replace(begun(number, at_us=NOON_US), **(usual | changes))


def at(seconds: float) -> datetime:
    """So long after noon, when all of them begin."""
    return datetime.fromtimestamp(NOON_US / 1e6 + seconds, UTC)


def at_us(seconds: float) -> int:
    return NOON_US + round(seconds * SECOND_US)
