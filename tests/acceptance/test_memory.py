"""A long day of good and bad requests does not make the gateway grow."""

from __future__ import annotations

import json
from typing import Any

import psutil

from tests.acceptance.gateways import Gateway, exchange

MIB = 1 << 20
GOOD: dict[str, Any] = {"model": "quick", "input": "?"}
REQUESTS: list[tuple[int, str, bytes]] = [
    (status, path, body if isinstance(body, bytes) else json.dumps(body).encode())
    for status, path, body in (
        (200, "/v1/generate", GOOD),
        (200, "/v1/generate", {**GOOD, "stream": True, "tags": {"team": "memory"}}),
        (200, "/v1/chat/completions", {"model": "quick", "messages": [{"role": "user"}]}),
        (400, "/v1/generate", b"{"),
        (400, "/v1/generate", {**GOOD, "colour": "blue"}),
        (400, "/v1/generate", {**GOOD, "input": "x" * 20_000, "tags": {"?": ""}}),
        (404, "/v1/generate", {**GOOD, "model": "nope"}),
        (404, "/v1/nowhere", GOOD),
        (502, "/v1/generate", {**GOOD, "model": "failing"}),
        (400, "/v1/chat/completions", {"model": "quick", "messages": []}),
    )
]


def call(gateway: Gateway, times: int) -> None:
    connection = gateway.connect()
    try:
        for _ in range(times):
            for status, path, body in REQUESTS:
                answer = exchange(connection, "POST", path, body)
                assert answer.status == status, (path, body[:80], answer)
    finally:
        connection.close()


def test_two_thousand_requests_leave_no_trace_in_memory(gateway: Gateway) -> None:
    process = psutil.Process(gateway.process.pid)
    call(gateway, 30)
    before = process.memory_info().rss
    call(gateway, 200)
    assert process.memory_info().rss - before < 15 * MIB
