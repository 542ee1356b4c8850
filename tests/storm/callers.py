"""Callers of every kind: patient ones, ones who hang up, ones who come twice with one key."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

LATE = "Take your time."
"""What makes the chat upstream begin late: later than it does in 19 of 20 answers."""
_MODELS = ("chat", "jobs", "either", "raced")
_POLICIES = ("cancel", "cancel", "drain", "park")
_LONGEST_SECONDS = 30.0


@dataclass(slots=True)
class Callers:
    """So many operations by so many callers at once; ``outcomes`` says how they ended for them."""

    url: Callable[[], str]
    seed: int
    operations: int
    at_once: int = 32
    outcomes: Counter[str] = field(default_factory=Counter)
    ended: int = 0

    async def run(self) -> None:
        """Call until every operation has had its caller."""
        numbers = iter(range(self.operations))
        limits = httpx.Limits(max_connections=self.at_once * 2)
        async with httpx.AsyncClient(timeout=_LONGEST_SECONDS, limits=limits) as http:

            async def one() -> None:
                for number in numbers:
                    self.outcomes[await self._call(http, number)] += 1
                    self.ended += 1

            await asyncio.gather(*(one() for _ in range(self.at_once)))

    async def _call(self, http: httpx.AsyncClient, number: int) -> str:
        chance = random.Random(f"{self.seed} {number}")
        body: dict[str, Any] = {
            "model": chance.choice(_MODELS),
            "input": f"This is operation {number}. {'Say more. ' * chance.randrange(8)}",
            "stream": chance.random() < 0.6,
            "on_disconnect": chance.choice(_POLICIES),
            "tags": {"operation": str(number)},
        }
        if chance.random() < 0.8:
            body["parameters"] = {"max_output_tokens": chance.randrange(8, 200)}
        if body["model"] == "raced":
            body["routing"] = {"hedge": True}
            if chance.random() < 0.5:
                body["input"] += LATE
        headers = {"idempotency-key": f"{self.seed}-{number}"} if chance.random() < 0.1 else {}
        patience = chance.uniform(0.0, 0.6) if chance.random() < 0.2 else None
        for _ in range(2 if headers else 1):
            outcome = await self._once(http, body, headers, patience)
            if outcome != "answered":
                return outcome
        return outcome

    async def _once(
        self,
        http: httpx.AsyncClient,
        body: dict[str, Any],
        headers: dict[str, str],
        patience: float | None,
    ) -> str:
        while True:
            try:
                async with asyncio.timeout(patience):
                    url = f"{self.url()}/v1/generate"
                    async with http.stream("POST", url, json=body, headers=headers) as answer:
                        whole = b"".join([part async for part in answer.aiter_bytes()])
            except TimeoutError:
                return "hung up"
            except httpx.ConnectError:
                await asyncio.sleep(0.05)  # it was killed, and is not back yet
                continue
            except httpx.HTTPError:
                return "cut off"
            if answer.status_code == 503 and b'"draining"' in whole:
                continue
            if answer.status_code != 200 or b"\nevent: error\n" in whole:
                return "failed"
            return "answered"
