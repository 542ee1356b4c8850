"""A stay in slices: the same time and the same money, to the last digit."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal

import pytest

from gateway.accounting.hours import HOUR_US, hour_after
from gateway.accounting.prices import PriceRow
from gateway.keeping.slices import slice_line
from gateway.keeping.stays import Slice, Stays
from gateway.ledger.stay_rules import GOES_ON, UNUSED, USED

NOON_US = 1_795_348_800_000_000


def price(dice: random.Random) -> PriceRow:
    rates = ("0.000975", "0.0001234567890123", "1.5")
    step = dice.choice((None, None, "1", "60", "0.1"))
    return PriceRow.model_validate(
        {
            "name": "machine",
            "usd_per_second": dice.choice(rates),
            "bills": ["execute", "idle"],
            "round_up_seconds": step,
            "effective_from": date(1970, 1, 1),
            "source": "a test",
            "checked_on": date(2026, 11, 1),
        }
    )


def lived(dice: random.Random) -> tuple[list[Slice], int, int, str]:
    """A stay that is looked at now and then: its slices, its begin and end, what came of it."""
    own_us = dice.choice((0, 1, 300_000_000))
    stays = Stays(own_us, 30_000_000)
    idle_us = NOON_US + dice.choice((0, dice.randrange(5 * HOUR_US)))
    stays.idles(idle_us)
    begin_us = idle_us + own_us
    lasts = dice.choice((1, dice.randrange(1, 10 * HOUR_US), HOUR_US))
    end_us = dice.choice((begin_us + lasts, hour_after(begin_us)))
    slices: list[Slice] = []
    for at_us in sorted(dice.randrange(idle_us, end_us + 1) for _ in range(dice.randrange(8))):
        slices += stays.cut(at_us)
    if dice.randrange(2):
        slices += stays.cut(end_us)
    used = dice.randrange(2)
    slices += stays.used(end_us) if used else stays.lets_go(end_us)
    assert stays.paid_from_us is None
    return slices, begin_us, end_us, USED if used else UNUSED


@pytest.mark.parametrize("seed", range(100))
def test_the_slices_are_the_stay(seed: int) -> None:
    dice = random.Random(seed)
    slices, begin_us, end_us, rule = lived(dice)
    assert (slices[0].begin_us, slices[-1].end_us) == (begin_us, end_us)
    assert [x.end_us for x in slices[:-1]] == [x.begin_us for x in slices[1:]]
    assert [x.rule for x in slices] == [GOES_ON] * (len(slices) - 1) + [rule]
    assert all(x.end_us <= hour_after(x.begin_us) for x in slices)
    assert len({(x.begin_us, x.end_us) for x in slices}) == len(slices)
    row = price(dice)
    whole = slice_line(row, begin_us, begin_us, end_us)
    parts = [slice_line(row, x.since_us, x.begin_us, x.end_us) for x in slices]
    for name in ("quantity", "usd", "high_usd", "low_usd"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
    assert whole.usd is not None and whole.usd > 0


def test_what_has_no_price_has_no_cost() -> None:
    unpriced = slice_line(None, 0, HOUR_US, HOUR_US + 1_000_000)
    assert (unpriced.quantity, unpriced.usd, unpriced.status) == (Decimal(1), None, "unknown")
