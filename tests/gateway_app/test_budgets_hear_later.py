"""A gateway that runs hears what attempts cost after all, whoever finds it out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from gateway.ledger.writing.correcting import correct
from providers.contract import Delta, Finished, Usage
from tests.acceptance.gateways import run_all
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.gateway_app.limited import DOLLAR, budget, deployment, tree
from tests.ledger.databases import change

WITHIN_SECONDS = 15.0  # two, says the document; this is for a machine that others use
BUDGETS = [
    {"name": "everything", "limit_usd": "100", "per": "total", "allow_unpriced": True},
    {"name": "search", "limit_usd": "20", "per": "day", "tag": {"team": "search"}},
    {"name": "ads", "limit_usd": "20", "per": "day", "tag": {"team": "ads"}},
]
SEARCH = {"tags": {"team": "search"}, "parameters": {"max_output_tokens": 10}}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    given = tree({"dollar": deployment("dollar", DOLLAR), "late": deployment("late", None)})
    with running_gateway({**given, "budgets": BUDGETS}, tmp_path / "data") as running:
        for name in ("dollar", "late"):
            running.scripts.only(name, (Delta("x"), Finished(("stop",), Usage(1, 8))))
        yield running


def told(gateway: Gateway) -> dict[str, str]:
    return {line["name"]: line["spent_usd"] for line in gateway.get("/v1/budgets")["data"]}


def said_later(gateway: Gateway, operation: Any, usd: str) -> None:
    """Another process finds out what an attempt cost."""
    pico_usd = int(Decimal(usd) * 10**12)
    columns = ("cost_pico_usd", "known_pico_usd", "low_pico_usd", "high_pico_usd")
    changes = [(operation["attempts"][0]["id"], dict.fromkeys(columns, pico_usd))]
    correct(gateway.data_dir, changes, at_us=1, reason="bill", rotate_bytes=1 << 20)


def test_a_correction_by_another_process_makes_room_or_takes_it(gateway: Gateway) -> None:
    first = gateway.answer("dollar", **SEARCH)
    second = gateway.answer("dollar", **SEARCH)
    assert told(gateway) == {"everything": "16", "search": "16", "ads": "0"}
    assert gateway.generate("dollar", **SEARCH).status_code == 402  # 4 are left, 10 are wanted
    said_later(gateway, first, "1")
    eventually(lambda: told(gateway)["search"] == "9", WITHIN_SECONDS)
    assert told(gateway) == {"everything": "9", "search": "9", "ads": "0"}
    gateway.scripts.only("dollar", (Delta("x"), Finished(("stop",), Usage(1, 2))))
    gateway.answer("dollar", **SEARCH)
    said_later(gateway, second, "15")
    eventually(lambda: told(gateway)["search"] == "18", WITHIN_SECONDS)
    assert gateway.generate("dollar", **SEARCH).status_code == 402


def test_another_price_beside_a_running_gateway(gateway: Gateway, tmp_path: Path) -> None:
    gateway.answer("late")
    assert budget(gateway, "everything")["unknown_attempts"] == 1
    today = tree({"late": deployment("late", DOLLAR)}, server={"data_dir": str(gateway.data_dir)})
    config = tmp_path / "today.yml"
    config.write_text(yaml.safe_dump(today))
    (said,) = run_all([["reprice", "--since", "2020-01-01T00:00:00Z", "--apply", "-c", config]])
    assert said.status == 0, said.err
    eventually(lambda: told(gateway)["everything"] == "8", WITHIN_SECONDS)
    assert budget(gateway, "everything")["unknown_attempts"] == 0


def test_what_a_dying_shipper_did_not_say_the_next_one_says(gateway: Gateway) -> None:
    answer = gateway.answer("dollar", **SEARCH)
    gateway.operation(answer["id"])
    shipper = next(
        child
        for child in psutil.Process().children()
        if {str(gateway.data_dir), "gateway.ledger.shipping.shipper"} <= set(child.cmdline())
    )
    # It has shipped a correction, and is killed before it says so.
    os.kill(shipper.pid, signal.SIGKILL)
    change(
        gateway.data_dir,
        "INSERT INTO spend_changes (at_us, operation_at_us, key_id, tags, pico_usd, "
        f"unknown_attempts) SELECT {time.time_ns() // 1000}, operation_at_us, key_id, tags, "
        "-7000000000000, 0 "
        f"FROM attempts WHERE operation_id = '{answer['id']}'",
    )
    eventually(lambda: told(gateway)["search"] == "1", WITHIN_SECONDS)
    assert told(gateway) == {"everything": "1", "search": "1", "ads": "0"}


def test_a_restart_counts_a_later_word_once(gateway: Gateway) -> None:
    answer = gateway.answer("dollar", **SEARCH)
    said_later(gateway, answer, "1")
    eventually(lambda: told(gateway)["search"] == "1", WITHIN_SECONDS)
    gateway.stop()
    given = tree({"dollar": deployment("dollar", DOLLAR)}, budgets=BUDGETS)
    with running_gateway(given, gateway.data_dir) as again:
        eventually(lambda: None not in told(again).values(), WITHIN_SECONDS)
        assert told(again) == {"everything": "1", "search": "1", "ads": "0"}
        said_later(again, answer, "3")
        eventually(lambda: told(again)["search"] == "3", WITHIN_SECONDS)
        assert told(again)["everything"] == "3"
