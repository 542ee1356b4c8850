"""What an earlier gateway saw, told to a ``Warmth`` as if it came now. Pure.

After a restart the state of each deployment is rebuilt from rows of the ledger, by the same facts
in the same order, so that predictions made on the way are held against their outcomes too. Wall
time stands for the clock; an idle gap is never below 0, however the clocks were set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.warmth.warmth import Verdict, Warmth

_BEGAN, _BOOTING, _READY, _ENDED = 2, 3, 0, 1  # at one instant: ends come before begins


@dataclass(frozen=True, slots=True)
class Past:
    """An attempt that has ended. Instants are microseconds since the epoch."""

    attempt_id: str
    begun_at_us: int
    completed_at_us: int
    verdict: Verdict
    caused_boot: bool | None = None
    queue_seconds: float | None = None
    boot_seconds: float | None = None
    work_after_seconds: float | None = None
    """From its begin until work began; None: it never did, or nobody knows."""
    instance_id: str | None = None
    revision: str | None = None
    worked: bool = True
    held: bool = False
    """Whether it waited for another's boot before it began."""
    kept: bool = False
    """Whether a keep-warm policy held the machine when it came, and paid for that."""


def replay(warmth: Warmth, past: Iterable[Past], epoch_us: int) -> None:
    """Tell all of it. ``epoch_us`` is the instant that ``at`` 0 stands for."""
    facts: list[tuple[float, int, int, Past]] = []
    for number, row in enumerate(past):
        begun_at = (row.begun_at_us - epoch_us) / 1e6
        ended_at = max(begun_at, (row.completed_at_us - epoch_us) / 1e6)
        facts.append((begun_at, _BEGAN, number, row))
        if row.verdict == "cold" and row.caused_boot is not False:
            booting_at = min(ended_at, begun_at + (row.queue_seconds or 0.0))
            facts.append((booting_at, _BOOTING, number, row))
        if row.work_after_seconds is not None and row.work_after_seconds > 0:
            ready_at = min(ended_at, begun_at + row.work_after_seconds)
            if begun_at < ready_at:
                facts.append((ready_at, _READY, number, row))
        facts.append((ended_at, _ENDED if ended_at > begun_at else 4, number, row))
    facts.sort(key=lambda fact: fact[:3])
    for at, kind, _, row in facts:
        if kind == _BEGAN:
            if row.kept:
                warmth.keeps(at, boots=False)
            warmth.began(row.attempt_id, at)
            warmth.lets_go()
        elif kind == _BOOTING:
            warmth.booting(at)
        elif kind == _READY:
            warmth.ready(at)
        else:
            warmth.ended(
                row.attempt_id,
                at,
                verdict=row.verdict,
                caused_boot=row.caused_boot,
                boot_seconds=row.boot_seconds if row.work_after_seconds is not None else None,
                instance_id=row.instance_id,
                revision=row.revision,
                worked=row.worked,
                held=row.held,
            )
