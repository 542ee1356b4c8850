"""The one task that asks: in time, a few at once, and never the caller's loss."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.layout import journal_dir
from gateway.ledger.reading.unsettled import MOST_ROWS
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.reconciliation.driver import Reconciliation
from gateway.reconciliation.options import ReconciliationSettings
from gateway.settings import Timeouts
from providers.contract import (
    CredentialsRejected,
    JobReport,
    Phases,
    UpstreamFailed,
    Usage,
)
from providers.testing.contract_suite import seen
from tests.reconciliation.rows import broken_off

DONE = JobReport("job", "succeeded", None, Phases(execute_seconds=2.0))
QUICK: dict[str, Any] = {"every_seconds": 0.01, "first_pause_seconds": 0.01}


@dataclass
class Asked:
    """A deployment that answers lookups by a script; the last answer is repeated."""

    answers: list[Any] = field(default_factory=lambda: [DONE])
    calls: int = 0
    most_at_once: int = 0
    at_once: int = 0

    async def lookup(self, job_id: str) -> JobReport | None:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await asyncio.sleep(30 if answer == "silence" else 0.001)
        finally:
            self.at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        assert answer is None or isinstance(answer, JobReport)
        return answer


@dataclass
class Books:
    """What the database would say."""

    rows: Any
    asked_since_us: list[int] = field(default_factory=list)

    def read(
        self, deployments: Sequence[str], since_us: int, own_journal: str
    ) -> list[AttemptRow] | None:
        self.asked_since_us.append(since_us)
        said = self.rows() if callable(self.rows) else self.rows
        assert said is None or isinstance(said, list)
        return said

    def known(self, upstream_ids: Sequence[str], since_us: int, until_us: int) -> set[str]:
        raise AssertionError("nothing is searched for here")


@asynccontextmanager
async def running(
    tmp_path: Path, deployment: Any, rows: Any, **settings: Any
) -> AsyncIterator[Path]:
    """The task at work; gives the folder of the journal that it writes."""
    directory = journal_dir(tmp_path)
    journal = Journal.open(directory, ballast_bytes=0)
    target: Any = SimpleNamespace(deployment=deployment, timeouts=Timeouts())
    reconciliation = Reconciliation(
        {"l40s": target},
        rows if isinstance(rows, Books) else Books(rows),
        journal,
        Clock(),
        ReconciliationSettings(**{**QUICK, **settings}),
    )
    assert reconciliation.asks
    task = asyncio.create_task(reconciliation.run())
    try:
        yield directory
    finally:
        task.cancel()
        await asyncio.wait((task,))
        journal.close()


def corrections(directory: Path) -> list[Any]:
    text = "".join(path.read_text() for path in sorted(directory.glob("*.ndjson")))
    return [line for line in map(json.loads, text.splitlines()) if line["kind"] == "correct"]


@pytest.mark.parametrize("failure", [UpstreamFailed(), "silence", RuntimeError("a fault"), None])
async def test_what_cannot_be_asked_now_is_asked_later(tmp_path: Path, failure: Any) -> None:
    running_still = JobReport("job", "running")
    deployment = Asked([failure, running_still, DONE])
    settings = {"timeout_seconds": 0.02, "longest_pause_seconds": 0.03}
    settings |= {"unknown_after_seconds": 1e9, "give_up_after_seconds": 1e9}
    async with running(tmp_path, deployment, [broken_off()], **settings) as directory:
        await seen(lambda: bool(corrections(directory)))
    (line,) = corrections(directory)
    assert (line["reason"], line["v"], deployment.calls) == ("looked_up", 1, 3)
    assert line["set"]["cost_pico_usd"] == 1_950_000_000


async def test_a_wrong_key_is_tried_once_and_not_for_each_attempt(tmp_path: Path) -> None:
    deployment = Asked([CredentialsRejected()])
    rows = [broken_off(number) for number in range(50)]
    settings = {"at_once": 1, "give_up_after_seconds": 1e9}
    async with running(tmp_path, deployment, rows, **settings) as directory:
        await seen(lambda: deployment.calls > 0)
        await asyncio.sleep(0.05)
    assert deployment.calls == 1 and corrections(directory) == []


async def test_never_more_than_so_many_at_once(tmp_path: Path) -> None:
    deployment = Asked()
    rows = [broken_off(number) for number in range(40)]
    async with running(tmp_path, deployment, rows, at_once=3) as directory:
        await seen(lambda: len(corrections(directory)) == 40)
        await asyncio.sleep(0.05)
    assert (deployment.calls, deployment.most_at_once) == (40, 3)


async def test_a_job_that_nobody_knows_is_given_up(tmp_path: Path) -> None:
    async with running(tmp_path, Asked([None]), [broken_off()]) as directory:
        await seen(lambda: bool(corrections(directory)))
    (line,) = corrections(directory)
    assert (line["reason"], line["set"]) == ("lookup_gave_up", {"lookup": "gave_up"})


async def test_figures_that_are_none_leave_the_books_alone(tmp_path: Path) -> None:
    strange = JobReport("job", "succeeded", Usage(), Phases(execute_seconds=float("nan")))
    async with running(tmp_path, Asked([strange]), [broken_off()]) as directory:
        await seen(lambda: bool(corrections(directory)))
    assert [line["reason"] for line in corrections(directory)] == ["lookup_gave_up"]


async def test_more_than_one_reading_holds_is_read_on_from_there(tmp_path: Path) -> None:
    held: list[AttemptRow] = [broken_off()] * MOST_ROWS
    readings = iter([held])
    books = Books(lambda: next(readings, []))
    async with running(tmp_path, Asked(), books):
        await seen(lambda: len(books.asked_since_us) >= 3)
    first, second, third = books.asked_since_us[:3]
    assert first < second == held[-1].operation_at_us < third


async def test_it_waits_for_a_database_that_is_behind_or_away(tmp_path: Path) -> None:
    said: list[Any] = [None, StoreUnavailable("locked"), [broken_off()]]

    def read() -> Any:
        answer = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    deployment = Asked()
    async with running(tmp_path, deployment, read) as directory:
        await seen(lambda: bool(corrections(directory)))
    assert deployment.calls == 1


def test_where_nobody_can_be_asked_nothing_runs(tmp_path: Path) -> None:
    target: Any = SimpleNamespace(deployment=object(), timeouts=Timeouts())
    journal = Journal.open(journal_dir(tmp_path), ballast_bytes=0)
    nothing = Reconciliation({"a": target}, Books([]), journal, Clock(), ReconciliationSettings())
    journal.close()
    assert not nothing.asks
