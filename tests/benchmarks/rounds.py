"""Rounds of load, target after target (A B C A B C ...), and what they say together.

A shared machine is faster in one minute than in the next. Interleaving lets every target have its
share of both, and a ratio compares the two halves of one round only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import TypeAlias

from tests.benchmarks.ledger import Booked, LedgerCheck
from tests.benchmarks.load import Call, LoadResult, put_under_load, send_once
from tests.benchmarks.prerequisites import FAILURES, Broken
from tests.benchmarks.process import Footprint
from tests.benchmarks.targets import Target

# A relay may drop what costs little (a usage detail, a space) but not an event: those are 1 in 202.
_LEAST_SHARE_OF_ANSWER = 0.98

Complain: TypeAlias = Callable[[str, str], None]  # a target's name, and what is wrong with it


@dataclass(frozen=True)
class Workload:
    """Which of a target's two requests is sent, and what one answer of it must cost."""

    call_of: Callable[[Target], Call]
    usd_per_answer: Decimal


@dataclass(frozen=True)
class Pace:
    """How hard and how long."""

    wrk: str
    connections: int
    rounds: int
    round_seconds: int
    warm_up_seconds: int
    scratch: Path


@dataclass(frozen=True)
class Round:
    """One target's part of one round: the load, and the CPU seconds it took."""

    load: LoadResult
    cpu_seconds: float
    children_cpu_seconds: float


@dataclass
class Record:
    """All that was seen of one target."""

    target: Target
    before: Footprint
    answer_bytes: int
    rounds: list[Round] = field(default_factory=list)
    after: Footprint | None = None
    checks: list[LedgerCheck] = field(default_factory=list)

    def median_of(self, value: Callable[[Round], float]) -> float:
        return median(value(each) for each in self.rounds)

    def ratio_to(self, other: Record) -> float:
        """Median over the rounds of this target's rate to the other's in the same round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return median(
            mine.load.requests_per_second / theirs.load.requests_per_second
            for mine, theirs in pairs
        )

    def cpu_seconds_per_request(self, *, children: bool = False) -> float:
        requests = sum(each.load.requests for each in self.rounds)
        if children:
            return sum(each.children_cpu_seconds for each in self.rounds) / requests
        return sum(each.cpu_seconds for each in self.rounds) / requests


def run_rounds(
    targets: Sequence[Target], workload: Workload, pace: Pace, complain: Complain
) -> list[Record]:
    """Check, warm up and measure. A target that breaks is complained of and left out."""
    records: list[Record] = []
    for target in targets:
        with _naming(target, complain):
            records.append(_prepare(target, workload, pace))
    for _ in range(pace.rounds):
        for record in list(records):
            measured = len(record.rounds)
            with _naming(record.target, complain):
                _run_round(record, workload, pace)
            if len(record.rounds) == measured:
                records.remove(record)
    for record in records:
        for check in record.checks:
            for text in check.complaints():
                complain(record.target.name, f"ledger: {text}")
    return records


@contextmanager
def _naming(target: Target, complain: Complain) -> Iterator[None]:
    try:
        yield
    except FAILURES as exc:
        complain(target.name, f"{exc}{target.process.last_words()}")


def _prepare(target: Target, workload: Workload, pace: Pace) -> Record:
    before = target.footprint()
    booked_before = target.ledger.read() if target.ledger else None
    answer = send_once(workload.call_of(target))
    answered = 1
    if pace.warm_up_seconds:
        answered += _load(target, workload, pace, pace.warm_up_seconds).requests
    record = Record(target, before=before, answer_bytes=len(answer))
    _hold_against_ledger(record, booked_before, answered, workload, pace)
    return record


def _run_round(record: Record, workload: Workload, pace: Pace) -> None:
    target = record.target
    booked_before = target.ledger.read() if target.ledger else None
    begin = target.footprint()
    load = _load(target, workload, pace, pace.round_seconds)
    end = target.footprint()
    if not load.requests:
        raise Broken(f"not one answer in {pace.round_seconds} s: try longer --round-seconds")
    if load.received_bytes < _LEAST_SHARE_OF_ANSWER * record.answer_bytes * load.requests:
        raise Broken(
            f"{load.requests} answers of {record.answer_bytes} bytes, "
            f"but only {load.received_bytes} bytes came"
        )
    _hold_against_ledger(record, booked_before, load.requests, workload, pace)
    # The children of the gateway go on with the work of this round after the last answer.
    settled = record.after = target.footprint()
    record.rounds.append(
        Round(
            load=load,
            cpu_seconds=end.cpu_seconds - begin.cpu_seconds,
            children_cpu_seconds=settled.children_cpu_seconds - begin.children_cpu_seconds,
        )
    )


def _load(target: Target, workload: Workload, pace: Pace, seconds: int) -> LoadResult:
    return put_under_load(
        pace.wrk,
        workload.call_of(target),
        connections=pace.connections,
        duration_seconds=seconds,
        scratch=pace.scratch,
    )


def _hold_against_ledger(
    record: Record, before: Booked | None, answered: int, workload: Workload, pace: Pace
) -> None:
    ledger = record.target.ledger
    if ledger is None or before is None:
        return
    booked = ledger.gained_since(before, answered)
    record.checks.append(LedgerCheck(answered, pace.connections, booked, workload.usd_per_answer))
