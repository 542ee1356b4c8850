from __future__ import annotations

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
    *, caused_boot: bool | None, started: bool, idle_before_seconds: float | None = None
) -> AttemptRow:
    row = AttemptRow("a", "o", 0, "generate", False, "m", "d", "p", "pm", "r", 0, 0)
    row.idle_before_seconds = idle_before_seconds
    timeline = Timeline(0.0)
    timeline.observe(Booting("process_started", caused_boot), 0.0)
    if started:
        timeline.observe(Started(), 2.0)
    timeline.end(2.0)
    settle(row, Observed(timeline, boot_limit_seconds=600.0), PRICE, TokenEstimator())
    return row


def test_a_boot_that_was_waited_out_is_measured() -> None:
    row = settled(caused_boot=True, started=True)
    assert (row.cost_status, row.cost_pico_usd) == ("measured", 2 * 10**12)


def test_a_boot_that_its_cause_has_left_may_go_on_until_it_is_given_up() -> None:
    row = settled(caused_boot=True, started=False)
    assert (row.cost_status, row.cost_pico_usd) == ("estimated", 2 * 10**12)
    assert (row.low_pico_usd, row.high_pico_usd) == (2 * 10**12, 600 * 10**12)


def test_a_boot_that_others_caused_costs_nothing() -> None:
    row = settled(caused_boot=False, started=False)
    assert (row.cost_status, row.cost_pico_usd) == ("measured", 0)


def test_a_boot_beside_others_may_be_theirs() -> None:
    alone = settled(caused_boot=None, started=True, idle_before_seconds=9.0)
    assert (alone.cost_status, alone.cost_pico_usd) == ("measured", 2 * 10**12)
    beside = settled(caused_boot=None, started=True, idle_before_seconds=0.0)
    assert (beside.cost_status, beside.cost_pico_usd) == ("estimated", 2 * 10**12)
    assert (beside.low_pico_usd, beside.high_pico_usd) == (0, 2 * 10**12)
