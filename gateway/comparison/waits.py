"""How long requests wait at a candidate: replayed where a replica is paid for, else as measured."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

from gateway.comparison.candidates import Candidate
from gateway.comparison.seconds import Timing
from gateway.warmth.arrivals import Measured, Traffic, rank
from gateway.warmth.replay import Spent


@dataclass(slots=True)
class Waits:
    """How long requests waited before their work began, in seconds; None: not known."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    mean: float | None = None
    cold_rate: float | None = None
    boots: int | None = None
    basis: str = "unknown"


def waits_of(
    candidate: Candidate,
    traffic: Traffic,
    timing: Timing | None,
    spent: Spent,
    waits: array[int],
    seen: Measured | None,
) -> Waits:
    """Waits in seconds; all None where nothing is known of how long work or a boot takes."""
    if not candidate.has_replica:
        if seen is None or not seen.wait_seconds:
            return Waits()
        ordered = sorted(seen.wait_seconds)
        judged = seen.cold + seen.warm
        return Waits(
            p50=rank(ordered, 0.5),
            p95=rank(ordered, 0.95),
            p99=rank(ordered, 0.99),
            mean=math.fsum(ordered) / len(ordered),
            cold_rate=seen.cold / judged if judged else None,
            basis=f"measured on {len(ordered):,} requests",
        )
    if timing is None or candidate.boot is None:
        return Waits()
    ordered_us = sorted(waits)
    zeros = spent.requests - len(ordered_us)

    def percentile(share: float) -> float | None:
        us = rank(ordered_us, share, zeros)
        return None if us is None else us / 1e6

    basis = "replayed, one replica"
    if candidate.shared_pool:
        basis += "; others keep it warm too, so this is an upper bound"
    return Waits(
        p50=percentile(0.5),
        p95=percentile(0.95),
        p99=percentile(0.99),
        mean=sum(ordered_us) / 1e6 / spent.requests if spent.requests else None,
        cold_rate=spent.cold / spent.requests if spent.requests else None,
        boots=round(spent.boots * traffic.stretches_in_range / max(1, len(traffic.stretches))),
        basis=basis,
    )
