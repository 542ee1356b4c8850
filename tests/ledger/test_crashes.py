from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from gateway.ledger.care.inspect import verify
from gateway.ledger.layout import journal_dir
from gateway.ledger.schema import charges, corrections, journal_files
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from tests.ledger.databases import attempt_rows, ship, table
from tests.ledger.forked import Victims, settle
from tests.ledger.samples import begun, finished, idle_charge, read_journal


def test_no_acknowledged_end_is_lost_or_doubled_by_kill_9(data_dir: Path) -> None:
    dice = random.Random(20261123)
    acknowledged: set[str] = set()
    writers = Victims("writer", data_dir)
    for run in range(30):
        after_lines = dice.choice((0, 0, 1, 2, 10, 30, 90))
        acknowledged.update(writers.kill_one(run * 100_000, after_lines))
        if run % 5 == 4:
            ship(data_dir)
    writers.close()
    journal = Journal.open(journal_dir(data_dir))
    recover(journal_dir(data_dir), journal, settle)
    journal.close()
    ship(data_dir)

    rows = attempt_rows(data_dir)
    assert len(acknowledged) > 100
    assert {rows[attempt_id]["status"] for attempt_id in acknowledged} == {"succeeded"}
    assert "running" not in {row["status"] for row in rows.values()}
    lines = read_journal(data_dir)
    ends = Counter(line["attempt"]["attempt_id"] for line in lines if line["kind"] == "end")
    assert set(ends.values()) == {1}
    assert ends.keys() == rows.keys()
    interrupted = [row for row in rows.values() if row["status"] == "interrupted"]
    assert interrupted and any(row["upstream_id"] for row in interrupted)
    assert verify(data_dir) == []


def test_a_shipper_killed_in_the_middle_counts_each_line_once(data_dir: Path) -> None:
    dice = random.Random(7)
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=200_000)
    for number in range(600):
        journal.begin(begun(number))
        journal.end(finished(begun(number)))
        if number % 10 == 0:
            journal.correct(f"att_{number:06d}", number, "bill", {"output_tokens": number})
            journal.charge(idle_charge(number))
    journal.close()
    written = len(read_journal(data_dir))
    shippers = Victims("shipper", data_dir)
    for seed in range(8):
        shippers.kill_one(seed, dice.randrange(1, 20))
    shippers.close()
    assert 0 < sum(row["lines"] for row in table(data_dir, journal_files)) < written
    ship(data_dir)

    assert sum(row["lines"] for row in table(data_dir, journal_files)) == written
    rows = attempt_rows(data_dir)
    assert len(rows) == 600
    assert len(table(data_dir, corrections)) == len(table(data_dir, charges)) == 60
    assert rows["att_000590"] == asdict(finished(begun(590), output_tokens=590))
    assert verify(data_dir) == []
