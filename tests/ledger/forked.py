"""Processes that are killed at some moment, forked from one that has imported everything once.

``python -m tests.ledger.forked writer|shipper|keeper DATA_DIR``: for each line on stdin, a number,
a process is forked. It says its id, and then a line for each thing it has done; when it is gone,
``dead`` is said. ``Victims`` is the other end.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.months import migration, sealing
from gateway.ledger.months.upkeep import Upkeep
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping import shipper
from gateway.ledger.shipping.store import Store
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from tests.ledger.samples import begun, finished


class Victims:
    """Processes of one kind on one data folder, one after the other."""

    def __init__(self, kind: str, data_dir: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger.forked", kind, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
            bufsize=1,
        )

    def kill_one(self, number: int, after_lines: int) -> list[str]:
        """Start one, kill it when it has said so many lines; returns all that it has said."""
        said, given = self._process.stdout, self._process.stdin
        assert said is not None and given is not None
        given.write(f"{number}\n")
        pid = int(said.readline())
        lines = [said.readline().strip() for _ in range(after_lines)]
        os.kill(pid, signal.SIGKILL)
        while (line := said.readline().strip()) != "dead":
            lines.append(line)
        return lines

    def close(self) -> None:
        self._process.communicate()


def settle(row: AttemptRow, now_us: int) -> AttemptRow:
    return replace(row, status="interrupted", completed_at_us=now_us)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write_for_ever(data_dir: Path, number: int) -> None:
    """Recover, then say each end that was written."""
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=30_000)
    say(str(os.getpid()))
    recover(journal_dir(data_dir), journal, settle)
    while True:
        rows = [begun(number + step) for step in range(3)]
        for row in rows:
            journal.begin(row)
        journal.accepted(rows[2].attempt_id, f"job_{number}", 1)
        for row in rows if number % 2 else rows[:2]:
            journal.end(finished(row))
            say(row.attempt_id)
        number += 3


def ship_in_small_batches(data_dir: Path, seed: int) -> None:
    """Say each offset that was reached, and wait to be killed."""
    shipper._BATCH_LINES = random.Random(seed).choice((3, 7, 11))
    say(str(os.getpid()))
    shipper.Shipper(data_dir, report=lambda name, offset, _: say(f"{name} {offset}")).ship()
    signal.pause()


def keep_in_small_steps(data_dir: Path, seed: int) -> None:
    """Say each step of a migration or of moving months, and wait to be killed."""
    migration._STEP_ROWS = sealing._STEP_ROWS = random.Random(seed).choice((5, 17, 40))
    say(str(os.getpid()))
    store = Store.open(database_path(data_dir))
    upkeep = Upkeep(data_dir)
    while True:
        say(str(upkeep.step(store)))
        time.sleep(0.002)


def main() -> None:
    work = {
        "writer": write_for_ever,
        "shipper": ship_in_small_batches,
        "keeper": keep_in_small_steps,
    }[sys.argv[1]]
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            work(Path(sys.argv[2]), int(line))
        os.waitpid(pid, 0)
        say("dead")


if __name__ == "__main__":
    main()
