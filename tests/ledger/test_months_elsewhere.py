"""Whoever else reads the ledger reads moved months too: budgets, lookups, bills, charges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.ledger.layout import database_path
from gateway.ledger.reading.attempts import attempts_of, corrections_of, ended_attempts
from gateway.ledger.reading.booked import booked
from gateway.ledger.reading.spend import SpendQuery, spent
from gateway.ledger.reading.unsettled import Unsettled
from gateway.ledger.reports.reports import Reports
from gateway.ledger.writing.imports import Origins
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import asked, at
from tests.ledger.databases import ship
from tests.ledger.samples import begun, idle_charge, pico, priced
from tests.ledger.test_months import seal

JANUARY, MAY = at("2026-01-10T12:00Z"), at("2026-05-10T12:00Z")


@pytest.fixture
def moved(data_dir: Path, journal: Journal) -> Path:
    for number, at_us in enumerate((JANUARY, MAY)):
        row = priced(begun(number, at_us=at_us, key_id="k"), "0.5")
        journal.end(replace(row, upstream_id=f"job_{number}"))
    row = priced(begun(2, at_us=JANUARY + 5), "0.25", cost_status="estimated")
    journal.end(replace(row, status="interrupted", key_id="k"))
    journal.charge(
        idle_charge(1, kind="standing", period_start_at_us=JANUARY, period_end_at_us=JANUARY + 9)
    )
    journal.correct("att_000000", 7, "bill", {"output_tokens": 1})
    ship(data_dir)
    assert seal(data_dir, now_us=MAY) == 3
    return data_dir


def test_what_was_spent(moved: Path) -> None:
    queries = [SpendQuery(JANUARY, None, "k"), SpendQuery(MAY, None, "k"), SpendQuery(0, MAY)]
    found = spent(moved, queries, {})
    assert found is not None
    assert [each.pico_usd for each in found] == [pico("1.25"), pico("0.5"), pico("0.75")]


def test_what_a_bill_is_held_against(moved: Path) -> None:
    found = list(booked(moved, "local", JANUARY - 1, JANUARY + 86_400_000_000))
    assert sorted(each.known_pico_usd for each in found) == [
        pico("0.006"),
        pico("0.25"),
        pico("0.5"),
    ]


def test_what_is_to_be_asked_about(moved: Path, journal: Journal) -> None:
    rows = Unsettled(moved).read(["local-smollm2"], 0, journal.name)
    assert rows is not None and [row.attempt_id for row in rows] == ["att_000002"]
    known = Unsettled(moved).known(["job_0", "job_1", "job_9"], 0, MAY + 1_000)
    assert known == {"job_0", "job_1"}
    with Origins(moved) as origins:
        assert origins.of(["job_0"], 0, MAY) == {"job_0": "live"}


def test_rows_and_their_corrections(moved: Path) -> None:
    assert [row.output_tokens for row in attempts_of(moved, "gen_000000")] == [1]
    (change,) = corrections_of(moved, "att_000000")
    assert change["reason"] == "bill" and change["new"] == {"output_tokens": 1}
    found = [row.attempt_id for row in ended_attempts(moved, 0, MAY + 10)]
    assert found == ["att_000000", "att_000002", "att_000001"]


def test_what_a_starting_gateway_asks(moved: Path) -> None:
    reports = Reports(database_path(moved))
    used = [use.attempt_id for use in reports.uses("local-smollm2", 0)]  # the last one first
    assert used == ["att_000001", "att_000002", "att_000000"]
    assert len(reports.uses("local-smollm2", MAY)) == 1
    assert reports.standing_until(["local-smollm2"]) == {"local-smollm2": JANUARY + 9}
    traffic = reports.traffic(asked())
    assert sum(len(stretch.arrivals.at_us) for stretch in traffic.stretches) == 2
    reports.close()
