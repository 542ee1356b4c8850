"""A ledger of an earlier release under load, killed in between: nothing lost, nothing twice."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import info, verify
from gateway.ledger.errors import BadQuery, SchemaMismatch
from gateway.ledger.layout import archive_dir, database_path, journal_dir
from gateway.ledger.months.upkeep import Upkeep, maintenance
from gateway.ledger.reports.reports import Reports
from gateway.ledger.schema import rolled_tags
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.shipping.store import Store
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import asked, column
from tests.ledger.databases import attempt_rows, change, ship, table
from tests.ledger.forked import Victims
from tests.ledger.samples import begun, finished, idle_charge, priced

SINCE_VERSION_3 = ("rollup_gaps", "rollup_gap_seconds", "rollup_revisions")
SINCE_VERSION_2 = (
    *("quarter_rollups", "quarter_rollup_lines", "quarter_rollup_seconds"),
    *SINCE_VERSION_3,
)
SINCE_VERSION_1 = (
    *("series", "rollups", "rollup_lines", "rollup_seconds", "rolled_tags", "tag_values"),
    *("months", "overridden", *SINCE_VERSION_2),
)


def without_gaps(data_dir: Path) -> None:
    """Take away what version 3 did not have."""
    for name in SINCE_VERSION_3:
        change(data_dir, f"DROP TABLE {name}")
    change(data_dir, "UPDATE meta SET value = '3' WHERE name = 'schema_version'")


def without_quarters(data_dir: Path) -> None:
    """Take away what version 2 did not have."""
    for name in SINCE_VERSION_2:
        change(data_dir, f"DROP TABLE {name}")
    change(data_dir, "UPDATE meta SET value = '2' WHERE name = 'schema_version'")


def older(data_dir: Path) -> None:
    """Take away what version 1 did not have."""
    for name in SINCE_VERSION_1:
        change(data_dir, f"DROP TABLE {name}")
    change(data_dir, "DROP INDEX charges_by_attempt")
    change(data_dir, "DELETE FROM meta WHERE name = 'ledger_id'")
    change(data_dir, "UPDATE meta SET value = '1' WHERE name = 'schema_version'")


def fill(journal: Journal, numbers: range) -> None:
    for number in numbers:
        row = begun(number, at_us=begun(0).begun_at_us + number * 60_000_000)
        journal.begin(row)
        if number % 5:
            journal.end(priced(row, f"0.{number + 1:04d}"))
        if number % 7 == 0:
            journal.charge(idle_charge(number, attempt_id=row.attempt_id))


def migrate(data_dir: Path) -> int:
    store, upkeep = Store.open(database_path(data_dir)), Upkeep(data_dir)
    moved = 0
    while done := upkeep.step(store):
        moved += done
    store.close()
    return moved


def test_an_older_ledger_is_written_at_once_and_summed_up_in_steps(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.months.migration._STEP_ROWS", 7)
    fill(journal, range(30))
    ship(data_dir)
    older(data_dir)
    with pytest.raises(SchemaMismatch, match="migrate"):
        Reports(database_path(data_dir)).costs(asked())
    assert info(data_dir)["schema_version"] == 1
    fill(journal, range(30, 40))
    shipper = Shipper(data_dir, rollup_tags=("team",))
    assert shipper.ship() > 0
    assert len(attempt_rows(data_dir)) == 40
    assert not info(data_dir)["rollups_complete"]
    reports = Reports(database_path(data_dir))
    question = asked(group_by=("tag:team", "status"), bucket_width="1h")
    before = reports.costs(question)
    assert shipper.upkeep() == 7
    at_us = begun(0).begun_at_us + 5 * 60_000_000
    journal.end(finished(begun(5, at_us=at_us)))  # one that is not summed up yet, or has just been
    journal.correct("att_000001", 1, "bill", {"output_tokens": 1})
    journal.correct("att_000029", 1, "bill", {"output_tokens": 1})
    fill(journal, range(40, 43))
    shipper.ship()
    while shipper.upkeep():
        pass
    shipper.close()
    assert info(data_dir)["rollups_complete"]
    assert verify(data_dir) == []
    assert table(data_dir, rolled_tags)[0]["from_at_us"] == 0
    after = reports.costs(question)
    assert sum(row["attempts"] for row in before["data"]) == 40
    assert sum(row["attempts"] for row in after["data"]) == 43
    reports.close()


def test_sums_by_quarter_are_made_from_the_newest_row_back(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.sums.quarters._STEP_ROWS", 15)
    fill(journal, range(100))
    for number in range(100, 120):  # more of one instant than a step takes
        journal.end(priced(begun(number, at_us=begun(0).begun_at_us), "0.5"))
    journal.end(finished(begun(120, at_us=0)))
    ship(data_dir)
    migrate(data_dir)  # the attempt of 1970 lies in a file of its own now
    without_quarters(data_dir)
    by_day = asked(bucket_width="1d", time_zone="Asia/Kolkata", group_by=("status",))
    shipper = Shipper(data_dir)
    shipper.ship()
    reports = Reports(database_path(data_dir))
    before = reports.costs(by_day)
    assert not info(data_dir)["rollups_complete"]
    assert verify(data_dir) == []
    steps = 0
    while shipper.upkeep():
        steps += 1
        assert reports.costs(by_day) == before
        for number in (1, 99, 5 * steps + 1):  # some are summed up already, some are not
            new = {"output_tokens": steps, "verdict": "cold" if steps % 2 else "warm"}
            journal.correct(f"att_{number:06d}", steps, "bill", new)
        shipper.ship()
        if steps == 4:
            assert verify(data_dir) == []
    shipper.close()
    assert steps > 6 and verify(data_dir) == []
    assert info(data_dir)["rollups_complete"]
    assert reports.costs(by_day) == before
    reports.close()


def test_sums_by_idle_time_are_made_from_the_newest_row_back(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.sums.quarters._STEP_ROWS", 15)
    monkeypatch.setattr("gateway.ledger.reports.reports.EXACT_ATTEMPTS", -1)
    first_us = begun(0).begun_at_us
    rows = [begun(n, at_us=first_us + n * 60_000_000) for n in range(100)]
    rows += [begun(n, at_us=first_us) for n in range(100, 120)]
    rows.append(begun(120, at_us=0))
    for number, row in enumerate(rows):
        row = replace(row, idle_before_seconds=number / 3, upstream_revision=f"r{number // 40}")
        journal.end(finished(row))
    ship(data_dir)
    migrate(data_dir)  # the attempt of 1970 lies in a file of its own now
    without_gaps(data_dir)
    shipper = Shipper(data_dir)
    shipper.ship()
    assert not info(data_dir)["rollups_complete"]
    reports = Reports(database_path(data_dir))
    half = first_us + 50 * 60_000_000

    def answer() -> tuple[Any, ...]:
        found = reports.cold_starts(asked(by=("idle_gap",)))
        why = reports.explanation(asked(start_at_us=half), half)
        return column(found, "group", "attempts", "boots"), why

    before = answer()
    steps = 0
    while shipper.upkeep():
        steps += 1
        assert answer() == before
        for number in (1, 99, 5 * steps + 1):  # some are summed up already, some are not
            journal.correct(f"att_{number:06d}", steps, "bill", {"boot_seconds": steps / 7})
        shipper.ship()
        if steps == 4:
            assert verify(data_dir) == []
    shipper.close()
    assert steps > 6 and verify(data_dir) == []
    assert info(data_dir)["rollups_complete"]
    assert answer() == before
    reports.close()


def test_what_was_pruned_has_no_sums_by_quarter(data_dir: Path, journal: Journal) -> None:
    row = begun(1, at_us=0)
    journal.end(finished(row))
    journal.end(finished(begun(2)))
    ship(data_dir)
    migrate(data_dir)
    without_quarters(data_dir)
    change(data_dir, "UPDATE months SET pruned_at_us = 1")
    migrate(data_dir)
    assert info(data_dir)["rollups_complete"]
    assert verify(data_dir) == []
    reports = Reports(database_path(data_dir))
    assert column(reports.costs(asked()), "attempts") == [(2,)]
    with pytest.raises(BadQuery, match="1970-01"):
        reports.costs(asked(bucket_width="1h", time_zone="Asia/Kolkata"))
    reports.close()


@pytest.mark.parametrize("make_older", [older, without_quarters, without_gaps])
def test_a_migration_killed_at_any_moment_goes_on(
    data_dir: Path, make_older: Callable[[Path], None]
) -> None:
    dice = random.Random(3)
    journal = Journal.open(journal_dir(data_dir))
    fill(journal, range(200))
    ship(data_dir)
    make_older(data_dir)
    keepers = Victims("keeper", data_dir)
    for seed in range(8):
        keepers.kill_one(seed, dice.randrange(4))
        fill(journal, range(200 + 2 * seed, 202 + 2 * seed))
        ship(data_dir)
    keepers.close()
    migrate(data_dir)
    reports = Reports(database_path(data_dir))
    assert column(reports.costs(asked()), "attempts", "charges") == [(216, 31)]
    reports.close()
    journal.close()
    assert [p for p in verify(data_dir) if p.kind != "without_end"] == []


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_new_field_is_a_new_column(data_dir: Path, journal: Journal, version: int) -> None:
    """As if ``images`` and a charge's ``price_id`` were new in this release."""
    journal.end(finished(begun(1, at_us=0)))
    journal.charge(idle_charge(1))
    ship(data_dir)
    migrate(data_dir)  # the attempt of 1970 lies in a file of its own now
    change(data_dir, "ALTER TABLE attempts DROP COLUMN images")
    change(data_dir, "ALTER TABLE charges DROP COLUMN price_id")
    month = sqlite3.connect(archive_dir(data_dir) / "1970-01.sqlite3")
    month.execute("ALTER TABLE attempts DROP COLUMN images")
    month.close()
    if version < 4:
        (without_quarters if version == 2 else without_gaps)(data_dir)
    reports = Reports(database_path(data_dir))
    with pytest.raises(SchemaMismatch, match="migrate"):
        reports.costs(asked())
    journal.end(finished(begun(2), images=3))
    ship(data_dir)
    assert attempt_rows(data_dir)["att_000002"]["images"] == 3
    assert len(reports.operations(asked())["data"]) == 2
    reports.close()


def test_two_never_work_on_the_same_ledger(data_dir: Path, journal: Journal) -> None:
    fill(journal, range(3))
    ship(data_dir)
    older(data_dir)
    with maintenance(data_dir) as ours:
        assert ours
        assert migrate(data_dir) == 0
        with maintenance(data_dir) as theirs:
            assert not theirs
    assert migrate(data_dir) > 0
