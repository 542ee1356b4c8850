"""What budgets have counted outlives the attempts that it was counted of."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.layout import archive_dir, database_path
from gateway.ledger.months.sealing import Sealer
from gateway.ledger.reading.counting import counted_pico_usd
from gateway.ledger.reading.spend import SpendQuery, spent
from gateway.ledger.rows import AttemptRow
from gateway.ledger.schema import spend_carried
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import at
from tests.ledger.databases import ship, table
from tests.ledger.samples import estimated, priced, unpriced
from tests.ledger.test_months import APRIL, FEBRUARY, JANUARY, MARCH, row, seal
from tests.ledger.test_spend import ESTIMATE, EVER

QUERIES = [
    EVER,
    SpendQuery(0, None, "a"),
    SpendQuery(0, None, None, {"team": "search"}),
    SpendQuery(0, None, "a", {"team": "search", "x": "1"}),
    SpendQuery(0, None, None, {"team": "nobody"}),
    SpendQuery(JANUARY, None),  # from the tenth on: what lies in half a month is not known
]


def some() -> list[AttemptRow]:
    """Of three months, by two keys and some tags; costs of all kinds."""
    rows = []
    for number in range(60):
        at_us = (JANUARY, FEBRUARY, MARCH)[number % 3]
        tags = {"team": "search", "x": str(number % 4)} if number % 5 > 1 else {}
        key_id = (None, "a")[number % 2]
        given = row(number, at_us, key_id=key_id, tags=tags, reserved_pico_usd=10**13)
        if number % 4 == 1:
            given = estimated(given, "0.1", "0.2", "0.5", status="failed")
        elif number % 4 == 2:
            given = unpriced(given, "0.25", status="interrupted")
        rows.append(given if number % 7 else priced(given, "3", origin="imported"))
    return rows


def prune(data_dir: Path, before: str) -> None:
    sealer = Sealer(database_path(data_dir), archive_dir(data_dir))
    sealer.prune(before)
    while sealer.prune_step(before):
        pass


@pytest.mark.parametrize("moved", ["moved", "in place", "half moved"])
def test_a_total_does_not_shrink(data_dir: Path, journal: Journal, moved: str) -> None:
    for number, ended in enumerate(some()):
        journal.end(ended)
        if moved == "half moved" and number == 30:
            ship(data_dir)
            seal(data_dir)
    ship(data_dir)
    if moved == "moved":
        seal(data_dir)
    # One that was moved, and is changed: its row in the month's file does not count.
    journal.correct("att_000001", 1, "bill", {**ESTIMATE, "high_pico_usd": 9})
    ship(data_dir)
    before = spent(data_dir, QUERIES, {})
    assert before is not None and before[0].pico_usd > 10**12 and before[3].pico_usd > 0
    prune(data_dir, "2026-02")
    assert [one["month"] for one in table(data_dir, spend_carried)][:1] == ["2026-01"]
    prune(data_dir, "2026-03")
    assert len(list(archive_dir(data_dir).glob("*.sqlite3"))) <= 1
    after = spent(data_dir, QUERIES, {})
    assert after is not None and after[:5] == before[:5]
    # What comes for a deleted month later counts as well, and again once it is deleted too.
    journal.end(row(70, JANUARY, "4", tags={}, key_id=None))
    journal.correct("att_000004", 1, "bill", {"high_pico_usd": 10**15})  # is not there any more
    ship(data_dir)
    for _ in range(2):
        (late,) = spent(data_dir, [EVER], {}) or []
        assert late.pico_usd == before[0].pico_usd + 4 * 10**12
        prune(data_dir, "2026-03")
    assert seal(data_dir, APRIL) >= 0


def test_a_month_that_changes_while_it_is_summed_up(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correction comes after the sums were made, and before the month is deleted."""
    for ended in some():
        journal.end(ended)
    ship(data_dir)
    seal(data_dir)
    sealer = Sealer(database_path(data_dir), archive_dir(data_dir))
    summed = sealer._carried

    def carried(*counting: object) -> object:
        found = summed(*counting)  # type: ignore[arg-type]
        if journal.position()[1] == position[1]:
            journal.correct("att_000001", 1, "bill", {**ESTIMATE, "high_pico_usd": 9})
            ship(data_dir)
        return found

    position = journal.position()
    monkeypatch.setattr(sealer, "_carried", carried)
    sealer.prune("2026-02")
    monkeypatch.undo()
    sealer.prune("2026-03")
    now = spent(data_dir, QUERIES, {})
    while sealer.prune_step("2026-03"):
        pass
    assert (spent(data_dir, QUERIES, {}) or [])[:5] == (now or [])[:5]
    whole = sum(
        9 if ended.attempt_id == "att_000001" else counted_pico_usd(ended)
        for ended in some()
        if ended.origin == "live"
    )
    assert now is not None and now[0].pico_usd == whole


def test_very_many_tags_are_put_together_and_count_for_all(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.sums.carried.MOST_GROUPS", 4)
    monkeypatch.setattr("gateway.ledger.sums.carried._HELD_GROUPS", 8)
    for number in range(40):
        tags = {"user": f"u{number}", "team": ("search", "ads")[number % 2]}
        journal.end(row(number, JANUARY, "1", key_id="a", tags=tags))
    journal.end(row(40, JANUARY, "1", key_id="b", tags={}))
    ship(data_dir)
    asked = [
        EVER,
        SpendQuery(0, None, "a", {"team": "search"}),
        SpendQuery(0, None, "b"),
        SpendQuery(0, None, None, {"user": "u1"}),
        SpendQuery(0, None, None, {"team": "search", "user": "u1"}),
    ]
    exact = [one.pico_usd // 10**12 for one in spent(data_dir, asked, {}) or []]
    assert exact == [41, 20, 1, 1, 0]
    prune(data_dir, "2026-02")
    kept = [one.pico_usd // 10**12 for one in spent(data_dir, asked, {}) or []]
    assert kept == [41, 20, 1, 41, 20]  # which user it was is not known any more
    assert len(table(data_dir, spend_carried)) == 3


def test_a_month_that_cannot_be_read_is_not_deleted_and_one_that_is_gone_is(
    data_dir: Path, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    for ended in some():
        journal.end(ended)
    ship(data_dir)
    seal(data_dir)
    spoilt = archive_dir(data_dir) / "2026-01.sqlite3"
    spoilt.write_bytes(b"no database" * 100)
    (archive_dir(data_dir) / "2026-02.sqlite3").unlink()
    with pytest.raises(StoreUnavailable):
        prune(data_dir, "2026-03")
    assert spoilt.exists()
    spoilt.unlink()
    prune(data_dir, "2026-03")
    assert "2026-02.sqlite3 is gone" in caplog.text
    main = sqlite3.connect(database_path(data_dir))
    pruned = main.execute("SELECT month FROM months WHERE pruned_at_us IS NOT NULL").fetchall()
    main.close()
    assert pruned == [("2026-01",), ("2026-02",)]
    assert at("2026-03-01T00:00Z") < MARCH
