"""A caller hangs up in the middle of a stream: what the provider bills is what the row says."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.app import create_app
from gateway.settings import load
from tests.acceptance.gateways import exchange, until
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import Model, World
from tests.gateways import running


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate(World(scale=50.0))
    app.models["emulated/slow"] = Model(
        pieces=("word ",) * 60, execute_seconds=60.0, always_warm=True
    )
    app.url = emulator(app)
    return app


@pytest.fixture
def gateway(app: Replicate, tmp_path: Path) -> Iterator[str]:
    changes = {
        "server": {"data_dir": str(tmp_path)},
        "reconciliation": {"every_seconds": 0.05, "first_pause_seconds": 0.05},
        "providers": {
            "replicate": {
                "api_token": app.key,
                "base_url": f"{app.url}/v1",
                "poll_seconds": 0.02,
            }
        },
        "deployments": {
            "slow": {
                "provider": "replicate",
                "model": "emulated/slow",
                "price": "replicate-gpu-l40s",
            }
        },
        "models": {"slow": {"deployments": ["slow"]}},
    }
    with running(create_app(load(None, {}, changes), log_attempts=False)) as url:
        yield url


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=10)


def hang_up(url: str) -> str:
    """Ask for a stream, read three pieces, leave; gives the operation's id."""
    connection = connect(url)
    body = json.dumps({"model": "slow", "input": "Say something.", "stream": True})
    connection.request("POST", "/v1/generate", body, {"content-type": "application/json"})
    response = connection.getresponse()
    seen, operation_id = 0, ""
    while seen < 3:
        line = response.readline()
        if line.startswith(b"data:") and not operation_id:
            operation_id = json.loads(line[5:])["id"]
        seen += line == b"event: delta\n"
    response.close()
    connection.close()
    return operation_id


def operation(url: str, operation_id: str) -> Any:
    connection = connect(url)
    try:
        answer = exchange(connection, "GET", f"/v1/operations/{operation_id}")
    finally:
        connection.close()
    return answer.json


def asked_about(url: str, operation_id: str) -> bool:
    return "lookup" in operation(url, operation_id).get("attempts", [{}])[0]


def test_the_cancelled_row_becomes_what_is_billed(app: Replicate, gateway: str) -> None:
    operation_id = hang_up(gateway)
    until(lambda: asked_about(gateway, operation_id))
    made = app.last()
    assert made.status == "canceled" and 0 < made.execute_seconds < 60
    found = operation(gateway, operation_id)
    assert found["status"] == "cancelled"
    assert Decimal(found["cost"]["total_usd"]) == made.billed_usd
    assert found["cost"]["status"] == "measured"
