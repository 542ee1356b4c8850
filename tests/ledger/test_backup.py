from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.ledger import layout
from gateway.ledger.care.backup import BackupRefused, backup
from gateway.ledger.care.inspect import verify
from gateway.ledger.layout import database_path, journal_dir, journal_names
from gateway.ledger.months.upkeep import maintenance
from gateway.ledger.reports.reports import Reports
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from tests.ledger.asking import asked, column
from tests.ledger.databases import attempt_rows, ship
from tests.ledger.forked import settle
from tests.ledger.samples import begun, finished, priced
from tests.ledger.test_migration import migrate


def test_a_copy_made_under_load_is_a_whole_ledger(data_dir: Path, tmp_path: Path) -> None:
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=4_000)
    for number in range(20):
        journal.end(priced(begun(number, at_us=number), "1"))  # of 1970: moved
    ship(data_dir)
    migrate(data_dir)
    shipper = Shipper(data_dir)
    number = 20

    def go_on(name: str, size: int) -> None:
        """What happens while each file is copied."""
        nonlocal number
        if number > 30:
            return
        for _ in range(4):
            journal.begin(begun(number))
            journal.end(priced(begun(number), "1"))
            number += 1
        shipper.ship()
        shipper.tidy(now=True)

    journal.begin(begun(900))
    copied = backup(data_dir, tmp_path / "copy", go_on)
    assert copied > 0
    shipper.close()
    journal.close()

    restored = tmp_path / "copy"
    opened = Journal.open(journal_dir(restored))
    recover(journal_dir(restored), opened, settle)
    ship(restored)
    assert verify(restored) == []
    rows = attempt_rows(restored)
    assert rows["att_000900"]["status"] == "interrupted"
    reports = Reports(database_path(restored))
    ((attempts,),) = column(reports.costs(asked(filters={"status": ("succeeded",)})), "attempts")
    assert 20 <= attempts <= number
    assert len(reports.operations(asked(limit=1000))["data"]) == attempts + 1
    reports.close()
    opened.close()


def test_nothing_is_deleted_while_somebody_copies(data_dir: Path) -> None:
    directory = journal_dir(data_dir)
    old = Journal.open(directory)
    old.end(finished(begun(1)))
    old.close()
    Journal.open(directory).close()
    shipper = Shipper(data_dir)
    shipper.ship()
    held = layout.take(layout.backup_lock(directory), create=True)
    assert held is not None
    shipper.tidy(now=True)
    assert old.name in journal_names(directory)
    os.close(held)
    shipper.tidy(now=True)
    assert old.name not in journal_names(directory)
    shipper.close()


def test_a_backup_is_refused_where_it_could_spoil_something(
    data_dir: Path, journal: Journal, tmp_path: Path
) -> None:
    journal.end(finished(replace(begun(1))))
    ship(data_dir)
    (tmp_path / "there").mkdir()
    with pytest.raises(BackupRefused, match="there already"):
        backup(data_dir, tmp_path / "there")
    with maintenance(data_dir), pytest.raises(BackupRefused, match="try again"):
        backup(data_dir, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_that_broke_off_has_no_name(
    data_dir: Path, journal: Journal, tmp_path: Path
) -> None:
    journal.end(finished(begun(1)))
    ship(data_dir)

    def full(name: str, size: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(Exception, match="full"):
        backup(data_dir, tmp_path / "copy", full)
    assert not (tmp_path / "copy").exists()
    assert backup(data_dir, tmp_path / "copy") > 0


def test_keys_answers_and_prices_come_along(
    data_dir: Path, journal: Journal, tmp_path: Path
) -> None:
    journal.end(finished(begun(1)))
    ship(data_dir)
    for name in ("keys.sqlite3", "results.sqlite3"):
        with sqlite3.connect(data_dir / name) as made:
            made.execute("CREATE TABLE things (name TEXT)")
            made.execute("INSERT INTO things VALUES (?)", (name,))
        made.close()
    (data_dir / "prices").mkdir()
    (data_dir / "prices" / "fetched.yml").write_text("[]")
    (data_dir / "first-key.json").write_text("{}")
    backup(data_dir, tmp_path / "copy")
    for name in ("keys.sqlite3", "results.sqlite3"):
        read = sqlite3.connect(tmp_path / "copy" / name)
        assert read.execute("SELECT name FROM things").fetchall() == [(name,)]
        read.close()
    assert (tmp_path / "copy" / "prices" / "fetched.yml").read_text() == "[]"
    assert (tmp_path / "copy" / "first-key.json").exists()
