"""How often attempts were cold, on what evidence, and how long boots took. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.ledger.grouping import Groups
from gateway.ledger.query import ReportQuery


@dataclass(slots=True)
class _ColdSum:
    verdicts: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)
    boots: int = 0
    boot_seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        cold, warm = self.verdicts["cold"], self.verdicts["warm"]
        return {
            "attempts": self.verdicts.total(),
            "cold": cold,
            "warm": warm,
            "unknown": self.verdicts["unknown"],
            "cold_rate": cold / (cold + warm) if cold + warm else None,
            "boots": self.boots,
            "boot_seconds": distribution(self.boot_seconds),
            "wait_seconds": distribution(self.wait_seconds),
            "evidence": dict(sorted(self.evidence.items())),
        }


def cold_start_report(query: ReportQuery, attempts: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """A page of cold-start rows.

    Shape: attempts are (operation_at_us, verdict, evidence, caused_boot, boot_seconds,
           wait_seconds), each followed by its group's values.
    Boots: whoever waited for somebody else's boot is cold, but saw only a part of it; its seconds
           count as waiting and not as a boot.
    """
    groups = Groups(query, _ColdSum)
    for at_us, verdict, evidence, caused_boot, boot, wait, *values in attempts:
        total = groups.of(at_us, values)
        total.verdicts[verdict] += 1
        if evidence is not None:
            total.evidence[evidence] += 1
        if caused_boot:
            total.boots += 1
        if verdict != "cold":
            continue
        if boot is not None and caused_boot is not False:
            total.boot_seconds.append(boot)
        if wait is not None:
            total.wait_seconds.append(wait)
    return groups.page(_ColdSum.row)


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
