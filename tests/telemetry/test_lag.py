from __future__ import annotations

from pathlib import Path

import pytest

from gateway.ledger.layout import journal_dir
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.lag import Lag, LagMeter
from gateway.ledger.writing.journal import Journal
from tests.ledger.samples import begun, finished


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(journal_dir(tmp_path))


def write(journal: Journal, row: AttemptRow) -> int:
    """The offset behind one attempt's two lines."""
    journal.begin(row)
    journal.end(finished(row))
    return journal.position()[1]


def test_the_lag_grows_with_the_journal_and_shrinks_with_the_shipper(journal: Journal) -> None:
    meter = LagMeter(journal.directory)
    name = journal.name
    assert meter.measure({}) == Lag(0, 0)
    first = write(journal, begun(1))
    assert meter.measure({}) == Lag(first, 2)
    second = write(journal, begun(2))
    assert meter.measure({}) == Lag(second, 4)
    assert meter.measure({name: first}) == Lag(second - first, 2)
    third = write(journal, begun(3))
    assert meter.measure({name: second}) == Lag(third - second, 2)
    assert meter.measure({name: third}) == Lag(0, 0)
    fourth = write(journal, begun(4))
    assert meter.measure({name: third}) == Lag(fourth - third, 2)
    journal.close()


def test_what_came_and_went_between_two_looks(journal: Journal) -> None:
    meter = LagMeter(journal.directory)
    write(journal, begun(1))
    meter.measure({})
    second = write(journal, begun(2))
    third = write(journal, begun(3))
    assert meter.measure({journal.name: second}) == Lag(third - second, 2)
    journal.close()


def test_files_that_are_gone_or_not_known_yet(tmp_path: Path, journal: Journal) -> None:
    meter = LagMeter(journal.directory)
    size = write(journal, begun(1))
    meter.measure({})
    other = Journal.open(journal_dir(tmp_path))
    more = write(other, begun(2))
    assert meter.measure({journal.name: size}) == Lag(more, 2)
    (journal.directory / journal.name).unlink()
    assert meter.measure({}) == Lag(more, 2)
    journal.close()
    other.close()
