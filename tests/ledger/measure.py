"""What the ledger costs: ``python -m tests.ledger.measure [ATTEMPTS]``.

Prints microseconds: wall time of each journal call on this thread, and CPU time of the shipper
(user and system, all of its work) for each attempt, begin and end.
"""

from __future__ import annotations

import gc
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import NOON_US, begun, finished


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        measure_journal(data_dir, count)
        measure_shipper(data_dir, count)
        measure_reports(data_dir, count)


def measure_journal(data_dir: Path, count: int) -> None:
    journal = Journal.open(journal_dir(data_dir))
    rows = [(begun(number), finished(begun(number))) for number in range(count)]
    gc.freeze()
    begins, ends = [], []
    for start, end in rows:
        t0 = time.perf_counter_ns()
        journal.begin(start)
        t1 = time.perf_counter_ns()
        journal.end(end)
        t2 = time.perf_counter_ns()
        begins.append(t1 - t0)
        ends.append(t2 - t1)
    for name, taken in (("begin", begins), ("end", ends)):
        taken.sort()
        say(f"journal {name}, mean", statistics.fmean(taken) / 1e3)
        say(f"journal {name}, median", taken[len(taken) // 2] / 1e3)
        say(f"journal {name}, p99", taken[len(taken) * 99 // 100] / 1e3)
    journal.close()


def measure_shipper(data_dir: Path, count: int) -> None:
    gc.set_threshold(50_000, 20, 20)
    shipper = Shipper(data_dir, log=io.BytesIO())

    def work() -> None:
        shipper.ship()
        shipper.tidy(now=True)

    cpu = cpu_seconds(work)
    shipper.close()
    say("shipper CPU for each attempt", cpu / count * 1e6)
    size = os.stat(database_path(data_dir)).st_size
    print(f"{'database bytes for each attempt':40s} {size / count:10.0f}")


def measure_reports(data_dir: Path, count: int) -> None:
    reports = Reports(database_path(data_dir))
    query = ReportQuery(0, NOON_US * 2, bucket_width="1d", group_by=("provider", "tag:team"))
    say("costs, CPU for each attempt", cpu_seconds(lambda: reports.costs(query)) / count * 1e6)
    cold = cpu_seconds(lambda: reports.cold_starts(query))
    say("cold starts, CPU for each attempt", cold / count * 1e6)
    began = time.perf_counter()
    reports.operations(query)
    print(f"{'100 operations':40s} {(time.perf_counter() - began) * 1e3:10.1f} ms")
    say("traffic, CPU for each request", cpu_seconds(lambda: reports.traffic(query)) / count * 1e6)
    reports.close()


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def say(what: str, microseconds: float) -> None:
    print(f"{what:40s} {microseconds:10.1f} us")


if __name__ == "__main__":
    main()
