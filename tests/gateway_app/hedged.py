"""Deployments that race, and what the books say of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.execution.racing import LOSER_SECONDS
from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Started,
    Usage,
)
from providers.testing import Wait
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from providers.toolkit.jobs import running_job
from tests.gateway_app.gateways import Gateway, Scripts, running_gateway

NEVER = Wait(3600)
END = (Started(evidence="scale_state"), Delta("hi"), Finished(("stop",), Usage(10, 20)))
COLD = (Accepted("job-1"), Booting("phase_reported", caused_boot=True), NEVER)
TOKENS = {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "1"}
SECONDS = {"usd_per_second": "0.01", "bills": ["execute", "boot"]}
HEDGE = {"hedge": True}


class Clings(ScriptedDeployment):
    """Its provider takes its time to hang up, and then says once more that it works."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        try:
            yield Accepted("job-2")
            yield Booting("phase_reported")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(LOSER_SECONDS * 2)
            yield Delta("too late")
            yield Finished(("stop",))


class Fades(ScriptedDeployment):
    """It takes being cancelled for the end, and gives none."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        try:
            yield Booting("phase_reported")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return


class Orders(ScriptedDeployment):
    """It runs jobs, and its provider takes some time to give an id."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        async def order() -> str:
            await asyncio.sleep(0.3)
            return "job-9"

        async def cancel(job_id: str) -> None:
            assert job_id == "job-9"

        async with running_job(order, cancel) as job:
            yield Accepted(job.created)
            await asyncio.sleep(3600)


class Clinging(Scripts):
    """Scripts, of which three models have adapters with ways of their own."""

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        kind = {"clings": Clings, "fades": Fades, "orders": Orders}.get(model, ScriptedDeployment)
        return kind(self, model, options)


def deployment(name: str, price: Any = TOKENS, **more: Any) -> dict[str, Any]:
    return {"provider": "scripted", "model": name, "price": price, **more}


@contextlib.contextmanager
def racing_gateway(data_dir: Path) -> Iterator[Gateway]:
    """One with pairs of deployments that may race."""
    tree = {
        "server": {"disconnect_grace_seconds": 0.1},
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            "a": deployment("a", SECONDS),
            "b": deployment("b", SECONDS),
            "calm": deployment("calm", keep_alive_seconds=300),
            "fresh": deployment("fresh", keep_alive_seconds=300),
            "tokens": deployment("tokens"),
            "slow": deployment("slow"),
            "clings": deployment("clings", SECONDS),
            "fades": deployment("fades", SECONDS),
            "orders": deployment("orders", SECONDS),
            "stubborn": deployment("stubborn", cancels=False),
            "whole": deployment("whole", cancels=False, cancels_whole=True),
            "narrow": deployment("narrow", limits={"max_concurrency": 1}),
        },
        "models": {
            "two": {"deployments": ["a", "b"], "strategy": "priority"},
            "calm": {"deployments": ["calm", "fresh"], "strategy": "priority"},
            "clings": {"deployments": ["clings", "b"], "strategy": "priority"},
            "fades": {"deployments": ["fades", "b"], "strategy": "priority"},
            "orders": {"deployments": ["b", "orders"], "strategy": "priority"},
            "alone": {"deployments": ["a"]},
            "stubborn": {"deployments": ["a", "stubborn"], "strategy": "priority"},
            "whole": {"deployments": ["a", "whole"], "strategy": "priority"},
            "full": {"deployments": ["a", "narrow"], "strategy": "priority"},
            "three": {"deployments": ["a", "stubborn", "b"], "strategy": "priority"},
            "tokens": {"deployments": ["slow", "tokens"], "strategy": "priority"},
        },
    }
    with running_gateway(tree, data_dir, Clinging()) as running:
        yield running


def freshen(gateway: Gateway) -> None:
    """All answer at once again, and no calls are remembered."""
    for name in ("a", "b", "calm", "fresh", "tokens", "stubborn", "whole", "narrow"):
        gateway.scripts.only(name, END)


def told(answer: Any, deployment: str) -> str | None:
    found = [x for x in answer["candidates"] if x["deployment"] == deployment]
    hedge = found[0].get("hedge")
    assert hedge is None or isinstance(hedge, str)
    return hedge


def booked(gateway: Gateway, answer: Any) -> list[tuple[str, str]]:
    """Deployments and statuses of its attempts, all ended; their costs add up."""
    operation = gateway.operation(answer["id"])
    rows = sorted(gateway.rows(answer["id"]), key=lambda row: row["ordinal"])
    assert len(rows) == len(operation["attempts"])
    assert operation["cost"] == answer["cost"]
    known = sum(row["known_pico_usd"] for row in rows)
    assert Decimal(answer["cost"]["known_usd"]) == Decimal(known) / 10**12
    assert [row["ordinal"] for row in rows] == list(range(len(rows)))
    return [(row["deployment"], row["status"]) for row in rows]
