"""How deployments stand: one source, and the same words in the API and on the pages."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from providers.contract import Delta, Finished, Started, Usage
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.local.engines import slow_command

SECONDS = {"usd_per_second": "0.001", "bills": ["execute", "boot", "idle"]}
TOKENS = {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.07"}
DEPLOYMENTS: dict[str, Any] = {
    "engine": {
        "provider": "local",
        "model": "slow",
        "command": list(slow_command("--load-seconds", 0.1)),
        "idle_timeout_seconds": 0.3,
        "price": SECONDS,
    },
    "window": {"provider": "scripted", "model": "w", "price": SECONDS, "idle_window_seconds": 300},
    "tokens": {"provider": "scripted", "model": "tokens", "price": TOKENS},
    "guess": {"provider": "scripted", "model": "guess"},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    models = {name: {"deployments": [name]} for name in DEPLOYMENTS}
    tree = {"deployments": DEPLOYMENTS, "models": models}
    with running_gateway(tree, tmp_path_factory.mktemp("standing")) as running:
        yield running


def told(gateway: Gateway) -> dict[str, Any]:
    return {row["name"]: row for row in gateway.get("/v1/deployments")["data"]}


def words(gateway: Gateway) -> dict[str, str]:
    """How each stands, which all that show it agree on."""
    standing = {name: row["stands"] for name, row in told(gateway).items()}
    warmth = gateway.get("/v1/warmth")["data"]
    assert {row["deployment"]: row["stands"] for row in warmth} == standing
    for page, rows, name in (("now", "", "name"), ("cold-starts", "warmth", "deployment")):
        text = gateway.http.get(
            f"/dashboard/{page}.csv", params={"rows": rows} if rows else {}
        ).text
        found = csv.DictReader(io.StringIO(text))
        assert {row[name]: row["stands"] for row in found} == standing
    text = gateway.http.get("/dashboard").text
    assert all(f">{word}<" in text for word in standing.values())
    # The summary claims no more than the rows, and names nothing that is not there.
    counted = re.findall(r'<span class="word [a-z ]+">(\d+) ([a-z ]+)</span>', text)
    assert {word: int(number) for number, word in counted} == Counter(standing.values())
    states = gateway.http.get("/metrics").text
    for name, word in standing.items():
        assert f'gateway_deployment_state{{deployment="{name}",state="{word}"}} 1' in states
    return standing


def test_before_anybody_has_asked(gateway: Gateway) -> None:
    assert words(gateway) == {
        "engine": "off",  # the gateway runs it, and knows
        "window": "likely off",
        "tokens": "likely warm",  # who sells tokens has machines that run for everybody
        "guess": "unknown",
    }
    page = gateway.http.get("/dashboard").text
    assert "seen off now, run by the gateway" in page and "nothing of it was seen yet" in page
    rows = told(gateway)
    assert (rows["engine"]["state"], rows["engine"]["p_warm_evidence"]) == ("off", "supervised")
    assert rows["guess"]["p_warm"] is rows["guess"]["boot_seconds"] is None
    assert rows["tokens"]["p_warm"] == 0.9 and rows["tokens"]["boot_seconds"] is None  # a guess
    chances = {row["deployment"]: row["p_warm"] for row in gateway.get("/v1/warmth")["data"]}
    assert chances == {name: row["p_warm"] for name, row in rows.items()}


def test_an_engine_that_is_run_here_says_when_it_comes_and_goes(gateway: Gateway) -> None:
    """Without a call of anybody's."""
    assert gateway.http.post("/v1/deployments/engine/warm").status_code == 202
    eventually(lambda: told(gateway)["engine"]["stands"] == "warm")
    eventually(lambda: told(gateway)["engine"]["stands"] == "off")  # its idle time is over
    (row,) = (x for x in gateway.get("/v1/warmth")["data"] if x["deployment"] == "engine")
    assert row["last_used_at"] is None and row["keep_alive"]["observed"] == 1
    answer = gateway.answer("engine", parameters={"max_output_tokens": 2})
    assert answer["cold_start"]["verdict"] == "cold" and answer["cold_start"]["caused_boot"]


def test_an_answer_that_proves_it_is_worth_more_than_a_price(gateway: Gateway) -> None:
    gateway.scripts.only(
        "tokens", (Started("i", "scale_state"), Delta("hi"), Finished(("stop",), Usage(1, 2)))
    )
    gateway.answer("tokens")
    eventually(lambda: told(gateway)["engine"]["stands"] == "off")
    assert words(gateway)["tokens"] == "warm"
    assert re.search("seen warm (now|. s ago), by an attempt", gateway.http.get("/dashboard").text)
