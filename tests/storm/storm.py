"""The storm itself: upstreams, a gateway that is killed and started again, callers, the audit."""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.acceptance.gateways import COMMAND, ENVIRONMENT
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_world import Model, World
from tests.serving import serve
from tests.storm.audit import Audit, audit
from tests.storm.callers import Callers
from tests.storm.upstream import StormyChat

_START_SECONDS = 60.0
_NUMBER = re.compile(r"operation (\d+)")
_WORDS = tuple(f"word{number} " for number in range(12))
_JOB = Model(pieces=_WORDS, execute_seconds=0.3, metrics={"input_token_count": 9})
JOBS = {
    "steady": _JOB,
    "quick": replace(_JOB, execute_seconds=0.05, always_warm=True),
    "breaks": replace(_JOB, pieces=_WORDS[:4], error="it broke", execute_seconds=0.1),
    "cut": replace(_JOB, cuts=(3, 2)),
    "slow": replace(_JOB, execute_seconds=1.2),
    "late": replace(_JOB, create_seconds=0.2),
}
_CONFIG = """
server: {{port: {port}, data_dir: {data_dir}, disconnect_grace_seconds: 0.2, drain_seconds: 5}}
timeouts: {{boot_seconds: 5, first_output_seconds: 3, stall_seconds: 0.5, total_seconds: 20}}
retries: {{attempts_per_deployment: 3, backoff_seconds: 0.02, max_wait_seconds: 1}}
providers:
  chat: {{kind: openai_chat, base_url: "{chat}", api_key: k, cancels: true}}
  replicate: {{api_token: "{token}", base_url: "{jobs}/v1", poll_seconds: 0.05}}
deployments:
  chat: {{provider: chat, model: stormy,
         price: {{usd_per_million_input_tokens: "0.05", usd_per_million_output_tokens: "0.08"}}}}
{deployments}
models:
  chat: {{deployments: [chat]}}
  jobs: {{deployments: [{names}], strategy: weighted}}
  either: {{deployments: [job-breaks, chat, job-quick], strategy: weighted}}
  raced: {{deployments: [chat, job-steady, job-quick], strategy: priority}}
"""


class Plan(Protocol):
    """What was asked for on the command line."""

    seed: int
    operations: int
    kills: int
    callers: int
    settle_seconds: float


class Storm:
    """One run. ``outcomes``: how operations ended for their callers; ``calls``: made upstream."""

    def __init__(self, folder: Path, given: Plan) -> None:
        self._folder = folder
        self._given = given
        self._chance = random.Random(given.seed)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._chat = StormyChat(given.seed)
        self._jobs = Replicate(World(scale=1.0, boot_seconds=0.4, keep_alive_seconds=1.0))
        self._jobs.models |= {f"emulated/{name}": model for name, model in JOBS.items()}
        self._jobs.world.max_instances = 16
        self._callers = Callers(lambda: self.url, given.seed, given.operations, given.callers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def outcomes(self) -> Counter[str]:
        return self._callers.outcomes

    @property
    def calls(self) -> int:
        return sum(map(len, self._chat.bills.values())) + len(self._jobs.world.made)

    async def run(self) -> Audit:
        """All of it; the gateway is ended before this returns."""
        with ExitStack() as stack:
            chat, jobs = (
                stack.enter_context(serve(self._chat)),
                stack.enter_context(serve(self._jobs)),
            )
            self._jobs.url = jobs
            self._configure(chat, jobs)
            await self._start()
            try:
                calling = asyncio.create_task(self._callers.run())
                await self._kill_now_and_then(calling)
                await calling
                return audit(await self._settled(), self._billed())
            finally:
                self._end()

    def _configure(self, chat: str, jobs: str) -> None:
        deployments = "\n".join(
            f"  job-{name}: {{provider: replicate, model: emulated/{name}, "
            "hardware: gpu-l40s, price: replicate-gpu-l40s}"
            for name in JOBS
        )
        self._port = _free_port()
        text = _CONFIG.format(
            port=self._port,
            data_dir=self._folder / "data",
            chat=chat,
            jobs=jobs,
            token=self._jobs.key,
            deployments=deployments,
            names=", ".join(f"job-{name}" for name in JOBS),
        )
        (self._folder / "gateway.yml").write_text(text)

    async def _start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            command = [*COMMAND, "serve", "--config", str(self._folder / "gateway.yml")]
            self._process = subprocess.Popen(  # noqa: ASYNC220 (forks at once)
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT
            )
        deadline = time.monotonic() + _START_SECONDS
        async with httpx.AsyncClient() as http:
            while True:
                try:
                    if (await http.get(f"{self.url}/healthz")).status_code == 200:
                        return
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)
                if self._process.poll() is not None or time.monotonic() > deadline:
                    sys.exit((self._folder / "log").read_text()[-4000:])

    async def _kill_now_and_then(self, calling: asyncio.Task[None]) -> None:
        total = self._callers.operations
        moments = sorted(
            self._chance.randrange(total // 10, total) for _ in range(self._given.kills)
        )
        for moment in moments:
            while self._callers.ended < moment and not calling.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert self._process is not None
            self._process.kill()
            self._process.wait()
            await self._start()

    async def _settled(self) -> list[Any]:
        """All operations, once nothing runs any more and what can be looked up was looked up."""
        deadline = time.monotonic() + self._given.settle_seconds
        async with httpx.AsyncClient(base_url=self.url, timeout=30) as http:
            while True:
                operations = await _all_operations(http)
                running = [x for x in operations if x["status"] == "running"]
                open_jobs = [x for x in operations if _can_be_looked_up(x)]
                if not running and (not open_jobs or time.monotonic() > deadline):
                    return operations
                assert time.monotonic() < deadline + 60, "operations that never end"
                await asyncio.sleep(0.5)

    def _billed(self) -> dict[int, Decimal]:
        billed = {
            number: sum((bill.usd for bill in bills), Decimal(0))
            for number, bills in self._chat.bills.items()
        }
        for made in self._jobs.world.made.values():
            found = _NUMBER.search(str(made.input))
            assert found is not None
            number = int(found[1])
            billed[number] = billed.get(number, Decimal(0)) + made.billed_usd
        return billed

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _can_be_looked_up(operation: Any) -> bool:
    return operation["cost"]["status"] != "measured" and any(
        attempt["upstream_id"] for attempt in operation["attempts"]
    )


async def _all_operations(http: httpx.AsyncClient) -> list[Any]:
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await http.get("/v1/operations", params={"limit": "1000", **cursor})
        page = answer.json()
        if answer.status_code != 200 or "as_of" in page:
            await asyncio.sleep(0.2)  # the database is behind: begin again
            found, cursor = [], {}
            continue
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
