from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from gateway.ledger import codec
from gateway.ledger.care.inspect import info, verify
from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.schema import SCHEMA_VERSION
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import ship
from tests.ledger.samples import begun, estimated, finished, idle_charge, pico, priced, unpriced


@pytest.fixture
def sound(data_dir: Path) -> Iterator[Journal]:
    """A ledger with some of everything, shipped, and an attempt that runs."""
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=4_000)
    for number in range(4):
        journal.begin(begun(number))
        journal.end(finished(begun(number)))
    journal.end(unpriced(begun(4), known="0.25"))
    journal.end(estimated(begun(5), "0.1", "0.2", "0.4"))
    journal.charge(idle_charge(1))
    journal.begin(begun(6))
    journal.accepted("att_000006", "job_6", 1)
    bill = priced(begun(1), "0.5")
    journal.correct(
        "att_000001",
        9,
        "bill",
        {
            "cost_pico_usd": bill.cost_pico_usd,
            "known_pico_usd": bill.known_pico_usd,
            "low_pico_usd": bill.low_pico_usd,
            "high_pico_usd": bill.high_pico_usd,
            "cost_lines": bill.cost_lines,
        },
    )
    ship(data_dir)
    yield journal
    journal.close()


def kinds(data_dir: Path) -> list[str]:
    return [problem.kind for problem in verify(data_dir)]


def append(data_dir: Path, journal: Journal, *bodies: bytes) -> None:
    """Lines as the journal would write them, with the right ``seq``."""
    for body in bodies:
        journal._keep(body)


def change(data_dir: Path, sql: str) -> None:
    connection = sqlite3.connect(database_path(data_dir))
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_a_sound_ledger_has_no_problems(data_dir: Path, sound: Journal) -> None:
    assert verify(data_dir) == []
    sound.end(finished(begun(6), upstream_id="job_6"))  # not shipped yet
    assert verify(data_dir) == []
    ship(data_dir)
    assert verify(data_dir) == []


def test_an_empty_folder_has_no_problems(data_dir: Path) -> None:
    assert verify(data_dir) == []
    assert info(data_dir)["files"] == []


def test_info_counts_what_there_is(data_dir: Path, sound: Journal) -> None:
    found = info(data_dir)
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["rows"]["attempts"] == 7
    assert found["rows"]["charges"] == found["rows"]["corrections"] == 1
    assert found["attempts_by_status"] == {"running": 1, "succeeded": 6}
    assert found["unpriced_attempts"] == 2
    # 3 x 0.000093 + 0.5 as corrected + 0.25 + 0.2 + 0.006 of idle time
    assert found["known_usd"] == "0.956279"
    assert found["oldest_hour"] == found["newest_hour"] == "2026-11-22T12:00:00.000000Z"
    assert found["rollups_complete"] and found["months"] == []
    assert found["lag_bytes"] == 0 and found["rejected_lines"] == 0
    assert found["database_bytes"] > 0
    assert len(found["files"]) == found["rows"]["journal_files"] > 1
    assert [file["written_by_a_live_process"] for file in found["files"]][-2:] == [False, True]

    before = sound.position()[1]
    sound.end(finished(begun(6)))
    found = info(data_dir)
    assert found["lag_bytes"] == found["files"][-1]["lag_bytes"] == sound.position()[1] - before
    orjson.dumps(found)


def test_it_finds_a_broken_line(data_dir: Path, sound: Journal) -> None:
    name = sorted(os.listdir(journal_dir(data_dir)))[0]
    path = journal_dir(data_dir) / name
    path.write_bytes(path.read_bytes().replace(b'"kind":"end"', b'"kind":"bad"', 1))
    broken, lost = verify(data_dir)
    assert broken.kind == "broken_line" and broken.where == f"{name} line 2"
    assert "bad" in str(broken)
    assert lost.kind == "without_end" and "att_000000" in lost.detail


def test_a_torn_last_line_is_no_problem(data_dir: Path, sound: Journal) -> None:
    with (journal_dir(data_dir) / sound.name).open("ab") as file:
        file.write(b'{"v":1,"se')
    assert verify(data_dir) == []


def test_it_finds_a_gap_in_the_numbers(data_dir: Path, sound: Journal) -> None:
    sound._seq += 1
    sound.end(finished(begun(6)))
    assert kinds(data_dir) == ["seq_gap"]


def test_it_finds_a_line_that_was_taken_out(data_dir: Path, sound: Journal) -> None:
    path = journal_dir(data_dir) / sorted(os.listdir(journal_dir(data_dir)))[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert kinds(data_dir) == ["seq_gap", "without_end"]


def test_it_finds_two_ends_across_files(data_dir: Path, sound: Journal) -> None:
    sound.end(finished(begun(0)))
    (problem,) = verify(data_dir)
    assert problem.kind == "two_ends" and "att_000000" in problem.detail


def test_it_finds_what_nobody_will_end(data_dir: Path, sound: Journal) -> None:
    sound.begin(begun(7))
    dead = Journal.open(journal_dir(data_dir))
    dead.begin(begun(8))
    dead.close()
    (problem,) = verify(data_dir)
    assert problem.kind == "without_end" and "att_000008" in problem.detail


def test_it_finds_a_running_row_without_a_journal(data_dir: Path, sound: Journal) -> None:
    change(data_dir, "UPDATE attempts SET attempt_id='att_lost' WHERE attempt_id='att_000006'")
    found = verify(data_dir)
    assert [(problem.kind, problem.where) for problem in found][-1] == ("without_end", "att_lost")
    assert found[0].kind == "not_in_database"


def test_it_finds_a_row_that_is_missing(data_dir: Path, sound: Journal) -> None:
    change(data_dir, "DELETE FROM attempts WHERE attempt_id='att_000000'")
    assert set(kinds(data_dir)) == {"not_in_database", "sums"}
    change(data_dir, "DELETE FROM charges")
    assert kinds(data_dir).count("not_in_database") == 3


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE attempts SET output_tokens=41 WHERE attempt_id='att_000000'",
        "UPDATE attempts SET tags='{}' WHERE attempt_id='att_000000'",
        "UPDATE attempts SET total_seconds=0.951 WHERE attempt_id='att_000000'",
        "UPDATE attempts SET status='failed' WHERE attempt_id='att_000001'",
        "UPDATE charges SET cost_pico_usd=cost_pico_usd+1",
    ],
)
def test_it_finds_a_row_that_differs(data_dir: Path, sound: Journal, sql: str) -> None:
    change(data_dir, sql)
    assert "differs" in kinds(data_dir)
    assert set(kinds(data_dir)) <= {"differs", "sums"}


@pytest.mark.parametrize(
    "row",
    [
        replace(priced(begun(9), "0.5"), cost_pico_usd=pico("0.5") + 1, high_pico_usd=None),
        replace(priced(begun(9), "0.5"), known_pico_usd=0),
        replace(priced(begun(9), "0.5"), cost_pico_usd=None),
        replace(unpriced(begun(9)), cost_pico_usd=0),
        replace(unpriced(begun(9)), known_pico_usd=1),
        estimated(begun(9), "0.3", "0.2", "0.4"),
        estimated(begun(9), "0.1", "0.2", "0.15"),
        replace(priced(begun(9), "0.5"), cost_lines=[{"kind": "execute_seconds"}]),
        replace(priced(begun(9), "0.5"), cost_lines=[{"usd": "a lot"}]),
    ],
    ids=[
        "a pico-dollar too much",
        "less known than the lines say",
        "measured but null",
        "unknown but zero",
        "unknown but known",
        "under its low bound",
        "over its high bound",
        "a line without money",
        "a line without a number",
    ],
)
def test_it_finds_money_that_does_not_add_up(data_dir: Path, sound: Journal, row: object) -> None:
    append(data_dir, sound, b'"end","attempt":' + orjson.dumps(row))
    ship(data_dir)
    found = verify(data_dir)
    assert {(problem.kind, problem.where) for problem in found} == {("money", "att_000009")}


def test_a_line_shipped_into_nothing_is_seen(data_dir: Path, sound: Journal) -> None:
    body = codec.begin_body(begun(9))
    append(data_dir, sound, body)
    name, offset = sound.position()
    change(data_dir, f"UPDATE journal_files SET offset_bytes={offset} WHERE name='{name}'")
    assert kinds(data_dir) == ["not_in_database"]
