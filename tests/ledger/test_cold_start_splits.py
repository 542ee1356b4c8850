"""Cold starts by hour and idle gap, and why a cold rate changed: planted causes are found."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.errors import BadQuery
from gateway.ledger.layout import database_path
from gateway.ledger.reports.explanation import CAUSES
from gateway.ledger.reports.query import duration_us
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from tests.ledger.asking import HOUR_US, Fill, asked, at, column
from tests.ledger.databases import change
from tests.ledger.samples import begun, finished

DAY_US = 24 * HOUR_US
START_US = at("2026-11-10T00:00:00Z")
COUNT = 400


def attempt(number: int, at_us: int, verdict: str, **changes: Any) -> AttemptRow:
    usual: dict[str, Any] = {"boot_seconds": None, "caused_boot": None, "evidence": None}
    return finished(begun(number, at_us=at_us), verdict=verdict, **{**usual, **changes})


def test_by_hour_and_by_idle_gap(fill: Fill) -> None:
    ten = at("2026-11-10T10:30:00Z")
    reports = fill(
        attempt(1, ten, "cold", idle_before_seconds=None),
        attempt(2, ten + 1, "warm", idle_before_seconds=59.9),
        attempt(3, ten + HOUR_US, "cold", idle_before_seconds=60.0),
        attempt(4, ten + HOUR_US + 1, "warm", idle_before_seconds=70.0),
        attempt(5, ten + DAY_US, "warm", idle_before_seconds=0.0),
        attempt(6, ten + 2, "warm", idle_before_seconds=1e9),
    )

    def groups(**query: Any) -> list[tuple[Any, ...]]:
        found = reports.cold_starts(asked(**query))
        return [(*row["group"].values(), row["cold"], row["warm"]) for row in found["data"]]

    assert groups(by=("hour",)) == [(10, 1, 3), (11, 1, 1)]
    assert groups(by=("hour",), time_zone="Asia/Kolkata") == [(16, 1, 3), (17, 1, 1)]
    by_gap = [(None, 1, 0), (0, 0, 1), (30, 0, 1), (60, 1, 1), (86_400, 0, 1)]
    assert groups(by=("idle_gap",)) == by_gap
    both = reports.cold_starts(asked(group_by=("deployment",), by=("hour", "idle_gap"), limit=2))
    assert list(both["data"][0]["group"]) == ["deployment", "hour", "idle_gap"]
    rest = asked(
        group_by=("deployment",), by=("hour", "idle_gap"), limit=9, cursor=both["next_cursor"]
    )
    found = both["data"] + reports.cold_starts(rest)["data"]
    assert len(found) == 5 and sum(row["attempts"] for row in found) == 6
    assert column({"data": found}, "cold").count((1,)) == 2


def test_what_an_upgrade_has_not_summed_up_is_refused_where_it_would_take_long(
    fill: Fill, data_dir: Path
) -> None:
    fill(*(attempt(number, START_US + number * HOUR_US, "warm") for number in range(5)))
    change(data_dir, f"INSERT INTO meta VALUES ('gaps_from_us', '{START_US + 9 * HOUR_US}')")
    reports = Reports(database_path(data_dir), most_rows_read=4)
    with pytest.raises(BadQuery, match=r"5 attempts .* or wait") as refused:
        reports.cold_starts(asked(by=("idle_gap",)))
    assert refused.value.param == "by"
    with pytest.raises(BadQuery, match=r"5 attempts .* or wait") as refused:
        reports.explanation(asked(start_at_us=START_US + 3 * HOUR_US), 3 * HOUR_US)
    assert refused.value.param == "against"
    assert reports.cold_starts(asked(by=("hour",)))["data"]
    reports.close()


def test_what_cannot_be_asked() -> None:
    for wrong in ({"by": ("minute",)}, {"by": ("hour", "hour")}):
        with pytest.raises(BadQuery, match="by is"):
            asked(**wrong)
    for text in ("7", "d", "0d", "7w", "-1d", "1.5d"):
        with pytest.raises(BadQuery, match="7d"):
            duration_us(text)
    assert duration_us("7d") == 7 * DAY_US and duration_us("90s") == 90_000_000


# -- explanations -------------------------------------------------------------------------------


def a_day(
    dice: random.Random,
    *,
    gaps: tuple[float, ...] = (30.0, 400.0),
    keep_alive_seconds: float = 300.0,
    colder_share: float = 0.5,
    beside_share: float = 0.2,
    beside_cold: float = 0.1,
    revision: str = "r1",
    new_revisions: int = 0,
    warm_unproved: float = 0.0,
) -> list[dict[str, Any]]:
    """Attempts at two deployments, of which one has a fifth of the other's keep-alive."""
    rows: list[dict[str, Any]] = []
    for number in range(COUNT):
        colder = dice.random() < colder_share
        changed = new_revisions and number % (COUNT // new_revisions) == 0
        if changed:
            revision = f"{revision}+{number}"
        if dice.random() < beside_share:
            gap, cold = 0.0, dice.random() < beside_cold
        else:
            gap = dice.choice(gaps)
            cold = gap > keep_alive_seconds / (20 if colder else 1)
        verdict = "cold" if cold or changed else "warm"
        if verdict == "warm" and dice.random() < warm_unproved:
            verdict = "unknown"
        deployment = "colder" if colder else "warmer"
        rows.append(
            {
                "verdict": verdict,
                "idle_before_seconds": gap,
                "deployment": deployment,
                "upstream_revision": f"{deployment}-{revision}",
            }
        )
    return rows


PLANTED: dict[str, tuple[dict[str, Any], int]] = {
    "idle_gap_mix": ({"gaps": (30.0, 400.0, 400.0, 400.0)}, 1),
    "keep_alive": ({"keep_alive_seconds": 500.0}, -1),
    "routing_share": ({"colder_share": 0.9}, 1),
    "scale_out": ({"beside_cold": 0.9}, 1),
    "new_revision": ({"new_revisions": 100}, 1),
    "evidence_mix": ({"warm_unproved": 0.7}, 1),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_planted_cause_is_found(fill: Fill, cause: str) -> None:
    change, sign = PLANTED[cause]
    # The same dice on both days: what is not planted is the same, but for what draws it shifts.
    days = [a_day(random.Random(7)), a_day(random.Random(7), **change)]
    rows = [
        attempt(day * COUNT + number, START_US + day * DAY_US + number * 1_000_000, **given)
        for day, of_day in enumerate(days)
        for number, given in enumerate(of_day)
    ]
    query = asked(start_at_us=START_US + DAY_US, end_at_us=START_US + 2 * DAY_US)
    found = fill(*rows).explanation(query, DAY_US)
    assert found["before"]["attempts"] == found["after"]["attempts"] == COUNT
    causes, whole = found["causes"], found["change"]
    assert whole == found["after"]["cold_rate"] - found["before"]["cold_rate"]
    assert sum(causes.values()) == pytest.approx(whole, abs=1e-12)
    assert whole * sign > 0.05
    assert causes[cause] * sign > 0.05
    others = {name: value for name, value in causes.items() if name != cause}
    assert all(abs(value) < 0.25 * abs(causes[cause]) for value in others.values()), causes


@pytest.mark.parametrize(
    ("lost", "cold_rate"),
    [
        (["cold"] * 20 + ["warm"] * 20 + ["unknown"] * 40, 0.5),  # only warm ones are not proved
        (["cold"] * 10 + ["warm"] * 30 + ["unknown"] * 40, 0.25),  # as many of either kind
    ],
)
def test_lost_verdicts_are_evidence_also_within_one_kind_of_attempt(
    fill: Fill, lost: list[str], cold_rate: float
) -> None:
    days = (["cold"] * 20 + ["warm"] * 60, lost)
    rows = [
        attempt(day * 80 + n, START_US + day * DAY_US + n, verdict, idle_before_seconds=60.0)
        for day, verdicts in enumerate(days)
        for n, verdict in enumerate(verdicts)
    ]
    query = asked(start_at_us=START_US + DAY_US, end_at_us=START_US + 2 * DAY_US)
    found = fill(*rows).explanation(query, DAY_US)
    assert (found["before"]["cold_rate"], found["after"]["cold_rate"]) == (0.25, cold_rate)
    assert found["causes"]["evidence_mix"] == pytest.approx(cold_rate - 0.25)
    assert found["causes"]["keep_alive"] == pytest.approx(0.0, abs=1e-12)


def test_nothing_changed(fill: Fill) -> None:
    rows = [
        attempt(day * COUNT + number, START_US + day * DAY_US + number * 1_000_000, **given)
        for day in range(2)
        for number, given in enumerate(a_day(random.Random(7)))
    ]
    query = asked(start_at_us=START_US + DAY_US, end_at_us=START_US + 2 * DAY_US)
    found = fill(*rows).explanation(query, DAY_US)
    assert found["change"] == 0
    assert all(abs(value) < 1e-12 for value in found["causes"].values())


def test_without_verdicts_nothing_is_explained(fill: Fill) -> None:
    reports = fill(attempt(1, START_US + DAY_US, "cold"))
    query = asked(start_at_us=START_US + DAY_US, end_at_us=START_US + 2 * DAY_US)
    found = reports.explanation(query, DAY_US)
    assert found["change"] is None and set(found["causes"].values()) == {None}
    assert found["before"]["cold_rate"] is None and found["after"]["cold_rate"] == 1
