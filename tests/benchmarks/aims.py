"""What the gateway aims at on any machine, and whether this run met it.

The aims that hang on the machine are told as a share of what nginx or another gateway does on it
in the same rounds. A figure is printed as it was measured; "not met" does not fail the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import ge, le

from tests.benchmarks.memory import MemoryPoint
from tests.benchmarks.rounds import Record
from tests.benchmarks.startup import StartupResult
from tests.benchmarks.targets import GATEWAY, LITELLM, NGINX, PORTKEY

_RATIO_AIMS = {
    NGINX: 0.08,  # 2,000 requests/s where nginx does 25,000
    PORTKEY: 3.0,
    LITELLM: 40.0,
}
_CPU_MICROSECONDS_PER_REQUEST = 450.0
_P99_TO_P50 = 4.0
_EVENTS_PER_SECOND = 100_000.0
_READY_SECONDS = 1.5
_RSS_MEGABYTES = 120.0


@dataclass(frozen=True)
class Aim:
    """One aim beside its measured value; ``met`` is None where nothing was measured."""

    what: str
    relation: str
    aim: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        compare = {">=": ge, "<=": le}[self.relation]
        return bool(compare(self.measured, self.aim))


def request_aims(records: list[Record]) -> list[Aim]:
    """Rate beside the others', CPU and the tail; nothing without the gateway."""
    by_name = {record.target.name: record for record in records}
    gateway = by_name.pop(GATEWAY, None)
    if gateway is None:
        return []
    aims = [
        Aim(f"requests/s, as a multiple of {name}", ">=", aim, _ratio(gateway, by_name.get(name)))
        for name, aim in _RATIO_AIMS.items()
    ]
    cpu = gateway.cpu_seconds_per_request() * 1e6
    aims.append(Aim("CPU us per request", "<=", _CPU_MICROSECONDS_PER_REQUEST, cpu))
    tail = gateway.median_of(lambda each: each.load.p99_seconds / each.load.p50_seconds)
    aims.append(Aim("p99, as a multiple of p50", "<=", _P99_TO_P50, tail))
    return aims


def _ratio(gateway: Record, other: Record | None) -> float | None:
    return None if other is None else gateway.ratio_to(other)


def stream_aims(records: list[Record], events_per_answer: int) -> list[Aim]:
    """Server-sent events relayed each second."""
    return [
        Aim(
            "SSE events/s",
            ">=",
            _EVENTS_PER_SECOND,
            record.median_of(lambda each: each.load.requests_per_second) * events_per_answer,
        )
        for record in records
        if record.target.name == GATEWAY
    ]


def startup_aims(result: StartupResult) -> list[Aim]:
    """Ready before a caller gives up."""
    return [Aim("seconds until ready", "<=", _READY_SECONDS, result.median_seconds)]


def memory_aims(points: list[MemoryPoint]) -> list[Aim]:
    """The gateway's own process after the last request."""
    return [Aim("RSS MB", "<=", _RSS_MEGABYTES, points[-1].rss_bytes / 1e6)]
