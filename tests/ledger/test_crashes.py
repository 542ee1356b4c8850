from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from gateway.ledger.inspect import verify
from gateway.ledger.journal import Journal
from gateway.ledger.layout import journal_dir
from gateway.ledger.recovery import recover
from gateway.ledger.schema import corrections, journal_files
from tests.ledger.databases import attempt_rows, ship, table
from tests.ledger.samples import begun, finished, idle_charge, read_journal
from tests.ledger.writer import settle

ROOT = Path(__file__).parents[2]
KILLS = 20


def kill_a_writer(data_dir: Path, run: int, dice: random.Random) -> set[str]:
    """Start one, kill it at some moment, return the ends that it had acknowledged."""
    command = [sys.executable, "-m", "tests.ledger.writer", str(data_dir), str(run)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"recovering\n"
    said = [writer.stdout.readline() for _ in range(dice.choice((0, 0, 1, 2, 10, 30, 90)))]
    writer.kill()
    said += writer.stdout.readlines()
    writer.stdout.close()
    writer.wait()
    return {line.decode().strip() for line in said}


def test_no_acknowledged_end_is_lost_or_doubled_by_kill_9(data_dir: Path) -> None:
    dice = random.Random(20261123)
    acknowledged: set[str] = set()
    for run in range(KILLS):
        acknowledged |= kill_a_writer(data_dir, run, dice)
        if run % 4 == 3:
            ship(data_dir)
    journal = Journal.open(journal_dir(data_dir))
    recover(journal_dir(data_dir), journal, settle)
    assert recover(journal_dir(data_dir), journal, settle) == 0
    journal.close()
    ship(data_dir)

    rows = attempt_rows(data_dir)
    assert len(acknowledged) > 50
    assert {rows[attempt_id]["status"] for attempt_id in acknowledged} == {"succeeded"}
    assert "running" not in {row["status"] for row in rows.values()}
    lines = read_journal(data_dir)
    ends = Counter(line["attempt"]["attempt_id"] for line in lines if line["kind"] == "end")
    assert set(ends.values()) == {1}
    assert ends.keys() == rows.keys()
    interrupted = [row for row in rows.values() if row["status"] == "interrupted"]
    assert interrupted and any(row["upstream_id"] for row in interrupted)
    assert verify(data_dir) == []


_SMALL_BATCHES = """
import sys
from gateway.ledger import shipper
shipper._BATCH_LINES = 11
sys.exit(shipper.main(["--data-dir", sys.argv[1], "--no-log"]))
"""


def test_a_shipper_killed_in_the_middle_counts_each_line_once(data_dir: Path) -> None:
    dice = random.Random(7)
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=200_000)
    for number in range(600):
        journal.begin(begun(number))
        journal.end(finished(begun(number)))
        if number % 10 == 0:
            journal.correct(f"att_{number:06d}", number, "bill", {"output_tokens": number})
            journal.charge(idle_charge(number))
    for _ in range(4):
        shipper = subprocess.Popen(
            [sys.executable, "-c", _SMALL_BATCHES, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert shipper.stdin is not None and shipper.stdout is not None
        for _ in range(dice.randrange(1, 25)):
            shipper.stdout.readline()
        shipper.kill()
        shipper.wait()
        shipper.stdin.close()
        shipper.stdout.close()
    shipped = {row["name"]: row["lines"] for row in table(data_dir, journal_files)}
    assert 0 < sum(shipped.values()) < len(read_journal(data_dir))
    journal.close()
    ship(data_dir)

    assert sum(row["lines"] for row in table(data_dir, journal_files)) == len(
        read_journal(data_dir)
    )
    rows = attempt_rows(data_dir)
    assert len(rows) == 600
    assert len(table(data_dir, corrections)) == 60
    expected = asdict(finished(begun(590), output_tokens=590))
    assert rows["att_000590"] == expected
    assert verify(data_dir) == []
