"""What budgets read out of the sums by hour is what the rows come to, to the last digit."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.reading.counting import counted_pico_usd
from gateway.ledger.reading.looking import reading
from gateway.ledger.reading.spend import SpendQuery, Spent, spent
from gateway.ledger.reading.spend_hours import counted_by_hours
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import change
from tests.ledger.samples import NOON_US, PICO, begun, finished, idle_charge

HOUR_US = 3_600_000_000
HOURS = 12
MOST_PICO_USD = 3 * PICO  # so that sums are carried over into whole dollars


def measured(dice: random.Random) -> dict[str, Any]:
    cost = dice.choice([0, dice.randrange(MOST_PICO_USD)])
    bound = dice.choice([None, cost])
    return money("measured", cost, cost, bound, bound)


def estimated(dice: random.Random) -> dict[str, Any]:
    low, known, high = sorted(dice.choice([0, dice.randrange(MOST_PICO_USD)]) for _ in range(3))
    return money("estimated", known, known, low, dice.choice([None, high]))


def unknown(dice: random.Random) -> dict[str, Any]:
    known = dice.choice([0, dice.randrange(MOST_PICO_USD)])
    return money("unknown", None, known, known, dice.choice([None, known + 5]))


def money(status: str, cost: int | None, known: int, low: Any, high: Any) -> dict[str, Any]:
    return {
        "cost_status": status,
        "cost_pico_usd": cost,
        "known_pico_usd": known,
        "low_pico_usd": low,
        "high_pico_usd": high,
    }


def some(dice: random.Random, number: int, hour: int, *, plain: bool) -> AttemptRow:
    """An attempt of an hour; a ``plain`` one counts for what it costs."""
    of_plain = [("succeeded", measured), ("succeeded", estimated), ("failed", measured)]
    of_any = [
        (status, cost)
        for status in ("succeeded", "failed", "cancelled", "interrupted", "lost_hedge")
        for cost in (measured, estimated, unknown)
    ]
    status, cost = dice.choice(of_plain if plain else of_any)
    return finished(
        begun(
            number,
            at_us=NOON_US + hour * HOUR_US + dice.choice([0, dice.randrange(HOUR_US), HOUR_US - 1]),
            key_id=dice.choice([None, "a", "b"]),
            deployment=dice.choice(["one", "two"]),
            tags=dice.choice([{}, {"team": "search"}, {"team": "ads", "user": "x"}]),
            origin=dice.choice(["live"] * 9 + ["imported"]),
            reserved_pico_usd=dice.choice([None, dice.randrange(MOST_PICO_USD)]),
        ),
        status=status,
        first_output_seconds=dice.choice([None, 0.1]),
        price=dice.choice([None, {"usd_per_second": "1"}, {"usd_per_request": "1"}]),
        **cost(dice),
    )


def told(data_dir: Path, rows: Iterable[AttemptRow], dice: random.Random) -> dict[str, AttemptRow]:
    """Write them down as a gateway does, with charges and corrections; how they stand at last."""
    journal, shipper = Journal.open(data_dir / "journal"), Shipper(data_dir, rollup_tags=["team"])
    last = {}
    for row in rows:
        if dice.random() < 0.1:  # it is seen while it runs, and ends in a later batch
            journal.begin(replace(row, status="running", cost_pico_usd=None, known_pico_usd=0))
            shipper.ship()
        journal.end(row)
        last[row.attempt_id] = row
        if dice.random() < 0.2:
            at_us = row.operation_at_us + dice.randrange(HOUR_US)
            number = int(row.attempt_id.removeprefix("att_"))
            journal.charge(
                idle_charge(
                    number,
                    attempt_id=row.attempt_id,
                    deployment=row.deployment,
                    period_start_at_us=at_us,
                    period_end_at_us=at_us + 1,
                    cost_pico_usd=dice.choice([None, dice.randrange(MOST_PICO_USD)]),
                )
            )
        if dice.random() < 0.2:
            found = dice.choice([measured, estimated])(dice)
            journal.correct(row.attempt_id, 1, "bill", found)
            last[row.attempt_id] = replace(row, **found)
    journal.begin(begun(99_999, at_us=NOON_US, key_id="a"))
    shipper.ship()
    shipper.close()
    journal.close()
    return last


@pytest.mark.parametrize("seed", range(5))
def test_the_sums_by_hour_count_as_the_rows_do(data_dir: Path, seed: int) -> None:
    dice = random.Random(seed)
    plain = {hour: dice.random() < 0.6 for hour in range(HOURS)}
    hours = [dice.randrange(HOURS) for _ in range(150)]
    given = [some(dice, nth, hour, plain=plain[hour]) for nth, hour in enumerate(hours)]
    rows = told(data_dir, given, dice).values()
    queries = [
        SpendQuery(*window, key_id, tags)
        for window in [
            *((0, None), (NOON_US, NOON_US + HOURS * HOUR_US), (NOON_US, NOON_US + HOUR_US)),
            *(
                (NOON_US + one, NOON_US + one + dice.randrange(HOURS * HOUR_US))
                for one in (dice.randrange(HOURS * HOUR_US) for _ in range(6))
            ),
        ]
        for key_id in (None, "a")
        for tags in (None, {"team": "search"}, {"user": "x"})
    ]
    wanted = [of_rows(query, rows) for query in queries]
    assert [replace(one, as_of=0) for one in spent(data_dir, queries, {}) or []] == wanted
    with reading(data_dir) as snapshot:
        assert snapshot is not None
        found = counted_by_hours(snapshot, 0, NOON_US + HOURS * HOUR_US, None, {})
        assert found.pico_usd and found.left  # both ways had a part in it
        by_user = counted_by_hours(snapshot, 0, NOON_US, None, {"user": "x"})
        assert by_user.left == [(0, NOON_US)]  # a tag that nobody sums up


def of_rows(query: SpendQuery, rows: Iterable[AttemptRow]) -> Spent:
    end_us = NOON_US * 2 if query.end_at_us is None else query.end_at_us
    those = [
        row
        for row in rows
        if row.origin == "live"
        and query.start_at_us <= row.operation_at_us < end_us
        and query.key_id in (None, row.key_id)
        and (query.tags or {}).items() <= row.tags.items()
    ]
    unknown_attempts = sum(row.cost_pico_usd is None for row in those)
    return Spent(sum(map(counted_pico_usd, those)), unknown_attempts)


def test_hours_that_are_clear_are_not_read_from_rows(data_dir: Path) -> None:
    dice = random.Random(1)
    told(data_dir, [some(dice, nth, nth % HOURS, plain=True) for nth in range(60)], dice)
    change(data_dir, "UPDATE attempts SET known_pico_usd = 0, cost_pico_usd = 0")
    window = SpendQuery(NOON_US + 1, NOON_US + HOURS * HOUR_US)
    (found,) = spent(data_dir, [window], {}) or []
    assert found.pico_usd  # by the rows as they stand now it would be nothing


def test_while_an_older_ledger_is_summed_up_rows_are_read(data_dir: Path) -> None:
    dice = random.Random(1)
    rows = told(data_dir, [some(dice, nth, 0, plain=True) for nth in range(20)], dice).values()
    change(data_dir, "DELETE FROM rollups")
    change(data_dir, "INSERT INTO meta VALUES ('attempts_rolled_to', 'att_000007')")
    ever = SpendQuery(0, None)
    (found,) = spent(data_dir, [ever], {}) or []
    assert replace(found, as_of=0) == of_rows(ever, rows)
