from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest

from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import is_held, journal_dir, journal_names, take
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import begun, finished, idle_charge, read_journal


def test_every_kind_of_line_comes_back_as_it_went_in(data_dir: Path, journal: Journal) -> None:
    row = begun(1)
    journal.begin(row)
    journal.accepted(row.attempt_id, "job_7", 12)
    ended = finished(row, upstream_id="job_7")
    journal.end(ended)
    journal.correct(row.attempt_id, 13, "bill arrived", {"output_tokens": 41})
    journal.charge(idle_charge(1))

    lines = read_journal(data_dir)
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert {line["v"] for line in lines} == {1}
    assert lines[0]["kind"] == "begin" and lines[0]["attempt"] == asdict(row)
    assert lines[1] == {
        "v": 1,
        "seq": 2,
        "kind": "accepted",
        "attempt_id": row.attempt_id,
        "upstream_id": "job_7",
        "at_us": 12,
    }
    assert lines[2]["kind"] == "end" and lines[2]["attempt"] == asdict(ended)
    assert lines[3]["set"] == {"output_tokens": 41} and lines[3]["reason"] == "bill arrived"
    assert lines[4]["kind"] == "charge" and lines[4]["charge"] == asdict(idle_charge(1))


def test_position_is_the_file_and_the_end_of_the_last_line(
    data_dir: Path, journal: Journal
) -> None:
    assert journal.position() == (journal.name, 0)
    journal.begin(begun(1))
    name, offset = journal.position()
    assert (journal_dir(data_dir) / name).stat().st_size == offset > 0


def test_open_attempts_are_counted(journal: Journal) -> None:
    journal.begin(begun(1))
    journal.begin(begun(2))
    journal.end(finished(begun(1)))
    assert journal.open_attempts == 1


@pytest.mark.parametrize("column", ["attempt_id", "operation_id", "nonsense"])
def test_what_is_no_column_cannot_be_corrected(journal: Journal, column: str) -> None:
    with pytest.raises(ValueError, match=column):
        journal.correct("att_1", 1, "no", {column: 1})
    assert journal.position()[1] == 0


def test_the_file_is_held_until_it_is_closed(data_dir: Path) -> None:
    journal = Journal.open(journal_dir(data_dir))
    path = journal_dir(data_dir) / journal.name
    assert is_held(path)
    assert take(path) is None
    journal.close()
    assert not is_held(path)


def test_names_sort_by_creation_even_when_the_clock_was_set_back(data_dir: Path) -> None:
    directory = journal_dir(data_dir)
    directory.mkdir(parents=True)
    future = "9999999999999998-1-abcdef00.ndjson"
    (directory / future).touch()
    journal = Journal.open(directory)
    journal.close()
    assert journal_names(directory) == [future, journal.name]


def test_a_new_file_stands_by_itself(data_dir: Path) -> None:
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=20_000)
    journal.begin(begun(0))
    journal.accepted(begun(0).attempt_id, "job_0", 5)
    number = 1
    while len(journal_names(journal_dir(data_dir))) == 1:
        journal.begin(begun(number))
        journal.end(finished(begun(number)))
        number += 1
    first, second = journal_names(journal_dir(data_dir))
    lines = read_journal(data_dir)
    later = lines[[line["seq"] for line in lines].index(1, 1) :]
    assert [line["seq"] for line in later] == list(range(1, len(later) + 1))
    assert later[0]["kind"] == "begin" and later[0]["attempt"]["attempt_id"] == "att_000000"
    assert later[1]["kind"] == "accepted" and later[1]["upstream_id"] == "job_0"
    assert sum(line["kind"] == "begin" for line in later[:3]) <= 2  # only what is open is repeated
    assert not is_held(journal_dir(data_dir) / first)
    assert is_held(journal_dir(data_dir) / second)
    assert journal.position() == (second, (journal_dir(data_dir) / second).stat().st_size)
    journal.close()


def test_many_open_attempts_do_not_make_it_rotate_for_ever(data_dir: Path) -> None:
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=4_000)
    for number in range(60):
        journal.begin(begun(number))
    assert len(journal_names(journal_dir(data_dir))) < 10
    journal.close()


def test_a_folder_that_cannot_be_made_is_an_unavailable_ledger(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable):
        Journal.open(tmp_path / "file" / "journal")


async def test_without_fsync_durable_returns_at_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda fd: pytest.fail("nobody asked for it"))
    journal.begin(begun(1))
    await journal.durable()
