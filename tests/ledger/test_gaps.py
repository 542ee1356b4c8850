"""Idle times and revisions in the sums: what they answer is what the rows say, at any size."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import verify
from gateway.ledger.errors import BadQuery
from gateway.ledger.layout import database_path
from gateway.ledger.reports.reports import Reports
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import HOUR_US, Fill, asked, column
from tests.ledger.databases import change, ship
from tests.ledger.samples import NOON_US, begun, finished
from tests.ledger.test_rollups import fill_at_random

DAY_US = 24 * HOUR_US
BY_GAP: tuple[dict[str, Any], ...] = (
    {"by": ("idle_gap",)},
    {"by": ("idle_gap",), "group_by": ("deployment", "tag:team")},
    {"by": ("hour", "idle_gap"), "time_zone": "Europe/Berlin"},
    {"by": ("idle_gap",), "key_id": "k1", "bucket_width": "1d", "time_zone": "Asia/Kolkata"},
    {"by": ("idle_gap",), "start_at_us": NOON_US + 12_345_678, "end_at_us": NOON_US + DAY_US + 77},
    {"by": ("idle_gap",), "filters": {"tag:team": ("ads",), "status": ("succeeded",)}},
)
AGAINST: tuple[tuple[dict[str, Any], int], ...] = (
    ({"start_at_us": NOON_US + DAY_US, "end_at_us": NOON_US + 3 * DAY_US}, DAY_US),
    ({"start_at_us": NOON_US + DAY_US + 777_777_777, "end_at_us": NOON_US + 2 * DAY_US}, DAY_US),
    ({"start_at_us": NOON_US + 30 * HOUR_US, "filters": {"key": ("k1", "k2")}}, 20 * HOUR_US),
)


def answers(data_dir: Path) -> list[Any]:
    reports = Reports(database_path(data_dir))
    counted = ("group", "start_time", "attempts", "cold", "warm", "unknown", "boots", "evidence")
    found: list[Any] = []
    for question in BY_GAP:
        rows = reports.cold_starts(asked(**{"limit": 1000, **question}))
        found.append(column(rows, *counted))
        for row in rows["data"]:
            of_both = [row[name] for name in ("boot_seconds", "wait_seconds")]
            found += [(one["count"], one["mean"]) for one in of_both]
    found += [reports.explanation(asked(**query), before) for query, before in AGAINST]
    reports.close()
    return found


@pytest.mark.parametrize("seed", range(4))
def test_sums_by_idle_time_say_what_the_rows_say(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", -1)
    fill_at_random(data_dir, random.Random(seed), rows=200)
    assert [p for p in verify(data_dir) if p.kind == "sums"] == []
    by_sums = answers(data_dir)
    change(data_dir, "INSERT INTO meta VALUES ('gaps_from_us', '4000000000000000')")
    by_rows = answers(data_dir)
    assert len(by_rows) > 60
    for one, other in zip(by_sums, by_rows, strict=True):
        assert one == other
    explained = [said for said in by_rows if isinstance(said, dict)]
    assert any(said["causes"]["new_revision"] for said in explained)


def test_the_sums_are_asked_and_not_the_rows(
    fill: Fill, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are changed behind the back of the sums: the answer is as of before."""
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", -1)
    reports = fill(finished(begun(1), idle_before_seconds=70.0, boot_seconds=10.0))
    change(data_dir, "UPDATE attempts SET idle_before_seconds = 3, boot_seconds = 99")
    (row,) = reports.cold_starts(asked(by=("idle_gap",)))["data"]
    assert (row["group"], row["boot_seconds"]["mean"]) == ({"idle_gap": 60}, 10.0)
    assert row["boot_seconds"]["p50"] == pytest.approx(
        10.0, rel=row["boot_seconds"]["relative_error"]
    )
    wrong = [problem.detail for problem in verify(data_dir) if problem.kind == "sums"]
    assert any("gaps of 60" in detail and "gap_seconds" in detail for detail in wrong)


def test_a_zone_off_the_hour_is_refused_where_it_would_take_long(
    fill: Fill, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", -1)
    fill(*(finished(begun(n, at_us=NOON_US + n * HOUR_US)) for n in range(30)))
    reports = Reports(database_path(data_dir), most_rows_read=4)
    by_day = {"by": ("idle_gap",), "bucket_width": "1d"}
    assert reports.cold_starts(asked(**by_day, time_zone="Asia/Tokyo"))["data"]
    # Of a day off the hour, what lies around its midnights is read, and that is little.
    assert reports.cold_starts(asked(**by_day, time_zone="Asia/Kolkata"))["data"]
    with pytest.raises(BadQuery, match=r"30 attempts .* by the hours of UTC"):
        reports.cold_starts(asked(by=("hour", "idle_gap"), time_zone="Asia/Kolkata"))
    reports.close()


def test_very_many_revisions_are_refused(
    fill: Fill, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.explaining.MOST_REVISIONS", 3)
    rows = [finished(begun(n, at_us=NOON_US + n), upstream_revision=f"r{n}") for n in range(4)]
    fill(*rows)
    query = asked(start_at_us=NOON_US + HOUR_US, end_at_us=NOON_US + DAY_US)
    bounded = Reports(database_path(data_dir), most_rows_read=0)
    with pytest.raises(BadQuery, match="4 revisions") as refused:
        bounded.explanation(query, 24 * HOUR_US)
    assert refused.value.param == "against"
    assert fill().explanation(query, 24 * HOUR_US)["before"]["attempts"] == 4
    bounded.close()


def test_what_was_pruned_is_answered_by_the_sums(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", -1)
    hour = NOON_US - NOON_US % HOUR_US
    for number, revision in enumerate(("old", "new")):
        at_us = hour + number * HOUR_US
        row = begun(number, at_us=at_us, idle_before_seconds=70.0, upstream_revision=revision)
        journal.end(finished(row))
    ship(data_dir)
    change(data_dir, "INSERT INTO months VALUES ('2026-11', '', 0, 0, 0, 1)")
    reports = Reports(database_path(data_dir))
    found = reports.cold_starts(asked(by=("idle_gap",)))
    assert column(found, "group", "attempts") == [({"idle_gap": 60}, 2)]
    with pytest.raises(BadQuery, match="2026-11"):  # whether the first with it was cold
        reports.explanation(asked(start_at_us=hour + HOUR_US, end_at_us=hour + DAY_US), HOUR_US)
    reports.close()
