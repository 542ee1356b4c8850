"""What is read back for budgets: all that has ended, as it is counted live, and never too early."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.layout import database_path
from gateway.ledger.months.upkeep import Upkeep
from gateway.ledger.reading.counting import counted_pico_usd
from gateway.ledger.reading.spend import SpendQuery, SpendReader, Spent, spent, written
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.spend_changes import changes_after
from gateway.ledger.shipping.store import Store
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from tests.ledger.asking import Fill
from tests.ledger.databases import ship
from tests.ledger.samples import NOON_US, begun, finished

EVER = SpendQuery(0, None)
ESTIMATE = {"cost_status": "estimated", "cost_pico_usd": 5, "known_pico_usd": 5}


def some(count: int) -> list[AttemptRow]:
    """Ended attempts of all kinds."""
    rng = random.Random(3)
    rows = []
    for number in range(count):
        known = rng.randint(0, 100)
        cost = rng.choice([None, known])
        row = finished(
            begun(number, at_us=NOON_US + number * 1_000_000, key_id=rng.choice([None, "a", "b"])),
            status=rng.choice(["succeeded", "failed", "cancelled", "interrupted"]),
            cost_status="unknown" if cost is None else rng.choice(["measured", "estimated"]),
            cost_pico_usd=cost,
            known_pico_usd=known,
            high_pico_usd=rng.choice([None, known + rng.randint(0, 50)]),
            reserved_pico_usd=rng.choice([None, rng.randint(0, 200)]),
            first_output_seconds=rng.choice([None, 0.1]),
            price=rng.choice([None, {"usd_per_second": "1"}, {"usd_per_request": "1"}]),
            tags=rng.choice([{}, {"team": "search"}, {"team": "search", "x": "y"}]),
        )
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (EVER, lambda row: True),
        (SpendQuery(0, None, "a"), lambda row: row.key_id == "a"),
        (SpendQuery(0, None, None, {"team": "search"}), lambda row: "team" in row.tags),
        (SpendQuery(0, None, None, {"team": "search", "x": "y"}), lambda row: "x" in row.tags),
        (
            SpendQuery(NOON_US + 50_000_000, NOON_US + 90_000_000),
            lambda row: 50 <= (row.operation_at_us - NOON_US) // 1_000_000 < 90,
        ),
        (SpendQuery(0, None, "nobody"), lambda row: False),
    ],
    ids=["all", "key", "tag", "tags", "window", "none"],
)
def test_the_database_counts_as_the_gateway_does(
    fill: Fill, data_dir: Path, query: SpendQuery, wanted: Any
) -> None:
    rows = some(200)
    fill(*rows, begun(900), finished(begun(901), origin="imported"))
    about = [row for row in rows if wanted(row)]
    unknown = sum(row.cost_pico_usd is None for row in about)
    assert spent(data_dir, [query], {}) == [Spent(sum(map(counted_pico_usd, about)), unknown)]


@pytest.mark.parametrize(
    ("changes", "pico_usd"),
    [
        ({"cost_pico_usd": 5, "known_pico_usd": 5, "high_pico_usd": 9}, 5),
        ({"cost_pico_usd": None, "known_pico_usd": 2, "high_pico_usd": 9}, 9),
        ({"cost_pico_usd": None, "known_pico_usd": 2, "high_pico_usd": None}, 90),
        *(
            ({"status": status, **ESTIMATE, **bound}, pico_usd)
            for status in ("interrupted", "failed")
            for bound, pico_usd in (({"high_pico_usd": 9}, 9), ({"high_pico_usd": None}, 90))
        ),
        ({"status": "succeeded", **ESTIMATE, "high_pico_usd": 9}, 5),
        ({"status": "cancelled", **ESTIMATE, "high_pico_usd": 9, "price": {}}, 5),
        ({"status": "cancelled", **ESTIMATE, "high_pico_usd": 9}, 9),  # it has a price for seconds
        (
            {
                "status": "cancelled",
                **ESTIMATE,
                "high_pico_usd": 9,
                "price": {},
                "first_output_seconds": None,
            },
            9,
        ),
        ({"cost_pico_usd": None, "known_pico_usd": 95, "high_pico_usd": None}, 95),
    ],
)
def test_what_is_not_known_counts_for_what_it_can_have_been(
    changes: dict[str, Any], pico_usd: int
) -> None:
    assert counted_pico_usd(finished(begun(reserved_pico_usd=90), **changes)) == pico_usd


def test_nothing_is_told_before_the_database_has_it(data_dir: Path, journal: Journal) -> None:
    assert spent(data_dir, [EVER], {}) == [Spent(0, 0)]
    journal.end(finished(begun()))
    reached = written(data_dir)
    assert reached == {journal.name: journal.position()[1]}
    assert spent(data_dir, [EVER], reached) is None
    ship(data_dir)
    assert spent(data_dir, [EVER], reached) == [Spent(93_000_000, 0)]
    journal.end(finished(begun(1)))
    assert spent(data_dir, [EVER], written(data_dir)) is None


def test_a_torn_last_line_is_not_waited_for(data_dir: Path, journal: Journal) -> None:
    journal.end(finished(begun()))
    ship(data_dir)
    path = data_dir / "journal" / journal.name
    with path.open("ab") as file:
        file.write(b'{"v":1,"seq":2,"kind":"en' + b"x" * 70_000)
    assert spent(data_dir, [EVER], written(data_dir)) == [Spent(93_000_000, 0)]


async def test_the_reader_waits_for_the_shipper(data_dir: Path, journal: Journal) -> None:
    journal.end(finished(begun()))
    asked, twice = iter(range(2)), asyncio.Event()

    def nudge() -> None:
        if next(asked, 1):
            twice.set()

    reading = asyncio.create_task(SpendReader(data_dir, nudge)([EVER]))
    await twice.wait()
    assert not reading.done()
    await asyncio.to_thread(ship, data_dir)
    assert await reading == [Spent(93_000_000, 0)]


def test_what_was_set_aside_meanwhile_survives_the_gateway(data_dir: Path) -> None:
    """Slices are written down as they are taken, and repeated when the journal goes on."""
    directory = data_dir / "journal"
    first = Journal.open(directory, rotate_bytes=1 << 12)
    first.begin(begun(reserved_pico_usd=10))
    for pico_usd in (20, 30):
        first.correct("att_000000", NOON_US, "reservation", {"reserved_pico_usd": pico_usd})
    for number in range(1, 12):  # enough for another file
        first.end(finished(begun(number)))
    first.close()
    second = Journal.open(directory)
    seen: list[int | None] = []

    def settle(row: AttemptRow, now_us: int) -> AttemptRow:
        seen.append(row.reserved_pico_usd)
        return finished(row, status="interrupted")

    assert recover(directory, second, settle) == 1
    second.close()
    assert seen == [30]


def test_a_correction_leaves_the_difference_that_it_makes(data_dir: Path, journal: Journal) -> None:
    journal.end(finished(begun(0), **{**ESTIMATE, "status": "interrupted", "high_pico_usd": 90}))
    journal.end(finished(begun(1), origin="imported"))
    journal.begin(begun(2, reserved_pico_usd=5))
    ship(data_dir)
    (before,) = spent(data_dir, [EVER], {}) or []
    assert before == Spent(90, 0) and changes_after(data_dir, 0) == []
    journal.correct("att_000000", 1, "bill", {"cost_status": "measured"})  # 5 instead of 90
    journal.correct("att_000000", 1, "bill", {"execute_seconds": 1.0})  # no money
    journal.correct("att_000001", 1, "bill", {"cost_pico_usd": 1})  # was imported
    journal.correct("att_000002", 1, "reservation", {"reserved_pico_usd": 9})  # runs
    journal.correct("att_000009", 1, "bill", {"cost_pico_usd": 1})  # is nowhere
    journal.correct("att_000000", 1, "bill", {"cost_pico_usd": None, "cost_status": "unknown"})
    ship(data_dir)
    first, second = changes_after(data_dir, before.as_of)
    assert (first.pico_usd, first.unknown_attempts) == (-85, 0)
    assert (second.pico_usd, second.unknown_attempts) == (+85, 1)
    assert (first.key_id, first.tags) == (begun(0).key_id, begun(0).tags)
    assert spent(data_dir, [EVER], {}) == [Spent(90, 1, second.number)]
    assert changes_after(data_dir, first.number) == [second]


def test_what_was_heard_of_long_ago_is_deleted_and_no_number_comes_twice(
    data_dir: Path, journal: Journal
) -> None:
    journal.end(finished(begun(0)))
    journal.correct("att_000000", 1, "bill", {"cost_pico_usd": 1})
    ship(data_dir)
    (old,) = changes_after(data_dir, 0)
    week_later = lambda: time.time_ns() // 1000 + 8 * 86_400_000_000  # noqa: E731
    store = Store.open(database_path(data_dir))
    Upkeep(data_dir, wall_us=week_later).step(store)
    store.close()
    assert changes_after(data_dir, 0) == []
    journal.correct("att_000000", 2, "bill", {"cost_pico_usd": 2})
    ship(data_dir)
    (new,) = changes_after(data_dir, 0)
    assert new.number > old.number and new.pico_usd == 1
