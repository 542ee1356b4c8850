"""A deployment that is off until a test has it woken, and up when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from providers.contract import Booting, Delta, Finished, Started, Usage
from providers.testing import Until
from providers.testing.scripted import Step
from tests.gateway_app.gateways import Gateway, eventually

USAGE = Usage(input_tokens=10, output_tokens=20)
BOOT = Booting("process_started", True)
WARM = (Started("m1", "scale_state"), Delta("hello"), Finished(("stop",), USAGE))
PRICE = {"usd_per_second": "1", "bills": ["execute", "boot", "queue"]}
IDLE_SECONDS = 0.05


def deployment(**more: Any) -> dict[str, Any]:
    """One that is off when it has not been used for an instant."""
    return {"provider": "scripted", "price": PRICE, "keep_alive_seconds": IDLE_SECONDS, **more}


class Cold:
    """A deployment that is off; its boot ends when a test says so."""

    def __init__(self, gateway: Gateway, pool: ThreadPoolExecutor, name: str) -> None:
        self.gateway = gateway
        self.pool = pool
        self.name = name
        self.up = asyncio.Event()
        gateway.scripts.only(name, (BOOT, *WARM))
        gateway.answer(name)
        eventually(lambda: self.state()["state"] == "off", 5)
        self.plays()

    def plays(self, *first: tuple[Step, ...]) -> None:
        """``first`` scripts, then whoever comes finds it warm; a boot ends with ``ready``."""
        self.gateway.scripts.only(self.name, *(first or ((BOOT, Until(self.up), *WARM),)), WARM)

    def ready(self) -> None:
        assert self.gateway.loop is not None
        self.gateway.loop.call_soon_threadsafe(self.up.set)

    def calls(self) -> int:
        return len(self.gateway.scripts.calls(self.name))

    def asks(self, **fields: Any) -> Future[httpx.Response]:
        return self.pool.submit(self.gateway.generate, fields.pop("model", self.name), **fields)

    def state(self) -> Any:
        found = self.gateway.get("/v1/deployments")["data"]
        return next(line for line in found if line["name"] == self.name)

    @contextlib.contextmanager
    def out_of_service(self) -> Iterator[None]:
        self.gateway.http.post(f"/v1/deployments/{self.name}/cordon")
        try:
            yield
        finally:
            self.gateway.http.post(f"/v1/deployments/{self.name}/uncordon")

    def queued(self, count: int) -> None:
        """Wait until so many wait at the gate."""
        eventually(lambda: self.state()["queued"] == count, 5)

    def wakes(self, **fields: Any) -> Future[httpx.Response]:
        """The first caller, once the boot that its attempt has caused is known.

        A boot that failed just before passes for one that goes on.
        """
        sent = self.calls()
        first = self.asks(**fields)
        eventually(lambda: self.calls() > sent and self.state()["state"] == "booting", 5)
        return first
