"""A large ledger of the first schema, upgraded under load, and asked.

``python -m tests.benchmarks.ledger_size --dir FOLDER [--attempts 10000000] [--ask-only]``

Makes the ledger (a month of eight deployments and ten keys, a sixth of the attempts cold), starts
the shipper on it as a gateway would, writes a live journal meanwhile, waits until the upgrade is
done, holds the counts against what was written, and prints sizes and times: seconds on the clock
and of CPU, which other work on the machine does not stretch as much. The folder should have about
2 KB for each attempt; what an earlier run left in it is deleted first, unless it is only asked
again (``--ask-only``).
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from gateway.ledger.care.inspect import info
from gateway.ledger.layout import archive_dir, database_path, journal_dir
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import MOST_ROWS_READ, BadQuery, Reports
from gateway.ledger.rows import AttemptRow
from gateway.ledger.schema import metadata
from gateway.ledger.shipping.store import Store
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import begun, finished, priced

_DAY_US = 86_400_000_000
_DAYS = 30
_LIVE_PER_SECOND = 100
_OF_VERSION_1 = ("attempts", "charges", "corrections", "journal_files", "meta")
_JSON = ("tags", "price", "cost_lines", "pending")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ledger_size")
    parser.add_argument("--attempts", type=int, default=10_000_000)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--ask-only", action="store_true", help="of the ledger that is there")
    given = parser.parse_args()
    folder: Path = given.dir / "ledger-size"
    if given.ask_only:
        Store.open(database_path(folder)).close()  # columns that have come since
        found = info(folder)
        say("attempts in the ledger", sum(found["attempts_by_status"].values()))
        ask(folder, newest_us(folder))
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    now_us = time.time_ns() // 1000
    took(f"{given.attempts:,} attempts made", lambda: make(folder, given.attempts, now_us))
    os.sync()  # what was made is on the disk before anything is measured
    say("bytes an attempt, before", size(folder) / given.attempts)
    live = upgrade(folder)
    found = info(folder)
    assert found["rollups_complete"], "the upgrade did not end"
    counted = sum(found["attempts_by_status"].values())
    assert counted == given.attempts + live, f"{counted} of {given.attempts + live} attempts"
    print(f"{counted:,} attempts counted, none lost")
    say("bytes an attempt, after", size(folder) / counted)
    say("bytes of the months moved, an attempt", size(archive_dir(folder)) / counted)
    ask(folder, now_us)


def make(folder: Path, attempts: int, now_us: int) -> None:
    """The tables and rows of schema 1, oldest first."""
    journal_dir(folder).mkdir()
    Store.open(database_path(folder)).close()
    database = sqlite3.connect(database_path(folder), isolation_level=None)
    for name in sorted(metadata.tables.keys() - set(_OF_VERSION_1)):
        database.execute(f"DROP TABLE {name}")
    database.execute("DROP INDEX charges_by_attempt")
    database.execute("DELETE FROM meta WHERE name = 'ledger_id'")
    database.execute("UPDATE meta SET value = '1' WHERE name = 'schema_version'")
    names = [row[1] for row in database.execute("PRAGMA table_info(attempts)")]
    insert = f"INSERT INTO attempts VALUES ({', '.join('?' * len(names))})"
    database.execute("PRAGMA synchronous=OFF")
    rows = made_rows(names, attempts, now_us)
    for first in range(0, attempts, 50_000):
        database.execute("BEGIN")
        count = min(50_000, attempts - first)
        database.executemany(insert, (next(rows) for _ in range(count)))
        database.execute("COMMIT")
    database.close()


def made_rows(names: list[str], attempts: int, now_us: int) -> Iterator[list[Any]]:
    """Rows as the driver takes them: some hundred patterns with their own id, time and figures."""
    dice = random.Random(1)
    at = {name: position for position, name in enumerate(names)}
    patterns = [flat(names, pattern(dice)) for _ in range(400)]
    step = _DAYS * _DAY_US // attempts
    for number in range(attempts):
        row = patterns[dice.randrange(400)].copy()
        at_us = now_us - (attempts - number) * step
        row[at["attempt_id"]] = f"att_{at_us:014x}{number & 0xFFFFFFFF:08x}"
        row[at["operation_id"]] = f"gen_{at_us:014x}{number & 0xFFFFFFFF:08x}"
        row[at["operation_at_us"]] = row[at["begun_at_us"]] = at_us
        row[at["completed_at_us"]] = at_us + 950_000
        row[at["output_tokens"]] = number % 900
        # Most come while others run; the gaps of the others spread over six decades.
        beside = dice.random() < 0.6
        row[at["idle_before_seconds"]] = 0.0 if beside else round(10 ** dice.uniform(-1, 5), 3)
        row[at["upstream_revision"]] = f"{row[at['deployment']]}-r{at_us // (7 * _DAY_US)}"
        yield row


def pattern(dice: random.Random) -> AttemptRow:
    deployment = dice.randrange(8)
    row = begun(
        0,
        provider=f"provider-{deployment % 4}",
        deployment=f"deployment-{deployment}",
        model=f"model-{deployment % 3}",
        key_id=f"key-{dice.randrange(10)}",
        tags={"team": f"team-{dice.randrange(6)}"},
    )
    if dice.randrange(6) == 0:
        return finished(row, boot_seconds=round(dice.expovariate(0.1), 6))
    warm: dict[str, Any] = {
        "verdict": "warm",
        "evidence": "scale_state",
        "caused_boot": False,
        "boot_seconds": None,
        "wait_seconds": 0.0,
        "status": dice.choices(("succeeded", "failed"), (5, 1))[0],
    }
    return priced(row, f"0.{dice.randrange(10**9):012d}", **warm)


def flat(names: list[str], row: AttemptRow) -> list[Any]:
    columns = asdict(row)
    return [
        orjson.dumps(columns[name]).decode() if name in _JSON else columns[name] for name in names
    ]


def upgrade(folder: Path) -> int:
    """Run the shipper until all is summed up and moved, while attempts come in; how many came."""
    began = time.perf_counter()
    shipper = subprocess.Popen(
        [sys.executable, "-m", "gateway.ledger.shipping.shipper", "--data-dir", folder, "--no-log"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert shipper.stdout is not None and shipper.stdin is not None
    os.set_blocking(shipper.stdout.fileno(), False)
    journal = Journal.open(journal_dir(folder))
    written, lag_bytes = 0, 0
    first_at = None
    while True:
        for _ in range(_LIVE_PER_SECOND // 10):
            at_us = time.time_ns() // 1000
            of = f"{at_us:014x}{written:08x}"
            row = begun(0, at_us=at_us, attempt_id=f"att_{of}", operation_id=f"gen_{of}")
            journal.begin(row)
            journal.end(finished(row))
            written += 1
        time.sleep(0.1)
        said = shipper.stdout.read() or b""
        if said and first_at is None:
            first_at = time.perf_counter() - began
        if written % (_LIVE_PER_SECOND * 5) == 0:
            shown = info_of(folder)
            if shown is not None:
                lag_bytes = max(lag_bytes, shown[1])
                if shown[0]:
                    break
    say("seconds until the first row of the live journal was in", first_at or 0.0)
    say("seconds of the whole upgrade", time.perf_counter() - began)
    say("bytes of the journal that waited at most", lag_bytes)
    journal.close()
    shipper.communicate()
    return written


def info_of(folder: Path) -> tuple[bool, int] | None:
    """Whether all is summed up and moved, and what the journal has that the database has not."""
    database = sqlite3.connect(f"file:{database_path(folder)}?mode=rw", uri=True, timeout=5)
    try:
        marks = database.execute(
            "SELECT 1 FROM meta WHERE name LIKE '%_rolled_to' OR name LIKE '%_from_us'"
        ).fetchone()
        (oldest,) = database.execute("SELECT min(operation_at_us) FROM attempts").fetchone()
        shipped = dict(database.execute("SELECT name, offset_bytes FROM journal_files"))
    except sqlite3.OperationalError:
        return None
    finally:
        database.close()
    over = datetime.fromtimestamp(time.time() - 3 * 86_400, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    done = marks is None and oldest >= over.timestamp() * 1e6
    waiting = sum(
        path.stat().st_size - shipped.get(path.name, 0)
        for path in journal_dir(folder).glob("*.ndjson")
    )
    return done, waiting


def ask(folder: Path, now_us: int) -> None:
    """Reports of the last month: what a dashboard asks for, and the ragged ones."""
    reports = Reports(database_path(folder), most_rows_read=MOST_ROWS_READ)
    month = {"start_at_us": now_us - 30 * _DAY_US, "end_at_us": now_us, "limit": 1000}
    questions: dict[str, tuple[Callable[[ReportQuery], Any], dict[str, Any]]] = {
        "costs": (reports.costs, {}),
        "costs by provider and day": (
            reports.costs,
            {"group_by": ("provider",), "bucket_width": "1d"},
        ),
        "costs by deployment and day in Berlin": (
            reports.costs,
            {"group_by": ("deployment",), "bucket_width": "1d", "time_zone": "Europe/Berlin"},
        ),
        "costs by key, model and status": (
            reports.costs,
            {"group_by": ("key", "model", "status")},
        ),
        "costs by hour": (reports.costs, {"bucket_width": "1h"}),
        "costs of one key": (reports.costs, {"key_id": "key-3", "group_by": ("deployment",)}),
        "cold starts by deployment": (reports.cold_starts, {"group_by": ("deployment",)}),
        "cold starts by provider and day": (
            reports.cold_starts,
            {"group_by": ("provider",), "bucket_width": "1d"},
        ),
        "100 operations": (reports.operations, {"limit": 100}),
        "operations that failed, of one key": (
            reports.operations,
            {"limit": 100, "key_id": "key-3", "filters": {"status": ("failed",)}},
        ),
        "costs by day in Kolkata": (
            reports.costs,
            {"bucket_width": "1d", "time_zone": "Asia/Kolkata"},
        ),
        "costs by deployment and day in Kathmandu": (
            reports.costs,
            {"group_by": ("deployment",), "bucket_width": "1d", "time_zone": "Asia/Kathmandu"},
        ),
        "costs by hour in Kolkata": (
            reports.costs,
            {"bucket_width": "1h", "time_zone": "Asia/Kolkata"},
        ),
        "cold starts by deployment and day in Kolkata": (
            reports.cold_starts,
            {"group_by": ("deployment",), "bucket_width": "1d", "time_zone": "Asia/Kolkata"},
        ),
        "cold starts by hour of the day": (reports.cold_starts, {"by": ("hour",)}),
        "operations of a provider that there is not": (
            reports.operations,
            {"limit": 100, "filters": {"provider": ("nobody",)}},
        ),
        "operations with a tag that no sum knows, a page": (
            reports.operations,
            {"limit": 100, "filters": {"tag:team": ("nobody",)}},
        ),
        "costs by a tag that no sum knows, refused": (
            partial(refused, reports.costs),
            {"group_by": ("tag:team",)},
        ),
        "cold starts by idle gap": (reports.cold_starts, {"by": ("idle_gap",)}),
        "cold starts by deployment and idle gap": (
            reports.cold_starts,
            {"group_by": ("deployment",), "by": ("idle_gap",)},
        ),
        "cold starts by idle gap, of one key": (
            reports.cold_starts,
            {"key_id": "key-3", "by": ("idle_gap",)},
        ),
        "why it was colder than in the 15 days before": (
            partial(explained, reports),
            {"start_at_us": now_us - 15 * _DAY_US},
        ),
        "requests for compare (a sample)": (reports.traffic, {}),
    }
    for name, (read, more) in questions.items():
        query = ReportQuery(**{**month, **more})
        for which in ("first", "again"):
            took(f"{name}, {which}", partial(read, query))
    reports.close()


def explained(reports: Reports, query: ReportQuery) -> None:
    """A month, of which one half is held against the other."""
    found = reports.explanation(query, query.end_at_us - query.start_at_us)
    assert found["before"]["attempts"] and found["after"]["attempts"]


def refused(read: Callable[[ReportQuery], Any], query: ReportQuery) -> None:
    """As over HTTP, where more rows would have to be read than may be."""
    try:
        read(query)
    except BadQuery as error:
        assert "at most" in error.message
    else:
        print("(answered: there are few)")


def newest_us(folder: Path) -> int:
    """The end of the month that is asked about: just after the newest attempt."""
    database = sqlite3.connect(f"file:{database_path(folder)}?mode=ro", uri=True)
    (newest,) = database.execute("SELECT max(operation_at_us) FROM attempts").fetchone()
    database.close()
    return int(newest) + 1


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def took(what: str, work: Callable[[], object]) -> None:
    began, began_cpu = time.perf_counter(), time.process_time()
    work()
    cpu = time.process_time() - began_cpu
    print(f"seconds: {what:60s} {time.perf_counter() - began:10.3f}, CPU {cpu:10.3f}", flush=True)


def say(what: str, number: float) -> None:
    print(f"{what:60s} {number:14,.3f}", flush=True)


if __name__ == "__main__":
    main()
