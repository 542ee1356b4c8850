"""The week of the pictures is one: boots of a minute, idle hours, and the books of both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.pictures.week import a_week, ask


def test_what_a_week_leaves(tmp_path: Path) -> None:
    with a_week(tmp_path, calls=9, days=2.0) as week:
        week.clock.advance(3600.0)
        week.endpoints["llama-8b-t4"].boot_seconds = 77.0
        cold, warm = (week.gateway.operation(ask(week, "chat", "search")) for _ in range(2))
        assert cold["cold_start"]["verdict"] == "cold" and warm["cold_start"]["verdict"] == "warm"
        assert 77 <= cold["cold_start"]["boot_seconds"] < 80
        assert warm["timing"]["execute_seconds"] > 0.05
        soon = {"end_time": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
        listed = week.gateway.get("/v1/operations", **soon)["data"]
        assert len(listed) == 11
        days = [
            (datetime.now(UTC) - datetime.fromisoformat(one["created_at"])).total_seconds() / 86_400
            for one in listed
        ]
        assert -0.1 < min(days) and 0.2 < max(days) < 2.1
        (row,) = week.gateway.get("/v1/costs", deployment="llama-8b-t4", **soon)["data"]
        assert {line["kind"] for line in row["lines"]} >= {"boot_seconds", "execute_seconds"}
