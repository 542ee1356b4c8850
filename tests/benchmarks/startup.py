"""Seconds from the start of the process to its first 200: what a restart costs its callers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.gateway import running_gateway

_NOBODY = "http://127.0.0.1:9"  # an upstream is configured and never called


@dataclass(frozen=True)
class StartupResult:
    """Each run's seconds, a new data folder each; the first may have to read cold files."""

    runs_seconds: list[float]

    @property
    def median_seconds(self) -> float:
        return median(self.runs_seconds)


def measure_startup(runs: int, scratch: Path) -> StartupResult:
    """``gateway serve`` from nothing to ready, ``runs`` times."""
    seconds = []
    for number in range(runs):
        with running_gateway(_NOBODY, scratch / f"startup-{number}") as target:
            seconds.append(target.process.ready_seconds)
    return StartupResult(seconds)
