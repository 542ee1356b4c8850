"""Which tags are summed up, since when, and what came before; what a report by another costs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.care.inspect import info, verify
from gateway.ledger.errors import BadQuery
from gateway.ledger.layout import database_path, journal_dir
from gateway.ledger.reports.reports import Reports
from gateway.ledger.schema import rolled_tags
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.writing.journal import Journal
from tests.ledger.asking import HOUR_US, asked, column
from tests.ledger.databases import ship, table
from tests.ledger.samples import NOON_US, begun, priced
from tests.ledger.test_rollups import answers, by_rows, fill_at_random, money_of


def test_tags_are_rolled_up_from_the_next_hour_on(data_dir: Path, journal: Journal) -> None:
    def ship_with(*tags: str) -> None:
        shipper = Shipper(data_dir, rollup_tags=tags)
        shipper.ship()
        shipper.close()

    later = 500_000 * HOUR_US  # 2027
    journal.end(priced(begun(1), "1"))
    ship_with()
    journal.end(priced(begun(2), "2"))
    ship_with("team")
    for number in range(3, 6):
        journal.end(priced(begun(number, at_us=later + number, tags={"team": f"t{number}"}), "4"))
    ship_with("team")
    ship_with()
    journal.end(priced(begun(6, at_us=later + 6, tags={"team": "t3"}), "8"))
    ship_with("team")
    assert verify(data_dir) == []
    reports = Reports(database_path(data_dir))
    found = reports.costs(asked(group_by=("tag:team",), end_at_us=later + HOUR_US))
    assert column(found, "group", "known_usd") == [
        ({"tag:team": "search"}, "3"),
        ({"tag:team": "t3"}, "12"),
        ({"tag:team": "t4"}, "4"),
        ({"tag:team": "t5"}, "4"),
    ]
    reports.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_tag_that_came_later_is_summed_up_for_what_was_there(
    data_dir: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.sums.tag_history._STEP_ROWS", 40)
    dice = random.Random(seed)
    fill_at_random(data_dir, dice, tags=("mark",) if seed else ())
    shipper = Shipper(data_dir, rollup_tags=("team", "mark"))
    journal = Journal.open(journal_dir(data_dir))
    shipper.ship()
    assert not info(data_dir)["rollups_complete"]
    while shipper.upkeep():
        old = dice.randrange(120)
        journal.correct(f"att_{old:06d}", dice.randrange(9**9), "bill", {"output_tokens": old})
        shipper.ship()
    shipper.close()
    journal.close()
    assert info(data_dir)["rollups_complete"]
    assert [p for p in verify(data_dir) if p.kind == "sums"] == []
    by_tags: list[dict[str, Any]] = [
        {"group_by": ("tag:team", "tag:mark"), "bucket_width": "1d", "time_zone": "Asia/Kolkata"},
        {"filters": {"tag:mark": ("1",)}},
    ]
    assert answers(data_dir, by_tags) == by_rows(data_dir, by_tags)
    reports = Reports(database_path(data_dir), most_rows_read=0)
    assert reports.costs(asked(group_by=("tag:team", "tag:mark")))["data"]
    reports.close()


def test_a_tag_that_was_taken_away_and_came_again_has_one_period(
    data_dir: Path, journal: Journal
) -> None:
    def ship_with(*tags: str) -> None:
        shipper = Shipper(data_dir, rollup_tags=tags)
        shipper.ship()
        while shipper.upkeep():
            pass
        shipper.close()

    journal.end(priced(begun(1), "1"))
    ship_with("team")
    ship_with()
    journal.end(priced(begun(2, at_us=500_000 * HOUR_US), "2"))
    ship_with()
    ship_with("team")
    assert table(data_dir, rolled_tags) == [{"name": "team", "from_at_us": 0, "until_at_us": None}]
    assert verify(data_dir) == []


def test_a_tag_outside_the_sums_is_refused_where_it_would_take_long(
    data_dir: Path, journal: Journal
) -> None:
    for number in range(5):
        journal.end(priced(begun(number), "1"))
    ship(data_dir)
    reports = Reports(database_path(data_dir), most_rows_read=4)
    assert column(reports.costs(asked()), "attempts") == [(5,)]
    narrow = {"start_at_us": NOON_US + HOUR_US}
    for question, param in (
        ({"group_by": ("model", "tag:team")}, "group_by"),
        ({"filters": {"tag:team": ("ads",)}}, "tag:team"),
    ):
        for read in (reports.costs, reports.cold_starts):
            with pytest.raises(BadQuery, match=r"rollup_tags.*5 attempts") as refused:
                read(asked(**question))
            assert refused.value.param == param
            assert read(asked(**question, **narrow))["data"] == []
    shipper = Shipper(data_dir, rollup_tags=("team",))
    shipper.ship()
    with pytest.raises(BadQuery, match="still being summed up"):
        reports.costs(asked(group_by=("tag:team",)))
    while shipper.upkeep():
        pass
    shipper.close()
    assert column(reports.costs(asked(group_by=("tag:team",))), "attempts") == [(5,)]
    reports.close()


def test_a_tag_with_too_many_values_is_answered_from_rows(
    data_dir: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.ledger.sums.rolled_tags.MOST_VALUES", 2)
    monkeypatch.setattr("gateway.ledger.sums.rolled.MOST_VALUES", 2)
    shipper = Shipper(data_dir, rollup_tags=("team",))
    for number in range(5):
        journal.end(priced(begun(number, tags={"team": f"t{number}"}), "1"))
    shipper.ship()
    journal.correct("att_000004", 1, "bill", money_of(priced(begun(4), "3")))
    shipper.ship()
    shipper.close()
    assert verify(data_dir) == []
    reports = Reports(database_path(data_dir))
    found = reports.costs(asked(group_by=("tag:team",)))
    assert column(found, "known_usd") == [("1",), ("1",), ("1",), ("1",), ("3",)]
    reports.close()
    bounded = Reports(database_path(data_dir), most_rows_read=4)
    with pytest.raises(BadQuery, match="too many values"):
        bounded.costs(asked(group_by=("tag:team",)))
    bounded.close()
