"""A hedge storm: hundreds of raced calls to deployments with bad habits, held against their truth.

What a deployment does with an operation is drawn from the seed, the operation's number and its own
name, so that a storm can be played again. It keeps its own account of every call.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Started,
    UpstreamFailed,
)
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway

SEED, OPERATIONS, AT_ONCE = 20261126, 300, 24
NAMES = ("w", "x", "y", "z")
USD_PER_SECOND = Decimal("0.01")
CANCEL_SECONDS = 0.02  # how long such a provider takes at most to stop
LOOP_SECONDS = 0.1  # and what a busy machine may add, on average
HABITS = {"answers": 40, "boots": 25, "is silent": 20, "fails": 10, "breaks off": 5}


@dataclass(slots=True)
class Truth:
    """One call, as its deployment knows it; instants of the event loop's clock."""

    number: int
    name: str
    begun_at: float
    first_output_at: float | None = None
    ended_at: float | None = None
    outcome: str = "running"


class Habitual(ScriptedDeployment):
    """One deployment of the storm."""

    def __init__(self, owner: Storm, name: str, options: ScriptedOptions) -> None:
        super().__init__(owner, name, options)
        self._owner, self._name = owner, name

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        loop = asyncio.get_running_loop()
        number = number_of(request.input)
        chance = random.Random(f"{SEED} {number} {self._name}")
        call = Truth(number, self._name, loop.time())
        self._owner.truths.append(call)
        (habit,) = chance.choices(list(HABITS), list(HABITS.values()))
        try:
            yield Accepted(f"{self._name}-{number}")
            if habit == "boots":
                yield Booting("phase_reported", caused_boot=True)
                await asyncio.sleep(chance.uniform(0.0, 0.2))
            if habit == "is silent":
                await asyncio.sleep(chance.uniform(0.1, 0.6))
            yield Started()
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            if habit == "fails":
                raise UpstreamFailed
            call.first_output_at = loop.time()
            for _ in range(chance.randrange(1, 5)):
                yield Delta(f"{self._name} ")
                await asyncio.sleep(chance.uniform(0.0, 0.01))
            if habit == "breaks off":
                raise UpstreamFailed
            call.outcome = "finished"
            yield Finished(("stop",))
        except UpstreamFailed:
            call.outcome = "failed"
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if call.outcome == "running":
                call.outcome = "cancelled"
            await asyncio.shield(asyncio.sleep(chance.uniform(0.0, CANCEL_SECONDS)))
            raise
        finally:
            call.ended_at = loop.time()


class Storm(Scripts):
    """All of its deployments."""

    def __init__(self) -> None:
        super().__init__()
        self.truths: list[Truth] = []

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        return Habitual(self, model, options)


def number_of(said: Any) -> int:
    found = re.search(r"operation (\d+)", str(said))
    assert found is not None
    return int(found[1])


def call(gateway: Gateway, number: int) -> tuple[int, str]:
    """One caller; gives what it heard, "" where it hung up or heard of a failure."""
    chance = random.Random(f"{SEED} caller {number}")
    routing: dict[str, Any] = {"hedge": True}
    if chance.random() < 0.3:
        routing["max_cost_usd"] = "0.5"
    body = {
        "model": "storm",
        "input": f"This is operation {number}.",
        "stream": chance.random() < 0.5,
        "routing": routing,
        "tags": {"operation": str(number)},
    }
    patience = chance.uniform(0.0, 0.2) if chance.random() < 0.1 else 20.0
    try:
        answer = gateway.http.post("/v1/generate", json=body, timeout=patience)
    except httpx.TimeoutException:
        return number, ""
    if answer.status_code != 200 or "event: error" in answer.text:
        return number, ""
    return number, "".join(re.findall(r'"text":"([a-z ]+)"', answer.text))


def test_losers_are_cancelled_and_booked_and_cost_no_more_than_stated(tmp_path: Path) -> None:
    storm = Storm()
    price = {"usd_per_second": str(USD_PER_SECOND), "bills": ["execute", "boot"]}
    tree = {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price} for name in NAMES
        },
        "models": {"storm": {"deployments": list(NAMES), "strategy": "weighted"}},
    }
    with (
        running_gateway(tree, tmp_path, storm) as gateway,
        ThreadPoolExecutor(AT_ONCE) as callers,
    ):
        heard = dict(callers.map(lambda number: call(gateway, number), range(OPERATIONS)))
        eventually(lambda: not gateway.running(), 10)
        eventually(lambda: all(truth.ended_at is not None for truth in storm.truths))
        ended = [line["attempt"] for line in gateway.journal() if line["kind"] == "end"]
        begun = [line for line in gateway.journal() if line["kind"] == "begin"]
    assert len(begun) == len(ended) == len(storm.truths)
    rows, truths = defaultdict(list), defaultdict(list)
    for row in ended:
        rows[int(row["tags"]["operation"])].append(row)
    for truth in storm.truths:
        truths[truth.number].append(truth)
    assert rows.keys() == truths.keys()
    lost = most_usd = extra_usd = Decimal(0)
    for number, told in rows.items():
        by_name = {truth.name: truth for truth in truths[number]}
        assert sorted(row["ordinal"] for row in told) == list(range(len(told)))
        assert len({row["deployment"] for row in told}) == len(told) == len(by_name)
        winners = [row for row in told if row["status"] == "succeeded"]
        assert len(winners) <= 1
        for row in told:
            outcome = by_name[row["deployment"]].outcome
            expected = {"lost_hedge": "cancelled", "succeeded": "finished", "failed": "failed"}
            # One that was hung up on at its last word has finished, and is cancelled all the same.
            assert outcome == expected.get(row["status"], outcome), row
        if heard.get(number):
            assert {row["deployment"] for row in winners} == set(heard[number]) - {" "}
        for row in told:
            if row["status"] != "lost_hedge":
                continue
            (winner,) = [x for x in by_name.values() if x.first_output_at is not None]
            loser = by_name[row["deployment"]]
            assert winner.first_output_at is not None and loser.first_output_at is None
            waited = max(0.0, winner.first_output_at - loser.begun_at)
            most_usd += USD_PER_SECOND * Decimal(waited + CANCEL_SECONDS + LOOP_SECONDS)
            extra_usd += Decimal(row["known_pico_usd"]) / 10**12
            lost += 1
    assert lost > OPERATIONS / 10, "hardly anything was hedged"
    assert extra_usd <= most_usd
