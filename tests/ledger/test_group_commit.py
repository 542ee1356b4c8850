from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import is_held, journal_dir, journal_names
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import begun, finished, read_journal


class Syncs:
    """Stands in for ``fdatasync``: counts, remembers how much it covered, may block or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.covered: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self.gate.wait(5)
        if self.fails:
            raise OSError(5, "Input/output error")
        self.covered.append(size)


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    return Syncs(monkeypatch)


async def test_durable_waits_for_what_was_written_before_it(data_dir: Path, syncs: Syncs) -> None:
    journal = Journal.open(journal_dir(data_dir), fsync="group")
    syncs.gate.clear()
    journal.begin(begun(1))
    waiting = asyncio.create_task(journal.durable())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    syncs.gate.set()
    await waiting
    assert syncs.covered == [journal.position()[1]]
    journal.close()


async def test_whoever_comes_meanwhile_shares_the_next_commit(data_dir: Path, syncs: Syncs) -> None:
    journal = Journal.open(journal_dir(data_dir), fsync="group")
    syncs.gate.clear()
    journal.begin(begun(0))
    tasks = [asyncio.create_task(journal.durable())]
    await asyncio.sleep(0.02)
    for number in range(1, 40):
        journal.begin(begun(number))
        tasks.append(asyncio.create_task(journal.durable()))
    await asyncio.sleep(0)
    syncs.gate.set()
    await asyncio.gather(*tasks)
    assert len(syncs.covered) == 2
    assert syncs.covered[-1] == journal.position()[1]
    journal.close()


async def test_one_that_gives_up_does_not_take_the_commit_from_the_others(
    data_dir: Path, syncs: Syncs
) -> None:
    journal = Journal.open(journal_dir(data_dir), fsync="group")
    syncs.gate.clear()
    journal.begin(begun(0))
    first = asyncio.create_task(journal.durable())
    other = asyncio.create_task(journal.durable())
    await asyncio.sleep(0.02)
    first.cancel()
    syncs.gate.set()
    await other
    assert first.cancelled()
    journal.close()


async def test_a_rotated_file_is_synced_before_its_lock_is_given_back(
    data_dir: Path, syncs: Syncs
) -> None:
    journal = Journal.open(journal_dir(data_dir), fsync="group", rotate_bytes=1)
    journal.begin(begun(0))
    journal.end(finished(begun(0)))
    names = journal_names(journal_dir(data_dir))
    assert len(names) == 2
    assert is_held(journal_dir(data_dir) / names[0])
    await journal.durable()
    sizes = [(journal_dir(data_dir) / name).stat().st_size for name in names]
    assert syncs.covered == sizes
    assert not is_held(journal_dir(data_dir) / names[0])
    journal.close()


async def test_a_failed_sync_is_told_and_the_file_is_left(data_dir: Path, syncs: Syncs) -> None:
    journal = Journal.open(journal_dir(data_dir), fsync="group")
    journal.begin(begun(0))
    syncs.fails = True
    with pytest.raises(LedgerUnavailable):
        await journal.durable()
    first, second = journal_names(journal_dir(data_dir))
    assert journal.name == second
    assert read_journal(data_dir)[-1]["attempt"]["attempt_id"] == "att_000000"  # repeated there
    syncs.fails = False
    await journal.durable()
    assert not is_held(journal_dir(data_dir) / first)
    journal.close()
