"""A process that writes a journal until it is killed: recovers, then says each end on stdout.

``python -m tests.ledger.writer DATA_DIR RUN``
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from gateway.ledger.journal import Journal
from gateway.ledger.layout import journal_dir
from gateway.ledger.recovery import recover
from gateway.ledger.rows import AttemptRow
from tests.ledger.samples import begun, finished


def settle(row: AttemptRow, now_us: int) -> AttemptRow:
    return replace(row, status="interrupted", completed_at_us=now_us)


def main() -> None:
    data_dir, run = Path(sys.argv[1]), int(sys.argv[2])
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=30_000)
    os.write(1, b"recovering\n")
    recover(journal_dir(data_dir), journal, settle)
    number = run * 100_000
    while True:
        rows = [begun(number + step) for step in range(3)]
        for row in rows:
            journal.begin(row)
        journal.accepted(rows[0].attempt_id, f"job_{number}", 1)
        for row in rows[:2] if number % 7 else rows:
            journal.end(finished(row))
            os.write(1, f"{row.attempt_id}\n".encode())
        number += 3


if __name__ == "__main__":
    main()
