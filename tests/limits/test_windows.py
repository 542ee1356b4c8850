from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from gateway.limits.windows import Window, window_at


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("per", "zone", "at", "start", "end"),
    [
        ("hour", "UTC", "2026-11-23T18:59:59Z", "2026-11-23T18:00:00Z", "2026-11-23T19:00:00Z"),
        ("hour", "Asia/Kathmandu", "2026-11-23T18:20:00Z", "2026-11-23T18:15:00Z", None),
        ("day", "UTC", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        # 23 and 25 hours long
        *(
            ("day", "Europe/Berlin", at, start, end)
            for at, start, end in (
                ("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
                ("2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            )
        ),
        ("month", "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("month", "America/New_York", "2026-12-01T04:00:00Z", "2026-11-01T04:00:00Z", None),
    ],
)
def test_windows(per: Any, zone: str, at: str, start: str, end: str | None) -> None:
    window = window_at(us(at), per, zone)
    assert window.start_at_us == us(start)
    assert end is None or window.end_at_us == us(end)
    assert window.holds(us(at))
    assert window.end_at_us is not None and not window.holds(window.end_at_us)
    assert window_at(window.start_at_us, per, zone) == window
    assert window_at(window.end_at_us - 1, per, zone) == window


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    first = window_at(us("2026-10-25T00:30:00Z"), "hour", "Europe/Berlin")
    second = window_at(us("2026-10-25T01:30:00Z"), "hour", "Europe/Berlin")
    assert first.end_at_us == second.start_at_us


def test_total_has_no_end() -> None:
    assert window_at(us("2026-10-25T00:30:00Z"), "total", "UTC") == Window(0, None)
