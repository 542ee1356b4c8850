"""Dollars of a comparison: one rounding for its sentence, its table and its drawing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.comparison.figures import dollars


@pytest.mark.parametrize(
    ("usd", "said"),
    [
        ("0", "$0"),
        ("0.00", "$0"),
        ("1234.5", "$1,234"),
        ("9.634", "$9.63"),
        ("0.08024", "$0.0802"),
        ("0.5", "$0.50"),
        ("0.0000001234", "$0.000000123"),
    ],
)
def test_dollars(usd: str, said: str) -> None:
    assert dollars(Decimal(usd)) == said
