"""Callers who hang up: the engine stops working for them, and what they used is booked."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import psutil
import pytest

from tests.acceptance.conftest import LONG, SHORT
from tests.acceptance.gateways import Gateway, until


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def has_worked(process: psutil.Process, seconds: float) -> None:
    """Wait until a process has used so many seconds of a processor."""
    enough = cpu_seconds(process) + seconds
    until(lambda: cpu_seconds(process) >= enough, within_seconds=30)


def works(process: psutil.Process, seconds: float) -> bool:
    """Whether a process with one busy thread works: it gets a tenth of a processor at least."""
    before = cpu_seconds(process)
    time.sleep(seconds)
    return cpu_seconds(process) - before > seconds / 10


def operation_of(gateway: Gateway, tag: str) -> Any:
    (operation,) = gateway.get(f"/v1/operations?tag:who={tag}")["data"]
    return operation


def running(gateway: Gateway, model: str) -> float:
    lines = gateway.call("GET", "/metrics").raw.decode().splitlines()
    name = f'gateway_deployment_running{{deployment="{model}"}} '
    return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@pytest.mark.parametrize("streamed", [True, False])
def test_a_caller_who_hangs_up_frees_the_engine_and_is_booked(
    gateway: Gateway, steady: psutil.Process, streamed: bool
) -> None:
    tag = f"{time.time_ns()}"
    asked = {**LONG, "tags": {"who": tag}}
    if streamed:
        with gateway.stream("steady", **asked) as events:
            deltas = (event for event in events if event[0] == "delta")
            for _ in range(3):
                next(deltas)
            has_worked(steady, 0.1)
    else:
        connection = gateway.connect()
        body = json.dumps({"model": "steady", **asked})
        connection.request("POST", "/v1/generate", body, {"content-type": "application/json"})
        until(lambda: running(gateway, "steady") == 1)
        has_worked(steady, 0.6)
        connection.close()
    time.sleep(0.5)
    assert running(gateway, "steady") == 0
    assert not works(steady, 0.5)

    # Its only slot is free: 900 tokens of the story would have kept it for many seconds.
    assert gateway.generate("steady", **SHORT)["status"] == "succeeded"
    operation = operation_of(gateway, tag)
    assert operation["status"] == "cancelled"
    assert [attempt["status"] for attempt in operation["attempts"]] == ["cancelled"]
    cost = operation["cost"]
    assert cost["status"] == "measured"
    assert {line["kind"] for line in cost["lines"]} == {"execute_seconds"}
    seconds = operation["timing"]["execute_seconds"]
    assert Decimal(cost["total_usd"]) == (
        Decimal(str(seconds)) * Decimal(cost["lines"][0]["unit_price_usd"])
    ).quantize(Decimal("1E-12"))
    assert seconds < 5
    assert 0 < operation["usage"]["output_tokens"] < 900
    assert operation["usage"]["sources"]["output_tokens"] in ("counted", "estimated")
