"""Where streams come from: a trace, the ledger, or a generator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.ledger.errors import BadQuery
from gateway.ledger.reports.query import ReportQuery
from gateway.ledger.reports.reports import Reports
from gateway.simulation.streams import Reading, Stream, Streams, of_rows, read_streams
from gateway.simulation.synthetic import DAY_US, KINDS, made

MOST_REQUESTS = 2_000_000


def of_trace(paths: Sequence[Path], reading: Reading) -> Streams:
    """The streams of files. Raises BadQuery."""
    return read_streams(paths, reading)


def of_kind(kind: str, count: int, days: float, seed: int) -> Streams:
    """Made-up streams. Raises BadQuery."""
    if kind not in KINDS:
        raise BadQuery("synthetic", f"--synthetic is one of {', '.join(KINDS)}.")
    streams = [Stream(s.name, s.at_us, s.execute_us) for s in made(kind, count, days, seed)]
    if not streams:
        raise BadQuery("synthetic", "--synthetic: no request in so short a time.")
    return Streams(0, int(days * DAY_US), streams, [f"Made up: {kind}, seed {seed}."])


def of_ledger(
    reports: Reports, query: ReportQuery, reading: Reading, most_requests: int = MOST_REQUESTS
) -> Streams:
    """What the ledger has seen, one stream for each deployment. Raises BadQuery where it is empty.

    Requests that failed are left out. A ledger of more than ``most_requests`` has to be asked for
    a shorter time: gaps between requests cannot be read off a sample.
    """
    traffic = reports.traffic(query, most_requests)
    if traffic.is_sample:
        raise BadQuery(
            "start_time", f"More than {most_requests:,} requests: choose a shorter time."
        )
    rows = (
        (traffic.sources[source], at, execute)
        for stretch in traffic.stretches
        for source, at, execute in zip(
            stretch.arrivals.source,
            stretch.arrivals.at_us,
            stretch.arrivals.execute_us,
            strict=True,
        )
    )
    if not traffic.requests_read:
        raise BadQuery("start_time", "The ledger holds no request of that time.")
    found = of_rows(rows, reading)
    found.boots = {name: seen.boot_seconds for name, seen in traffic.measured.items()}
    return found
