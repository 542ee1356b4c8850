"""Requests and tokens a minute, in OpenAI's headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from providers.contract import Delta, Finished, Usage
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.gateway_app.limited import ADMIN, APP, DOLLAR, bearer, deployment, tree, with_keys

NAMES = [
    f"x-ratelimit-{what}-{of}"
    for of in ("requests", "tokens")
    for what in ("limit", "remaining", "reset")
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    auth = with_keys(requests_per_minute=3)
    auth["keys"][0]["tokens_per_minute"] = 1000
    given = tree(
        {"plain": deployment("plain", DOLLAR)},
        auth=auth,
        rate_limits={"requests_per_minute": 100, "tokens_per_minute": 100_000},
    )
    with running_gateway(given, tmp_path_factory.mktemp("rates")) as running:
        yield running


def ask(gateway: Gateway, key: str, **fields: Any) -> httpx.Response:
    body = {"model": "plain", "input": "Hi", **fields}
    return gateway.http.post("/v1/generate", json=body, headers=bearer(key))


def plays(gateway: Gateway, tokens: int) -> None:
    gateway.scripts.only("plain", (Delta("x"), Finished(("stop",), Usage(10, tokens))))


def test_requests_a_minute(gateway: Gateway) -> None:
    plays(gateway, 1)
    left = []
    for _ in range(3):
        response = ask(gateway, APP)
        assert response.status_code == 200
        assert all(name in response.headers for name in NAMES)
        assert response.headers["x-ratelimit-limit-requests"] == "3"
        left.append(response.headers["x-ratelimit-remaining-requests"])
    assert left == ["2", "1", "0"]
    refused = ask(gateway, APP)
    error = refused.json()["error"]
    assert refused.status_code == 429
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limited")
    # the bucket fills evenly: one more after a third of a minute
    assert 15 <= error["retry_after_seconds"] <= 20
    assert 15 <= int(refused.headers["retry-after"]) <= 20
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"(\d+m)?\d+s", refused.headers["x-ratelimit-reset-requests"])
    assert len(gateway.scripts.calls("plain")) == 3
    assert ask(gateway, ADMIN).status_code == 200  # another key has its own


def test_tokens_are_taken_by_estimate_and_settled_by_usage(gateway: Gateway) -> None:
    plays(gateway, 90)

    def remaining(**fields: Any) -> int:
        response = ask(gateway, ADMIN, **fields)
        assert response.status_code == 200, response.text
        assert response.headers["x-ratelimit-limit-tokens"] == "1000"
        return int(response.headers["x-ratelimit-remaining-tokens"])

    many = {"parameters": {"max_output_tokens": 500}}
    first = remaining(**many)  # 500 and the input are taken
    # 400 of them come back when it has ended; so 500 can be taken again
    eventually(lambda: remaining(**many) > first - 200)
    plays(gateway, 2000)  # more than was estimated
    remaining()
    refused = ask(gateway, ADMIN)
    assert refused.status_code == 429
    assert refused.json()["error"]["retry_after_seconds"] > 60
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/chat/completions"])
def test_a_stream_tells_it_in_its_headers(gateway: Gateway, path: str) -> None:
    plays(gateway, 1)
    made = gateway.http.post("/v1/keys", json={"name": path[-4:]}, headers=bearer(ADMIN)).json()
    asked = {"messages": [{"role": "user", "content": "Hi"}]} if "chat" in path else {"input": "?"}
    body = {"model": "plain", "stream": True, **asked}
    response = gateway.http.post(path, json=body, headers=bearer(made["key"]))
    assert response.status_code == 200
    assert response.headers["x-ratelimit-limit-requests"] == "100"  # of all keys together
    assert response.headers["x-ratelimit-limit-tokens"] == "100000"


def test_without_limits_there_are_no_headers(locked: Gateway) -> None:
    locked.scripts.says("plain")
    headers = {"authorization": "Bearer sig_app-key-1"}
    response = locked.http.post(
        "/v1/generate", json={"model": "plain", "input": "Hi"}, headers=headers
    )
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]
