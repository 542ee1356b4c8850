"""Months in files of their own: read as one ledger, changed later, deleted, killed in between."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import info, verify
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.layout import archive_dir, database_path, journal_dir, journal_names
from gateway.ledger.months.archive import month_of, span_of
from gateway.ledger.months.sealing import Sealer
from gateway.ledger.months.upkeep import Upkeep
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.shipping.store import Store
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import asked, at, column
from tests.ledger.databases import attempt_rows, ship
from tests.ledger.forked import Victims
from tests.ledger.samples import begun, idle_charge, priced

DAY_US = 86_400_000_000
JANUARY, FEBRUARY, MARCH = (at(f"2026-0{month}-10T12:00Z") for month in (1, 2, 3))
APRIL = at("2026-04-20T00:00Z")


def row(number: int, at_us: int, usd: str = "1", **changes: Any) -> AttemptRow:
    return priced(begun(number, at_us=at_us + number, **changes), usd)


@pytest.fixture
def reports(data_dir: Path) -> Iterator[Reports]:
    opened = Reports(database_path(data_dir))
    yield opened
    opened.close()


def seal(data_dir: Path, now_us: int = APRIL) -> int:
    sealer = Sealer(database_path(data_dir), archive_dir(data_dir), busy_timeout_seconds=0.01)
    moved = 0
    while done := sealer.seal_step(now_us):
        moved += done
    return moved


@pytest.fixture
def sealed(data_dir: Path, journal: Journal) -> Journal:
    """Two attempts in each of three months, and a charge in each; all moved."""
    for number, at_us in enumerate((JANUARY, JANUARY, FEBRUARY, FEBRUARY, MARCH, MARCH)):
        journal.end(row(number, at_us, key_id=f"k{number % 2}"))
    for number, at_us in enumerate((JANUARY, FEBRUARY, MARCH)):
        paid = idle_charge(number, period_start_at_us=at_us + DAY_US, cost_pico_usd=10**12)
        journal.charge(replace(paid, attempt_id=f"att_{2 * number:06d}"))
    ship(data_dir)
    assert seal(data_dir) == 9
    return journal


def test_the_months_of_instants() -> None:
    assert month_of(JANUARY) == "2026-01"
    assert month_of(at("2026-12-31T23:59:59Z")) == "2026-12"
    assert span_of("2026-12") == (at("2026-12-01T00:00Z"), at("2027-01-01T00:00Z"))


def test_moved_months_are_read_as_before(data_dir: Path, sealed: Journal, reports: Reports) -> None:
    assert attempt_rows(data_dir) == {}
    names = [f"2026-0{month}" for month in (1, 2, 3)]
    assert [month["month"] for month in info(data_dir)["months"]] == names
    assert sorted(p.name for p in archive_dir(data_dir).glob("*.sqlite3")) == [
        f"{name}.sqlite3" for name in names
    ]
    assert verify(data_dir) == []
    assert column(reports.costs(asked()), "attempts", "charges", "known_usd") == [(6, 3, "9")]
    # By a tag that is not rolled up, and within an hour: both read the rows.
    by_tag = reports.costs(asked(group_by=("tag:team", "key")))
    assert column(by_tag, "attempts", "known_usd") == [(3, "6"), (3, "3")]
    ragged = asked(start_at_us=JANUARY + 1, end_at_us=JANUARY + 60_000_000)
    assert column(reports.costs(ragged), "attempts") == [(1,)]
    of_key = reports.costs(asked(key_id="k0", start_at_us=JANUARY - 7))
    assert column(of_key, "attempts", "charges") == [(3, 3)]
    (cold,) = reports.cold_starts(asked())["data"]
    assert cold["cold"] == 6 and cold["boot_seconds"]["p50"] == 0.62
    found = reports.operation("gen_000000")
    assert found is not None and found["cost"]["total_usd"] == "1"
    assert reports.operation("gen_000001", "k0") is None


def test_pages_go_on_from_month_to_month(data_dir: Path, sealed: Journal, reports: Reports) -> None:
    sealed.end(row(6, APRIL))
    sealed.end(row(7, JANUARY + 5))  # late, and not moved
    ship(data_dir)
    seen: list[str] = []
    cursor = None
    while True:
        page = reports.operations(asked(limit=2, cursor=cursor))
        seen += [operation["id"] for operation in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [int(name[-1]) for name in seen] == [6, 5, 4, 3, 2, 7, 1, 0]


def test_an_operation_in_two_files_is_whole(data_dir: Path, journal: Journal) -> None:
    first = replace(row(0, JANUARY, operation_id="gen_1"), status="failed")
    still = replace(
        begun(1, at_us=JANUARY), operation_id="gen_1", ordinal=1, operation_at_us=JANUARY
    )
    journal.end(first)
    journal.begin(still)
    ship(data_dir)
    assert seal(data_dir) == 1
    assert list(attempt_rows(data_dir)) == ["att_000001"]  # what runs is not moved
    reports = Reports(database_path(data_dir))
    (found,) = reports.operations(asked())["data"]
    assert [attempt["status"] for attempt in found["attempts"]] == ["failed", "running"]
    reports.close()


def test_a_late_correction_and_a_late_end(
    data_dir: Path, sealed: Journal, reports: Reports
) -> None:
    bill = priced(begun(0), "5")
    money = ("cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd", "cost_lines")
    sealed.correct("att_000000", 9, "bill", {name: getattr(bill, name) for name in money})
    sealed.correct("att_000002", 9, "verdict", {"verdict": "warm"})
    sealed.end(row(4, MARCH, "3"))
    sealed.begin(begun(5, at_us=MARCH + 5))  # a repeated begin of what has ended changes nothing
    ship(data_dir)
    for _ in range(2):
        assert column(reports.costs(asked()), "attempts", "known_usd") == [(6, "15")]
        by_tag = reports.costs(asked(group_by=("tag:team", "verdict")))
        assert column(by_tag, "attempts", "charges", "known_usd") == [(5, 2, "13"), (1, 1, "2")]
        assert {problem.kind for problem in verify(data_dir)} == {"two_ends", "differs"}
        assert seal(data_dir) in (3, 0)
    assert attempt_rows(data_dir) == {}
    assert seal(data_dir) == 0


def test_left_open_files_are_deleted_when_their_attempts_ended_and_were_moved(
    data_dir: Path,
) -> None:
    directory = journal_dir(data_dir)
    old = Journal.open(directory)
    old.begin(row(1, JANUARY, status="running"))
    old.close()
    newest = Journal.open(directory)
    newest.end(row(1, JANUARY))
    shipper = Shipper(data_dir)
    shipper.ship()
    seal(data_dir)
    store = Store.open(database_path(data_dir))
    assert store.running(["att_000001", "att_000009"]) == {"att_000009"}
    store.close()
    shipper.tidy(now=True)
    shipper.close()
    assert journal_names(directory) == [newest.name]
    newest.close()


def test_pruning_keeps_the_sums(data_dir: Path, sealed: Journal, reports: Reports) -> None:
    sealed.end(row(6, JANUARY + 7, "4"))  # late: of January, and still in the main file
    ship(data_dir)
    before = reports.costs(asked(group_by=("deployment", "key"), bucket_width="1d"))
    sealer = Sealer(database_path(data_dir), archive_dir(data_dir))
    assert sealer.prune("2026-03") == ["2026-01", "2026-02"]
    assert sealer.prune_step("2026-03") == 1 and sealer.prune_step("2026-03") == 0
    assert [path.name for path in archive_dir(data_dir).iterdir()] == ["2026-03.sqlite3"]
    assert reports.costs(asked(group_by=("deployment", "key"), bucket_width="1d")) == before
    assert [row["id"] for row in reports.operations(asked())["data"]] == [
        "gen_000005",
        "gen_000004",
    ]
    assert reports.operation("gen_000000") is None
    sealed.correct("att_000000", 9, "bill", {"output_tokens": 7})
    sealed.end(row(8, JANUARY))
    ship(data_dir)
    assert seal(data_dir) == 0
    assert verify(data_dir) == []


def test_a_file_that_is_in_the_way_is_another_ledgers(data_dir: Path, sealed: Journal) -> None:
    for path in data_dir.glob("ledger.sqlite3*"):
        path.unlink()
    journal = Journal.open(journal_dir(data_dir))
    journal.end(row(9, JANUARY))
    journal.close()
    ship(data_dir)  # all of the journal again
    seal(data_dir)
    names = sorted(path.name for path in archive_dir(data_dir).glob("*.sqlite3"))
    assert "2026-01.2.sqlite3" in names and "2026-01.sqlite3" in names
    assert verify(data_dir) == []


def test_a_missing_month_is_no_empty_one(data_dir: Path, sealed: Journal, reports: Reports) -> None:
    (archive_dir(data_dir) / "2026-02.sqlite3").unlink()
    assert column(reports.costs(asked()), "attempts") == [(6,)]
    with pytest.raises(StoreUnavailable, match="2026-02"):
        reports.operations(asked())


@pytest.mark.parametrize("which", ["main", "month"])
def test_a_locked_file_stops_a_step_and_costs_nothing(
    data_dir: Path, sealed: Journal, which: str
) -> None:
    sealed.end(row(6, JANUARY + 9))
    ship(data_dir)
    path = database_path(data_dir) if which == "main" else archive_dir(data_dir) / "2026-01.sqlite3"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        seal(data_dir)
    other.execute("ROLLBACK")
    other.close()
    assert verify(data_dir) == []
    assert seal(data_dir) == 1
    assert verify(data_dir) == []


def test_a_full_volume_stops_a_step_and_costs_nothing(data_dir: Path, sealed: Journal) -> None:
    for number in range(6, 60):
        sealed.end(row(number, JANUARY))
    ship(data_dir)
    month = sqlite3.connect(archive_dir(data_dir) / "2026-01.sqlite3", isolation_level=None)
    (pages,) = month.execute("PRAGMA page_count").fetchone()

    class Small(Sealer):
        """A month's file that cannot grow."""

        def _month(self, *given: Any) -> Any:
            return _Bounded(super()._month(*given), pages)

    small = Small(database_path(data_dir), archive_dir(data_dir))
    with pytest.raises(StoreUnavailable, match="full"):
        small.seal_step(APRIL)
    month.close()
    assert verify(data_dir) == []
    assert seal(data_dir) == 54
    assert verify(data_dir) == []


class _Bounded:
    def __init__(self, inner: Any, pages: int) -> None:
        self._inner, self._pages = inner, pages

    def __enter__(self) -> sqlite3.Connection:
        month: sqlite3.Connection = self._inner.__enter__()
        month.execute(f"PRAGMA max_page_count={self._pages}")
        return month

    def __exit__(self, *error: Any) -> Any:
        return self._inner.__exit__(*error)


def test_a_clock_that_was_set_back_moves_and_deletes_nothing_early(
    data_dir: Path, sealed: Journal
) -> None:
    sealed.end(row(6, APRIL))
    ship(data_dir)
    assert seal(data_dir, now_us=JANUARY) == 0
    assert seal(data_dir, now_us=at("2026-05-02T00:00Z")) == 0  # April has been over for a day
    assert seal(data_dir, now_us=at("2026-05-04T00:00Z")) == 1


def test_an_old_month_is_deleted_only_when_it_is_old_for_an_hour(
    data_dir: Path, sealed: Journal
) -> None:
    now = {"monotonic": 0.0, "wall": at("2099-01-01T00:00Z")}
    upkeep = Upkeep(
        data_dir,
        keep_days=60,
        monotonic=lambda: now["monotonic"],
        wall_us=lambda: int(now["wall"]),
    )
    store = Store.open(database_path(data_dir))

    def step(after_seconds: float, wall_us: int) -> list[str]:
        now["monotonic"] += after_seconds
        now["wall"] = wall_us
        upkeep.step(store)
        return [month["month"] for month in info(data_dir)["months"] if not month["pruned"]]

    all_three = ["2026-01", "2026-02", "2026-03"]
    assert step(61, at("2099-01-01T00:00Z")) == all_three
    assert step(61, APRIL) == all_three  # the clock was wrong
    assert step(3500, APRIL) == all_three
    assert step(200, APRIL) == ["2026-02", "2026-03"]
    store.close()


def test_a_month_that_cannot_be_written_does_not_hold_up_the_lines(
    data_dir: Path, sealed: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    other = sqlite3.connect(archive_dir(data_dir) / "2026-01.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sealed.end(row(6, JANUARY))
    shipper = Shipper(data_dir, busy_timeout_seconds=0.01)
    assert shipper.ship() == 1
    assert shipper.upkeep() == 0 and "upkeep" in caplog.text
    sealed.end(row(7, JANUARY))
    assert shipper.ship() == 1
    other.execute("ROLLBACK")
    other.close()
    assert shipper.upkeep() == 0  # it rests for a minute
    shipper.close()
    assert seal(data_dir) == 2
    assert verify(data_dir) == []


def test_killed_at_any_moment_nothing_is_lost_or_doubled(data_dir: Path) -> None:
    dice = random.Random(11)
    journal = Journal.open(journal_dir(data_dir))
    expected = {}
    for number in range(300):
        ended = row(number, dice.choice((JANUARY, FEBRUARY, MARCH)), f"0.{number + 1:03d}")
        journal.end(ended)
        expected[ended.attempt_id] = ended
    ship(data_dir)
    keepers = Victims("keeper", data_dir)
    reports = Reports(database_path(data_dir))
    for seed in range(12):
        keepers.kill_one(seed, dice.randrange(4))
        time.sleep(dice.random() * 0.01)
        of = dice.choice(list(expected))
        expected[of] = replace(expected[of], output_tokens=seed)
        journal.correct(of, seed, "bill", {"output_tokens": seed})
        ship(data_dir)
        assert column(reports.costs(asked(group_by=("tag:team",))), "attempts") == [(300,)]
    keepers.close()
    seal(data_dir)
    assert attempt_rows(data_dir) == {}
    assert verify(data_dir) == []
    found = {}
    for path in archive_dir(data_dir).glob("*.sqlite3"):
        month = sqlite3.connect(path)
        month.row_factory = sqlite3.Row
        for each in month.execute("SELECT * FROM attempts"):
            assert each["attempt_id"] not in found
            found[each["attempt_id"]] = each["output_tokens"]
        month.close()
    assert found == {of: asdict(ended)["output_tokens"] for of, ended in expected.items()}
    reports.close()
    journal.close()
