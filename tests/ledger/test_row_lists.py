"""Lists of operations and charges by what only rows can tell, and what stands above each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow, ChargeRow
from tests.ledger import asking
from tests.ledger.asking import HOUR_US, Fill
from tests.ledger.databases import change
from tests.ledger.samples import (
    NOON_US,
    begun,
    estimated,
    finished,
    idle_charge,
    pico,
    priced,
    unpriced,
)


def asked(**given: Any) -> ReportQuery:
    """Of some days: by hour of the day each is asked for by itself."""
    days = {"start_at_us": NOON_US - HOUR_US, "end_at_us": NOON_US + 72 * HOUR_US}
    return asking.asked(**{**days, **given})


KINDS: tuple[Any, ...] = ("idle", "standing", "keep_warm")


def attempt(number: int) -> AttemptRow:
    """One of many over two days, of which few are like another."""
    at_us = NOON_US + number * 1_700_000_000
    row = begun(number, at_us=at_us, operation_id=f"gen_{number}", key_id=f"k{number % 2}")
    row = replace(row, deployment="abc"[number % 3], tags={"n": str(number % 4)})
    match number % 5:
        case 0:
            row = priced(row, "0.001", verdict="warm", evidence="scale_state", caused_boot=False)
        case 1:
            row = estimated(row, "0.001", "0.002", "0.003", boot_seconds=float(number % 4))
        case 2:
            row = unpriced(row, "0.0005", caused_boot=None)
        case 3:
            row = finished(row, status="lost_hedge")
        case _:
            row = finished(row)
    return replace(row, origin="imported") if number % 7 == 0 else row


def charge(number: int) -> ChargeRow:
    """For every second attempt one; of some the cost is not known, of others an estimate."""
    begin_us = NOON_US + number * 1_700_000_000 + 5_000_000
    row = idle_charge(
        number,
        kind=KINDS[number % 3],
        deployment="abc"[number % 3],
        rule="to the attempt before it" if number % 3 == 0 else "not allocated",
        period_start_at_us=begin_us,
        period_end_at_us=begin_us + number * 1_000_000,
        attempt_id=f"att_{number:06d}" if number % 2 else None,
    )
    if number % 4 == 1:
        return replace(row, status="unknown", cost_pico_usd=None)
    if number % 4 == 2:
        return replace(row, status="estimated", high_pico_usd=pico("0.01"))
    return row


ATTEMPTS = [attempt(number) for number in range(36)]
CHARGES = [charge(number) for number in range(36)]


def local_hour(row: AttemptRow, zone: str) -> int:
    return datetime.fromtimestamp(row.operation_at_us / 1e6, ZoneInfo(zone)).hour


def is_cold(row: AttemptRow) -> bool:
    return row.verdict == "cold" and row.status not in ("running", "lost_hedge")


def has_boot(row: AttemptRow) -> bool:
    return is_cold(row) and row.boot_seconds is not None and row.caused_boot is not False


OF_ATTEMPTS: list[tuple[dict[str, Any], Callable[[AttemptRow], bool]]] = [
    ({"cost_status": ("unknown",)}, lambda row: row.cost_status == "unknown"),
    (
        {"cost_status": ("unknown", "estimated")},
        lambda row: row.cost_status in ("unknown", "estimated"),
    ),
    ({"caused_boot": ("true",)}, lambda row: row.caused_boot is True),
    ({"caused_boot": ("unknown", "false")}, lambda row: not row.caused_boot),
    ({"line": ("boot_seconds",)}, lambda row: len(row.cost_lines) == 2 and row.caused_boot is True),
    ({"sample": ("boot",)}, has_boot),
    ({"sample": ("wait",)}, lambda row: is_cold(row) and row.wait_seconds is not None),
    (
        {"sample": ("boot",), "boot_seconds": ("0..1",)},
        lambda row: has_boot(row) and row.boot_seconds is not None and row.boot_seconds <= 1,
    ),
    ({"boot_seconds": ("1..",)}, lambda row: row.boot_seconds is not None and row.boot_seconds > 1),
    ({"hour": ("13", "2")}, lambda row: local_hour(row, "Asia/Kolkata") in (13, 2)),
]


def every(read: Callable[[ReportQuery], dict[str, Any]], query: ReportQuery) -> list[Any]:
    """The rows of all pages."""
    found, cursor = [], None
    while True:
        page = read(replace(query, limit=7, cursor=cursor))
        assert len(page["data"]) <= 7
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.fixture(params=["sums", "an-older-ledger"])
def reports(fill: Fill, data_dir: Path, request: pytest.FixtureRequest) -> Reports:
    filled = fill(*ATTEMPTS, *CHARGES)
    if request.param != "sums":
        change(data_dir, "INSERT INTO meta VALUES ('attempts_rolled_to', '')")
    return filled


def test_operations_by_what_their_attempts_are(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    some: tuple[tuple[int, dict[str, Any]], ...] = (
        (5, {"deployment": ("a", "b")}),
        (1000, {}),
        (1000, {"status": ("ended",), "tag:n": ("1",)}),
    )
    for most, filters in some:
        monkeypatch.setattr("gateway.ledger.reports.newest.MOST_ROWS_READ", most)
        for only, wanted in OF_ATTEMPTS:
            query = asked(only=only, filters=filters, time_zone="Asia/Kolkata")
            rows = [
                row
                for row in reversed(ATTEMPTS)
                if wanted(row)
                and row.deployment in filters.get("deployment", "abc")
                and row.tags["n"] in filters.get("tag:n", "0123")
            ]
            found = every(reports.operations, query)
            assert [row["id"] for row in found] == [row.operation_id for row in rows], only
            above = reports.operations_come_to(query)
            assert above is not None and above["attempts"] == len(rows)
            assert pico(above["attempts_usd"]) == sum(row.known_pico_usd for row in rows)


def test_charges_by_what_they_are(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = {row.attempt_id: row for row in ATTEMPTS}

    def of(row: ChargeRow) -> AttemptRow | None:
        return attempts.get(row.attempt_id or "")

    questions: list[tuple[dict[str, Any], Callable[[ChargeRow], bool]]] = [
        ({}, lambda row: True),
        ({"only": {"kind": ("idle", "keep_warm")}}, lambda row: row.kind != "standing"),
        ({"only": {"cost_status": ("unknown",)}}, lambda row: row.cost_pico_usd is None),
        ({"only": {"rule": ("not allocated",)}}, lambda row: row.rule == "not allocated"),
        ({"filters": {"deployment": ("b",)}}, lambda row: row.deployment == "b"),
        (
            {"filters": {"origin": ("imported",)}, "only": {"kind": ("idle",)}},
            lambda row: row.kind == "idle" and (of(row) or begun()).origin == "imported",
        ),
        ({"key_id": "k1"}, lambda row: (of(row) or begun()).key_id == "k1"),
        (
            {"filters": {"tag:n": ("3",)}, "start_at_us": NOON_US + 9 * HOUR_US},
            lambda row: (
                (of(row) or begun()).tags.get("n") == "3"
                and row.period_start_at_us >= NOON_US + 9 * HOUR_US
            ),
        ),
    ]
    for most in (3, 1000):
        monkeypatch.setattr("gateway.ledger.reports.charge_list.MOST_ROWS_READ", most)
        for given, wanted in questions:
            rows = [row for row in reversed(CHARGES) if wanted(row)]
            assert rows
            found = every(reports.charges, asked(**given))
            assert [row["id"] for row in found] == [row.charge_id for row in rows], given
            above = reports.charges_come_to(asked(**given))
            assert above is not None and above["charges"] == len(rows)
            assert pico(above["known_usd"]) == sum(row.cost_pico_usd or 0 for row in rows)
            assert above["unknown_charges"] == sum(row.cost_pico_usd is None for row in rows)
            lasted = sum(row.period_end_at_us - row.period_start_at_us for row in rows)
            assert above["seconds"] == lasted / 1e6


@pytest.mark.parametrize("without", ["key", "tag:n", "model"])
def test_rows_that_lack_something(fill: Fill, without: str) -> None:
    bare = replace(attempt(40), key_id=None, tags={})
    other = replace(charge(41), attempt_id=None)
    reports = fill(*ATTEMPTS[:5], *CHARGES[:5], bare, other)
    rows = [] if without == "model" else [bare.operation_id]
    query = asked(without=(without,))
    assert [row["id"] for row in reports.operations(query)["data"]] == rows
    paid = [row.charge_id for row in (other, *reversed(CHARGES[:5])) if row.attempt_id is None]
    assert [row["id"] for row in reports.charges(query)["data"]] == paid
    (costs,) = reports.costs(query)["data"]
    assert (costs["attempts"], costs["charges"]) == (len(rows), len(paid))
    (group,) = [
        row
        for row in reports.costs(asked(group_by=(without,)))["data"]
        if row["group"][without] is None
    ]
    assert {**group, "group": {}} == costs


def test_a_charge_tells_its_period_its_rule_and_its_attempt(fill: Fill) -> None:
    row = begun(1, key_id="k1", operation_id="gen_1")
    paid = idle_charge(1, attempt_id="att_000001", status="estimated", low_pico_usd=pico("0.005"))
    (found,) = fill(finished(row), paid).charges(asked())["data"]
    assert found == {
        "id": "chg_000001",
        "kind": "idle",
        "deployment": "local-smollm2",
        "provider": "local",
        "start_time": "2026-11-22T12:00:00.000000Z",
        "end_time": "2026-11-22T12:01:00.000000Z",
        "seconds": 60.0,
        "rule": "on the attempt that ended last before it",
        "cost": {
            "total_usd": "0.006",
            "status": "estimated",
            "range_usd": {"low": "0.005", "high": None},
        },
        "quantity": "60",
        "unit_price_usd": "0.0001",
        "price_id": "local-cpu@2026-11-01",
        "attempt_id": "att_000001",
        "operation_id": "gen_1",
        "model": "smollm2",
        "key": "k1",
        "stay": None,
    }
    unknown = idle_charge(2, status="unknown", cost_pico_usd=None, quantity=None)
    (newest, _) = fill(unknown).charges(asked())["data"]
    assert newest["cost"] == {
        "total_usd": None,
        "status": "unknown",
        "range_usd": {"low": "0", "high": None},
    }
    assert newest["quantity"] is newest["operation_id"] is None


def test_what_is_too_much_to_read_is_not_added_up(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = fill(*ATTEMPTS, *CHARGES)
    monkeypatch.setattr("gateway.ledger.reports.behind.EXACT_ROWS", 5)
    attempts = {True: 0, False: 0}
    for row in ATTEMPTS:
        attempts[row.cost_pico_usd is None] += 1
    above = reports.operations_come_to(asked(only={"cost_status": ("unknown",)}))
    assert above is not None and above["attempts"] == attempts[True]
    (cost,) = reports.costs(asked())["data"]
    assert above["attempts_usd"] is above["range_usd"] is None  # a part of it would be a lie
    for status in ("measured", "estimated"):
        found = reports.operations_come_to(asked(only={"cost_status": (status,)}))
        assert found is not None and found["known_usd"] == cost[f"{status}_usd"] != "0"
        assert found["attempts"] is None
    two = {"cost_status": ("measured", "estimated")}
    assert reports.operations_come_to(asked(only=two)) is None
    lines = reports.operations_come_to(asked(only={"line": ("boot_seconds",)}))
    assert lines is not None and lines["attempts"] is None
    assert lines["lines"] == [one for one in cost["lines"] if one["kind"] == "boot_seconds"]
    idle = reports.charges_come_to(asked(only={"kind": ("idle",)}))
    of_kind = [row for row in CHARGES if row.kind == "idle"]
    assert idle is not None and idle["charges"] == len(of_kind)
    assert pico(idle["known_usd"]) == sum(row.cost_pico_usd or 0 for row in of_kind)
    unknown = reports.charges_come_to(asked(only={"cost_status": ("unknown",)}))
    assert unknown is not None and unknown["known_usd"] is None
    assert unknown["charges"] == sum(row.cost_pico_usd is None for row in CHARGES)


def test_reports_of_sums_take_no_such_filter(fill: Fill) -> None:
    reports = fill(*ATTEMPTS[:3])
    for read in (reports.costs, reports.cold_starts):
        with pytest.raises(BadQuery, match="cost_status"):
            read(asked(only={"cost_status": ("unknown",)}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("cost_status", "free"), ("caused_boot", "yes"), ("line", 'a"b'), ("sample", "x")),
        *(("boot_seconds", "3"), ("boot_seconds", "a..b"), ("hour", "24"), ("kind", "gift")),
        *(("rule", ""), ("colour", "red")),
    ],
)
def test_a_filter_that_cannot_be_names_itself(name: str, value: str) -> None:
    with pytest.raises(BadQuery) as refused:
        asked(only={name: (value,)})
    assert refused.value.param == name
