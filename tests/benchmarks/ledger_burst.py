"""How far the database falls behind in a burst, how soon it is level again, what shipping costs.

``python -m tests.benchmarks.ledger_burst --dir FOLDER [--attempts 20000] [--seconds 10]``

Writes so many attempts (a begin and an end each, of eight deployments and ten keys) into a journal
in so many seconds, beside a shipper as a gateway starts it. Where FOLDER holds a ledger already (of
``ledger_size``, say) they are added to it; nobody else may use it meanwhile. The lag has to be gone
within the burst's own length. CPU seconds are printed beside the clock's: other work on the machine
stretches only the latter.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil

from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from tests.benchmarks.ledger_size import pattern, say
from tests.ledger.samples import begun

SHIPPER = "gateway.ledger.shipping.shipper"
_TICK_SECONDS = 0.02
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ledger_burst")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--attempts", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    given.dir.mkdir(parents=True, exist_ok=True)
    journal = Journal.open(journal_dir(given.dir))
    shipper = subprocess.Popen(
        [sys.executable, "-m", SHIPPER, "--data-dir", given.dir, "--no-log"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        measure(given.dir, journal, shipper.pid, given.attempts, given.seconds)
    finally:
        journal.close()
        shipper.communicate()


def measure(folder: Path, journal: Journal, pid: int, attempts: int, seconds: float) -> None:
    """Print lag and cost of one burst."""
    rows = made(attempts)
    journal.end(rows[0])
    wait_for(folder, journal)  # it has started, and is level
    before = cpu_seconds(pid)
    began = time.perf_counter()
    most_bytes = 0
    looked_at = began
    for number, row in enumerate(rows[1:], 1):
        behind = began + number * seconds / attempts - time.perf_counter()
        if behind > _TICK_SECONDS:
            time.sleep(_TICK_SECONDS)
        at_us = time.time_ns() // 1000
        of = f"{at_us:014x}{number:08x}"
        named = replace(
            row,
            attempt_id=f"att_{of}",
            operation_id=f"gen_{of}",
            begun_at_us=at_us,
            operation_at_us=at_us,
            completed_at_us=at_us + 950_000,
        )
        journal.begin(started(named))
        journal.end(named)
        if time.perf_counter() - looked_at > 0.5:
            looked_at = time.perf_counter()
            most_bytes = max(most_bytes, lag_bytes(folder, journal))
    burst = time.perf_counter() - began
    left = lag_bytes(folder, journal)
    ended = time.perf_counter()
    wait_for(folder, journal)
    lag = time.perf_counter() - ended
    spent = cpu_seconds(pid) - before
    say("attempts a second in the burst", attempts / burst)
    say("seconds of the burst", burst)
    say("bytes of the journal that waited at most", max(most_bytes, left))
    say("bytes of the journal that waited at the burst's end", left)
    say("seconds until none waited", lag)
    say("microseconds of CPU of the shipper, an attempt", spent / attempts * 1e6)
    print("the lag was gone within the burst's length" if lag <= burst else "IT LASTED LONGER")


def made(count: int) -> list[AttemptRow]:
    """Attempts that have ended; ids and times are put in when they are written."""
    dice = random.Random(2)
    patterns = [pattern(dice) for _ in range(400)]
    return [patterns[dice.randrange(400)] for _ in range(count)]


def started(row: AttemptRow) -> AttemptRow:
    """The attempt as it was when it began."""
    return begun(
        0,
        at_us=row.begun_at_us,
        attempt_id=row.attempt_id,
        operation_id=row.operation_id,
        provider=row.provider,
        deployment=row.deployment,
        model=row.model,
        key_id=row.key_id,
        tags=row.tags,
    )


def wait_for(folder: Path, journal: Journal) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while lag_bytes(folder, journal):
        if time.monotonic() > give_up_at:
            raise SystemExit("the database does not come level")
        time.sleep(_POLL_SECONDS)


def lag_bytes(folder: Path, journal: Journal) -> int:
    """What this journal's file has that the database has not."""
    name, size = journal.position()
    try:
        database = sqlite3.connect(f"file:{database_path(folder)}?mode=ro", uri=True, timeout=5)
        try:
            wanted = "SELECT offset_bytes FROM journal_files WHERE name = ?"
            found = database.execute(wanted, (name,)).fetchone()
        finally:
            database.close()
    except sqlite3.OperationalError:
        return size  # there is no database yet
    return size - (found[0] if found is not None else 0)


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
