"""Seconds in buckets that grow by 2 %: a percentile from their counts is off by 1 % at most. Pure.

The bucket ``n`` holds what lies in ``(G**(n-1), G**n]`` with G = 1.02, and is read as the value in
the (harmonic) middle, ``2 * G**n / (G + 1)``. Nothing and less than a microsecond is bucket ZERO.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

RELATIVE_ERROR = 0.01
ZERO = -10_000  # far below the bucket of a microsecond
_GROWTH = 1.02
_PER_LOG = 1 / math.log(_GROWTH)
_LEAST_SECONDS = 1e-6


def bucket(seconds: float) -> int:
    """The bucket of a number of seconds."""
    if not seconds >= _LEAST_SECONDS:
        return ZERO
    return math.ceil(math.log(seconds) * _PER_LOG)


def value(of_bucket: int) -> float:
    """What a bucket is read as, in seconds."""
    if of_bucket <= ZERO:
        return 0.0
    middle: float = 2 * _GROWTH**of_bucket / (_GROWTH + 1)
    return float(f"{middle:.6g}")


def distribution(counts: Mapping[int, int], microseconds: int) -> dict[str, Any]:
    """Percentiles by nearest rank, each within ``RELATIVE_ERROR``; the mean is exact."""
    total = sum(counts.values())
    wanted = {percent: max(1, math.ceil(total * percent / 100)) for percent in (50, 90, 99)}
    found: dict[int, float] = {}
    seen = 0
    for of_bucket in sorted(counts):
        seen += counts[of_bucket]
        for percent, rank in wanted.items():
            if percent not in found and seen >= rank:
                found[percent] = value(of_bucket)
    return {
        "p50": found.get(50),
        "p90": found.get(90),
        "p99": found.get(99),
        "mean": round(microseconds / total / 1e6, 6) if total else None,
        "count": total,
        "relative_error": RELATIVE_ERROR,
    }
