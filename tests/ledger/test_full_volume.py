from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import journal_dir
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import SmallVolume, begun, finished, idle_charge, read_journal

BALLAST_BYTES = 6_000


@dataclass
class Setup:
    journal: Journal
    volume: SmallVolume
    seconds: float = 0.0

    def fill(self) -> None:
        self.volume.room_bytes = 0

    def empty(self) -> None:
        self.volume.room_bytes = 1 << 30


@pytest.fixture
def small(data_dir: Path) -> Setup:
    directory = journal_dir(data_dir)
    volume = SmallVolume(directory, 1 << 30)
    setup: Setup
    journal = Journal.open(
        directory, ballast_bytes=BALLAST_BYTES, write=volume, monotonic=lambda: setup.seconds
    )
    setup = Setup(journal, volume)
    return setup


def ids(data_dir: Path, kind: str) -> list[str]:
    lines = read_journal(data_dir)
    return [line["attempt"]["attempt_id"] for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("short", [False, True], ids=["no-byte", "part-of-a-line"])
def test_new_work_is_refused_and_leaves_no_torn_line(
    data_dir: Path, small: Setup, short: bool
) -> None:
    small.journal.begin(begun(1))
    small.volume.short = short
    small.volume.room_bytes = BALLAST_BYTES + small.journal.position()[1] + 100
    with pytest.raises(LedgerUnavailable) as refused:
        small.journal.begin(begun(2))
    assert "record" in refused.value.detail
    assert ids(data_dir, "begin") == ["att_000001"]
    assert small.journal.open_attempts == 1
    small.empty()
    small.journal.begin(begun(3))
    assert [line["seq"] for line in read_journal(data_dir)] == [1, 2]


def test_after_a_refusal_it_says_so_until_there_is_room(data_dir: Path, small: Setup) -> None:
    small.journal.begin(begun(1))
    small.volume.room_bytes = BALLAST_BYTES + small.journal.position()[1] + 100
    assert small.journal.accepts_work  # nobody has tried
    with pytest.raises(LedgerUnavailable):
        small.journal.begin(begun(2))
    assert not small.journal.accepts_work
    assert not small.journal.tick()
    assert not small.journal.accepts_work
    small.empty()
    assert small.journal.tick()
    assert small.journal.accepts_work
    assert not (journal_dir(data_dir) / "probe").exists()


def test_running_work_ends_in_the_room_of_the_ballast(data_dir: Path, small: Setup) -> None:
    small.journal.begin(begun(1))
    small.volume.room_bytes = BALLAST_BYTES + small.journal.position()[1] + 100
    small.journal.end(finished(begun(1)))
    assert ids(data_dir, "end") == ["att_000001"]
    assert small.journal.backlog == 0
    assert not (journal_dir(data_dir) / "ballast").exists()


def test_without_ballast_nothing_new_is_taken_on(data_dir: Path, small: Setup) -> None:
    small.journal.begin(begun(1))
    small.volume.room_bytes = BALLAST_BYTES + small.journal.position()[1] + 100
    small.journal.end(finished(begun(1)))
    assert not small.journal.accepts_work
    with pytest.raises(LedgerUnavailable):  # though a begin alone would fit now
        small.journal.begin(begun(2))
    assert ids(data_dir, "begin") == ["att_000001"]


def test_lines_wait_in_memory_and_come_in_order_when_there_is_room(
    data_dir: Path, small: Setup
) -> None:
    for number in range(3):
        small.journal.begin(begun(number))
    small.fill()
    for number in range(3):
        small.journal.end(finished(begun(number)))
    small.journal.correct("att_000000", 1, "late", {"output_tokens": 1})
    small.journal.charge(idle_charge(1))
    assert small.journal.backlog == 5
    assert not small.journal.tick()
    assert small.journal.backlog == 5
    small.empty()
    assert small.journal.tick()
    assert small.journal.backlog == 0
    kinds = [line["kind"] for line in read_journal(data_dir)]
    assert kinds == ["begin"] * 3 + ["end"] * 3 + ["correct", "charge"]
    assert [line["seq"] for line in read_journal(data_dir)] == list(range(1, 9))
    assert (journal_dir(data_dir) / "ballast").stat().st_size == BALLAST_BYTES


def test_the_next_write_takes_the_waiting_lines_along(data_dir: Path, small: Setup) -> None:
    small.journal.begin(begun(1))
    small.journal.begin(begun(2))
    small.fill()
    small.journal.end(finished(begun(1)))
    small.empty()
    small.journal.end(finished(begun(2)))
    assert small.journal.backlog == 0
    assert ids(data_dir, "end") == ["att_000001", "att_000002"]


def test_begin_heals_it_by_itself_but_does_not_try_on_every_call(small: Setup) -> None:
    small.journal.begin(begun(1))
    small.fill()
    small.journal.end(finished(begun(1)))
    with pytest.raises(LedgerUnavailable):
        small.journal.begin(begun(2))
    small.empty()
    with pytest.raises(LedgerUnavailable):
        small.journal.begin(begun(2))
    small.seconds += 0.3
    small.journal.begin(begun(2))
    assert small.journal.accepts_work


def test_a_volume_that_is_full_from_the_start_takes_no_work(data_dir: Path) -> None:
    directory = journal_dir(data_dir)
    journal = Journal.open(
        directory, ballast_bytes=BALLAST_BYTES, write=SmallVolume(directory, 3_000)
    )
    with pytest.raises(LedgerUnavailable):
        journal.begin(begun(1))
    assert sorted(os.listdir(directory)) == [journal.name]
    journal.close()


def test_a_rotation_without_room_goes_on_in_the_old_file(data_dir: Path) -> None:
    directory = journal_dir(data_dir)
    volume = SmallVolume(directory, 1 << 30)
    journal = Journal.open(directory, ballast_bytes=10, rotate_bytes=3_000, write=volume)
    journal.begin(begun(1))
    journal.begin(begun(2))
    journal.begin(begun(3))
    volume.room_bytes = 10 + 3 * journal.position()[1] // 2  # room for a line, not for a file
    journal.end(finished(begun(1)))
    assert journal.position()[0] == journal.name
    assert [entry for entry in os.listdir(directory) if entry.endswith(".ndjson")] == [journal.name]
    assert ids(data_dir, "end") == ["att_000001"]
    journal.close()


def test_closing_says_what_is_lost(
    data_dir: Path, small: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    small.journal.begin(begun(1))
    small.fill()
    small.journal.end(finished(begun(1)))
    small.journal.close()
    assert "1 lines are lost" in caplog.text


_LIMITED = """
import resource, sys
from pathlib import Path
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import begun, finished, read_journal

data_dir = Path(sys.argv[1])
journal = Journal.open(data_dir / "journal", ballast_bytes=1000)
journal.begin(begun(1))
size = journal.position()[1]
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 700, hard))
try:
    journal.begin(begun(2))
except LedgerUnavailable:
    print("refused")
journal.end(finished(begun(1)))
print("backlog", journal.backlog)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print("healed", journal.tick())
print([(line["kind"], line["seq"]) for line in read_journal(data_dir)])
"""


def test_the_kernel_cuts_a_write_short(data_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(data_dir)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.splitlines() == [
        "refused",
        "backlog 1",
        "healed True",
        "[('begin', 1), ('end', 2)]",
    ]
