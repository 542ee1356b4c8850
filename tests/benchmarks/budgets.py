"""``python -m tests.benchmarks.budgets``: what budgets and rate limits cost a request.

Microseconds of one core, in one process and without a socket: the best of several rounds, because
other work on the machine only ever adds to them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from gateway.accounting.prices import PriceRow
from gateway.app import create_app
from gateway.clock import Clock
from gateway.ledger.reading.spend import SpendQuery, Spent
from gateway.ledger.rows import AttemptRow
from gateway.ledger.shipping.spend_changes import SpendChange
from gateway.limits.book import MemoryBook
from gateway.limits.budgets import Budgets
from gateway.limits.rates import MemoryBuckets, Rate, draws_for
from gateway.settings import BudgetSettings, Settings
from providers.contract import Delta, Finished, Usage
from providers.testing import ScriptedProvider

ROUNDS, CALLS = 7, 5_000
PRICE = PriceRow.model_validate(
    {
        "name": "p",
        "effective_from": "2026-01-01",
        "source": "a benchmark",
        "checked_on": "2026-01-01",
        "usd_per_million_input_tokens": "0.05",
        "usd_per_million_output_tokens": "0.08",
    }
)
ROW = AttemptRow("att_1", "gen_1", 0, "generate", False, "m", "d", "p", "m", "r", 0, 0)


async def nothing_spent(queries: Sequence[SpendQuery]) -> Sequence[Spent]:
    """The ledger is empty."""
    return [Spent(0, 0) for _ in queries]


async def nothing_changed(number: int) -> Sequence[SpendChange]:
    """Nor is there a later word."""
    return []


def budgets(count: int) -> Budgets:
    """So many budgets that are about everything."""
    clock = Clock()
    settings = [
        BudgetSettings.model_validate({"name": f"b{n}", "limit_usd": "1000000", "per": "day"})
        for n in range(count)
    ]
    book = MemoryBook(clock.monotonic)
    return Budgets(settings, book, clock, nothing_spent, nothing_changed, wait_seconds=1.0)


async def attempts(these: Budgets, max_output_tokens: int | None) -> float:
    """Microseconds of one attempt's reservation and settlement; the making of its row is taken off.

    ``max_output_tokens`` None: it holds a slice.
    """
    now_us = time.time_ns() // 1000
    draft = replace(ROW, begun_at_us=now_us, operation_at_us=now_us, cost_pico_usd=1)
    draft.max_output_tokens, draft.cost_status = max_output_tokens, "measured"

    async def one() -> None:
        row = replace(draft)
        covering = await these.over(row.key_id, row.tags, row.operation_at_us)
        hold = await these.reserve(row, PRICE, covering, input_bytes=400, total_seconds=900.0)
        hold.settle()

    async def bare() -> None:
        replace(draft)

    return await best(one) - await best(bare)


async def requests(count: int) -> float:
    """Microseconds of CPU of a whole ``POST /v1/generate`` under so many budgets."""
    provider = ScriptedProvider()
    provider.play("m", Delta("hi"), Finished(("stop",), Usage(3, 2)))
    deployment = {"provider": "scripted", "model": "m", "price": {"usd_per_request": "0.000001"}}
    body = json.dumps({"model": "m", "input": "hi"}).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/generate", "headers": headers}
    statuses: set[int] = set()

    async def call() -> None:
        messages = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            statuses.add(message.get("status", 200))

        await app(dict(scope), receive, send)
        provider.history.clear()

    with tempfile.TemporaryDirectory() as data_dir:
        settings = Settings.model_validate(
            {
                "server": {"data_dir": data_dir},
                "deployments": {"m": deployment},
                "models": {"m": {"deployments": ["m"]}},
                "budgets": [
                    {"name": f"b{n}", "limit_usd": "1000", "per": "day"} for n in range(count)
                ],
            }
        )
        app = create_app(settings, plugins={"scripted": provider.plugin()}, log_attempts=False)
        async with app.router.lifespan_context(app):
            microseconds = await best(call, time.process_time, 500)
    assert statuses == {200}, statuses
    return microseconds


async def best(
    work: Callable[[], Awaitable[None]],
    clock: Callable[[], float] = time.perf_counter,
    calls: int = CALLS,
) -> float:
    """Microseconds of one call, in the best round."""
    await work()
    found = []
    for _ in range(ROUNDS):
        began = clock()
        for _ in range(calls):
            await work()
        found.append((clock() - began) / calls * 1e6)
    return min(found)


async def main() -> int:
    """Print one line for each case."""
    for count in (0, 1, 3):
        print(f"{count} budgets: {await requests(count):.0f} us of CPU a request")
    for count in (1, 3):
        these = budgets(count)
        these.open_now()
        for what, most in (("max_output_tokens", 512), ("no bound", None)):
            microseconds = await attempts(these, most)
            print(f"{count} budgets, {what}: {microseconds:.1f} us an attempt")
        await these.aclose()
    buckets = MemoryBuckets(time.monotonic)
    draws = draws_for([Rate("a", "requests", 10**9), Rate("a", "tokens", 10**9)], 100)

    async def take() -> None:
        await buckets.take(draws)
        buckets.put(draws[1], 50)

    print(f"requests and tokens a minute of one key: {await best(take):.1f} us a request")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
