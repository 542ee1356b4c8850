"""Seconds from the start of the process to its first 200: what a restart costs its callers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.gateway import running_gateway

_NOBODY = "http://127.0.0.1:9"  # an upstream is configured and never called


@dataclass(frozen=True)
class StartupResult:
    """Each run's seconds, a new data folder each; the first may have to read cold files.

    The CPU seconds say what the start costs where other work on the machine stretches the clock's.
    """

    runs_seconds: list[float]
    runs_cpu_seconds: list[float]

    @property
    def median_seconds(self) -> float:
        return median(self.runs_seconds)

    @property
    def median_cpu_seconds(self) -> float:
        return median(self.runs_cpu_seconds)


def measure_startup(runs: int, scratch: Path) -> StartupResult:
    """``gateway serve`` from nothing to ready, ``runs`` times."""
    result = StartupResult([], [])
    for number in range(runs):
        with running_gateway(_NOBODY, scratch / f"startup-{number}") as target:
            result.runs_seconds.append(target.process.ready_seconds)
            result.runs_cpu_seconds.append(target.footprint().as_one().cpu_seconds)
    return result
