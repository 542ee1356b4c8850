"""What is asked of the database all the time finds its rows by an index, however many there are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from gateway.ledger.layout import database_path, journal_dir, journal_names
from gateway.ledger.reports.reports import Reports
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import asked
from tests.ledger.samples import NOON_US, begun, finished, idle_charge

_PLANNED = ("SELECT", "UPDATE", "DELETE")


@contextmanager
def listening() -> Iterator[list[tuple[str, Any]]]:
    """All statements that are told to a database meanwhile, with their parameters."""
    told: list[tuple[str, Any]] = []

    def hear(_c: Any, _cursor: Any, sql: str, given: Any, _context: Any, many: bool) -> None:
        told.append((sql, given[0] if many else given))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield told
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


def scans(data_dir: Path, told: list[tuple[str, Any]]) -> list[str]:
    """Statements that read all attempts, or all charges."""
    database = sqlite3.connect(database_path(data_dir))
    found = []
    for sql, given in told:
        if sql.lstrip().startswith(_PLANNED):
            plan = database.execute(f"EXPLAIN QUERY PLAN {sql}", given).fetchall()
            if any(step[3] in ("SCAN attempts", "SCAN charges") for step in plan):
                found.append(sql)
    database.close()
    return found


def test_shipping_and_deleting_files(data_dir: Path) -> None:
    journal = Journal.open(journal_dir(data_dir), rotate_bytes=6_000)
    for number in range(12):
        journal.begin(begun(number))
        if number % 4:
            journal.end(finished(begun(number)))
        journal.charge(idle_charge(number, attempt_id=f"att_{number:06d}"))
    journal.correct("att_000001", 1, "bill", {"output_tokens": 1})
    written = len(journal_names(journal_dir(data_dir)))
    shipper = Shipper(data_dir, rollup_tags=("team",))
    with listening() as told:
        shipper.ship()
        for number in range(0, 12, 4):
            journal.end(finished(begun(number)))
        shipper.ship()
        shipper.tidy(now=True)
        shipper.upkeep()
    shipper.close()
    journal.close()
    assert len(journal_names(journal_dir(data_dir))) < written
    assert len(told) > 50 and scans(data_dir, told) == []


def test_a_start_and_a_page(data_dir: Path, journal: Journal) -> None:
    for number in range(3):
        journal.end(finished(begun(number, key_id="k1")))
    shipper = Shipper(data_dir)
    shipper.ship()
    shipper.close()
    reports = Reports(database_path(data_dir))
    with listening() as told:
        reports.warm_history(NOON_US * 2)
        reports.uses("local-smollm2", NOON_US)
        reports.stays("local-smollm2", NOON_US)
        reports.standing_until(["local-smollm2"])
        reports.as_of()
        for narrowed in ({}, {"key_id": "k1"}, {"filters": {"provider": ("local",)}}):
            reports.operations(asked(**narrowed))
        reports.operation("gen_000001")
        reports.costs(asked(bucket_width="1d", time_zone="Asia/Kolkata"))
    reports.close()
    assert len(told) > 10 and scans(data_dir, told) == []
