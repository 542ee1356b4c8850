from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.ledger.layout import database_path, journal_dir, metrics_path
from gateway.ledger.shipping.child import ShipperProcess
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import attempt_rows
from tests.ledger.samples import begun, finished

ROOT = Path(__file__).parents[2]


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 (the child tells nobody)
        await asyncio.sleep(0.01)


async def test_it_follows_the_journal_survives_a_kill_and_ends_clean(
    data_dir: Path, journal: Journal
) -> None:
    shipper = ShipperProcess(data_dir, log=False)
    assert not shipper.running and shipper.shipped_at_us == 0
    await shipper.start()
    journal.begin(begun(1))
    assert await shipper.wait_for(journal.position(), timeout_seconds=20)
    assert shipper.running and shipper.shipped_at_us > 0
    assert list(attempt_rows(data_dir)) == ["att_000001"]

    assert shipper.pid is not None
    os.kill(shipper.pid, signal.SIGKILL)
    journal.end(finished(begun(1)))
    assert await shipper.wait_for(journal.position(), timeout_seconds=20)
    assert shipper.restarts == 1
    assert attempt_rows(data_dir)["att_000001"]["status"] == "succeeded"

    other = sqlite3.connect(database_path(data_dir), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.begin(begun(2))
    assert not await shipper.wait_for(journal.position(), timeout_seconds=0.05)
    other.execute("ROLLBACK")
    other.close()
    pid = shipper.pid
    await shipper.aclose()
    assert not shipper.running
    assert len(attempt_rows(data_dir)) == 2  # it shipped what was there before it ended
    assert "gateway_attempts_total{" in metrics_path(data_dir).read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_what_is_there_already_needs_no_waiting(journal: Journal, data_dir: Path) -> None:
    shipper = ShipperProcess(data_dir)
    assert await shipper.wait_for(journal.position(), timeout_seconds=0)
    journal.begin(begun(1))
    assert not await shipper.wait_for(journal.position(), timeout_seconds=0)
    await shipper.aclose()


async def test_one_that_cannot_start_is_tried_again_and_does_not_hold_up_the_end(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipper = ShipperProcess(data_dir, python="/bin/false")
    await shipper.start()
    async with asyncio.timeout(10):
        await until(lambda: shipper.restarts == 2)
        await shipper.aclose()
    assert "again in 0.1 s" in caplog.text and "again in 0.2 s" in caplog.text


async def test_one_that_does_not_end_is_killed(data_dir: Path, tmp_path: Path) -> None:
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\nexec sleep 100\n")
    stubborn.chmod(0o700)
    shipper = ShipperProcess(data_dir, python=str(stubborn))
    await shipper.start()
    async with asyncio.timeout(10):
        await until(lambda: shipper.running)
        await shipper.aclose(patience_seconds=0.05)
    assert not shipper.running


def test_the_end_of_the_lifeline_ends_it_and_a_second_one_waits_its_turn(data_dir: Path) -> None:
    journal = Journal.open(journal_dir(data_dir))
    journal.end(finished(begun(1)))
    journal.close()
    command = [sys.executable, "-m", "gateway.ledger.shipping.shipper", "--data-dir", str(data_dir)]
    first = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert first.stdout is not None
    name, offset, _ = first.stdout.readline().split()
    assert (name.decode(), int(offset)) == journal.position()
    second = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    said, log = second.communicate()  # closes its lifeline while the first still runs
    assert second.returncode == 0 and said == b"" and log == b""
    said, log = first.communicate()
    assert first.returncode == 0
    assert log.count(b"\n") == 1 and b'"request_id":"gen_000001"' in log
