from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.reports.export import export
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import ship
from tests.ledger.samples import NOON_US, begun, finished, idle_charge, priced, unpriced
from tests.ledger.test_migration import migrate


@pytest.fixture
def filled(data_dir: Path, journal: Journal) -> Path:
    journal.end(priced(begun(0, at_us=5), "0.25"))  # 1970: it lies in a file of its own
    journal.end(finished(begun(1), key_id="k1", tags={"team": "a,b"}))
    journal.end(unpriced(begun(2)))
    journal.charge(idle_charge(1, attempt_id="att_000001", period_start_at_us=NOON_US + 1_000))
    journal.begin(begun(3, at_us=NOON_US + 2_000))
    ship(data_dir)
    migrate(data_dir)
    return data_dir


def lines(data_dir: Path, form: Any, start: int = 0, end: int = 1 << 60) -> list[dict[str, str]]:
    out = io.StringIO(newline="")
    count = export(data_dir, out, form=form, start_at_us=start, end_at_us=end)
    out.seek(0)
    found = list(csv.DictReader(out))
    assert len(found) == count
    return found


def test_rows_as_they_are_in_the_order_of_time(filled: Path) -> None:
    found = lines(filled, "csv")
    ids = [row["attempt_id"] or row["charge_id"] for row in found]
    assert ids == ["att_000000", "att_000001", "att_000002", "att_000001", "att_000003"]
    assert [row["record"] for row in found] == ["attempt"] * 3 + ["charge", "attempt"]
    first = found[1]
    assert first["cost_pico_usd"] == "93000000" and first["caused_boot"] == "true"
    assert json.loads(first["tags"]) == {"team": "a,b"}
    assert found[2]["cost_pico_usd"] == "" and found[2]["cost_status"] == "unknown"
    assert found[3]["attempt_id"] == "att_000001" and found[3]["quantity"] == "60"


def test_a_range_holds_its_start_and_not_its_end(filled: Path) -> None:
    found = lines(filled, "csv", NOON_US + 2, NOON_US + 2_000)
    assert [row["charge_id"] or row["attempt_id"] for row in found] == ["att_000002", "chg_000001"]
    assert lines(filled, "csv", 0, 5) == []


def test_a_cost_line_is_a_row_of_focus(filled: Path) -> None:
    found = [row for row in lines(filled, "focus") if row["x_AttemptId"] == "att_000001"]
    active, boot, idle = found
    assert [row["x_ChargeKind"] for row in found] == ["active", "boot", "idle"]
    assert boot["BilledCost"] == boot["EffectiveCost"] == boot["ListCost"] == "0.000062"
    assert boot["ContractedCost"] == "0.000062" and boot["BillingCurrency"] == "USD"
    assert boot["ConsumedQuantity"] == boot["PricingQuantity"] == "0.62"
    assert boot["ConsumedUnit"] == boot["PricingUnit"] == "Seconds"
    assert boot["PricingCategory"] == "Standard" and boot["ListUnitPrice"] == "0.0001"
    assert boot["SkuPriceId"] == "local-cpu@2026-11-01" and boot["SkuMeter"] == "boot_seconds"
    assert boot["ChargePeriodStart"] == "2026-11-22T12:00:00Z"
    assert boot["BillingPeriodStart"] == "2026-11-01T00:00:00Z"
    assert boot["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"
    assert boot["ServiceProviderName"] == "local" and boot["ResourceId"] == "local-smollm2"
    assert boot["x_ColdStart"] == "cold" and boot["x_RequestId"] == "gen_000001"
    assert boot["SubAccountId"] == "k1" and json.loads(boot["Tags"]) == {"team": "a,b"}
    assert active["SkuMeter"] == "execute_seconds" and active["ChargeCategory"] == "Usage"
    assert idle["BilledCost"] == "0.006" and idle["ConsumedQuantity"] == "60"
    assert sum(Decimal(row["BilledCost"]) for row in found) == Decimal("0.006093")
    for name in ("SubAccountId", "SubAccountName", "x_RequestId", "x_Model", "x_Origin"):
        assert idle[name] == boot[name] != ""  # whose idle time it is: as in the reports


ALLOCATED = (
    *("AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId"),
    *("AllocatedResourceName", "AllocatedTags"),
)


def test_idle_time_is_allocated_to_the_attempt_before_it(filled: Path) -> None:
    active, boot, idle = (
        row for row in lines(filled, "focus") if row["x_AttemptId"] == "att_000001"
    )
    assert {row[name] for row in (active, boot) for name in ALLOCATED} == {""}
    assert idle["AllocatedMethodId"] == "to-the-attempt-before"
    assert idle["AllocatedResourceId"] == idle["AllocatedResourceName"] == "att_000001"
    # The tags are those of what it is allocated to, and stand in one of the two columns only.
    assert json.loads(idle["AllocatedTags"]) == json.loads(boot["Tags"]) == {"team": "a,b"}
    assert idle["Tags"] == ""
    (element,) = json.loads(idle["AllocatedMethodDetails"])["Elements"]
    assert element == {"AllocatedRatio": 1, "UsageUnit": "Seconds", "UsageQuantity": 60}


def test_what_belongs_to_no_attempt_is_left_unallocated_and_says_so(
    data_dir: Path, journal: Journal
) -> None:
    for number, kind in enumerate(("standing", "keep_warm", "fee", "adjustment")):
        charged = idle_charge(number, attempt_id=None, kind=kind, rule="not allocated")
        journal.charge(charged)
    journal.charge(idle_charge(9, attempt_id="att_gone", quantity=None))
    ship(data_dir)
    *others, lost = lines(data_dir, "focus")
    assert len(others) == 4
    for row in others:
        assert {row[name] for name in ALLOCATED} == {""}
        assert row["ChargeDescription"].endswith(f"{row['x_ChargeKind']}, not allocated")
    # Whose it was is known, its tags are not: the attempt was deleted.
    assert lost["AllocatedResourceId"] == "att_gone" and lost["AllocatedTags"] == ""
    (element,) = json.loads(lost["AllocatedMethodDetails"])["Elements"]
    assert element == {"AllocatedRatio": 1, "UsageUnit": "Seconds"}


def test_whatever_has_a_price_is_of_something(filled: Path) -> None:
    """A price's id without a SKU's is none in FOCUS, as where a configured rate names no card."""
    found = [row for row in lines(filled, "focus") if row["SkuPriceId"]]
    assert found and all(row["SkuId"] for row in found)


def test_unknown_is_empty_and_not_zero(filled: Path) -> None:
    found = [row for row in lines(filled, "focus") if row["x_AttemptId"] == "att_000002"]
    (images,) = found
    for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"):
        assert images[name] == ""
    assert images["x_CostStatus"] == "unknown" and images["ConsumedQuantity"] == ""


def test_without_a_price_there_is_no_quantity(data_dir: Path, journal: Journal) -> None:
    no_price = {"kind": "execute_seconds", "quantity": "2", "usd": None, "price_id": None}
    lines_of: tuple[list[Any], ...] = ([{**no_price, "status": "unknown"}], [])
    for number, cost_lines in enumerate(lines_of):
        journal.end(replace(unpriced(begun(number)), cost_lines=cost_lines))
    ship(data_dir)
    for row in lines(data_dir, "focus"):
        assert row["SkuPriceId"] == row["ConsumedQuantity"] == row["PricingQuantity"] == ""
        assert row["PricingUnit"] == row["PricingCategory"] == row["BilledCost"] == ""
        assert row["x_CostStatus"] == "unknown"


def test_an_empty_ledger_is_a_header(data_dir: Path, journal: Journal) -> None:
    assert lines(data_dir, "focus") == []
