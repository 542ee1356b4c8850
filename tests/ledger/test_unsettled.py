"""Which attempts a provider is asked about afterwards."""

from __future__ import annotations

from pathlib import Path

from gateway.ledger.reading.unsettled import Unsettled
from gateway.ledger.rows import AttemptStatus
from gateway.ledger.writing.journal import Journal
from tests.ledger.databases import ship
from tests.ledger.samples import begun, finished


def test_what_was_cut_off_is_asked_about_whoever_cut_it_off(
    data_dir: Path, journal: Journal
) -> None:
    ended: tuple[AttemptStatus, ...] = (
        *("succeeded", "failed", "cancelled", "interrupted", "lost_hedge"),
    )
    for number, status in enumerate(ended):
        journal.end(finished(begun(number), status=status))
    ship(data_dir)
    rows = Unsettled(data_dir).read(["local-smollm2"], 0, journal.name)
    assert rows is not None
    assert {row.status for row in rows} == {"cancelled", "interrupted", "lost_hedge"}
