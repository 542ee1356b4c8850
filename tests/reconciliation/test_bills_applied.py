"""``gateway reconcile --apply``, and the period that is compared."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.ledger.reading.booked import booked
from gateway.ledger.reading.signs import alive_path, last_seen_us
from gateway.ledger.writing.imports import ImportJournal
from gateway.reconciliation.statements import Statements
from tests.ledger.samples import NOON_US
from tests.reconciliation.bills import (
    H100,
    HOUR_US,
    bill_of,
    day,
    groups,
    modal_bill,
    ran,
    reconciled,
)


def test_applying_books_the_difference_once(tmp_path: Path, modal: tuple[str, ...]) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "2000", hours=24, **H100)]
    bill = modal_bill(("my-app", "22", "0.875"), ("my-app", "23", "2.1"))
    before = reconciled(tmp_path, rows, bill, *modal, "--apply", status=1)
    assert before["difference_usd"] == "0.05"
    after = reconciled(tmp_path, [], bill, *modal, "--apply")
    assert (after["difference_usd"], after["matched"]) == ("0", 2)
    again = reconciled(tmp_path, [], bill, *modal)
    assert again["ledger_usd"] == again["bill_usd"] == "2.975"
    assert len(Statements(tmp_path / "data").read("modal")) == 1


def test_what_is_written_after_a_death_is_no_sign_of_life(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    """A gateway that starts later books what the dead one left open up to its last sign."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    alive_path(data_dir).touch()
    os.utime(alive_path(data_dir), (1_000_000, 1_000_000))
    rows = [ran(0, "1000", **H100), ran(1, "2000", hours=24, **H100)]
    bill = modal_bill(("my-app", "22", "0.875"), ("my-app", "23", "2.1"))
    reconciled(tmp_path, rows, bill, *modal, "--apply", status=1)
    assert len(booked_usd(tmp_path)) == 2
    assert last_seen_us(data_dir) == 1_000_000 * 10**6
    with ImportJournal(data_dir) as journal:
        journal.write([ran(2, "1", **H100)])
        assert last_seen_us(data_dir) == 1_000_000 * 10**6  # not even if it dies here


def booked_usd(tmp_path: Path) -> list[Decimal]:
    """What each adjustment in the ledger is, smallest first."""
    rows = booked(tmp_path / "data", "modal", NOON_US - 240 * HOUR_US, NOON_US + 240 * HOUR_US)
    return sorted(Decimal(row.known_pico_usd).scaleb(-12) for row in rows if row.charge)


TAXED = "model,sku,start_time,kind,cost_usd"
TWO_DAYS = ("--by", "sums", "--since", day("22T00:00"), "--until", day("24T00:00"))


@pytest.mark.parametrize(
    ("taxes", "expected"),
    [
        ((f"VAT,,{day('22T00:00')},,1.00", f"VAT,,{day('23T00:00')},,2.00"), ["1", "2", "4.025"]),
        ((f"VAT,,{day('22T00:00')},,1.00", f"VAT,,{day('22T00:00')},,2.00"), ["3", "4.025"]),
        (("VAT,,,,1.00", "VAT,,,,2.00", "credit,,,,-0.5"), ["-0.5", "3", "4.025"]),
        ((f"my-app,,{day('22T00:00')},tax,1.00",), ["1", "4.025"]),
    ],
    ids=["two days", "one day", "no time", "named like a model"],
)
def test_applying_again_neither_loses_a_tax_nor_takes_it_back(
    tmp_path: Path, modal: tuple[str, ...], taxes: Sequence[str], expected: Sequence[str]
) -> None:
    rows = [ran(0, "1000", **H100)]
    bill = bill_of(f"my-app,,{day('22T00:00')},,5.00", *taxes, header=TAXED)
    reconciled(tmp_path, rows, bill, *modal, *TWO_DAYS, "--apply")
    wanted = [Decimal(usd) for usd in expected]
    assert booked_usd(tmp_path) == wanted
    for _ in range(2):
        said = reconciled(tmp_path, [], bill, *modal, *TWO_DAYS, "--apply")
        assert said["ledger_usd"] == said["bill_usd"]
        assert said["matched"] == len(said["groups"])
        assert booked_usd(tmp_path) == wanted


def test_a_tax_that_a_later_bill_has_no_more_is_taken_back_once(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    usage = f"my-app,,{day('22T00:00')},,0.975"
    first = bill_of(usage, f"VAT,,{day('22T00:00')},,1.00", header=TAXED)
    reconciled(tmp_path, [ran(0, "1000", **H100)], first, *modal, *TWO_DAYS, "--apply")
    corrected = bill_of(usage, header=TAXED)
    said = reconciled(tmp_path, [], corrected, *modal, *TWO_DAYS, "--apply")
    assert groups(said)["VAT"]["name"] == "tax or credit"
    for _ in range(2):
        reconciled(tmp_path, [], corrected, *modal, *TWO_DAYS, "--apply")
        assert booked_usd(tmp_path) == [-1, 1]


def test_applying_a_bill_by_sku_again_adds_nothing(tmp_path: Path, modal: tuple[str, ...]) -> None:
    usual = {**H100, "hardware": "gpu-l40s"}
    bill = bill_of(
        f"my-app,gpu-l40s,{day('22T00:00')},,0.975",
        f"batch,gpu-l40s,{day('22T00:00')},,7",
        header=TAXED,
    )
    for rows in ([ran(0, "1000", **usual)], [], []):
        reconciled(tmp_path, rows, bill, *modal, *TWO_DAYS, "--apply")
        assert booked_usd(tmp_path) == [7]


def test_sums_outside_the_period_are_neither_compared_nor_booked(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "1000", hours=-72, **H100)]
    bill = modal_bill(("my-app", "19", "0.975"), ("VAT", "21", "3"), ("my-app", "22", "0.975"))
    given = (*modal, "--since", day("22T00:00"))
    said = reconciled(tmp_path, rows, bill, *given, "--apply")
    assert (said["bill_usd"], said["ledger_usd"], said["left_out_lines"]) == ("0.975", "0.975", 2)
    (group,) = said["groups"]
    assert group["period"] == "2026-11-22T00:00Z/2026-11-23T00:00Z"
    assert booked_usd(tmp_path) == []
    said = reconciled(tmp_path, [], bill, *modal, "--until", day("20T00:00"))
    assert (said["bill_usd"], said["ledger_usd"], said["left_out_lines"]) == ("0.975", "0.975", 2)


def test_jobs_outside_the_period_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [ran(0, "1000"), ran(1, "1000", hours=-72)]
    bill = bill_of(f"job-0,{day()},m,0.975", f"job-1,{day('19T12:00')},m,0.975")
    period = ("--since", day("22T00:00"), "--until", day("23T00:00"))
    said = reconciled(tmp_path, rows, bill, *period)
    assert (said["bill_usd"], said["ledger_usd"], said["left_out_lines"]) == ("0.975", "0.975", 1)
    assert [group["verdict"] for group in said["groups"]] == ["matched"]
    given = ["--bill", str(tmp_path / "bill.csv"), "--data-dir", str(tmp_path / "data"), *period]
    for form in ([], ["--csv"]):
        shown = CliRunner().invoke(app, ["reconcile", "--provider", "replicate", *given, *form])
        assert "outside the period: 1 lines of the bill (0.975 USD), 0 rows" in shown.output


def test_a_line_that_ends_when_it_begins_is_of_its_own_day(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "2000", hours=24, **H100)]
    lines = [
        f"my-app,{day(at)},{day(at)},{usd}"
        for at, usd in (("22T00:00", "0.975"), ("23T00:00", "1.95"))
    ]
    bill = bill_of(*lines, header="model,start_time,end_time,cost_usd")
    said = reconciled(tmp_path, rows, bill, *modal, "--until", day("24T00:00"))
    assert [group["verdict"] for group in said["groups"]] == ["matched", "matched"]


def test_a_period_that_begins_at_an_odd_minute_leaves_nothing_out(tmp_path: Path) -> None:
    """Sums without --since begin with the bill's first line."""
    rows = [ran(0, "1000", hours=0.13)]
    bill = bill_of(f"owner/model,{day('22T12:07')},0.975", header="model,start_time,cost_usd")
    said = reconciled(tmp_path, rows, bill, "--by", "sums", "--until", day("22T13:00"))
    assert (said["matched"], said["ledger_usd"], said["bill_usd"]) == (1, "0.975", "0.975")
