"""Reports by rollups are those by rows, whatever came late, twice or in the wrong order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import verify
from gateway.ledger.errors import BadQuery
from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.numbers import decimal, pico, plain
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.sums.sketch import RELATIVE_ERROR, bucket, distribution, value
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import HOUR_US, Fill, asked, at, column
from tests.ledger.databases import change, ship
from tests.ledger.samples import (
    NOON_US,
    begun,
    estimated,
    finished,
    idle_charge,
    line,
    priced,
    unpriced,
)

QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"group_by": ("provider", "status")},
    {"group_by": ("key", "verdict", "model"), "bucket_width": "1d", "time_zone": "Asia/Kolkata"},
    {"group_by": ("deployment",), "bucket_width": "1h", "time_zone": "Asia/Kathmandu"},
    {"group_by": ("tag:team",), "bucket_width": "1d"},
    {"filters": {"provider": ("a",), "status": ("succeeded", "failed")}},
    {"filters": {"tag:team": ("ads",)}, "group_by": ("key",)},
    {"key_id": "k1", "group_by": ("tag:team",)},
    {"start_at_us": NOON_US + 12_345_678, "end_at_us": NOON_US + 40 * HOUR_US + 77},
    {"start_at_us": NOON_US + 5, "end_at_us": NOON_US + HOUR_US // 2},
    {"start_at_us": NOON_US, "end_at_us": NOON_US + 5 * HOUR_US, "bucket_width": "1h"},
)


def some_row(dice: random.Random, number: int) -> AttemptRow:
    row = begun(
        number,
        at_us=NOON_US + dice.randrange(60 * HOUR_US),
        provider=dice.choice("ab"),
        deployment=dice.choice(("d1", "d2")),
        key_id=dice.choice((None, "k1", "k2")),
        tags=dice.choice(({}, {"team": "ads"}, {"team": "search", "mark": "1"})),
        idle_before_seconds=dice.choice((None, 0.0, 0.5, 1.0, 61.5, 4000.0, 1e7)),
    )
    # By day, so that revisions come and go; now and then an older one comes back.
    day = (row.begun_at_us - NOON_US) // (24 * HOUR_US) if dice.random() < 0.95 else 0
    row = replace(row, upstream_revision=dice.choice((None, f"r{day}", f"r{day}")))
    usd = f"0.{dice.randrange(10**12):012d}"
    return dice.choice(
        (
            row,
            priced(row, usd, status=dice.choice(("succeeded", "failed"))),
            estimated(row, "0.1", "0.25", dice.choice((None, "0.5"))),
            unpriced(row, known=dice.choice(("0", "0.125")), verdict="warm", caused_boot=False),
        )
    )


def fill_at_random(
    data_dir: Path, dice: random.Random, rows: int = 120, tags: Sequence[str] = ("team",)
) -> None:
    """Lines in an order that no gateway writes, shipped in batches of random size."""
    shipper = Shipper(data_dir, rollup_tags=tags)
    journal = Journal.open(journal_dir(data_dir))
    known: list[AttemptRow] = []
    for number in range(rows):
        row = some_row(dice, number)
        if dice.random() < 0.3:  # a charge that comes before the attempt that it is for
            journal.charge(
                idle_charge(
                    number,
                    attempt_id=dice.choice((None, row.attempt_id)),
                    period_start_at_us=row.begun_at_us + dice.randrange(HOUR_US),
                    deployment=row.deployment,
                    provider=row.provider,
                )
            )
        (journal.begin if row.status == "running" else journal.end)(row)
        known.append(row)
        old = dice.choice(known)
        match dice.randrange(4):
            case 0:
                better = priced(old, f"0.{dice.randrange(1000):03d}")
                journal.correct(old.attempt_id, 1, "bill", money_of(better))
            case 1:
                # Not the verdict alone: what was waited for and how it came to that may change too.
                said = {
                    "verdict": "cold",
                    "caused_boot": True,
                    "boot_seconds": round(dice.random(), 3),
                }
                journal.correct(old.attempt_id, 2, "verdict", {**said, "tags": {}})
            case 2 if old.status == "running":
                journal.end(finished(old, status="interrupted"))
        if dice.random() < 0.1:
            shipper.ship()
    shipper.ship()
    shipper.close()
    journal.close()


def money_of(row: AttemptRow) -> dict[str, Any]:
    names = ("cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd")
    return {name: getattr(row, name) for name in (*names, "cost_status", "cost_lines")}


def answers(data_dir: Path, questions: Sequence[dict[str, Any]] = QUESTIONS) -> list[Any]:
    reports = Reports(database_path(data_dir))
    try:
        return [
            read(asked(**{"limit": 1000, **question}))["data"]
            for question in questions
            for read in (reports.costs, reports.cold_starts)
        ]
    finally:
        reports.close()


def by_rows(data_dir: Path, questions: Sequence[dict[str, Any]] = QUESTIONS) -> list[Any]:
    """The same, as while the sums of an older ledger are being made."""
    change(data_dir, "INSERT INTO meta VALUES ('attempts_rolled_to', '')")
    try:
        return answers(data_dir, questions)
    finally:
        change(data_dir, "DELETE FROM meta WHERE name = 'attempts_rolled_to'")


@pytest.mark.parametrize(
    ("time_zone", "around"),
    [
        ("Europe/Berlin", "2026-10-25T01:00:00+00:00"),  # a day of 25 hours
        ("America/St_Johns", "2026-03-08T05:30:00+00:00"),  # 23, and half an hour off
        ("Australia/Lord_Howe", "2026-04-04T15:00:00+00:00"),  # half an hour longer
        ("Africa/Cairo", "2026-04-23T22:00:00+00:00"),  # a day without a midnight
        ("Pacific/Chatham", "2026-09-26T14:00:00+00:00"),  # a quarter off
        ("America/Anchorage", "1970-01-01T12:00:00+00:00"),
    ],
)
def test_days_are_those_of_the_zones_clocks(data_dir: Path, time_zone: str, around: str) -> None:
    dice, middle = random.Random(time_zone), at(around)
    journal, shipper = Journal.open(journal_dir(data_dir)), Shipper(data_dir)
    for number in range(150):
        at_us = max(0, middle + dice.randrange(-40 * HOUR_US, 40 * HOUR_US))
        journal.end(priced(begun(number, at_us=at_us), f"0.{number:03d}"))
    journal.close()
    shipper.ship()
    shipper.close()
    ends: list[dict[str, Any]] = [{}]
    ends += [
        {"start_at_us": max(0, middle - dice.randrange(30 * HOUR_US)), "end_at_us": middle + end}
        for end in (HOUR_US // 3, 1, 20 * HOUR_US + 7)
    ]
    questions = [
        {"bucket_width": width, "time_zone": time_zone, "group_by": ("verdict",), **span}
        for width in ("1d", "1h")
        for span in ends
    ]
    assert answers(data_dir, questions) == by_rows(data_dir, questions)


@pytest.mark.parametrize("seed", range(6))
def test_sums_are_those_of_the_rows(data_dir: Path, seed: int) -> None:
    fill_at_random(data_dir, random.Random(seed))
    assert [p for p in verify(data_dir) if p.kind == "sums"] == []
    assert answers(data_dir) == by_rows(data_dir)


def test_what_ran_and_ended_leaves_no_trace_of_its_running(
    data_dir: Path, journal: Journal
) -> None:
    journal.begin(begun(1))
    ship(data_dir)
    journal.end(priced(begun(1), "0.5"))
    ship(data_dir)
    reports = Reports(database_path(data_dir))
    found = reports.costs(asked(group_by=("status",)))
    assert column(found, "group", "attempts") == [({"status": "succeeded"}, 1)]
    reports.close()


def test_quantities_finer_than_a_pico_are_exact(fill: Fill) -> None:
    lines = [line("execute_seconds", "0.1234567890123456", "0.0000000000001")]
    rows = [finished(begun(n), cost_lines=lines) for n in range(3)]
    (row,) = fill(*rows).costs(asked())["data"]
    (found,) = row["lines"]
    assert found["quantity"] == "0.3703703670370368" and found["usd"] == "0.0000000000003"


@pytest.mark.parametrize(
    "text", ["0", "12", "0.31", "-0.5", "123456789.000000000001", "1E-15", "0.1234567890123456"]
)
def test_numbers_are_taken_apart_and_put_together(text: str) -> None:
    found = pico(text)
    assert found is not None
    assert plain(decimal(*found)) == plain(decimal(*found)) != ""
    assert decimal(*found) == decimal(0, type(found[1])(text))


@pytest.mark.parametrize("text", ["", "a lot", "NaN", "Infinity", "1E99", "1" * 50])
def test_what_is_no_number_is_none(text: str) -> None:
    assert pico(text) is None


def test_a_bucket_is_within_its_error() -> None:
    seconds = [0.001 * 1.07**n for n in range(250)]
    for each in seconds:
        assert abs(value(bucket(each)) - each) <= RELATIVE_ERROR * each
    counts: dict[int, int] = {}
    for each in seconds:
        counts[bucket(each)] = counts.get(bucket(each), 0) + 1
    found = distribution(counts, 0)
    for name, rank in (("p50", 124), ("p90", 224), ("p99", 247)):
        assert abs(found[name] - seconds[rank]) <= RELATIVE_ERROR * seconds[rank]
    assert value(bucket(0.0)) == 0.0


def test_many_attempts_have_percentiles_within_one_percent(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", 50)
    rows = [finished(begun(n), boot_seconds=float(n)) for n in range(1, 101)]
    (row,) = fill(*rows).cold_starts(asked())["data"]
    boots = row["boot_seconds"]
    assert boots["relative_error"] == 0.01 and boots["count"] == 100 and boots["mean"] == 50.5
    for name, exact in (("p50", 50), ("p90", 90), ("p99", 99)):
        assert abs(boots[name] - exact) <= exact * 0.01
    assert sum(one["count"] for one in boots["histogram"]) == 100
    (last,) = (one for one in boots["histogram"] if one["to_seconds"] == 100)
    assert last["from_seconds"] == 70 and abs(last["count"] - 30) <= 1


@pytest.mark.parametrize("exact_attempts", [1, 50])
def test_a_lost_hedge_has_no_part_in_how_long_boots_take(
    fill: Fill, monkeypatch: pytest.MonkeyPatch, exact_attempts: int
) -> None:
    """It saw a part of one; that it was cold, and whose boot it was, is true all the same."""
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", exact_attempts)
    whole = {"boot_seconds": 30.0, "wait_seconds": 30.0}
    part = {"boot_seconds": 2.0, "wait_seconds": 2.0, "status": "lost_hedge"}
    (row,) = fill(
        *(finished(begun(n), **whole) for n in (1, 2)),
        *(finished(begun(n), **part) for n in (3, 4, 5)),
    ).cold_starts(asked())["data"]
    assert (row["cold"], row["boots"]) == (5, 5)
    for name in ("boot_seconds", "wait_seconds"):
        assert (row[name]["count"], row[name]["mean"]) == (2, 30.0)


@pytest.mark.parametrize("time_zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_hours_of_the_day_are_the_same_from_sums_and_from_rows(
    fill: Fill, monkeypatch: pytest.MonkeyPatch, time_zone: str
) -> None:
    start = 490_000 * HOUR_US
    reports = fill(
        *(
            finished(begun(n, at_us=start + n * HOUR_US * 5 // 3), verdict=("cold", "warm")[n % 2])
            for n in range(60)
        )
    )
    query = asked(
        by=("hour",), time_zone=time_zone, start_at_us=start, end_at_us=start + 200 * HOUR_US
    )
    names = ("group", "attempts", "cold", "warm", "boots", "cold_rate_interval")
    from_rows = column(reports.cold_starts(query), *names)
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", 50)
    found = reports.cold_starts(query)
    assert any("relative_error" in row["boot_seconds"] for row in found["data"])
    assert column(found, *names) == from_rows and len(from_rows) > 10


def test_verify_finds_a_sum_that_is_wrong(data_dir: Path, journal: Journal) -> None:
    journal.end(finished(begun(1)))
    ship(data_dir)
    change(data_dir, "UPDATE rollups SET pico_known_usd = pico_known_usd + 1")
    (problem,) = verify(data_dir)
    assert problem.kind == "sums" and "known_usd" in problem.detail


def test_a_question_that_needs_pruned_rows_says_so(data_dir: Path, journal: Journal) -> None:
    journal.end(finished(begun(1)))
    ship(data_dir)
    change(data_dir, "INSERT INTO months VALUES ('2026-11', '', 0, 0, 0, 1)")
    reports = Reports(database_path(data_dir))
    assert column(reports.costs(asked()), "attempts") == [(1,)]
    for question in ({"group_by": ("tag:mark",)}, {"start_at_us": NOON_US + 1}):
        with pytest.raises(BadQuery, match="2026-11"):
            reports.costs(asked(**question))
    reports.close()
