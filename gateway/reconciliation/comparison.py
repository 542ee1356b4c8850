"""A bill and the ledger of one data folder: read, compared, kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from gateway.clock import rfc3339
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.reading.booked import booked
from gateway.ledger.rows import ChargeRow
from gateway.ledger.writing.imports import ImportJournal, bring_in
from gateway.reconciliation.bill import BillLine, read_bill
from gateway.reconciliation.by_jobs import ZONES_US, compare_jobs
from gateway.reconciliation.by_sums import compare_sums
from gateway.reconciliation.names import names_in
from gateway.reconciliation.periods import Window, intervals_of, micros, window_of
from gateway.reconciliation.statement import Statement
from gateway.reconciliation.statements import Statements, adjustments
from gateway.settings import ConfigError, Settings


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare. ``by``: jobs or sums; ``mapped``: COLUMN=ours, ``named``: the bill's name
    of a model=deployment. ``apply``: book the differences as adjustments.
    """

    provider: str
    bill: Path
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    mapped: Sequence[str] = ()
    named: Sequence[str] = ()
    apply: bool = False


def compare(settings: Settings, question: Question) -> Statement:
    """The statement, which is kept as well. Raises ConfigError, StoreUnavailable."""
    data_dir, provider = settings.server.data_dir, question.provider
    whole = read_bill(question.bill, provider, question.mapped)
    if not whole:
        raise ConfigError(f"{question.bill}: the bill has no lines")
    since_us, until_us = _period(whole, question.since, question.until)
    by = question.by or ("jobs" if any(line.job_id for line in whole) else "sums")
    if question.apply and by == "jobs":
        raise ConfigError("--apply books a period's differences: compare --by sums for that")
    # Of the whole bill: how long its lines last shows only there.
    every = intervals_of(whole, since_us, until_us) if by == "sums" else [(since_us, until_us)]
    window = window_of(every, since_us, until_us)
    bill = _held(window, whole)
    if not bill:
        raise ConfigError(f"{question.bill}: {_nothing_held(window)}")
    if not bring_in(data_dir):
        raise ConfigError("the database is behind the journal; try again")
    since_us, until_us = window.intervals[0][0], window.intervals[-1][1]
    statement = Statement(provider, by, rfc3339(since_us), rfc3339(until_us))
    statement.left_out.lines = len(whole) - len(bill)
    statement.left_out.bill_usd = sum((x.usd for x in whole), Decimal(0)) - sum(
        (x.usd for x in bill), Decimal(0)
    )
    rows = booked(data_dir, provider, window.since_us - ZONES_US, window.until_us + ZONES_US)
    if by == "jobs":
        compare_jobs(statement, bill, rows, since_us, until_us)
    else:
        compare_sums(statement, bill, rows, window, names_in(settings, question.named))
    statement.groups.sort(key=lambda g: (g.verdict == "matched", -abs(g.difference_usd)))
    digest = hashlib.sha256(question.bill.read_bytes()).hexdigest()
    if question.apply:
        _apply(data_dir, adjustments(statement, digest, since_us, until_us))
    Statements(data_dir).add(statement, rfc3339(micros(datetime.now(UTC))), digest)
    return statement


def _held(window: Window, bill: Sequence[BillLine]) -> list[BillLine]:
    """What is compared. A line without a time is, unless something of the bill is left out: it may
    be of that.
    """
    dated = [line for line in bill if line.start is not None]
    held = [line for line in dated if window.holds(line)]
    return held if len(held) < len(dated) else list(bill)


def _nothing_held(window: Window) -> str:
    if not window.torn:
        return "no line begins within --since and --until"
    begin, end = map(rfc3339, window.torn[0])
    return (
        "no sum of it lies within --since and --until whole, and a sum cannot be cut: "
        f"one is of {begin} to {end}"
    )


def _period(
    bill: Sequence[BillLine], since: datetime | None, until: datetime | None
) -> tuple[int, int]:
    dated = [(line, line.start) for line in bill if line.start is not None]
    starts = [start for _, start in dated]
    # One that says when it begins alone is in, and so is the end of the others.
    ends = [micros(line.end) if line.end else micros(start) + 1 for line, start in dated]
    if since is None:
        if not starts:
            raise ConfigError("the bill names no times: give --since and --until")
        since = min(starts)
    since_us = micros(since)
    if until is not None:
        return since_us, micros(until)
    if not starts:
        raise ConfigError("the bill names no times: give --until")
    whole = intervals_of(bill, since_us, since_us)
    last = max(ends)
    if len({*starts}) == 1 and last == micros(starts[0]) + 1 and not any(x.job_id for x in bill):
        raise ConfigError("the bill does not say when its period ends: give --until")
    return since_us, max(last, *(end for _, end in whole))


def _apply(data_dir: Path, charges: Sequence[ChargeRow]) -> None:
    try:
        with ImportJournal(data_dir) as journal:
            journal.write((), charges)
    except LedgerUnavailable as error:
        raise ConfigError(error.detail) from error
    bring_in(data_dir)
