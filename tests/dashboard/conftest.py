from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from providers.contract import Booting, Delta, Finished, Started, UpstreamFailed, Usage
from providers.testing import Wait
from tests.gateway_app.gateways import Gateway, Scripts, running_gateway

KEYS = {
    "app": ("sig_app-key-1", ["generate"]),
    "finance": ("sig_finance-key-2", ["reports"]),
    "operator": ("sig_operator-key-3", ["admin"]),
}
SCRIPT_TAG = "<script>alert(1)</script>"
END = (Delta("hi"), Finished(("stop",), Usage(1000, 2000)))
COLD = (Booting("process_started", True), Wait(0.02), Started("i"), *END)


def configuration() -> dict[str, Any]:
    tokens = {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.07"}
    seconds = {"usd_per_second": "0.0001", "bills": ["execute", "boot"]}
    deployments: dict[str, Any] = {
        name: {"provider": "scripted", "model": name, "price": price}
        for name, price in (("tokens", tokens), ("seconds", seconds), ("unpriced", None))
    }
    models: dict[str, Any] = {name: {"deployments": [name]} for name in deployments}
    models["both"] = {"deployments": ["seconds", "tokens"], "strategy": "priority"}
    return {
        "retries": {"attempts_per_deployment": 1},
        "deployments": deployments,
        "models": models,
    }


def traffic(gateway: Gateway) -> dict[str, str]:
    """A few operations of each kind; their ids by what they show."""
    scripts = gateway.scripts
    ids = {}
    for number in range(3):
        scripts.only("tokens", END)
        ids["plain"] = gateway.answer("tokens", tags={"nth": str(number)})["id"]
    scripts.only("seconds", COLD)
    ids["cold"] = gateway.answer("seconds")["id"]
    scripts.only("seconds", (Started("i", "scale_state"), *END))
    gateway.answer("seconds")
    scripts.only("unpriced", END)
    ids["unpriced"] = gateway.answer("unpriced")["id"]
    scripts.only("seconds", (UpstreamFailed(),))
    scripts.only("tokens", END)
    ids["fallback"] = gateway.answer("both")["id"]
    scripts.only("tokens", END)
    ids["tagged"] = gateway.answer("tokens", tags={"x": SCRIPT_TAG, "f": "=1+1"})["id"]
    gateway.get("/v1/operations")  # until the database has all of it
    return ids


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway without keys."""
    with running_gateway(configuration(), tmp_path_factory.mktemp("shown"), Scripts()) as running:
        yield running


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that was never called."""
    with running_gateway(configuration(), tmp_path_factory.mktemp("empty")) as running:
        yield running


@pytest.fixture(scope="session")
def ids(shown: Gateway) -> dict[str, str]:
    """Its traffic: the ids of operations."""
    return traffic(shown)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with keys."""
    tree = configuration()
    tree["auth"] = {
        "mode": "keys",
        "keys": [
            {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": scopes}
            for name, (key, scopes) in KEYS.items()
        ],
    }
    with running_gateway(tree, tmp_path_factory.mktemp("guarded")) as running:
        yield running


def logged_in(gateway: Gateway, name: str) -> httpx.Client:
    """A browser's stand-in with the cookie of that key."""
    client = httpx.Client(base_url=gateway.url, timeout=20)
    answer = client.post("/dashboard/login", data={"key": KEYS[name][0]})
    assert answer.status_code == 303, answer.text
    return client
