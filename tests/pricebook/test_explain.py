"""``gateway prices explain``: every cost follows from its row, and a forged one is found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    Booting,
    Delta,
    Finished,
    Output,
    Phases,
    RateLimited,
    Started,
    UpstreamFailed,
    Usage,
)
from providers.testing.scripted import Step, Wait
from tests.gateway_app.gateways import Gateway, running_gateway
from tests.pricebook.conftest import Here

TIERS = {
    "name": "tiered",
    "effective_from": "2026-01-01",
    "source": "https://example.org/prices",
    "checked_on": "2026-11-01",
    "note": "for a test",
    "usd_per_million_input_tokens": "1",
    "usd_per_million_output_tokens": "2",
    "usd_per_million_cached_input_tokens": "0.1",
    "tiers": [
        {
            "above_input_tokens": 1000,
            "usd_per_million_input_tokens": "3",
            "usd_per_million_output_tokens": "4",
            "usd_per_million_cached_input_tokens": "0.3",
        }
    ],
}
PRICES: dict[str, Any] = {
    "tokens": {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.07"},
    "cached": {
        "usd_per_million_input_tokens": "0.5",
        "usd_per_million_cached_input_tokens": "0.05",
    },
    "tiered": "tiered",
    "boots": {"usd_per_second": "0.0001", "bills": ["execute", "boot", "idle"]},
    "undivided": {"usd_per_second": "0.0001", "bills": ["execute", "boot"]},
    "rounded": {"usd_per_second": "0.001", "round_up_seconds": "1"},
    "shared": {"usd_per_second": "0.0001", "bills": ["execute", "boot"], "shared": True},
    "images": {"usd_per_image": "0.02", "usd_per_request": "0.001"},
    "estimated": {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "2"},
    "reported": {"usd_per_million_input_tokens": "1"},
    "refused": {"usd_per_second": "1"},
    "failing": {"usd_per_second": "0.0001"},
    "unpriced": None,
    "no-count": {"usd_per_image": "0.01", "usd_per_million_input_tokens": "1"},
}
SCRIPTS: dict[str, tuple[Step, ...]] = {
    "tokens": (Delta("Hi"), Finished(("stop",), Usage(12, 40))),
    "cached": (Delta("Hi"), Finished(("stop",), Usage(100, 4, 80))),
    "tiered": (Delta("Hi"), Finished(("stop",), Usage(1001, 10, 500))),
    "boots": (Booting("phase_reported", caused_boot=True), Started("i"), Finished(("stop",))),
    "undivided": (Delta("x"), Finished(("stop",), phases=Phases(wait_seconds=2.5))),
    "rounded": (Started("i"), Wait(0.01), Finished(("stop",))),
    "shared": (Started("i"), Wait(0.01), Finished(("stop",))),
    "images": (Output("image", data=b"x", media_type="image/png"), Finished()),
    "estimated": (Delta("Hello, world"), Finished(("stop",))),
    "reported": (Delta("x"), Finished(("stop",), Usage(1, 1, cost_usd=Decimal("0.0123")))),
    "refused": (RateLimited(),),
    "failing": (Started("i"), UpstreamFailed("no")),
    "unpriced": (Delta("x"), Finished(("stop",), Usage(1, 1))),
    "no-count": (Delta("x"), Finished(("stop",), Usage(7, 1))),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, dict[str, str]]]:
    """One operation of each kind, in a gateway that runs; and their ids."""
    tree = {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price}
            for name, price in PRICES.items()
        },
        "models": {name: {"deployments": [name]} for name in PRICES},
        "prices": [TIERS],
    }
    with running_gateway(tree, tmp_path_factory.mktemp("data")) as gateway:
        ids = {}
        for name, script in SCRIPTS.items():
            gateway.scripts.only(name, script)
            gateway.generate(name, parameters={"max_output_tokens": 64})
            (row,) = gateway.last_rows(name)
            ids[name] = row["operation_id"]
            gateway.operation(ids[name])  # it is in the database
        yield gateway, ids


def explanation(here: Here, data_dir: Path, id_: str, status: int = 0) -> dict[str, Any]:
    said = here("prices", "explain", id_, "--json", "--data-dir", data_dir)
    assert (said.status, said.err) == (status, "")
    (found,) = json.loads(said.out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "unpriced"])
def test_the_row_alone_gives_the_booked_figure(
    here: Here, ran: tuple[Gateway, dict[str, str]], name: str
) -> None:
    gateway, ids = ran
    found = explanation(here, gateway.data_dir, ids[name])
    assert found["agrees"] is True
    assert found["recomputed_usd"] == found["booked_usd"]
    assert all(line["agrees"] and line["booked_usd"] == line["usd"] for line in found["lines"])


def lines_of(found: dict[str, Any]) -> list[tuple[str, str | None, str | None, str | None]]:
    return [
        (line["kind"], line["quantity"], line["unit_price_usd"], line["usd"])
        for line in found["lines"]
    ]


def test_lines_quantities_rules_and_sources(
    here: Here, ran: tuple[Gateway, dict[str, str]]
) -> None:
    gateway, ids = ran
    tokens = explanation(here, gateway.data_dir, ids["tokens"])
    assert lines_of(tokens) == [
        ("input_tokens", "12", "0.00000005", "0.0000006"),
        ("output_tokens", "40", "0.00000007", "0.0000028"),
    ]
    assert tokens["lines"][0]["quantity_from"] == "column input_tokens, reported"
    tiered = explanation(here, gateway.data_dir, ids["tiered"])
    assert lines_of(tiered) == [
        ("input_tokens", "501", "0.000003", "0.001503"),
        ("cached_input_tokens", "500", "0.0000003", "0.00015"),
        ("output_tokens", "10", "0.000004", "0.00004"),
    ]
    assert "tiers above 1000 tokens" in tiered["lines"][0]["rule"]
    assert tiered["lines"][0]["quantity_from"].startswith("column input_tokens less cached")
    assert tiered["price"]["source"] == "https://example.org/prices"
    assert tiered["price"]["checked_on"] == "2026-11-01"
    rounded = explanation(here, gateway.data_dir, ids["rounded"])
    assert lines_of(rounded) == [("execute_seconds", "1", "0.001", "0.001")]
    assert "rounded up to a multiple of 1 s" in rounded["lines"][0]["rule"]
    boots = explanation(here, gateway.data_dir, ids["boots"])
    assert [line["kind"] for line in boots["lines"]] == ["execute_seconds", "boot_seconds"]
    assert boots["pending"] == ["idle"]
    undivided = explanation(here, gateway.data_dir, ids["undivided"])
    assert undivided["lines"][1]["status"] == "estimated"
    assert "anything may have been a boot" in undivided["lines"][1]["quantity_from"]
    shared = explanation(here, gateway.data_dir, ids["shared"])
    assert "share" in shared["lines"][0]["quantity_from"]
    estimated = explanation(here, gateway.data_dir, ids["estimated"])
    assert estimated["lines"][1]["quantity_from"] == "column output_tokens, estimated"
    assert "An estimate, between " in estimated["why"]


def test_no_cost_is_invented(here: Here, ran: tuple[Gateway, dict[str, str]]) -> None:
    gateway, ids = ran
    unpriced = explanation(here, gateway.data_dir, ids["unpriced"])
    assert (unpriced["booked_usd"], unpriced["recomputed_usd"]) == (None, None)
    assert unpriced["why"] == "No price was known for this deployment: unknown, and not 0."
    no_count = explanation(here, gateway.data_dir, ids["no-count"])
    assert (no_count["booked_usd"], no_count["recomputed_usd"]) == (None, None)
    refused = explanation(here, gateway.data_dir, ids["refused"])
    assert (refused["booked_usd"], refused["lines"]) == ("0", [])
    assert "refused it before any work" in refused["why"]
    reported = explanation(here, gateway.data_dir, ids["reported"])
    assert lines_of(reported) == [("reported", "1", "0.0123", "0.0123")]


def test_as_a_table(here: Here, ran: tuple[Gateway, dict[str, str]]) -> None:
    gateway, ids = ran
    attempt_id = gateway.last_rows("tiered")[0]["attempt_id"]
    said = here("prices", "explain", attempt_id, "--data-dir", gateway.data_dir)
    assert (said.status, said.err) == (0, "")
    assert "price tiered, from 2026-01-01, checked 2026-11-01, source https://" in said.out
    assert "note  for a test" in said.out
    assert "Computed again: 0.001693 USD, which agrees with the booked 0.001693 USD." in said.out
    unpriced = here("prices", "explain", ids["unpriced"], "--data-dir", gateway.data_dir)
    assert "cost unknown (unknown)" in unpriced.out
    assert "0 USD" not in unpriced.out


@pytest.mark.parametrize(
    "forgery",
    [
        "cost_pico_usd = cost_pico_usd + 1",
        "output_tokens = 41",
        "price = replace(price, '0.07', '0.08')",
        "cost_lines = replace(cost_lines, '0.0000028', '0.0000029')",
    ],
)
def test_a_figure_that_does_not_follow_is_found(
    here: Here, ran: tuple[Gateway, dict[str, str]], forgery: str, tmp_path: Path
) -> None:
    gateway, ids = ran
    with (
        sqlite3.connect(gateway.data_dir / "ledger.sqlite3") as real,
        sqlite3.connect(tmp_path / "ledger.sqlite3") as forged,
    ):
        real.backup(forged)
        forged.execute(f"update attempts set {forgery} where operation_id = ?", [ids["tokens"]])
    real.close()
    forged.close()
    (tmp_path / "journal").mkdir()
    found = explanation(here, tmp_path, ids["tokens"], status=1)
    assert found["agrees"] is False
    said = here("prices", "explain", ids["tokens"], "--data-dir", tmp_path)
    assert said.status == 1 and "DIFFERS from the booked" in said.out


def test_an_id_that_is_none(here: Here, ran: tuple[Gateway, dict[str, str]]) -> None:
    said = here("prices", "explain", "gen_nothing", "--data-dir", ran[0].data_dir)
    assert (said.status, said.out) == (2, "")
    assert "there is no attempt or operation 'gen_nothing'" in said.err
