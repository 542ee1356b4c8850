from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ledger.journal import Journal
from gateway.ledger.layout import journal_dir


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def journal(data_dir: Path) -> Iterator[Journal]:
    opened = Journal.open(journal_dir(data_dir))
    yield opened
    opened.close()
