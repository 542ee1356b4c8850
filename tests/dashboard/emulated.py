"""A gateway process before emulators of three providers, with calls of every kind behind it.

Some were cold, some failed, one was raced by two deployments, and one was cut off by the death of
an earlier gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.gateways import Gateway, serving, until
from tests.emulators.openai_chat import KEY, OpenAIChat
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import COLD
from tests.emulators.replicate_world import World
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_wire import COLD as RUNPOD_COLD
from tests.emulators.runpod_world import World as RunPodWorld
from tests.serving import serve

TOKENS = {"usd_per_million_input_tokens": "40", "usd_per_million_output_tokens": "90"}


@dataclass(frozen=True)
class Seen:
    """The gateway, and operations of it by what they show."""

    gateway: Gateway
    ids: dict[str, str]


def configuration(replicate: Replicate, runpod: RunPod, acme: OpenAIChat) -> dict[str, Any]:
    def priced(provider: str, model: str, price: Any, **more: Any) -> dict[str, Any]:
        return {"provider": provider, "model": model, "price": price, **more}

    l40s = "replicate-gpu-l40s"
    deployments = {
        "llama-replicate": priced("replicate", "emulated/chat", l40s),
        "llama-runpod": priced(
            *("runpod", "chat", "runpod-l40s"),
            endpoint="chat",
            input={"prompt": "prompt", "max_output_tokens": "max_tokens"},
            streams=True,
            output_field="text",
        ),
        "llama-acme": priced("acme", "warm", TOKENS),
        "new-at-acme": {"provider": "acme", "model": "usage-missing"},
        "ill-at-acme": priced("acme", "job-fails", TOKENS),
        "slow-replicate": priced("replicate", "emulated/never-boots", l40s),
        "stuck-at-acme": priced("acme", "stalls", TOKENS),
        "stuck-replicate": priced("replicate", "emulated/stalls", l40s),
    }
    models: dict[str, Any] = {name: {"deployments": [name]} for name in deployments}
    models["chat"] = {"deployments": ["llama-replicate", "llama-runpod"], "strategy": "priority"}
    models["safe"] = {"deployments": ["ill-at-acme", "llama-acme"], "strategy": "priority"}
    models["raced"] = {"deployments": ["slow-replicate", "llama-acme"], "strategy": "priority"}
    return {
        "retries": {"backoff_seconds": 0.001},
        "providers": {
            "replicate": {
                "api_token": replicate.key,
                "base_url": f"{replicate.url}/v1",
                "poll_seconds": 0.02,
            },
            "runpod": {
                "api_key": runpod.key,
                "base_url": f"{runpod.url}/v2",
                "management_url": f"{runpod.url}/rest/v2",
                "poll_seconds": 0.02,
            },
            "acme": {"kind": "openai_chat", "base_url": acme.url, "api_key": KEY},
        },
        "deployments": deployments,
        "models": models,
    }


@contextmanager
def emulated(folder: Path) -> Iterator[Seen]:
    replicate = Replicate(World(scale=500.0, boot_seconds=90.0, keep_alive_seconds=120.0))
    replicate.models["emulated/chat"] = replace(COLD, execute_seconds=12.0)
    runpod = RunPod(RunPodWorld(scale=500.0))
    runpod.endpoint("chat", replace(RUNPOD_COLD, execute_seconds=12.0))
    acme = OpenAIChat()
    with ExitStack() as stack:
        for app in (replicate, runpod, acme):
            app.url = stack.enter_context(serve(app))
        config, data = folder / "gateway.yml", folder / "data"
        config.write_text(yaml.safe_dump(configuration(replicate, runpod, acme)))
        ids: dict[str, str] = {}
        with serving(config, data, folder / "first.log") as first:
            with first.stream("stuck-replicate") as events:
                ids["interrupted"] = next(events)[1]["id"]
                next(event for event in events if event[0] == "delta")
                first.kill()
        gateway = stack.enter_context(serving(config, data, folder / "second.log"))
        ids |= calls(gateway)
        until(lambda: len(gateway.get("/v1/operations")["data"]) > len(ids))  # one model twice
        until(lambda: gateway.get(f"/v1/operations/{ids['interrupted']}")["status"] != "running")
        yield Seen(gateway, ids)


def calls(gateway: Gateway) -> dict[str, str]:
    """One after the other; those that ask for a failure are allowed one."""
    ids: dict[str, str] = {}
    for model in ("chat", "chat", "llama-runpod", "llama-acme"):
        ids.setdefault(f"first of {model}", gateway.generate(model, tags={"team": "search"})["id"])
    ids["unpriced"] = gateway.generate("new-at-acme")["id"]
    ids["fallback"] = gateway.generate("safe")["id"]
    ids["raced"] = gateway.generate("raced", routing={"hedge": True})["id"]
    failed = gateway.call("POST", "/v1/generate", {"model": "ill-at-acme", "input": "Hi"})
    assert failed.status == 502
    ids["failed"] = failed.json["error"]["operation_id"]
    return ids
