"""``gateway reconcile`` by sums: both sides of the comparison are of the same time."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.clock import rfc3339
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.imports import ImportJournal
from gateway.settings import ConfigError
from tests.ledger.samples import NOON_US
from tests.reconciliation.bills import (
    H100,
    HOUR_US,
    MODAL,
    bill_of,
    day,
    groups,
    modal_bill,
    ran,
    reconciled,
)

ZONES = ("UTC", "Asia/Kathmandu", "Europe/Berlin", "America/New_York")
BEGIN_US = NOON_US - 70 * 24 * HOUR_US  # both zones with summer time end it after that


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sequence[AttemptRow]]:
    """Ten weeks of attempts, busy and idle days, and where they lie."""
    dice = random.Random(7)
    busy = [n for n in range(70) if dice.random() < 0.6]
    rows = [
        ran(
            number,
            f"{dice.randrange(1, 10**6)}e-3",
            hours=-70 * 24 + dice.choice(busy) * 24 + dice.random() * 24,
            **H100,
        )
        for number in range(300)
    ]
    folder = tmp_path_factory.mktemp("ledger")
    with ImportJournal(folder) as journal:
        journal.write(rows)
    return folder, rows


def billed(rows: Sequence[AttemptRow], zone: str, length: str) -> dict[datetime, Decimal]:
    """What a provider with that clock would bill: sums by begin of hour, day or month."""
    sums: dict[datetime, Decimal] = defaultdict(Decimal)
    for row in rows:
        at = datetime.fromtimestamp(row.begun_at_us // 10**6, UTC).astimezone(ZoneInfo(zone))
        begin = at.replace(minute=0, second=0)
        if length != "hour":
            begin = begin.replace(hour=0, fold=0)
        if length == "month":
            begin = begin.replace(day=1)
        sums[begin] += Decimal(row.known_pico_usd).scaleb(-12)
    return sums


def held_against(folder: Path, bill: Path, *options: str) -> Any:
    given = ["--bill", str(bill), "--data-dir", str(folder), "--provider", "modal", "--json"]
    result = CliRunner().invoke(app, ["reconcile", *given, *options])
    if isinstance(result.exception, ConfigError):
        return str(result.exception)
    return json.loads(result.output)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("length", ["hour", "day", "month"])
def test_a_bill_of_the_ledgers_own_sums_fits_in_every_window(
    ledger: tuple[Path, Sequence[AttemptRow]], tmp_path: Path, zone: str, length: str
) -> None:
    folder, rows = ledger
    sums = billed(rows, zone, length)
    lines = [f"ap-1,m,main,{begin.isoformat()},{usd:f}" for begin, usd in sums.items()]
    (tmp_path / "bill.csv").write_text(MODAL + "\n".join(lines) + "\n")
    dice = random.Random(f"{zone} {length}")
    for number in range(4):
        begin_us = BEGIN_US + dice.randrange(30 * 24 * HOUR_US)
        end_us = begin_us + dice.randrange(2 * HOUR_US, 60 * 24 * HOUR_US)
        window = ("--since", rfc3339(begin_us), "--until", rfc3339(end_us)) if number else ()
        said = held_against(folder, tmp_path / "bill.csv", *window)
        if isinstance(said, str):
            assert length == "month" and "cannot be cut" in said
            continue
        assert said["difference_usd"] == "0", (window, said)
        assert said["matched"] == len(said["groups"]) > 0
        assert said["ledger_usd"] != "0"
        inside = [row for row in rows if not window or begin_us <= row.begun_at_us < end_us]
        assert whole(said, "ledger_usd") == total(inside)
        assert whole(said, "bill_usd") == total(rows)


def total(rows: Sequence[AttemptRow]) -> Decimal:
    return sum((Decimal(row.known_pico_usd).scaleb(-12) for row in rows), Decimal(0))


def whole(said: Mapping[str, Any], side: str) -> Decimal:
    return Decimal(said[side]) + Decimal(said[f"left_out_{side}"])


def test_a_day_that_the_window_cuts_is_set_apart_on_both_sides(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(0, "1000", hours=-12, **H100), ran(1, "500", hours=13, **H100)]
    rows.append(ran(2, "100", hours=26, **H100))  # 14 h of the same day are not the whole of it
    bill = modal_bill(("my-app", "22", "0.975"), ("my-app", "23", "0.585"))
    until = ("--until", day("23T12:00"))
    said = reconciled(tmp_path, rows, bill, *modal, *until)
    (group,) = said["groups"]
    assert (group["verdict"], group["bill_usd"]) == ("matched", "0.975")
    assert said["until"] == "2026-11-23T00:00:00.000000Z"  # no further is it known
    assert (said["left_out_lines"], said["left_out_bill_usd"]) == (1, "0.585")
    assert (said["left_out_rows"], said["left_out_ledger_usd"]) == (1, "0.4875")
    given = ("--bill", str(tmp_path / "bill.csv"), "--data-dir", str(tmp_path / "data"))
    shown = CliRunner().invoke(app, ["reconcile", *given, *modal, *until]).output
    said_so = "1 lines of the bill (0.585 USD), 1 rows of the ledger (0.4875 USD)"
    assert said_so in shown.replace("\n", " ")
    with pytest.raises(AssertionError, match="cannot be cut"):
        reconciled(tmp_path, [], bill, *modal, "--since", day("23T01:00"), *until)


def test_what_ran_in_an_hour_that_the_bill_has_nothing_for_is_not_passed_over(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "500", hours=2, **H100), ran(2, "100", hours=5, **H100)]
    hours = [f"ap-1,my-app,main,2026-11-22T{hour}:00:00,{usd}" for hour, usd in HOURS]
    said = reconciled(tmp_path, rows, MODAL + "\n".join(hours) + "\n", *modal, status=1)
    (odd,) = (group for group in said["groups"] if group["verdict"] != "matched")
    assert (odd["verdict"], odd["ledger_usd"]) == ("gateway_only", "0.4875")
    assert odd["period"] == "2026-11-22T13:00Z/2026-11-22T17:00Z"
    assert said["difference_usd"] == "-0.4875"


HOURS = (("12", "0.975"), ("17", "0.0975"))


def test_sums_that_overlap_are_compared_together(tmp_path: Path, modal: tuple[str, ...]) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "500", hours=1, **H100)]
    bill = bill_of(
        f"my-app,{day('22T12:00')},{day('22T14:00')},0.975",
        f"my-app,{day('22T13:00')},{day('22T15:00')},0.4875",
        f"VAT,{day('22T12:00')},{day('29T12:00')},0.1",
        header="model,start_time,end_time,cost_usd",
    )
    said = reconciled(tmp_path, rows, bill, *modal)
    assert groups(said)["my-app"]["period"] == "2026-11-22T12:00Z/2026-11-22T15:00Z"
    assert groups(said)["my-app"]["verdict"] == "matched"
    assert (groups(said)["VAT"]["name"], said["unexplained"]) == ("tax or credit", 0)


def test_a_line_without_a_time_is_not_taken_into_a_part_of_the_bill(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(0, "1000", **H100), ran(1, "1000", hours=24, **H100)]
    days = [f"my-app,{day(f'{n}T00:00')},0.975" for n in (22, 23)]
    bill = bill_of(*days, "credit,,-0.5", header="model,start_time,cost_usd")
    assert reconciled(tmp_path, rows, bill, *modal)["bill_usd"] == "1.45"
    said = reconciled(tmp_path, [], bill, *modal, "--until", day("23T00:00"))
    assert (said["bill_usd"], said["left_out_lines"], said["matched"]) == ("0.975", 2, 1)


def test_hours_that_begin_beside_the_window_are_not_halved(
    tmp_path: Path, modal: tuple[str, ...]
) -> None:
    rows = [ran(n, "100", hours=n / 10, **H100) for n in range(30)]
    hours = [f"ap-1,my-app,main,2026-11-22T{12 + n}:00:00,0.975" for n in range(3)]
    bill = MODAL + "\n".join(hours) + "\n"
    odd = timedelta(minutes=37, seconds=11)
    since = datetime.fromtimestamp(NOON_US / 1e6, UTC) + odd
    said = reconciled(tmp_path, rows, bill, *modal, "--since", since.isoformat())
    assert (said["bill_usd"], said["ledger_usd"], said["matched"]) == ("1.95", "1.95", 2)
    assert said["left_out_rows"] == 3
