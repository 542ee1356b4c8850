"""One attempt whose cost nobody knows, seen through each door: unknown, and nowhere 0."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.telemetry import log_line
from providers.contract import Usage
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.pricebook.conftest import Here

NOTHING_KNOWN = {"total_usd": None, "status": "unknown"}
TREE: dict[str, Any] = {
    "deployments": {"free": {"provider": "scripted", "model": "free"}},
    "models": {"free": {"deployments": ["free"]}},
}


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(TREE, tmp_path_factory.mktemp("data")) as gateway:
        gateway.scripts.says("free", usage=Usage(12, 40))
        yield gateway


def money(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in NOTHING_KNOWN}


def test_the_answer(unknown: Gateway) -> None:
    response = unknown.generate("free")
    answer = response.json()
    assert money(answer["cost"]) == NOTHING_KNOWN
    assert answer["cost"]["range_usd"] == {"low": "0", "high": None}  # a bound, and no other
    assert answer["cost"]["lines"][0]["usd"] is None
    assert answer["attempts"][0]["cost_usd"] is None
    assert response.headers.get("x-gateway-cost-usd", "unknown") != "0"


def test_the_stream(unknown: Gateway) -> None:
    last = unknown.stream("free")[-1]
    assert last.name == "finished" and money(last.data["cost"]) == NOTHING_KNOWN


@pytest.mark.parametrize("stream", [False, True])
def test_chat_completions(unknown: Gateway, stream: bool) -> None:
    body = {
        "model": "free",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }
    response = unknown.http.post("/v1/chat/completions", json=body)
    if stream:
        frames = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
        usage = [json.loads(frame)["usage"] for frame in frames if '"usage":{' in frame][-1]
    else:
        usage = response.json()["usage"]
        assert response.headers.get("x-gateway-cost-status") in (None, "unknown")
        assert response.headers.get("x-gateway-cost-usd", "unknown") != "0"
    assert usage["cost"] is None
    assert money(usage["cost_details"]) == NOTHING_KNOWN


def test_operations_and_costs(unknown: Gateway) -> None:
    operation_id = unknown.answer("free")["id"]
    operation = unknown.operation(operation_id)
    assert money(operation["cost"]) == NOTHING_KNOWN
    (listed,) = [one for one in unknown.get("/v1/operations")["data"] if one["id"] == operation_id]
    assert money(listed["cost"]) == NOTHING_KNOWN
    (row,) = unknown.get("/v1/costs", group_by="deployment")["data"]
    assert row["unknown_attempts"] == row["attempts"] > 0
    assert row["range_usd"]["high"] is None
    (line,) = row["lines"]
    assert line["usd"] is None and line["unknown_lines"] == row["attempts"]


def test_the_journal(unknown: Gateway) -> None:
    (row,) = unknown.rows(unknown.answer("free")["id"])
    assert (row["cost_pico_usd"], row["high_pico_usd"], row["price"]) == (None, None, None)


def test_metrics(unknown: Gateway) -> None:
    unknown.answer("free")
    eventually(lambda: "gateway_unpriced_attempts_total{" in unknown.http.get("/metrics").text, 10)
    text = unknown.http.get("/metrics").text
    assert re.search(r'^gateway_unpriced_attempts_total\{.*"free".*\} [1-9]', text, re.M)
    assert not re.search(r"^gateway_cost_usd_total\{", text, re.M)


def test_the_log(unknown: Gateway) -> None:
    (row,) = unknown.rows(unknown.answer("free")["id"])
    line = log_line(row)
    assert (line["cost_usd"], line["cost_status"]) == (None, "unknown")


def test_the_command_line(unknown: Gateway, here: Here) -> None:
    operation_id = unknown.answer("free")["id"]
    unknown.operation(operation_id)
    where = ("--data-dir", unknown.data_dir)
    head, row = here("costs", *where).out.splitlines()
    assert head.split()[:2] == ["attempts", "known"]
    assert row.split()[1:4] == ["unknown", "unknown", "unknown"]
    asked = here("costs", "--csv", *where).out
    (cells,) = csv.DictReader(io.StringIO(asked))
    assert cells["known_usd"] == cells["measured_usd"] == cells["estimated_usd"] == ""
    assert cells["high_usd"] == "" and cells["unknown_attempts"] == cells["attempts"]
    explained = here("prices", "explain", operation_id, *where).out
    assert "cost unknown (unknown)" in explained and " 0 USD" not in explained
    listed = json.loads(here("prices", "explain", operation_id, "--json", *where).out)
    assert (listed[0]["booked_usd"], listed[0]["recomputed_usd"]) == (None, None)
    info = json.loads(here("ledger", "info", "--json", *where).out)
    assert info["unpriced_attempts"] == info["rows"]["attempts"]


def test_repricing_what_stays_unknown(unknown: Gateway, here: Here, tmp_path: Path) -> None:
    operation_id = unknown.answer("free")["id"]
    unknown.operation(operation_id)
    config = tmp_path / "today.yml"
    config.write_text(
        f"""
server: {{data_dir: '{unknown.data_dir}'}}
deployments: {{free: {{provider: scripted, model: m, price: {{usd_per_image: "1"}}}}}}
models: {{free: {{deployments: [free]}}}}
"""
    )
    asked = ("reprice", "--since", "2020-01-01", "-c", config)
    (row,) = json.loads(here(*asked, "--json").out)["data"]
    assert (row["booked_usd"], row["now_usd"]) == (None, None)
    assert row["now_unknown"] == row["booked_unknown"] == row["attempts"]
    table = here(*asked).out.splitlines()[1].split()
    assert table[4] == table[6] == "unknown"
