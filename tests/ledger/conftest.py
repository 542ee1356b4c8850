from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.reports.reports import Reports
from gateway.ledger.rows import AttemptRow, ChargeRow
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import Fill
from tests.ledger.databases import ship


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def journal(data_dir: Path) -> Iterator[Journal]:
    opened = Journal.open(journal_dir(data_dir))
    yield opened
    opened.close()


@pytest.fixture
def fill(data_dir: Path) -> Iterator[Fill]:
    opened: list[Reports] = []

    def filled(*rows: AttemptRow | ChargeRow) -> Reports:
        journal = Journal.open(journal_dir(data_dir))
        for row in rows:
            if isinstance(row, ChargeRow):
                journal.charge(row)
            elif row.status == "running":
                journal.begin(row)
            else:
                journal.end(row)
        journal.close()
        ship(data_dir)
        opened.append(Reports(database_path(data_dir)))
        return opened[-1]

    yield filled
    for reports in opened:
        reports.close()
