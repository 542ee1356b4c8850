from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.errors import BadQuery, SchemaMismatch, StoreUnavailable
from gateway.ledger.journal import Journal
from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.query import ReportQuery
from gateway.ledger.reports import Reports
from gateway.ledger.rows import AttemptRow, ChargeRow
from tests.ledger.databases import ship
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

HOUR_US = 3_600_000_000
Fill = Callable[..., Reports]


@pytest.fixture
def fill(data_dir: Path) -> Iterator[Fill]:
    opened: list[Reports] = []

    def filled(*rows: AttemptRow | ChargeRow) -> Reports:
        journal = Journal.open(journal_dir(data_dir))
        for row in rows:
            if isinstance(row, ChargeRow):
                journal.charge(row)
            elif row.status == "running":
                journal.begin(row)
            else:
                journal.end(row)
        journal.close()
        ship(data_dir)
        opened.append(Reports(database_path(data_dir)))
        return opened[-1]

    yield filled
    for reports in opened:
        reports.close()


def asked(**given: Any) -> ReportQuery:
    return ReportQuery(**{"start_at_us": 0, "end_at_us": NOON_US + 10_000 * HOUR_US, **given})


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def column(report: dict[str, Any], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) for row in report["data"]]


# Costs


def test_costs_by_hand(fill: Fill) -> None:
    reports = fill(
        priced(begun(1), "0.5"),
        priced(begun(2), "0.000000000001"),
        estimated(begun(3), "0.1", "0.2", "0.4"),
        unpriced(begun(4), known="0.25"),
        idle_charge(1),
    )
    assert reports.costs(asked())["data"] == [
        {
            "group": {},
            "start_time": "1970-01-01T00:00:00.000000Z",
            "end_time": "2028-01-13T04:00:00.000000Z",
            "attempts": 4,
            "charges": 1,
            "known_usd": "0.956000000001",  # 0.5 + 1 pico + 0.2 + 0.25 + 0.006 of idle time
            "measured_usd": "0.506000000001",
            "estimated_usd": "0.2",
            "range_usd": {"low": "0.856000000001", "high": None},
            "unknown_attempts": 1,
            "unknown_charges": 0,
            "lines": [
                {
                    "kind": "execute_seconds",
                    "quantity": "5",
                    "usd": "0.950000000001",
                    "unknown_lines": 0,
                },
                {"kind": "idle", "quantity": "60", "usd": "0.006", "unknown_lines": 0},
                {"kind": "images", "quantity": None, "usd": None, "unknown_lines": 1},
            ],
        }
    ]


def test_ten_thousand_tenths_of_a_pico_dollar_do_not_drift(fill: Fill) -> None:
    reports = fill(*(priced(begun(n), "0.000000000001") for n in range(1000)))
    (row,) = reports.costs(asked())["data"]
    assert row["known_usd"] == row["lines"][0]["usd"] == "0.000000001"


def test_more_than_a_bigint_can_be_summed(fill: Fill) -> None:
    reports = fill(*(priced(begun(n), "9000000") for n in range(3)))
    assert column(reports.costs(asked()), "known_usd") == [("27000000",)]


def test_an_unknown_charge_is_counted_and_not_zero(fill: Fill) -> None:
    reports = fill(idle_charge(1, status="unknown", cost_pico_usd=None, quantity=None))
    (row,) = reports.costs(asked())["data"]
    assert (row["attempts"], row["charges"], row["unknown_charges"]) == (0, 1, 1)
    assert row["range_usd"] == {"low": "0", "high": None}
    assert row["lines"] == [{"kind": "idle", "quantity": None, "usd": None, "unknown_lines": 1}]


def test_costs_by_group(fill: Fill) -> None:
    reports = fill(
        priced(begun(1, provider="b", key_id="k1"), "1"),
        priced(begun(2, provider="a", key_id="k1"), "2"),
        priced(begun(3, provider="a", key_id=None, tags={}), "4"),
        priced(begun(4, provider="a", key_id="k2", tags={"team": "ads"}), "8"),
    )
    found = reports.costs(asked(group_by=("provider",)))
    assert column(found, "group", "known_usd") == [
        ({"provider": "a"}, "14"),
        ({"provider": "b"}, "1"),
    ]
    found = reports.costs(asked(group_by=("key", "tag:team")))
    assert column(found, "group", "known_usd") == [
        ({"key": None, "tag:team": None}, "4"),
        ({"key": "k1", "tag:team": "search"}, "3"),
        ({"key": "k2", "tag:team": "ads"}, "8"),
    ]


def test_a_charge_is_allocated_through_its_attempt(fill: Fill) -> None:
    reports = fill(
        priced(begun(1, key_id="k1"), "1"),
        idle_charge(1, attempt_id="att_000001"),
        idle_charge(2, cost_pico_usd=pico("0.5")),
        idle_charge(3, cost_pico_usd=pico("0.25"), deployment="other"),
    )
    by_key = reports.costs(asked(group_by=("key",)))
    assert column(by_key, "group", "known_usd") == [
        ({"key": None}, "0.75"),
        ({"key": "k1"}, "1.006"),
    ]
    of_key = reports.costs(asked(key_id="k1"))
    assert column(of_key, "known_usd") == [("1.006",)]
    by_deployment = reports.costs(asked(group_by=("deployment",)))
    assert column(by_deployment, "group", "known_usd") == [
        ({"deployment": "local-smollm2"}, "1.506"),
        ({"deployment": "other"}, "0.25"),
    ]


@pytest.mark.parametrize(
    ("filters", "known"),
    [
        ({"provider": ("a",)}, "6"),
        ({"provider": ("a", "b")}, "7"),
        ({"provider": ("a",), "tag:team": ("ads",)}, "4"),
        ({"tag:team": ("ads",)}, "4"),
        ({"status": ("failed",)}, "2"),
        ({"key": ("k1",)}, "1"),
        ({"verdict": ("cold",), "model": ("smollm2",), "deployment": ("local-smollm2",)}, "7"),
    ],
)
def test_costs_by_filter(fill: Fill, filters: dict[str, tuple[str, ...]], known: str) -> None:
    reports = fill(
        priced(begun(1, provider="b", key_id="k1"), "1"),
        priced(begun(2, provider="a"), "2", status="failed"),
        priced(begun(3, provider="a", tags={"team": "ads"}), "4"),
    )
    assert column(reports.costs(asked(filters=filters)), "known_usd") == [(known,)]


def test_a_tag_may_have_any_printable_name(fill: Fill) -> None:
    reports = fill(priced(begun(1, tags={"søk. $[0]'": "a'b"}), "1"), priced(begun(2), "2"))
    query = asked(group_by=("tag:søk. $[0]'",), filters={"tag:søk. $[0]'": ("a'b",)})
    assert column(reports.costs(query), "group") == [({"tag:søk. $[0]'": "a'b"},)]


def test_the_range_holds_its_start_and_not_its_end(fill: Fill) -> None:
    reports = fill(*(priced(begun(n), "1") for n in range(5)))
    found = reports.costs(asked(start_at_us=NOON_US + 1, end_at_us=NOON_US + 4))
    assert column(found, "attempts") == [(3,)]


def test_attempts_of_one_operation_are_never_parted(fill: Fill) -> None:
    first = priced(begun(1, operation_id="gen_1"), "1", status="failed")
    later = replace(first, attempt_id="att_2", ordinal=1, begun_at_us=NOON_US + 10 * HOUR_US)
    reports = fill(first, later)
    found = reports.costs(asked(end_at_us=NOON_US + HOUR_US))
    assert column(found, "attempts") == [(2,)]


# Buckets


def bucket_of(instant: str, width: str, time_zone: str, fill: Fill) -> tuple[str, str]:
    reports = fill(priced(begun(1, at_us=at(instant)), "1"))
    query = ReportQuery(0, at("2030-01-01T00:00Z"), bucket_width=width, time_zone=time_zone)
    ((start, end),) = column(reports.costs(query), "start_time", "end_time")
    return start[:16], end[:16]


@pytest.mark.parametrize(
    ("instant", "width", "time_zone", "start", "end"),
    [
        ("2026-11-22T23:59:59Z", "1d", "UTC", "2026-11-22T00:00", "2026-11-23T00:00"),
        # Berlin is an hour ahead in winter: 23:30Z is the next day there.
        ("2026-11-22T23:30:00Z", "1d", "Europe/Berlin", "2026-11-22T23:00", "2026-11-23T23:00"),
        ("2026-11-22T22:59:59Z", "1d", "Europe/Berlin", "2026-11-21T23:00", "2026-11-22T23:00"),
        # The clocks go forward on 2026-03-29 and back on 2026-10-25: 23 and 25 hours.
        ("2026-03-29T12:00:00Z", "1d", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-10-25T12:00:00Z", "1d", "Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),
        # In Havana midnight itself is skipped (2026-03-08): the day begins at one o'clock.
        ("2026-03-08T12:00:00Z", "1d", "America/Havana", "2026-03-08T05:00", "2026-03-09T04:00"),
        ("2026-11-22T12:20:00Z", "1h", "UTC", "2026-11-22T12:00", "2026-11-22T13:00"),
        ("2026-11-22T12:20:00Z", "1h", "Asia/Kolkata", "2026-11-22T11:30", "2026-11-22T12:30"),
        ("2026-11-22T12:20:00Z", "1h", "Asia/Kathmandu", "2026-11-22T12:15", "2026-11-22T13:15"),
        ("2026-10-25T00:30:00Z", "1h", "Europe/Berlin", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("2026-10-25T01:30:00Z", "1h", "Europe/Berlin", "2026-10-25T01:00", "2026-10-25T02:00"),
    ],
)
def test_buckets_follow_the_clocks_of_the_time_zone(
    fill: Fill, instant: str, width: str, time_zone: str, start: str, end: str
) -> None:
    assert bucket_of(instant, width, time_zone, fill) == (start, end)


def test_buckets_add_up_to_the_whole(fill: Fill) -> None:
    rows = [priced(begun(n, at_us=NOON_US + n * 7 * HOUR_US // 3), str(n)) for n in range(1, 60)]
    reports = fill(*rows)
    for width in ("1h", "1d", "all"):
        query = asked(bucket_width=width, time_zone="America/New_York", limit=1000)
        data = reports.costs(query)["data"]
        assert sum(int(row["known_usd"]) for row in data) == 59 * 60 // 2
        starts = [row["start_time"] for row in data]
        assert starts == sorted(starts) and len(set(starts)) == len(starts)


# Cold starts


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
            "boots": 2,
            "boot_seconds": {"p50": 4.0, "p90": 9.0, "p99": 9.0, "mean": 5.0, "count": 3},
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
    assert row["cold_rate"] is None
    nothing = {"p50": None, "p90": None, "p99": None, "mean": None, "count": 0}
    assert row["boot_seconds"] == row["wait_seconds"] == nothing


def test_percentiles_are_nearest_rank(fill: Fill) -> None:
    rows = [finished(begun(n), boot_seconds=float(n)) for n in range(1, 101)]
    (row,) = fill(*rows).cold_starts(asked(group_by=("provider",)))["data"]
    assert row["boot_seconds"] == {"p50": 50, "p90": 90, "p99": 99, "mean": 50.5, "count": 100}


# Operations


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


def test_the_next_page_of_a_moving_range_goes_on(fill: Fill) -> None:
    reports = fill(*(operation(n, model=f"m{n}") for n in range(3)))
    first = reports.costs(asked(group_by=("model",), limit=2))
    later = asked(group_by=("model",), limit=2, cursor=first["next_cursor"], start_at_us=5_000_000)
    assert [row["group"]["model"] for row in reports.costs(later)["data"]] == ["m2"]


# What cannot be answered


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
    other.execute("UPDATE meta SET value='2' WHERE name='schema_version'")
    other.commit()
    other.close()
    with pytest.raises(SchemaMismatch):
        Reports(database_path(data_dir)).costs(asked())


def test_reports_say_how_fresh_they_are(fill: Fill) -> None:
    as_of = fill(priced(begun(1), "1")).as_of()
    assert as_of is not None and as_of.startswith("20") and as_of.endswith("Z")
