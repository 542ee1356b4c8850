"""The bound on overspend: many callers, answers of unknown length, one budget of a dollar.

The other side keeps a meter of its own, which also counts what nobody waited for. What it says
must not exceed the budget by more than README states: for each attempt that runs a slice, and
what is made while the cut is on its way.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path
from typing import Any

from providers.contract import Delta, Event, Finished, GenerateRequest, Usage
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway
from tests.gateway_app.limited import deployment, tree

RUNS, CALLERS = 50, 64
LIMIT_USD, SLICE_USD = Decimal("1.00"), Decimal("0.01")
USD_PER_TOKEN = Decimal("0.0002")
MOST_TOKENS_A_READ = 12
BOUND_USD = CALLERS * (SLICE_USD + MOST_TOKENS_A_READ * USD_PER_TOKEN)


class Meter(Scripts):
    """Answers of random length. ``tokens`` is what was made, wanted or not.

    The first answers of a run begin when as many as there are callers have been asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(20261126)
        self.begin()

    def begin(self) -> None:
        self.tokens = self.asked = 0
        self.all_there = asyncio.Event()

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        return Endless(self, model, options)


class Endless(ScriptedDeployment):
    """Its tokens are of three to six bytes; it says at the end how many there were."""

    def __init__(self, meter: Meter, model: str, options: ScriptedOptions) -> None:
        super().__init__(meter, model, options)
        self._meter = meter

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        meter = self._meter
        meter.asked += 1
        if meter.asked == CALLERS:
            meter.all_there.set()
        await meter.all_there.wait()
        made = 0
        for _ in range(meter.random.randint(1, 40)):
            tokens = meter.random.randint(1, MOST_TOKENS_A_READ)
            made += tokens
            meter.tokens += tokens
            yield Delta("x" * sum(meter.random.choices((3, 4, 5, 6), k=tokens)))
            await asyncio.sleep(0)
        yield Finished(("stop",), Usage(1, made))


class Caller:
    """One connection. ``run`` calls until the budget refuses, and gives the statuses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def run(self, run: int) -> list[int]:
        body = json.dumps({"model": "endless", "input": "Hi", "tags": {"run": str(run)}}).encode()
        head = (
            "POST /v1/generate HTTP/1.1\r\nhost: localhost\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        statuses: list[int] = []
        while 402 not in statuses:
            self._writer.write(head.encode() + body)
            answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            statuses.append(int(answer.split()[1]))
            length = int(answer.partition("content-length: ")[2].split()[0])
            await self._reader.readexactly(length)
        return statuses

    def close(self) -> None:
        self._writer.close()


def told(gateway: Gateway, run: int) -> Any:
    lines = gateway.http.get("/v1/budgets").json()["data"]
    return next(line for line in lines if line["name"] == f"run-{run}")


def test_many_callers_stay_within_the_stated_bound(tmp_path: Path) -> None:
    budgets = [
        {
            "name": f"run-{run}",
            "limit_usd": str(LIMIT_USD),
            "per": "total",
            "slice_usd": str(SLICE_USD),
            "tag": {"run": str(run)},
        }
        for run in range(RUNS)
    ]
    meter = Meter()
    price = {"usd_per_million_output_tokens": str(USD_PER_TOKEN * 10**6)}
    given = tree({"endless": deployment("endless", price)}, budgets=budgets)

    async def all_runs(gateway: Gateway) -> None:
        callers = [
            Caller(*await asyncio.open_connection("127.0.0.1", gateway.port))
            for _ in range(CALLERS)
        ]
        for run in range(RUNS):
            meter.begin()
            calls = await asyncio.gather(*(caller.run(run) for caller in callers))
            statuses = [status for call in calls for status in call]
            assert set(statuses) <= {200, 402}
            billed_usd = meter.tokens * USD_PER_TOKEN
            booked = told(gateway, run)
            spent_usd = Decimal(booked["spent_usd"])
            assert billed_usd <= LIMIT_USD + BOUND_USD, run
            assert spent_usd <= LIMIT_USD + BOUND_USD, run
            assert abs(spent_usd - billed_usd) < BOUND_USD, run  # cut ones are estimates
            # no reservation is left, and the budget was of use
            assert booked["reserved_usd"] == "0", run
            assert billed_usd > LIMIT_USD * Decimal("0.6"), run
        for caller in callers:
            caller.close()

    with running_gateway(given, tmp_path, meter) as gateway:
        eventually(lambda: told(gateway, 0)["spent_usd"] is not None)
        asyncio.run(all_runs(gateway))
