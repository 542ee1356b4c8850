"""``gateway prices``: the book as people and programs read it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.accounting.prices import PriceBook, PriceRow, built_in_rows
from tests.acceptance.gateways import Ran
from tests.pricebook.conftest import Here

TODAY = datetime.now(UTC).date()
OLD, RECENT = TODAY - timedelta(days=91), TODAY - timedelta(days=90)
CONFIG = f"""
providers: {{acme: {{kind: openai_chat, base_url: "http://127.0.0.1:1/v1", api_key: k}}}}
deployments:
  old: {{provider: acme, model: m, price: old-one}}
  recent: {{provider: acme, model: m, price: recent-one}}
  own: {{provider: acme, model: m, price: {{usd_per_million_input_tokens: "0.05"}}}}
  free: {{provider: acme, model: m}}
models: {{m: {{deployments: [old, recent, own, free]}}}}
prices:
  - {{name: old-one, effective_from: 2026-01-01, usd_per_second: "0.0004", bills: [execute, boot],
      round_up_seconds: "1", source: our invoice, checked_on: {OLD}}}
  - {{name: recent-one, effective_from: 2026-01-01, usd_per_image: "0.02",
      source: a page, checked_on: {OLD}}}
  - {{name: recent-one, effective_from: 2026-02-01, usd_per_image: "0.01",
      source: a page, checked_on: {RECENT}}}
"""


def good(ran: Ran) -> str:
    assert (ran.status, ran.err) == (0, "")
    return ran.out


def rows(here: Here, config: Path, *asked: str) -> dict[str, dict[str, Any]]:
    found = json.loads(good(here("prices", "--json", "-c", config, *asked)))
    return {row["id"]: row for row in found}


def test_every_row_is_listed_with_its_source_and_users(
    here: Here, written: Callable[[str], Path]
) -> None:
    found = rows(here, written(CONFIG))
    for row in built_in_rows():
        assert found[row.id]["source"] == row.source
        assert found[row.id]["origin"] == "built-in"
    old = found["old-one@2026-01-01"]
    assert old["usd_per_second"] == "0.0004" and old["bills"] == ["boot", "execute"]
    assert (old["round_up_seconds"], old["usd_per_image"]) == ("1", None)
    assert old["deployments"] == ["old"] and old["origin"] == "configured"
    assert found["recent-one@2026-01-01"]["in_force"] is False
    assert found["recent-one@2026-01-01"]["deployments"] == []
    assert found["recent-one@2026-02-01"]["deployments"] == ["recent"]
    (own,) = [row for row in found.values() if row["name"] == "config:own"]
    assert own["deployments"] == ["own"] and own["usd_per_million_input_tokens"] == "0.05"


def test_the_name_narrows(here: Here, written: Callable[[str], Path]) -> None:
    found = rows(here, written(CONFIG), "--name", "OLD-one")
    assert [row["name"] for row in found.values()] == ["old-one"]


def test_one_day_makes_a_price_stale(here: Here, written: Callable[[str], Path]) -> None:
    config = written(CONFIG)
    found = rows(here, config, "--name", "one")
    assert {row["name"]: row["stale"] for row in found.values() if row["in_force"]} == {
        "old-one": True,
        "recent-one": False,
    }
    for command in ("prices", "check"):
        out = good(here(command, "-c", config))
        (warning,) = [line for line in out.splitlines() if line.startswith("warning: ")]
        assert "old-one@2026-01-01 was checked 91 days ago" in warning
        assert "used by old: see our invoice" in warning
    patient = written(CONFIG + "price_book: {stale_after_days: 91}\n")
    for command in ("prices", "check"):
        assert "warning: " not in good(here(command, "-c", patient))


def test_the_table_says_who_has_no_price(here: Here, written: Callable[[str], Path]) -> None:
    out = good(here("prices", "-c", written(CONFIG)))
    assert out.splitlines()[-1] == "Without a price, so of unknown cost: free"
    (line,) = [line for line in out.splitlines() if line.startswith("old-one")]
    assert "$0.0004/s; rounded up to 1 s" in line and "boot, execute seconds" in line
    assert f"{OLD} STALE" in line


def test_csv_has_a_cell_for_everything_and_unknown_is_empty(
    here: Here, written: Callable[[str], Path]
) -> None:
    out = good(here("prices", "--csv", "-c", written(CONFIG)))
    found = {row["id"]: row for row in csv.DictReader(io.StringIO(out))}
    assert set(row.id for row in built_in_rows()) <= found.keys()
    assert found["old-one@2026-01-01"]["usd_per_second"] == "0.0004"
    assert found["old-one@2026-01-01"]["usd_per_image"] == ""
    assert found["old-one@2026-01-01"]["bills"] == "boot execute"


# -- whose row holds ----------------------------------------------------------------------------


def row_of(name: str, day: str, rate: str, **more: Any) -> Any:
    return {
        "name": name,
        "effective_from": day,
        "usd_per_second": rate,
        "source": "s",
        "checked_on": day,
        **more,
    }


@pytest.mark.parametrize(
    ("day", "rate"),
    [
        ("2026-04-30", None),  # before all
        ("2026-05-01", "1"),  # the built-in one
        ("2026-06-30", "1"),
        ("2026-07-01", "2"),  # the configuration's own
        ("2026-08-01", "2"),  # a later one from elsewhere does not replace it
        ("2026-09-01", "2"),
        ("2026-10-01", "4"),  # the configuration's next one does
    ],
)
def test_the_configuration_wins_from_its_first_day_on(day: str, rate: str | None) -> None:
    fetched = {"fetched_at": "2026-08-01T10:00:00Z"}
    theirs = [row_of("p", "2026-05-01", "1"), row_of("p", "2026-08-01", "3", **fetched)]
    own = [row_of("p", "2026-07-01", "2"), row_of("p", "2026-10-01", "4")]
    book = PriceBook(map(PriceRow.model_validate, theirs), own=map(PriceRow.model_validate, own))
    tariff = book.find("p")
    assert tariff is not None
    midnight_us = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * 1_000_000
    held = tariff.at(midnight_us)
    assert (None if held is None else str(held.usd_per_second)) == rate


def test_the_row_fetched_last_on_a_day_holds_and_keeps_an_id_of_its_own() -> None:
    built_in = row_of("p", "2026-08-01", "1")
    first = row_of("p", "2026-08-01", "2", fetched_at="2026-08-01T10:00:00Z")
    second = row_of("p", "2026-08-01", "3", fetched_at="2026-08-01T11:30:05Z")
    book = PriceBook(map(PriceRow.model_validate, [second, built_in, first]))
    tariff = book.find("p")
    assert tariff is not None
    assert [row.id for row in tariff.rows] == [
        "p@2026-08-01T11:30:05Z",
        "p@2026-08-01T10:00:00Z",
        "p@2026-08-01",
    ]


def test_a_row_is_given_once(here: Here, written: Callable[[str], Path]) -> None:
    twice = CONFIG + (
        "  - {name: old-one, effective_from: 2026-01-01, usd_per_second: '1',"
        " source: x, checked_on: 2026-01-01}\n"
    )
    ran = here("prices", "-c", written(twice))
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "gateway: prices: price old-one@2026-01-01 is given twice; rows are appended, not edited\n"
    )
