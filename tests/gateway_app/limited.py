"""A gateway with keys, budgets and rate limits, for tests of those."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tests.gateway_app.gateways import Gateway, eventually

ADMIN = "sig_the-admin-key"
APP = "sig_the-app-key"
DOLLAR = {"usd_per_million_output_tokens": "1000000"}  # one dollar a token: sums are read at sight
CENT = {"usd_per_million_output_tokens": "10000"}
PER_SECOND = {"usd_per_second": "0.01"}


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def deployment(name: str, price: Mapping[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"provider": "scripted", "model": name, "price": price, **more}


def tree(deployments: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A configuration in which each deployment is a model of the same name."""
    return {
        "retries": {"attempts_per_deployment": 2, "backoff_seconds": 0.001},
        "deployments": dict(deployments),
        "models": {name: {"deployments": [name]} for name in deployments},
        **more,
    }


def with_keys(**more: Any) -> dict[str, Any]:
    keys = [
        {"name": "root", "sha256": digest(ADMIN), "scopes": ["admin"]},
        {"name": "app", "sha256": digest(APP), **more},
    ]
    return {"mode": "keys", "keys": keys}


def budget(gateway: Gateway, name: str, **headers: str) -> Any:
    """A budget as it is told, once it is known."""
    found: list[Any] = []

    def known() -> bool:
        response = gateway.http.get("/v1/budgets", headers=headers)
        assert response.status_code == 200, response.text
        found[:] = [line for line in response.json()["data"] if line["name"] == name]
        assert found, f"there is no budget {name}"
        return found[0]["spent_usd"] is not None

    eventually(known)
    return found[0]
