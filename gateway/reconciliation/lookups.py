"""Which attempt to ask its provider about, when, and what to make of the answer.

Sans-I/O: rows and answers go in, orders and corrections come out, time is an argument. Nothing is
kept but what the ledger says: how often to ask follows from how long ago the attempt ended, and
that it was asked stands in its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from gateway.accounting.later import settle_later
from gateway.ledger.rows import AttemptRow
from providers.contract import JobReport

Answer: TypeAlias = JobReport | Literal["unknown", "failed"]

_SECOND_US = 1_000_000
_CREATE_SECONDS = 90  # the longest that a provider is given to say a job's id, and some more
_EXPECT_SECONDS = 15.0  # from word of a job until its attempt has long been in the database
_MOST_EXPECTED = 10_000
_HOLD_SECONDS = (60.0, 300.0, 900.0)  # after refusals of one provider in a row


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. An attempt that ended ``n`` seconds ago is asked about again after ``n / 2``."""

    first_pause_seconds: float
    longest_pause_seconds: float
    unknown_after_seconds: float
    give_up_after_seconds: float


@dataclass(frozen=True, slots=True)
class Correction:
    """A journal line to write."""

    attempt_id: str
    reason: str
    set: Mapping[str, Any]


@dataclass(slots=True)
class _Case:
    row: AttemptRow
    next_at_us: int
    asking: bool = False
    told: bool = False  # its provider has said that it has ended, and was not asked since
    urgent: bool = False  # it is asked about because of that


@dataclass(slots=True)
class _Held:
    refusals: int = 0
    until_us: int = 0


@dataclass(slots=True)
class Lookups:
    """Every attempt that waits for its provider's word."""

    patience: Patience
    _cases: dict[str, _Case] = field(default_factory=dict)
    _closed: set[str] = field(default_factory=set)
    _held: dict[str, _Held] = field(default_factory=dict)
    _expected: dict[tuple[str, str], int] = field(default_factory=dict)

    def told(self, provider: str, job_id: str, now_us: int) -> None:
        """The provider has said that a job has ended: its attempt is due, now or once it is known.

        It waits for no pause, and for no refusal of other attempts either.
        """
        for case in self._cases.values():
            if (case.row.provider, case.row.upstream_id) == (provider, job_id):
                case.next_at_us, case.told = now_us, True
                return
        if len(self._expected) < _MOST_EXPECTED:
            self._expected[provider, job_id] = now_us + round(_EXPECT_SECONDS * _SECOND_US)

    def expects(self, now_us: int) -> bool:
        """Whether word of a job has come whose attempt has not been observed yet, but may be."""
        for key, until_us in list(self._expected.items()):
            if until_us <= now_us:
                del self._expected[key]
        return bool(self._expected)

    def observe(self, rows: Iterable[AttemptRow], now_us: int) -> None:
        """Take in attempts that the ledger shows as unsettled; known ones stay as they are."""
        unsettled = set()
        for row in rows:
            unsettled.add(row.attempt_id)
            if row.attempt_id not in self._cases and row.attempt_id not in self._closed:
                told = self._expected.pop((row.provider, row.upstream_id or ""), None) is not None
                next_at_us = max(now_us, _earliest_us(row))
                self._cases[row.attempt_id] = _Case(row, next_at_us, told=told)
        self._closed &= unsettled  # what the ledger shows as settled need not be remembered

    def due(self, now_us: int) -> list[AttemptRow]:
        """What is to be asked about now, oldest first; each is then owed one ``answered``."""
        rows = []
        for case in self._cases.values():
            if case.asking or case.next_at_us > now_us:
                continue
            if not case.told and self.is_held(case.row.provider, now_us):
                continue
            case.asking, case.urgent, case.told = True, case.told, False
            rows.append(case.row)
        return rows

    def is_held(self, provider: str, now_us: int) -> bool:
        """Whether this provider has just refused to be asked, whichever the attempt."""
        held = self._held.get(provider)
        return held is not None and now_us < held.until_us

    def must_wait(self, attempt_id: str, now_us: int) -> bool:
        """Whether it is not to be asked about after all."""
        case = self._cases[attempt_id]
        return not case.urgent and self.is_held(case.row.provider, now_us)

    def put_off(self, attempt_id: str) -> None:
        """It was not asked after all."""
        self._cases[attempt_id].asking = False

    def next_wakeup_us(self) -> int | None:
        """When something may be due; None: not before something is observed."""
        waiting = []
        for case in self._cases.values():
            held = None if case.told else self._held.get(case.row.provider)
            if not case.asking:
                waiting.append(max(case.next_at_us, 0 if held is None else held.until_us))
        return min(waiting, default=None)

    def answered(self, attempt_id: str, answer: Answer, now_us: int) -> Correction | None:
        """What to write down; None: nothing yet, it will be asked again.

        ``unknown``: the provider knows no such job; ``failed``: it could not be asked.
        """
        case = self._cases[attempt_id]
        case.asking = False
        row = case.row
        self._note(row.provider, refused=answer == "failed", now_us=now_us)
        age_seconds = (now_us - (row.completed_at_us or row.begun_at_us)) / _SECOND_US
        if isinstance(answer, JobReport) and answer.status not in ("running", "unknown"):
            return self._close(row, _correction(row, answer))
        patience = self.patience
        limit = patience.unknown_after_seconds
        if answer != "unknown":
            limit = max(limit, patience.give_up_after_seconds)
        if age_seconds >= limit:
            return self._close(row, _gave_up(attempt_id))
        pause = min(
            max(age_seconds / 2, patience.first_pause_seconds),
            patience.longest_pause_seconds,
            max(0.0, limit - age_seconds),
        )
        if not case.told:  # else it ended while it was asked about
            case.next_at_us = now_us + round(pause * _SECOND_US)
        return None

    def give_up(self, attempt_id: str) -> Correction:
        """What to write down where an answer cannot be computed with."""
        case = self._cases[attempt_id]
        return self._close(case.row, _gave_up(attempt_id))

    def _close(self, row: AttemptRow, correction: Correction) -> Correction:
        del self._cases[row.attempt_id]
        self._closed.add(row.attempt_id)
        return correction

    def _note(self, provider: str, *, refused: bool, now_us: int) -> None:
        if not refused:
            self._held.pop(provider, None)
            return
        held = self._held.setdefault(provider, _Held())
        if now_us < held.until_us:
            return  # one of those that were under way when it was held
        longest = min(held.refusals, len(_HOLD_SECONDS) - 1)
        pause = min(_HOLD_SECONDS[longest], self.patience.longest_pause_seconds)
        held.refusals += 1
        held.until_us = now_us + round(pause * _SECOND_US)


def _earliest_us(row: AttemptRow) -> int:
    """Of a job without an id, others must have come by theirs: it could be one of those."""
    if row.upstream_id is not None or row.status == "interrupted":
        return 0
    return (row.completed_at_us or row.begun_at_us) + _CREATE_SECONDS * _SECOND_US


def _gave_up(attempt_id: str) -> Correction:
    return Correction(attempt_id, "lookup_gave_up", {"lookup": "gave_up"})


def _correction(row: AttemptRow, report: JobReport) -> Correction:
    if row.upstream_id is None:
        changes = {"upstream_id": report.job_id, "lookup": "found"}
        return Correction(row.attempt_id, "found", {**settle_later(row, report), **changes})
    changes = {"lookup": "looked_up"}
    return Correction(row.attempt_id, "looked_up", {**settle_later(row, report), **changes})
