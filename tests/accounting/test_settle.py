from __future__ import annotations

import pytest

from gateway.accounting.boot_shares import BootShares, Carried
from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceRow
from gateway.accounting.settle import Observed, settle
from gateway.accounting.timeline import Timeline
from gateway.ledger.rows import AttemptRow
from providers.contract import Booting, Started

PRICE = PriceRow.model_validate(
    {
        "name": "p",
        "effective_from": "2026-01-01",
        "source": "test",
        "checked_on": "2026-01-01",
        "usd_per_second": "1",
        "bills": ["execute", "boot"],
    }
)


def settled(
    *,
    caused_boot: bool | None,
    started: bool,
    boots: Carried | None = None,
    began_at: float = 0.0,
    left_seconds: float | None = None,
) -> AttemptRow:
    row = AttemptRow("a", "o", 0, "generate", False, "m", "d", "p", "pm", "r", 0, 0)
    timeline = Timeline(began_at)
    timeline.observe(Booting("process_started", caused_boot), began_at)
    if started:
        timeline.observe(Started("i-1"), 2.0)
    timeline.end(2.0)
    seen = Observed(timeline, boot_limit_seconds=600.0, boot_left_seconds=left_seconds, boots=boots)
    settle(row, seen, PRICE, TokenEstimator())
    return row


def test_a_boot_that_was_waited_out_is_measured() -> None:
    row = settled(caused_boot=True, started=True)
    assert (row.cost_status, row.cost_pico_usd) == ("measured", 2 * 10**12)


def test_a_boot_that_its_cause_has_left_may_go_on_until_it_is_given_up() -> None:
    row = settled(caused_boot=True, started=False)
    assert (row.cost_status, row.cost_pico_usd) == ("estimated", 2 * 10**12)
    assert (row.low_pico_usd, row.high_pico_usd) == (2 * 10**12, 600 * 10**12)


def test_a_boot_that_was_called_off_most_likely_goes_on_to_its_end() -> None:
    row = settled(caused_boot=True, started=False, left_seconds=28.0)
    assert (row.cost_status, row.cost_pico_usd) == ("estimated", 30 * 10**12)
    assert (row.low_pico_usd, row.high_pico_usd) == (2 * 10**12, 600 * 10**12)
    assert row.boot_seconds == 2.0  # it waited no longer
    long = settled(caused_boot=True, started=False, left_seconds=1e6)
    assert long.cost_pico_usd == long.high_pico_usd == 600 * 10**12


def test_a_boot_that_others_caused_costs_nothing() -> None:
    row = settled(caused_boot=False, started=False)
    assert (row.cost_status, row.cost_pico_usd) == ("measured", 0)


def test_a_boot_that_nobody_is_said_to_have_caused_may_cost_nothing() -> None:
    row = settled(caused_boot=None, started=True)
    assert (row.cost_status, row.cost_pico_usd) == ("estimated", 2 * 10**12)
    assert (row.low_pico_usd, row.high_pico_usd) == (0, 2 * 10**12)
    left = settled(caused_boot=None, started=False)
    assert (left.low_pico_usd, left.high_pico_usd) == (0, 600 * 10**12)


def test_waiters_on_one_boot_carry_it_once() -> None:
    boots = BootShares().take
    waited = [0.5, 0.0, 0.25]  # from when on; the machine is up at 2
    rows = [settled(caused_boot=None, started=True, boots=boots, began_at=at) for at in waited]
    assert [row.cost_pico_usd for row in rows] == [15 * 10**11, 5 * 10**11, 0]
    assert [row.low_pico_usd for row in rows] == [0, 0, 0]
    assert [row.high_pico_usd for row in rows] == [15 * 10**11, 5 * 10**11, 0]
    assert [row.boot_seconds for row in rows] == [1.5, 2.0, 1.75]  # what they waited stays
    assert (rows[2].cost_status, rows[2].cost_lines) == ("measured", rows[2].cost_lines[:1])
    assert rows[2].caused_boot is None


@pytest.mark.parametrize("first", [True, False])
def test_whoever_caused_it_pays_all_of_it(first: bool) -> None:
    boots = BootShares().take
    order = [True, None] if first else [None, True]
    rows = [
        settled(caused_boot=caused, started=True, boots=boots, began_at=0.0 if caused else 1.0)
        for caused in order
    ]
    paid = rows[0 if first else 1]
    assert (paid.cost_status, paid.cost_pico_usd) == ("measured", 2 * 10**12)
    beside = rows[1 if first else 0]
    assert beside.low_pico_usd == 0
    assert beside.cost_pico_usd == (0 if first else 10**12)
