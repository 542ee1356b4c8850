from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.errors import BadQuery, SchemaMismatch, StoreUnavailable
from gateway.ledger.layout import database_path
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from tests.ledger.asking import Fill, asked, column
from tests.ledger.databases import change
from tests.ledger.samples import (
    NOON_US,
    begun,
    finished,
    priced,
)


def test_cold_starts_by_hand(fill: Fill) -> None:
    def attempt(number: int, verdict: Any, **changes: Any) -> AttemptRow:
        usual: dict[str, Any] = {"boot_seconds": None, "wait_seconds": None, "evidence": None}
        usual |= {"caused_boot": None}
        return finished(begun(number), verdict=verdict, **(usual | changes))

    reports = fill(
        attempt(1, "cold", evidence="process_started", caused_boot=True, boot_seconds=2.0),
        attempt(2, "cold", evidence="process_started", caused_boot=True, boot_seconds=4.0),
        attempt(3, "cold", evidence="phase_reported", caused_boot=False, boot_seconds=0.5),
        attempt(4, "cold", evidence="delay_reported", boot_seconds=9.0, wait_seconds=10.0),
        attempt(5, "warm", evidence="scale_state", caused_boot=False, boot_seconds=0.0),
        attempt(6, "unknown", wait_seconds=3.0),
        begun(7),
    )
    assert reports.cold_starts(asked())["data"] == [
        {
            "group": {},
            "start_time": "1970-01-01T00:00:00.000000Z",
            "end_time": "2028-01-13T04:00:00.000000Z",
            "attempts": 6,
            "cold": 4,
            "warm": 1,
            "unknown": 1,
            "cold_rate": 0.8,
            "cold_rate_interval": {"low": 0.375535, "high": 0.963776},
            "boots": 2,
            "boot_rate": 0.4,
            "boot_rate_interval": {"low": 0.117621, "high": 0.769276},
            "boot_seconds": {
                "p50": 4.0,
                "p90": 9.0,
                "p99": 9.0,
                "mean": 5.0,
                "count": 3,
                "histogram": [
                    {"from_seconds": 1.0, "to_seconds": 2.0, "count": 1},
                    {"from_seconds": 2.0, "to_seconds": 3.0, "count": 0},
                    {"from_seconds": 3.0, "to_seconds": 5.0, "count": 1},
                    {"from_seconds": 5.0, "to_seconds": 7.0, "count": 0},
                    {"from_seconds": 7.0, "to_seconds": 10.0, "count": 1},
                ],
            },
            "wait_seconds": {"p50": 10.0, "p90": 10.0, "p99": 10.0, "mean": 10.0, "count": 1},
            "evidence": {
                "delay_reported": 1,
                "phase_reported": 1,
                "process_started": 2,
                "scale_state": 1,
            },
        }
    ]


def test_without_known_verdicts_there_is_no_rate(fill: Fill) -> None:
    changes: dict[str, Any] = {"verdict": "unknown", "caused_boot": None, "evidence": None}
    (row,) = fill(finished(begun(1), **changes)).cold_starts(asked())["data"]
    assert row["cold_rate"] is row["cold_rate_interval"] is row["boot_rate"] is None
    nothing = {"p50": None, "p90": None, "p99": None, "mean": None, "count": 0}
    assert row["wait_seconds"] == nothing
    assert row["boot_seconds"] == {**nothing, "histogram": []}


def test_percentiles_are_nearest_rank(fill: Fill) -> None:
    rows = [finished(begun(n), boot_seconds=float(n)) for n in range(1, 101)]
    (row,) = fill(*rows).cold_starts(asked(group_by=("provider",)))["data"]
    percentiles = {"p50": 50, "p90": 90, "p99": 99, "mean": 50.5, "count": 100}
    bins = [(0.7, 1, 1), (1, 2, 1), (2, 3, 1), (3, 5, 2), (5, 7, 2), (7, 10, 3), (10, 20, 10)]
    bins += [(20, 30, 10), (30, 50, 20), (50, 70, 20), (70, 100, 30)]
    names = ("from_seconds", "to_seconds", "count")
    histogram = [dict(zip(names, one, strict=True)) for one in bins]
    assert row["boot_seconds"] == {**percentiles, "histogram": histogram}


def test_the_last_bin_is_open(fill: Fill) -> None:
    rows = [finished(begun(n), boot_seconds=s) for n, s in enumerate((0.0, 0.1, 1000.0, 1001.0))]
    (row,) = fill(*rows).cold_starts(asked())["data"]
    bins = row["boot_seconds"]["histogram"]
    assert (bins[0]["from_seconds"], bins[0]["to_seconds"], bins[0]["count"]) == (0, 0.1, 2)
    assert [one["count"] for one in bins[-2:]] == [1, 1] and bins[-1]["to_seconds"] is None


def operation(number: int, **changes: Any) -> AttemptRow:
    return finished(begun(number, operation_id=f"gen_{number}"), **changes)


def test_operations_come_newest_first_and_whole(fill: Fill) -> None:
    failed = operation(1, status="failed", provider="a")
    retried = replace(operation(1), attempt_id="att_b", ordinal=1, provider="b")
    reports = fill(failed, retried, operation(2, provider="a"), operation(3, provider="c"))
    assert [row["id"] for row in reports.operations(asked())["data"]] == ["gen_3", "gen_2", "gen_1"]
    found = reports.operations(asked(filters={"provider": ("a",)}))["data"]
    assert [row["id"] for row in found] == ["gen_2", "gen_1"]
    assert [row["status"] for row in found[1]["attempts"]] == ["failed", "succeeded"]
    assert found[1]["cost"]["total_usd"] == "0.000186"


def test_one_operation(fill: Fill) -> None:
    reports = fill(operation(1, key_id="k1"), operation(2))
    found = reports.operation("gen_1")
    assert found is not None and found["id"] == "gen_1"
    assert found == reports.operation("gen_1", "k1")
    assert reports.operation("gen_1", "k2") is None
    assert reports.operation("gen_2", "k1") is None
    assert reports.operation("gen_9") is None


def test_a_key_sees_its_own_only(fill: Fill) -> None:
    reports = fill(operation(1, key_id="k1"), operation(2, key_id="k2"), operation(3))
    query = asked(key_id="k1")
    assert [row["id"] for row in reports.operations(query)["data"]] == ["gen_1"]
    assert column(reports.costs(query), "attempts") == [(1,)]
    assert column(reports.cold_starts(query), "attempts") == [(1,)]


def pages(read: Callable[[ReportQuery], dict[str, Any]], **given: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    cursor = None
    while True:
        page = read(asked(cursor=cursor, **given))
        found.append(page["data"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_pages_hold_each_row_once(fill: Fill) -> None:
    # Two at a time share their instant, so that the id has to tell them apart.
    reports = fill(
        *(operation(n, model=f"m{n % 3}", operation_at_us=NOON_US + n // 2) for n in range(7))
    )
    found = pages(reports.operations, limit=3)
    assert [len(page) for page in found] == [3, 3, 1]
    ids = [row["id"] for page in found for row in page]
    assert ids == ["gen_6", "gen_5", "gen_4", "gen_3", "gen_2", "gen_1", "gen_0"]
    for width in ("all", "1d"):
        given: dict[str, Any] = {"group_by": ("model",), "limit": 2, "bucket_width": width}
        found = pages(reports.costs, **given)
        assert [[row["group"]["model"] for row in page] for page in found] == [["m0", "m1"], ["m2"]]


def mixed(number: int) -> AttemptRow:
    """One of many over two days, of which few are like another."""
    return operation(
        number,
        operation_at_us=NOON_US + number * 1_700_000_000,
        provider="z" if number == 3 else "abc"[number % 3],
        status="failed" if number % 7 == 0 else "succeeded",
        tags={"team": "ads"} if number % 10 == 5 else {},
        key_id=f"k{number % 2}",
    )


def test_what_cannot_match_is_passed_over_unread(
    fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.newest.MOST_ROWS_READ", 2)
    reports = fill(*(mixed(number) for number in range(100)))
    (page,) = pages(reports.operations, filters={"provider": ("z",)})
    assert [row["id"] for row in page] == ["gen_3"]
    assert pages(reports.operations, filters={"provider": ("nobody",)}) == [[]]
    assert pages(reports.operations, filters={"provider": ("z",), "tag:team": ("x",)}) == [[]]


@pytest.mark.parametrize("sums", [True, False], ids=["sums", "an-older-ledger"])
@pytest.mark.parametrize("most", [1, 9])
def test_a_page_that_has_read_enough_leads_on(
    fill: Fill, data_dir: Path, most: int, sums: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.reports.newest.MOST_ROWS_READ", most)
    rows = [mixed(number) for number in range(40)]
    reports = fill(*rows)
    if not sums:
        change(data_dir, "INSERT INTO meta VALUES ('attempts_rolled_to', '')")
    questions: list[tuple[dict[str, Any], Callable[[AttemptRow], bool]]] = [
        ({"filters": {"tag:team": ("ads",)}}, lambda row: row.tags != {}),
        ({"filters": {"tag:team": ("nobody",)}}, lambda row: False),
        ({"filters": {"status": ("failed",)}}, lambda row: row.status == "failed"),
        (
            {"filters": {"provider": ("a", "z"), "tag:team": ("ads",)}, "key_id": "k1"},
            lambda row: row.provider in "az" and row.tags != {} and row.key_id == "k1",
        ),
        (
            {"filters": {"provider": ("a",)}, "start_at_us": rows[7].operation_at_us},
            lambda row: row.provider == "a" and row.operation_at_us >= rows[7].operation_at_us,
        ),
    ]
    for question, wanted in questions:
        found = pages(reports.operations, limit=4, **question)
        assert [row["id"] for page in found for row in page] == [
            row.operation_id for row in reversed(rows) if wanted(row)
        ]
        assert all(len(page) <= 4 for page in found)


def test_the_next_page_of_a_moving_range_goes_on(fill: Fill) -> None:
    reports = fill(*(operation(n, model=f"m{n}") for n in range(3)))
    first = reports.costs(asked(group_by=("model",), limit=2))
    later = asked(group_by=("model",), limit=2, cursor=first["next_cursor"], start_at_us=5_000_000)
    assert [row["group"]["model"] for row in reports.costs(later)["data"]] == ["m2"]


@pytest.mark.parametrize(
    ("param", "given"),
    [
        ("group_by", {"group_by": ("colour",)}),
        ("group_by", {"group_by": ("tag:",)}),
        ("group_by", {"group_by": ('tag:a"b',)}),
        ("group_by", {"group_by": ("model", "model")}),
        ("colour", {"filters": {"colour": ("red",)}}),
        ("attempt_id", {"filters": {"attempt_id": ("x",)}}),
        ("bucket_width", {"bucket_width": "2h"}),
        ("time_zone", {"time_zone": "Mars/Olympus"}),
        ("time_zone", {"time_zone": "../../etc/passwd"}),
        ("time_zone", {"time_zone": "Europe"}),
        ("time_zone", {"time_zone": ""}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": 1001}),
        ("cursor", {"cursor": "%%%"}),
        ("cursor", {"cursor": "bm8="}),
        ("cursor", {"cursor": "WzEsMiwzXQ=="}),
        ("start_time", {"start_at_us": -1}),
        ("end_time", {"start_at_us": 5, "end_at_us": 4}),
        ("end_time", {"end_at_us": 10**18}),
    ],
)
def test_a_bad_question_names_its_parameter(param: str, given: dict[str, Any]) -> None:
    with pytest.raises(BadQuery) as refused:
        asked(**given)
    assert refused.value.param == param
    assert refused.value.message


def test_a_cursor_of_another_report_is_refused(fill: Fill) -> None:
    reports = fill(*(operation(n, model=f"m{n}") for n in range(3)))
    of_operations = reports.operations(asked(limit=1))["next_cursor"]
    of_costs = reports.costs(asked(limit=1, group_by=("model",)))["next_cursor"]
    for read, cursor in (
        (reports.costs, of_operations),
        (reports.operations, of_costs),
        (reports.cold_starts, of_costs),
    ):
        with pytest.raises(BadQuery) as refused:
            read(asked(cursor=cursor))
        assert refused.value.param == "cursor"


def test_a_ledger_that_does_not_exist_yet_is_empty(data_dir: Path) -> None:
    reports = Reports(database_path(data_dir))
    empty: dict[str, Any] = {"data": [], "next_cursor": None}
    assert reports.operations(asked()) == reports.costs(asked()) == empty
    assert reports.cold_starts(asked()) == empty
    assert reports.operation("gen_1") is None and reports.as_of() is None
    assert not database_path(data_dir).exists()


def test_an_empty_database_file_is_an_empty_ledger(data_dir: Path) -> None:
    data_dir.mkdir()
    database_path(data_dir).touch()
    assert Reports(database_path(data_dir)).costs(asked())["data"] == []


def test_what_is_no_database_is_unavailable(data_dir: Path) -> None:
    data_dir.mkdir()
    database_path(data_dir).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable):
        Reports(database_path(data_dir)).costs(asked())


def test_another_schema_is_refused(data_dir: Path, fill: Fill) -> None:
    fill(priced(begun(1), "1")).close()
    other = sqlite3.connect(database_path(data_dir))
    other.execute("UPDATE meta SET value='99' WHERE name='schema_version'")
    other.commit()
    other.close()
    with pytest.raises(SchemaMismatch):
        Reports(database_path(data_dir)).costs(asked())


def test_reports_say_how_fresh_they_are(fill: Fill) -> None:
    as_of = fill(priced(begun(1), "1")).as_of()
    assert as_of is not None and as_of.startswith("20") and as_of.endswith("Z")
