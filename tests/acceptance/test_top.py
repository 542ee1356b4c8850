"""``gateway top`` at a running gateway: in a pipe, and in a real terminal of two widths."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.presence import announce
from providers.contract import Booting, Delta, Finished, Started, UpstreamFailed, Usage
from providers.testing import Wait
from tests.acceptance.conftest import Here
from tests.acceptance.gateways import COMMAND, until
from tests.acceptance.terminal import Terminal, tmux
from tests.gateway_app.gateways import Gateway, running_gateway

KEYS = {"app": "generate", "finance": "reports"}
END = (Delta("hi"), Finished(("stop",), Usage(1000, 2000)))
BOOT = Booting("process_started", True)


def configuration() -> dict[str, Any]:
    seconds = {"usd_per_second": "0.0001", "bills": ["execute", "boot"]}
    tokens = {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.07"}
    prices = {"llama-3-8b-on-a-card": seconds, "tokens": tokens, "unpriced": None}
    return {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price}
            for name, price in prices.items()
        },
        "models": {name: {"deployments": [name]} for name in prices},
        "budgets": [{"name": "all", "limit_usd": "10", "per": "day", "allow_unpriced": True}],
    }


CARD = "llama-3-8b-on-a-card"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(configuration(), tmp_path / "data") as gateway:
        gateway.scripts.only("unpriced", (UpstreamFailed(),))
        assert gateway.generate("unpriced").status_code == 502
        for name in ("tokens", "unpriced"):
            gateway.scripts.only(name, END)
            gateway.answer(name)
        gateway.scripts.only(CARD, (BOOT, Wait(0.01), Started("i"), *END))
        gateway.answer(CARD)
        gateway.get("/v1/operations")  # until the database has all of it
        yield gateway


def test_what_programs_get(running: Gateway, here: Here) -> None:
    ran = here("top", "--json", "--minutes", "30", "--url", running.url)
    assert (ran.status, ran.err) == (0, "")
    seen = json.loads(ran.out)
    rows = {row["name"]: row for row in seen["deployments"]}
    costs = {
        row["group"]["deployment"]: row
        for row in running.get("/v1/costs", group_by="deployment")["data"]
    }
    assert Decimal(rows["tokens"]["usd_per_hour"]) == Decimal(costs["tokens"]["known_usd"]) * 2
    assert rows["tokens"]["requests_per_minute"] == pytest.approx(1 / 30)
    assert rows["unpriced"]["usd_per_hour"] is None and rows["unpriced"]["unknown_attempts"] == 2
    assert rows["unpriced"]["last_error"]["type"] == "UpstreamFailed"
    assert rows["tokens"]["last_error"] is None
    assert rows[CARD]["cold_rate"] == 1 and rows["tokens"]["cold_rate"] is None
    assert rows["tokens"]["stands"] == "warm"  # its answer has shown that, without a verdict
    assert rows["tokens"]["last_seen"]["by"] == "attempt"
    assert (rows["unpriced"]["stands"], rows["unpriced"]["p_warm"]) == ("unknown", None)
    assert rows[CARD]["state"] == "warm" and rows[CARD]["warm_until"] > seen["at"]
    (budget,) = running.get("/v1/budgets")["data"]
    assert seen["budgets"] == [budget] and Decimal(budget["left_usd"]) < 10
    told = here("top", "--csv", "--minutes", "30", "--url", running.url)
    lines = {row["name"]: row for row in csv.DictReader(io.StringIO(told.out))}
    assert lines["tokens"]["usd_per_hour"] == rows["tokens"]["usd_per_hour"]
    assert lines["unpriced"]["usd_per_hour"] == ""
    assert lines["unpriced"]["last_error_type"] == "UpstreamFailed"


def test_in_a_pipe_it_is_printed_once(running: Gateway, here: Here) -> None:
    ran = here("top", "--url", running.url + "/")
    assert (ran.status, ran.err) == (0, "")
    lines = {line.split()[0]: line for line in ran.out.splitlines() if line.strip()}
    assert max(map(len, lines.values())) < 250
    assert " warm " in lines[CARD] and "100.0 %" in lines[CARD]
    assert "unknown" in lines["unpriced"] and "UpstreamFailed" in lines["unpriced"]
    assert "$0 " not in lines["unpriced"] and "none" in lines["tokens"]
    assert "$10" in lines["all"] and "day" in lines["all"]


def test_who_may_look(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = configuration()
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": [scope]}
        for name, scope in KEYS.items()
    ]
    tree["auth"] = {"mode": "keys", "keys": keys}
    with running_gateway(tree, tmp_path / "data") as gateway:
        for given, code in (([], 401), (["--api-key", "app"], 403)):
            refused = here("top", "--once", "--url", gateway.url, *given)
            assert (refused.status, refused.out) == (2, "")
            assert f"{gateway.url} answers {code}: " in refused.err
        announce(tmp_path / "data", gateway.url)
        where = ("warmth", "--json", "--data-dir", tmp_path / "data")
        alone = here(*where)  # it is not let in, and says what it tells instead
        assert f"but {gateway.url} answers 401: " in alone.err and alone.status == 0
        assert {row["source"] for row in json.loads(alone.out)} == {"ledger"}
        monkeypatch.setenv("GATEWAY_API_KEY", "finance")
        asked = here(*where)
        assert asked.err == "" and len(json.loads(asked.out)) == len(tree["deployments"])
        assert here("top", "--once", "--url", gateway.url).status == 0
    nobody = here("top", "--once", "--url", gateway.url)
    assert nobody.err == f"gateway: no answer from {gateway.url} (ConnectError)\n"
    assert nobody.status == 2


@pytest.fixture
def terminals(running: Gateway, tmp_path: Path) -> Iterator[dict[int, Terminal]]:
    program = tmux()
    command = [*COMMAND, "top", "--every-seconds", "0.2", "--url", running.url]
    with contextlib.ExitStack() as stack:
        shown = {}
        for columns in (80, 200):
            shown[columns] = Terminal(program, tmp_path / f"{columns}.tmux", columns, command)
            stack.callback(shown[columns].end)
        yield shown


def test_on_a_terminal(running: Gateway, terminals: dict[int, Terminal]) -> None:
    for columns, terminal in terminals.items():
        until(lambda shown=terminal: "tokens" in shown.seen(), 30)  # type: ignore[misc]
        lines = terminal.seen().splitlines()
        assert max(map(len, lines)) <= columns
        heads = next(line for line in lines if line.startswith("deployment"))
        for head in ("state", "run", "queue", "req/min", "cold", "USD/h", "last error"):
            assert head in heads
        (card,) = (line for line in lines if line.startswith("llama-3-8b"))
        assert re.search(r"warm +.*\d+[smh]", card) and "$" in card
        (failed,) = (line for line in lines if line.startswith("unpriced"))
        assert "unknown" in failed and "UpstreamFailed" in failed and "$" not in failed
        (budget,) = (line for line in lines if line.startswith("all "))
        assert "$10.00" in budget
    assert "their model" in terminals[200].seen()
    running.scripts.only("tokens", (BOOT, Wait(60), *END))
    with running.streaming("tokens"):
        for terminal in terminals.values():
            until(lambda shown=terminal: "1 running" in shown.seen())  # type: ignore[misc]
            assert re.search(r"^tokens .*booting +\d+s", terminal.seen(), re.MULTILINE)
        with running.streaming("tokens"):
            for terminal in terminals.values():
                until(lambda shown=terminal: "1 queued, longest " in shown.seen())  # type: ignore[misc]
    until(lambda: "0 running" in terminals[80].seen())
    running.stop()
    until(lambda: "Not live: no answer from" in terminals[80].seen())
    assert "UpstreamFailed" in terminals[80].seen()  # what was seen last stays
    terminals[80].press("C-c")
    until(lambda: "ended 0" in terminals[80].seen())
