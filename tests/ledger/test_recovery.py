from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import journal_dir, journal_names, take_folder
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from tests.ledger.samples import begun, finished, pico, read_journal


def settle(row: AttemptRow, now_us: int) -> AttemptRow:
    return replace(row, status="interrupted", completed_at_us=now_us, high_pico_usd=pico("0.09"))


def ends(data_dir: Path) -> list[str]:
    lines = read_journal(data_dir)
    return [line["attempt"]["attempt_id"] for line in lines if line["kind"] == "end"]


def die(journal: Journal) -> None:
    """What the kernel does for a killed process: nothing is written, the lock is gone."""
    os.close(journal._fd)


def recovered(data_dir: Path) -> int:
    journal = Journal.open(journal_dir(data_dir))
    try:
        return recover(journal_dir(data_dir), journal, settle)
    finally:
        die(journal)


def test_what_a_dead_process_left_open_is_ended_once(data_dir: Path) -> None:
    dead = Journal.open(journal_dir(data_dir))
    for number in range(3):
        dead.begin(begun(number))
    dead.accepted("att_000002", "job_2", 7)
    dead.end(finished(begun(1)))
    die(dead)

    assert recovered(data_dir) == 2
    assert recovered(data_dir) == 0
    assert sorted(ends(data_dir)) == ["att_000000", "att_000001", "att_000002"]
    last = read_journal(data_dir)[-1]["attempt"]
    assert last["status"] == "interrupted"
    assert last["upstream_id"] == "job_2"
    assert last["high_pico_usd"] == pico("0.09")


def test_a_living_process_keeps_its_attempts(data_dir: Path) -> None:
    living = Journal.open(journal_dir(data_dir))
    living.begin(begun(0))
    assert recovered(data_dir) == 0
    living.end(finished(begun(0)))
    living.close()
    assert ends(data_dir) == ["att_000000"]


def test_an_attempt_goes_on_in_the_next_file_of_a_living_process(data_dir: Path) -> None:
    living = Journal.open(journal_dir(data_dir), rotate_bytes=1)
    living.begin(begun(0))
    living.begin(begun(1))
    living.end(finished(begun(1)))
    assert recovered(data_dir) == 0  # though the lock of the first file is free
    living.end(finished(begun(0)))
    living.close()
    assert sorted(ends(data_dir)) == ["att_000000", "att_000001"]


def test_a_second_process_sees_what_a_living_one_has_recovered(data_dir: Path) -> None:
    dead = Journal.open(journal_dir(data_dir))
    dead.begin(begun(0))
    die(dead)
    first = Journal.open(journal_dir(data_dir))
    assert recover(journal_dir(data_dir), first, settle) == 1
    assert recovered(data_dir) == 0
    assert recover(journal_dir(data_dir), first, settle) == 0
    first.close()


def test_begin_and_end_may_stand_in_different_files(data_dir: Path) -> None:
    dead = Journal.open(journal_dir(data_dir), rotate_bytes=1)
    dead.begin(begun(0))
    dead.begin(begun(1))
    dead.end(finished(begun(0)))
    assert len(journal_names(journal_dir(data_dir))) == 3
    die(dead)
    assert recovered(data_dir) == 1
    assert sorted(ends(data_dir)) == ["att_000000", "att_000001"]


def test_a_torn_last_line_is_ignored_and_a_broken_one_is_reported(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Journal.open(journal_dir(data_dir))
    dead.begin(begun(0))
    dead.begin(begun(1))
    dead.begin(begun(2))
    die(dead)
    path = journal_dir(data_dir) / dead.name
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\0" * 40 + b"\n"
    path.write_bytes(b"".join(lines) + b'{"v":1,"seq":4,"kind":"begin","attempt":{"attem')
    assert recovered(data_dir) == 2
    assert [record.message.partition(" is broken")[0] for record in caplog.records][:1] == [
        f"recovery: {dead.name} line 2"
    ]


def test_one_row_that_cannot_be_settled_does_not_stop_the_others(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Journal.open(journal_dir(data_dir))
    dead.begin(begun(0))
    dead.begin(begun(1))
    die(dead)

    def strange(row: AttemptRow, now_us: int) -> AttemptRow:
        if row.attempt_id == "att_000000":
            raise ValueError("price row of another release")
        return settle(row, now_us)

    journal = Journal.open(journal_dir(data_dir))
    assert recover(journal_dir(data_dir), journal, strange) == 2
    journal.close()
    rows = [line["attempt"] for line in read_journal(data_dir) if line["kind"] == "end"]
    assert {row["status"] for row in rows} == {"interrupted"}
    assert rows[0]["cost_status"] == "unknown" and rows[0]["cost_pico_usd"] is None
    assert "price row of another release" in caplog.text


def test_dying_in_the_middle_never_gives_two_ends(data_dir: Path) -> None:
    dead = Journal.open(journal_dir(data_dir))
    for number in range(5):
        dead.begin(begun(number))
    die(dead)

    class Killed(BaseException):
        pass

    def dies_at(count: int) -> None:
        journal = Journal.open(journal_dir(data_dir))
        settled = 0

        def mortal(row: AttemptRow, now_us: int) -> AttemptRow:
            nonlocal settled
            settled += 1
            if settled > count:
                raise Killed
            return settle(row, now_us)

        with pytest.raises(Killed):
            recover(journal_dir(data_dir), journal, mortal)
        die(journal)

    dies_at(2)
    dies_at(1)
    assert recovered(data_dir) == 2
    assert sorted(ends(data_dir)) == [f"att_{number:06d}" for number in range(5)]


def test_it_does_not_read_while_files_are_being_deleted(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.open(journal_dir(data_dir))
    folder = take_folder(journal_dir(data_dir))
    assert folder is not None
    monkeypatch.setattr("gateway.ledger.writing.recovery._FOLDER_IS_BUSY_SECONDS", 0.02)
    with pytest.raises(LedgerUnavailable):
        recover(journal_dir(data_dir), journal, settle)
    os.close(folder)
    assert recover(journal_dir(data_dir), journal, settle) == 0
    journal.close()
