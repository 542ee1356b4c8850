from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.ledger.reports.query import ReportQuery
from tests.ledger.asking import HOUR_US, Fill, asked, at, column
from tests.ledger.samples import (
    NOON_US,
    begun,
    estimated,
    idle_charge,
    pico,
    priced,
    unpriced,
)


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
