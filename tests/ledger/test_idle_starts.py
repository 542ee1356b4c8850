"""Idle time that a dead gateway had not booked: once, wherever the starts after it die, and however
late the database comes.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.execution.charging import Charging
from gateway.execution.resuming import resume_charges
from gateway.ledger.layout import database_path, journal_dir, journal_names
from gateway.ledger.reading import signs
from gateway.ledger.reading.opened import Opened
from gateway.ledger.reading.unshipped import Unshipped
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.ledger.writing.recovery import recover
from gateway.registry import Registry
from gateway.settings import Settings
from providers.testing import ScriptedProvider
from providers.toolkit.http import open_http
from tests.ledger.samples import NOON_US, begun, finished, read_journal

SECOND_US = 1_000_000
DIED_US = NOON_US + 150 * SECOND_US
AGAIN_US = NOON_US + 1000 * SECOND_US
PRICE = {"usd_per_second": "0.001", "bills": ["execute", "boot", "idle"]}
OWN = {"provider": "scripted", "model": "own", "price": PRICE, "idle_window_seconds": 300}
SETTINGS = Settings.model_validate(
    {"deployments": {"own": OWN}, "models": {"own": {"deployments": ["own"]}}}
)


def dead_gateway(data_dir: Path) -> None:
    """Two machines had worked; one of them worked again when it died."""
    journal = Journal.open(journal_dir(data_dir))
    first, second = (begun(number, deployment="own") for number in (1, 2))
    for row in (first, second):
        journal.begin(row)
    journal.end(finished(first, completed_at_us=NOON_US + 10 * SECOND_US))
    journal.end(finished(second, completed_at_us=NOON_US + 20 * SECOND_US))
    journal.begin(begun(3, deployment="own", at_us=NOON_US + 100 * SECOND_US))
    journal.close()
    signs.alive_path(data_dir).touch()
    for path in (signs.alive_path(data_dir), *journal_dir(data_dir).iterdir()):
        os.utime(path, ns=(DIED_US * 1000, DIED_US * 1000))


async def start(data_dir: Path, now_us: int) -> None:
    """As far as idle time goes; there is no database."""

    def interrupted(row: AttemptRow, _: int) -> AttemptRow:
        return replace(row, status="interrupted", completed_at_us=DIED_US, cost_pico_usd=1)

    async def caught_up() -> None:
        """It never does."""

    registry = Registry(SETTINGS, open_http, {"scripted": ScriptedProvider().plugin()})
    registry.build()
    last_seen_us, opened, unshipped = signs.starts(data_dir), Opened(), Unshipped()
    journal = Journal.open(journal_dir(data_dir))
    recover(journal_dir(data_dir), journal, interrupted, opened.read, unshipped.read)
    unshipped.read_from(journal_dir(data_dir), journal.name)
    clock = Clock(lambda: now_us / 1e6, lambda: now_us)
    await resume_charges(
        registry,
        Charging(journal, clock, registry.targets.values()),
        lambda: Reports(database_path(data_dir)),
        unshipped,
        opened,
        caught_up=caught_up,
        last_seen_us=last_seen_us,
    )
    journal.close()


def charges(data_dir: Path) -> list[Any]:
    found = [line["charge"] for line in read_journal(data_dir) if line["kind"] == "charge"]
    return sorted(found, key=lambda charge: str(charge["charge_id"]))


async def test_a_start_that_dies_loses_and_doubles_no_idle_time(tmp_path: Path) -> None:
    first = tmp_path / "gateway"
    dead_gateway(first)
    await start(first, AGAIN_US)
    expected = charges(first)
    assert [(one["attempt_id"], one["quantity"], one["low_pico_usd"]) for one in expected] == [
        ("att_000001", "300", 0),
        ("att_000002", "80", 0),  # until what was cut off began
        ("att_000003", "300", 0),
    ]
    newest = journal_names(journal_dir(first))[-1]
    lines = (journal_dir(first) / newest).read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    for count in range(len(lines) + 1):
        left = tmp_path / f"after {count}"
        shutil.copytree(first, left)
        (journal_dir(left) / newest).write_bytes(b"".join(lines[:count]))
        await start(left, AGAIN_US)
        assert charges(left) == expected
        signs.lives(left)
        await start(left, AGAIN_US + 60 * SECOND_US)
        assert charges(left) == expected
