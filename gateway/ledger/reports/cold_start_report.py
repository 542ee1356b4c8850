"""How often attempts were cold, on what evidence, and how long boots took. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.ledger.reports.grouping import Groups, Place
from gateway.ledger.reports.query import ReportQuery, zone
from gateway.ledger.sums import sketch
from gateway.ledger.sums.gaps import edge_of, gap_of
from gateway.warmth.intervals import wilson

BOOT_EDGES_SECONDS = (
    *(0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 5.0, 7.0),
    *(10.0, 20.0, 30.0, 50.0, 70.0, 100.0, 200.0, 300.0, 500.0, 700.0, 1000.0),
)
"""Upper edges of the bins of a boot histogram; a last one is open."""
_SLOT_US = 900_000_000


@dataclass(slots=True)
class _Waited:
    """Seconds one by one, or in the buckets of ``sketch``."""

    exact: list[float] = field(default_factory=list)
    buckets: Counter[int] = field(default_factory=Counter)
    microseconds: int = 0

    def histogram(self) -> list[int]:
        """How many lie in each bin, the open one last."""
        found = [0] * (len(BOOT_EDGES_SECONDS) + 1)
        for seconds in self.exact:
            found[bisect_left(BOOT_EDGES_SECONDS, seconds)] += 1
        for bucket, count in self.buckets.items():
            found[bisect_left(BOOT_EDGES_SECONDS, sketch.value(bucket))] += count
        return found

    def distribution(self) -> dict[str, Any]:
        if not self.buckets:
            return distribution(self.exact)
        microseconds = self.microseconds
        for seconds in self.exact:
            self.buckets[sketch.bucket(seconds)] += 1
            microseconds += round(seconds * 1e6)
        return sketch.distribution(self.buckets, microseconds)


@dataclass(slots=True)
class _ColdSum:
    verdicts: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)
    boots: int = 0
    boot: _Waited = field(default_factory=_Waited)
    wait: _Waited = field(default_factory=_Waited)

    def row(self) -> dict[str, Any]:
        cold, warm = self.verdicts["cold"], self.verdicts["warm"]
        known = cold + warm
        histogram = self.boot.histogram()  # the distribution puts all of it into buckets
        return {
            "attempts": self.verdicts.total(),
            "cold": cold,
            "warm": warm,
            "unknown": self.verdicts["unknown"],
            "cold_rate": cold / known if known else None,
            "cold_rate_interval": interval(cold, known),
            "boots": self.boots,
            "boot_rate": self.boots / known if known else None,
            "boot_rate_interval": interval(self.boots, known),
            "boot_seconds": {**self.boot.distribution(), "histogram": _bins(histogram)},
            "wait_seconds": self.wait.distribution(),
            "evidence": dict(sorted(self.evidence.items())),
        }


class ColdStartReport:
    """Counts by bucket and group, from rollups and from rows; then a page of them.

    Boots: whoever waited for somebody else's boot is cold, but saw only a part of it; its seconds
           count as waiting and not as a boot.
    """

    def __init__(self, query: ReportQuery) -> None:
        self._groups = Groups(query, _ColdSum)
        self._split = _splitting(query)

    def rolled(self, counts: Iterable[tuple[Place, int, str, str | None, int, int]]) -> None:
        """Idle gap, verdict, evidence, attempts and boots of whole hours or quarters."""
        for place, gap, verdict, evidence, attempts, boots in counts:
            total = self._of(place, gap)
            total.verdicts[verdict] += attempts
            if evidence is not None:
                total.evidence[evidence] += attempts
            total.boots += boots

    def sketched(self, counts: Iterable[tuple[Place, int, str, int, int, int]]) -> None:
        """Idle gap, ``boot`` or ``wait``, bucket, attempts and microseconds of whole hours or
        quarters.
        """
        for place, gap, what, bucket, attempts, microseconds in counts:
            total = self._of(place, gap)
            waited = total.boot if what == "boot" else total.wait
            waited.buckets[bucket] += attempts
            waited.microseconds += microseconds

    def _of(self, place: Place, gap: int) -> _ColdSum:
        values = (*place.values, *self._split(place.at_us, gap))
        return self._groups.of(place.at_us, values)

    def attempts(self, rows: Iterable[Sequence[Any]]) -> None:
        """(operation_at_us, verdict, evidence, caused_boot, boot_seconds, wait_seconds,
        idle_before_seconds), each followed by its group's values.
        """
        for at_us, verdict, evidence, caused_boot, boot, wait, idle, *values in rows:
            total = self._groups.of(at_us, (*values, *self._split(at_us, gap_of(idle))))
            total.verdicts[verdict] += 1
            if evidence is not None:
                total.evidence[evidence] += 1
            if caused_boot:
                total.boots += 1
            if verdict != "cold":
                continue
            if boot is not None and caused_boot is not False:
                total.boot.exact.append(boot)
            if wait is not None:
                total.wait.exact.append(wait)

    def page(self) -> dict[str, Any]:
        """The rows that were asked for."""
        return self._groups.page(_ColdSum.row)


def _bins(counts: Sequence[int]) -> list[dict[str, Any]]:
    """From the first that holds something to the last; ``to_seconds`` null: open."""
    held = [at for at, count in enumerate(counts) if count]
    if not held:
        return []
    edges = (0.0, *BOOT_EDGES_SECONDS, None)
    return [
        {"from_seconds": edges[at], "to_seconds": edges[at + 1], "count": counts[at]}
        for at in range(held[0], held[-1] + 1)
    ]


def _splitting(query: ReportQuery) -> Callable[[int, int], tuple[int | None, ...]]:
    """From instant and idle gap of an attempt to what ``by`` asks for."""
    tz = zone(query.time_zone)
    hours: dict[int, int] = {}

    def hour(at_us: int, gap: int) -> int:
        slot = at_us // _SLOT_US
        found = hours.get(slot)
        if found is None:
            found = hours[slot] = datetime.fromtimestamp(slot * _SLOT_US / 1e6, tz).hour
        return found

    def idle_gap(at_us: int, gap: int) -> int | None:
        return edge_of(gap)

    asked = [{"hour": hour, "idle_gap": idle_gap}[name] for name in query.by]
    return lambda at_us, gap: tuple(one(at_us, gap) for one in asked)


def interval(hits: int, count: int) -> dict[str, float] | None:
    """The 95 % interval of a rate; None where there is none."""
    if not count:
        return None
    low, high = wilson(hits, count)
    return {"low": round(low, 6), "high": round(high, 6)}


def distribution(seconds: list[float]) -> dict[str, Any]:
    """Percentiles by nearest rank, so each is a value that occurred; null where there is none."""
    ordered = sorted(seconds)
    count = len(ordered)

    def rank(percent: int) -> float | None:
        return ordered[max(0, math.ceil(count * percent / 100) - 1)] if count else None

    return {
        "p50": rank(50),
        "p90": rank(90),
        "p99": rank(99),
        "mean": round(math.fsum(ordered) / count, 6) if count else None,
        "count": count,
    }
