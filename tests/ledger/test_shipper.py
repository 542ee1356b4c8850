from __future__ import annotations

import io
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import orjson
import pytest

from gateway.ledger import codec
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.layout import (
    database_path,
    journal_dir,
    journal_names,
    metrics_path,
    take_folder,
)
from gateway.ledger.schema import charges, corrections, journal_files
from gateway.ledger.shipping.fold import fold
from gateway.ledger.shipping.shipper import Lifeline, Shipper, idle_pause_seconds, run
from gateway.ledger.shipping.store import OffsetMoved, Store
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import attempt_rows, ship, table
from tests.ledger.samples import begun, finished, idle_charge


@pytest.fixture
def shipper(data_dir: Path) -> Iterator[Shipper]:
    made = Shipper(data_dir, busy_timeout_seconds=0.01)
    yield made
    made.close()


def test_rows_arrive_as_they_were_written(data_dir: Path, journal: Journal) -> None:
    ended = finished(begun(1), key_id="k1", tags={"team": "søk", 'a"b': "c"})
    journal.begin(begun(1))
    journal.end(ended)
    journal.begin(begun(2, price=None))
    journal.charge(idle_charge(1))
    assert ship(data_dir) == 4
    rows = attempt_rows(data_dir)
    assert rows["att_000001"] == asdict(ended)
    assert rows["att_000002"] == asdict(begun(2, price=None))
    assert table(data_dir, charges) == [asdict(idle_charge(1))]
    (file,) = table(data_dir, journal_files)
    assert (file["name"], file["offset_bytes"]) == journal.position()
    assert file["lines"] == 4 and file["rejected_lines"] == 0


@pytest.mark.parametrize("batch_lines", [1, 2, 3, 1000])
def test_the_batch_size_makes_no_difference(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, batch_lines: int
) -> None:
    monkeypatch.setattr("gateway.ledger.shipping.shipper._BATCH_LINES", batch_lines)
    row = begun(1)
    journal.begin(row)
    journal.accepted(row.attempt_id, "job_1", 5)
    journal.begin(begun(2))
    journal.accepted("att_000002", "job_2", 6)
    journal.end(finished(row, upstream_id="job_1"))
    journal.correct(row.attempt_id, 9, "bill", {"output_tokens": 41})
    journal.correct(row.attempt_id, 10, "bill again", {"output_tokens": 42, "tags": {"a": "b"}})
    assert ship(data_dir) == 7
    rows = attempt_rows(data_dir)
    assert rows["att_000001"] == asdict(
        finished(row, upstream_id="job_1", output_tokens=42, tags={"a": "b"})
    )
    assert rows["att_000002"]["upstream_id"] == "job_2"
    changes = table(data_dir, corrections)
    assert [(c["old"], c["new"]) for c in changes] == [
        ({"output_tokens": 40}, {"output_tokens": 41}),
        (
            {"output_tokens": 41, "tags": {"team": "search"}},
            {"output_tokens": 42, "tags": {"a": "b"}},
        ),
    ]
    assert [(c["journal"], c["seq"]) for c in changes] == [(journal.name, 6), (journal.name, 7)]


def test_a_correction_of_an_unknown_attempt_is_kept(data_dir: Path, journal: Journal) -> None:
    journal.correct("att_gone", 9, "bill", {"output_tokens": 41})
    ship(data_dir)
    (change,) = table(data_dir, corrections)
    assert change["old"] is None and change["new"] == {"output_tokens": 41}


def test_shipping_again_changes_nothing(data_dir: Path, journal: Journal, shipper: Shipper) -> None:
    journal.begin(begun(1))
    journal.end(finished(begun(1)))
    assert shipper.ship() == 2
    assert shipper.ship() == 0
    assert ship(data_dir) == 0


def test_the_same_offset_is_never_counted_twice(data_dir: Path) -> None:
    data_dir.mkdir()
    store = Store.open(database_path(data_dir))
    row = codec.decode(codec.line(1, codec.end_body(finished(begun(1)))))
    store.apply("f", 0, 100, fold([row]), lines=1)
    with pytest.raises(OffsetMoved):
        store.apply("f", 0, 100, fold([row]), lines=1)
    assert store.shipped()["f"][0] == 100
    store.close()
    (file,) = table(data_dir, journal_files)
    assert file["lines"] == 1


def test_another_shipper_that_is_further_is_followed(data_dir: Path, journal: Journal) -> None:
    first, second = Shipper(data_dir), Shipper(data_dir)
    journal.begin(begun(1))
    assert first.ship() == 1
    journal.begin(begun(2))
    second.ship()
    journal.begin(begun(3))
    first.ship()
    second.ship()
    first.close()
    second.close()
    (file,) = table(data_dir, journal_files)
    assert file["lines"] == 3
    assert len(attempt_rows(data_dir)) == 3


def test_a_torn_last_line_waits(data_dir: Path, journal: Journal, shipper: Shipper) -> None:
    journal.begin(begun(1))
    path = journal_dir(data_dir) / journal.name
    whole = codec.line(2, codec.end_body(finished(begun(1))))
    with path.open("ab") as file:
        file.write(whole[:500])
    assert shipper.ship() == 1
    assert shipper.ship() == 0
    with path.open("ab") as file:
        file.write(whole[500:])
    assert shipper.ship() == 1
    assert attempt_rows(data_dir)["att_000001"]["status"] == "succeeded"


def test_a_line_longer_than_one_read_is_read(data_dir: Path, journal: Journal) -> None:
    journal.begin(begun(1, tags={"long": "x" * (5 << 20)}))
    journal.begin(begun(2))
    assert ship(data_dir) == 2
    assert len(attempt_rows(data_dir)["att_000001"]["tags"]["long"]) == 5 << 20


BROKEN = {
    "no JSON": b"\0\0\0\n",
    "an empty line": b"\n",
    "a newer version": b'{"v":2,"seq":2,"kind":"begin","attempt":{}}\n',
    "an unknown kind": b'{"v":1,"seq":2,"kind":"news"}\n',
    "no id": b'{"v":1,"seq":2,"kind":"end","attempt":{"model":"m"}}\n',
    "an id that is a list": b'{"v":1,"seq":2,"kind":"accepted","attempt_id":[],'
    b'"upstream_id":"a","at_us":1}\n',
    "an unknown column": b'{"v":1,"seq":2,"kind":"correct","attempt_id":"a",'
    b'"at_us":1,"reason":"","set":{"x":1}}\n',
    "too large a number": codec.line(2, codec.end_body(finished(begun(9), cost_pico_usd=2**63))),
    "null where there must be a value": codec.line(
        2,
        codec.end_body(replace(finished(begun(9)), model=None)),  # type: ignore[arg-type]
    ),
    "a dict for a number": codec.line(
        2,
        codec.end_body(replace(finished(begun(9)), images={"a": 1})),  # type: ignore[arg-type]
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_line_that_cannot_be_shipped_stops_no_other(
    data_dir: Path, shipper: Shipper, caplog: pytest.LogCaptureFixture, broken: bytes
) -> None:
    directory = journal_dir(data_dir)
    directory.mkdir(parents=True)
    good = [codec.line(n, codec.end_body(finished(begun(n)))) for n in (1, 3)]
    name = "0000000000000001-1-aa.ndjson"
    (directory / name).write_bytes(good[0] + broken + good[1])
    Journal.open(directory).close()
    assert shipper.ship() == 3
    assert sorted(attempt_rows(data_dir)) == ["att_000001", "att_000003"]
    (file,) = table(data_dir, journal_files)
    assert file["lines"] == 3 and file["rejected_lines"] == 1
    assert name in caplog.text
    shipper.tidy(now=True)
    assert (directory / f"{name}.kept").exists() and not (directory / name).exists()


def test_columns_of_another_release_do_not_matter(data_dir: Path) -> None:
    directory = journal_dir(data_dir)
    directory.mkdir(parents=True)
    row = asdict(finished(begun(1)))
    newer = row | {"carbon_grams": 3}
    older = {key: value for key, value in row.items() if key != "images"}
    lines = [
        orjson.dumps(
            {"v": 1, "seq": n, "kind": "end", "attempt": given | {"attempt_id": f"att_{n}"}}
        )
        for n, given in ((1, newer), (2, older))
    ]
    (directory / "0000000000000001-1-aa.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    ship(data_dir)
    rows = attempt_rows(data_dir)
    assert rows["att_1"] == row | {"attempt_id": "att_1"}
    assert rows["att_2"] == row | {"attempt_id": "att_2", "images": None}


def test_a_locked_database_stops_it_until_it_is_free(
    data_dir: Path, journal: Journal, shipper: Shipper
) -> None:
    journal.begin(begun(1))
    shipper.ship()
    other = sqlite3.connect(database_path(data_dir), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.begin(begun(2))
    journal.correct("att_000001", 5, "bill", {"output_tokens": 1})
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            shipper.ship()
    other.execute("ROLLBACK")
    other.close()
    assert shipper.ship() == 2
    assert len(attempt_rows(data_dir)) == 2
    assert len(table(data_dir, corrections)) == 1


def test_a_database_that_is_full_stops_it_until_there_is_room(
    data_dir: Path, journal: Journal, shipper: Shipper
) -> None:
    journal.begin(begun(1))
    shipper.ship()
    assert shipper._store is not None
    with shipper._store.engine.connect() as connection:  # the one connection it keeps
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    for number in range(2, 40):
        journal.begin(begun(number))
    with pytest.raises(StoreUnavailable, match="full"):
        shipper.ship()
    assert len(attempt_rows(data_dir)) == 1
    assert shipper.ship() == 38  # a fresh connection has no such bound
    assert len(attempt_rows(data_dir)) == 39


def test_a_database_that_was_moved_away_is_made_again(
    data_dir: Path, journal: Journal, shipper: Shipper
) -> None:
    journal.begin(begun(1))
    shipper.ship()
    for path in data_dir.glob("ledger.sqlite3*"):
        shutil.move(path, path.with_name(f"old-{path.name}"))
    journal.begin(begun(2))
    shipper.ship()
    assert sorted(attempt_rows(data_dir)) == ["att_000001", "att_000002"]


def test_what_is_no_database_is_unavailable(data_dir: Path, journal: Journal) -> None:
    journal.begin(begun(1))
    database_path(data_dir).write_bytes(b"no database at all" * 100)
    shipper = Shipper(data_dir)
    with pytest.raises(StoreUnavailable):
        shipper.ship()
    database_path(data_dir).unlink()
    assert shipper.ship() == 1
    shipper.close()


def test_a_newer_schema_is_refused(data_dir: Path, journal: Journal) -> None:
    journal.begin(begun(1))
    ship(data_dir)
    other = sqlite3.connect(database_path(data_dir))
    other.execute("UPDATE meta SET value='99' WHERE name='schema_version'")
    other.commit()
    other.close()
    with pytest.raises(SchemaMismatch, match="99"):
        ship(data_dir)


def test_files_are_deleted_when_nobody_needs_them(data_dir: Path, shipper: Shipper) -> None:
    directory = journal_dir(data_dir)
    ended = Journal.open(directory)
    ended.begin(begun(1))
    ended.end(finished(begun(1)))
    left_open = Journal.open(directory)
    left_open.begin(begun(2))
    shut = Journal.open(directory)
    shut.end(finished(begun(3)))
    newest = Journal.open(directory)
    names = [ended.name, left_open.name, shut.name, newest.name]

    shipper.ship()
    shipper.tidy(now=True)
    assert journal_names(directory) == names  # all are written by somebody
    ended.close()
    left_open.close()
    shut.close()
    shipper.tidy(now=True)
    # The second has an attempt without an end, and whatever is younger waits for it.
    assert journal_names(directory) == names[1:]
    newest.end(replace(begun(2), status="interrupted"))
    shipper.tidy(now=True)
    assert journal_names(directory) == names[1:]
    shipper.ship()
    shipper.tidy(now=True)
    assert journal_names(directory) == names[3:]
    newest.close()
    shipper.tidy(now=True)
    assert journal_names(directory) == names[3:]
    removed = {row["name"] for row in table(data_dir, journal_files) if row["removed_at_us"]}
    assert removed == set(names[:3])


def test_nothing_is_deleted_while_a_gateway_recovers(data_dir: Path, shipper: Shipper) -> None:
    directory = journal_dir(data_dir)
    old = Journal.open(directory)
    old.end(finished(begun(1)))
    old.close()
    Journal.open(directory).close()
    shipper.ship()
    folder = take_folder(directory)
    assert folder is not None
    shipper.tidy(now=True)
    assert old.name in journal_names(directory)
    os.close(folder)
    shipper.tidy(now=True)
    assert old.name not in journal_names(directory)


def test_each_finished_attempt_is_a_line_of_the_log_and_in_the_metrics(
    data_dir: Path, journal: Journal
) -> None:
    log = io.BytesIO()
    shipper = Shipper(data_dir, log=log)
    journal.begin(begun(1))
    shipper.ship()
    assert log.getvalue() == b""
    journal.end(finished(begun(1)))
    journal.end(finished(begun(2), origin="imported"))
    shipper.ship()
    shipper.tidy(now=True)
    shipper.close()
    (line,) = log.getvalue().splitlines()
    assert orjson.loads(line)["attempt"] == "att_000001"
    text = metrics_path(data_dir).read_text()
    attempts = [part for part in text.splitlines() if part.startswith("gateway_attempts_total{")]
    assert len(attempts) == 1 and attempts[0].endswith(" 1.0")


def test_a_log_that_nobody_reads_is_given_up(data_dir: Path, journal: Journal) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as log:
        shipper = Shipper(data_dir, log=log)
        journal.end(finished(begun(1)))
        journal.end(finished(begun(2)))
        assert shipper.ship() == 2
        journal.end(finished(begun(3)))
        assert shipper.ship() == 1
        shipper.close()
    assert len(attempt_rows(data_dir)) == 3


def test_many_lines_come_together_before_they_are_shipped() -> None:
    few, many = idle_pause_seconds(20, 0.2), idle_pause_seconds(200, 0.2)
    assert 0 < few < many <= 1 and idle_pause_seconds(1200, 60.0) == few


class Gone:
    """A lifeline whose gateway has ended."""

    ended = True

    def wait(self, seconds: float) -> None:
        pass


def test_without_a_gateway_it_ships_what_is_there_and_ends(
    data_dir: Path, journal: Journal, shipper: Shipper
) -> None:
    journal.begin(begun(1))
    assert run(shipper, cast(Lifeline, Gone()))
    assert len(attempt_rows(data_dir)) == 1
    assert metrics_path(data_dir).exists()


def test_without_a_gateway_its_patience_with_the_database_is_bounded(
    data_dir: Path, journal: Journal, shipper: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.shipping.shipper._LAST_PATIENCE_SECONDS", 0.05)
    shipper.ship()
    journal.begin(begun(1))
    other = sqlite3.connect(database_path(data_dir), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not run(shipper, cast(Lifeline, Gone()))
    other.execute("ROLLBACK")
    other.close()
    assert ship(data_dir) == 1
