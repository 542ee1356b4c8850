"""``gateway reprice``: today's prices on past attempts, with and without a running gateway."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import journal_dir, journal_names, take
from gateway.ledger.schema import corrections
from gateway.ledger.writing.correcting import catch_up
from gateway.ledger.writing.journal import Journal
from providers.contract import Delta, Finished, Output, RateLimited, Started, Usage
from tests.gateway_app.gateways import Gateway, running_gateway
from tests.ledger.databases import attempt_rows, table
from tests.ledger.samples import begun, finished, unpriced
from tests.pricebook.conftest import Here

OLD = {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "2"}
NEW = {"usd_per_million_input_tokens": "3", "usd_per_million_output_tokens": "2"}
SINCE = ("--since", "2020-01-01T00:00:00Z")


def tree(**prices: Any) -> dict[str, Any]:
    return {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price}
            for name, price in prices.items()
        },
        "models": {name: {"deployments": [name]} for name in prices},
    }


BEFORE = tree(tokens=OLD, same=OLD, late=None, images=None, reported=OLD, gone=OLD, seconds=None)
AFTER = tree(
    tokens=NEW,
    same=OLD,
    late=OLD,
    images={"usd_per_image": "0.5"},
    reported=NEW,
    seconds={"usd_per_second": "0.001", "bills": ["execute"], "shared": True},
)


@pytest.fixture
def ran(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that runs under yesterday's prices, with an operation of each kind."""
    with running_gateway(BEFORE, tmp_path / "data") as gateway:
        for name in BEFORE["models"]:
            gateway.scripts.only(name, (Delta("x"), Finished(("stop",), Usage(100, 10))))
        gateway.scripts.only("images", (Output("image", data=b"x"), Finished()))
        gateway.scripts.only("seconds", (Started("i"), Finished(("stop",), Usage(1, 1))))
        usage = Usage(1, 1, cost_usd=Decimal("0.5"))
        gateway.scripts.only("reported", (Delta("x"), Finished(("stop",), usage)))
        for name in BEFORE["models"]:
            gateway.operation(gateway.answer(name)["id"])
        yield gateway


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "today.yml"
    path.write_text(yaml.safe_dump({"server": {"data_dir": str(tmp_path / "data")}, **AFTER}))
    return path


def repriced(here: Here, config: Path, *more: str) -> dict[str, Any]:
    said = here("reprice", *SINCE, "--json", "-c", config, *more)
    assert (said.status, said.err) == (0, "")
    found: dict[str, Any] = json.loads(said.out)
    return found


def by_deployment(found: dict[str, Any]) -> dict[str, Any]:
    return {row["deployment"]: row for row in found["data"]}


def test_looking_changes_nothing(here: Here, ran: Gateway, config: Path) -> None:
    before = attempt_rows(ran.data_dir)
    found = repriced(here, config)
    rows = by_deployment(found)
    assert rows.keys() == {"tokens", "late", "images", "seconds"}
    assert (rows["tokens"]["booked_usd"], rows["tokens"]["now_usd"]) == ("0.00012", "0.00032")
    assert rows["tokens"]["difference_usd"] == "0.0002"
    assert rows["late"]["booked_usd"] is None and rows["late"]["booked_unknown"] == 1
    assert (rows["late"]["now_usd"], rows["late"]["now_unknown"]) == ("0.00012", 0)
    assert rows["images"]["now_usd"] == "0.5"
    reasons = {one["reason"]: one["attempts"] for one in found["left"]}
    assert reasons == {"same_terms": 1, "priced_by_provider": 1, "not_configured": 1}
    assert (found["applied"], found["corrected"]) == (False, 0)
    assert attempt_rows(ran.data_dir) == before
    assert table(ran.data_dir, corrections) == []


def test_applying_beside_a_running_gateway(here: Here, ran: Gateway, config: Path) -> None:
    found = repriced(here, config, "--apply")
    assert (found["applied"], found["corrected"]) == (True, 4)
    rows = {row["deployment"]: row for row in attempt_rows(ran.data_dir).values()}
    assert rows["tokens"]["cost_pico_usd"] == 320_000_000
    assert rows["late"]["cost_pico_usd"] == rows["same"]["cost_pico_usd"] == 120_000_000
    assert rows["late"]["cost_status"] == "measured"
    assert rows["late"]["price"]["usd_per_million_input_tokens"] == "1"
    assert rows["seconds"]["cost_status"] == "estimated"  # whose seconds it shared is not kept
    operation = ran.operation(rows["late"]["operation_id"])  # the gateway tells it at once
    assert operation["cost"]["total_usd"] == "0.00012"
    kept = {
        change["attempt_id"]: change["old"]["cost_pico_usd"]
        for change in table(ran.data_dir, corrections)
    }
    assert kept[rows["late"]["attempt_id"]] is None
    assert kept[rows["tokens"]["attempt_id"]] == 120_000_000
    sound = here("ledger", "verify", "--data-dir", ran.data_dir)
    assert (sound.status, sound.out) == (0, "The ledger is sound.\n")
    explained = here("prices", "explain", rows["late"]["attempt_id"], "-c", config)
    assert explained.status == 0
    assert "agrees with the booked 0.00012 USD" in explained.out
    assert "(repriced); before: unpriced unknown" in explained.out


def test_applying_twice_changes_nothing(here: Here, ran: Gateway, config: Path) -> None:
    assert repriced(here, config, "--apply")["corrected"] == 4
    once = attempt_rows(ran.data_dir), table(ran.data_dir, corrections)
    again = repriced(here, config, "--apply")
    assert (again["corrected"], again["data"]) == (0, [])
    assert (attempt_rows(ran.data_dir), table(ran.data_dir, corrections)) == once
    said = here("reprice", *SINCE, "-c", config)
    assert said.out.splitlines()[-1] == "Nothing differs."


def test_filters_and_times(here: Here, ran: Gateway, config: Path) -> None:
    only = repriced(here, config, "--deployment", "late")
    assert by_deployment(only).keys() == {"late"} and only["left"] == []
    assert repriced(here, config, "--provider", "nobody")["data"] == []
    assert repriced(here, config, "--until", "2020-01-02")["data"] == []
    wrong = here("reprice", "--since", "yesterday", "-c", config)
    assert (wrong.status, wrong.out) == (2, "") and "--since is an RFC 3339 time" in wrong.err


def test_as_a_table(here: Here, ran: Gateway, config: Path) -> None:
    said = here("reprice", *SINCE, "-c", config, "--deployment", "late")
    head, row, last = said.out.splitlines()
    assert head.startswith("deployment  price today")
    assert row.split()[0] == "late" and row.split()[4] == "unknown"
    assert last == "1 attempts differ; --apply corrects them."
    applied = here("reprice", *SINCE, "-c", config, "--deployment", "late", "--apply")
    assert applied.out.splitlines()[-1] == "1 attempts were corrected; their old figures are kept."


def written(data_dir: Path, *rows: Any) -> None:
    journal = Journal.open(journal_dir(data_dir))
    for row in rows:
        journal.end(row)
    journal.close()


def test_without_a_gateway_and_before_anything_was_shipped(here: Here, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    written(
        data_dir,
        unpriced(begun(1, deployment="images", price=None), images=2),
        finished(
            begun(2, deployment="images"),
            status="failed",
            cost_pico_usd=0,
            known_pico_usd=0,
            cost_lines=[],
        ),
    )
    (name,) = journal_names(journal_dir(data_dir))
    os.utime(journal_dir(data_dir) / name, (1_000_000, 1_000_000))
    config = tmp_path / "today.yml"
    config.write_text(
        yaml.safe_dump(
            {"server": {"data_dir": str(data_dir)}, **tree(images={"usd_per_image": "0.02"})}
        )
    )
    found = repriced(here, config, "--apply")
    assert found["corrected"] == 1
    assert [one["reason"] for one in found["left"]] == ["refused_before_work"]
    rows = attempt_rows(data_dir)
    assert rows["att_000001"]["cost_pico_usd"] == 40_000_000_000
    # A gateway that starts now judges a dead one by its last sign of life, which this is not.
    stamps = {
        (journal_dir(data_dir) / each).stat().st_mtime
        for each in os.listdir(journal_dir(data_dir))
        if each.endswith(".ndjson")
    }
    assert stamps == {1_000_000}
    assert repriced(here, config, "--apply")["corrected"] == 0


def test_a_row_that_takes_effect_later_is_not_used(here: Here, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    noon_us = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
    midnight_us = noon_us + 12 * 3_600_000_000
    for number, at_us in ((1, noon_us), (2, midnight_us - 1), (3, midnight_us)):
        written(
            data_dir,
            unpriced(begun(number, at_us=at_us, deployment="d", price=None), images=1),
        )
    price = {
        "name": "p",
        "effective_from": "2026-11-23",
        "usd_per_image": "1",
        "source": "s",
        "checked_on": "2026-11-23",
    }
    config = tmp_path / "today.yml"
    config.write_text(
        yaml.safe_dump({"server": {"data_dir": str(data_dir)}, **tree(d="p"), "prices": [price]})
    )
    found = repriced(here, config, "--apply")
    assert found["corrected"] == 1
    (left,) = found["left"]
    assert (left["reason"], left["attempts"]) == ("no_row_in_force", 2)
    assert [row["cost_pico_usd"] for row in attempt_rows(data_dir).values()] == [
        None,
        None,
        10**12,
    ]


def test_it_waits_for_the_shipper_and_gives_up(tmp_path: Path) -> None:
    """A correction that is under way would be made twice: without the database, none is made."""
    data_dir = tmp_path / "data"
    written(data_dir, unpriced(begun(1, deployment="d", price=None), images=1))
    held = take(data_dir / "shipper.lock", create=True)
    assert held is not None
    try:
        with pytest.raises(LedgerUnavailable, match="behind the journal"):
            catch_up(data_dir, patience_seconds=0.05)
    finally:
        os.close(held)
    catch_up(data_dir, patience_seconds=0.05)
    assert attempt_rows(data_dir).keys() == {"att_000001"}


def test_refusals_are_not_priced(here: Here, tmp_path: Path) -> None:
    with running_gateway(tree(d=None), tmp_path / "data") as gateway:
        gateway.scripts.only("d", (RateLimited(),))
        gateway.generate("d")
        (row,) = gateway.last_rows("d")
        gateway.operation(row["operation_id"])
    config = tmp_path / "today.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "server": {"data_dir": str(tmp_path / "data")},
                **tree(d={"usd_per_request": "1", "usd_per_second": "1"}),
            }
        )
    )
    found = repriced(here, config, "--apply")
    assert (found["data"], found["corrected"]) == ([], 0)
    assert [one["reason"] for one in found["left"]] == ["refused_before_work"]
