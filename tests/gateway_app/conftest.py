from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.emulators.openai_chat import KEY, OpenAIChat
from tests.gateway_app.gateways import Gateway, Scripts, running_gateway
from tests.serving import Emulators

KEYS = {
    "app": ("sig_app-key-1", ["generate"]),
    "other": ("sig_other-key-2", ["generate"]),
    "finance": ("sig_finance-key-3", ["reports"]),
    "operator": ("sig_operator-key-4", ["admin"]),
    "both": ("sig_both-key-5", ["generate", "reports"]),
}
PER_TOKEN = {"usd_per_million_input_tokens": "0.05", "usd_per_million_output_tokens": "0.07"}
PER_SECOND = {"usd_per_second": "0.0001", "bills": ["execute", "boot"]}
SHORT = {
    "queue_seconds": 0.15,
    "boot_seconds": 0.3,
    "first_output_seconds": 0.2,
    "stall_seconds": 0.25,
    "total_seconds": 20,
}
EMULATED = (
    *("warm", "tools", "usage-missing", "no-such-model", "context-too-long", "rate-limited"),
    *("invalid-request", "job-fails", "bad-key", "out-of-quota", "dies-mid-stream", "stalls"),
    *("never-answers", "huge-frame", "loading:2"),
)


def scripted(name: str, **more: Any) -> dict[str, Any]:
    return {"provider": "scripted", "model": name, "price": PER_TOKEN, **more}


def configuration(emulator_url: str) -> dict[str, Any]:
    """One deployment for each kind of thing that tests want to see."""
    deployments = {
        "plain": scripted("plain"),
        "first": scripted("first"),
        "second": scripted("second"),
        "seconds": scripted("seconds", price=PER_SECOND),
        "uncancellable": scripted("uncancellable", price=PER_SECOND, cancels=False),
        "whole": scripted("whole", price=PER_SECOND, cancels=False, cancels_whole=True),
        "shared": scripted("shared", price={**PER_SECOND, "shared": True}),
        "unpriced": scripted("unpriced", price=None),
        "impatient": scripted("impatient", timeouts=SHORT),
        "brief": scripted("brief", timeouts={"total_seconds": 0.3}),
        "narrow": scripted("narrow", limits={"max_concurrency": 1, "max_queued": 1}),
        "short": scripted("short", limits={"max_output_tokens": 100}),
    }
    upstream = {
        name.replace(":", "-"): {"provider": "upstream", "model": name, "price": PER_TOKEN}
        for name in EMULATED
    }
    models = {name: {"deployments": [name]} for name in (*deployments, *upstream)}
    return {
        "server": {"body_timeout_seconds": 0.4, "keep_alive_seconds": 0.1},
        "retries": {"attempts_per_deployment": 2, "backoff_seconds": 0.01, "max_wait_seconds": 0.2},
        "providers": {
            "upstream": {"kind": "openai_chat", "base_url": emulator_url, "api_key": KEY}
        },
        "deployments": {**deployments, **upstream},
        "models": {**models, "both": {"deployments": ["first", "second"], "strategy": "priority"}},
    }


@pytest.fixture(scope="session")
def chat_emulator(_emulators: Emulators) -> OpenAIChat:
    app = OpenAIChat()
    app.url = _emulators.add(app)
    return app


@pytest.fixture(scope="session")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, chat_emulator: OpenAIChat
) -> Iterator[Gateway]:
    """The gateway of most tests: without keys, with short patience."""
    tree = configuration(chat_emulator.url)
    with running_gateway(tree, tmp_path_factory.mktemp("gateway"), Scripts()) as running:
        yield running


@pytest.fixture
def scripts(gateway: Gateway) -> Scripts:
    return gateway.scripts


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with keys."""
    tree = configuration("http://127.0.0.1:9")
    tree["auth"] = {
        "mode": "keys",
        "keys": [
            {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": scopes}
            for name, (key, scopes) in KEYS.items()
        ],
    }
    with running_gateway(tree, tmp_path_factory.mktemp("locked")) as running:
        yield running
