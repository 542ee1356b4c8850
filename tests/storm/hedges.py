"""``python -m tests.storm.hedges``: raced calls to deployments with bad habits, and their truth.

What a deployment does with an operation is drawn from the seed, the operation's number and its own
name, so that a storm can be played again. It keeps its own account of every call. What the losers
have cost is printed beside the bound of ``gateway/ROUTING.md``. Exit status 1 where one was not
cancelled or not booked, or where they cost more.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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

SEED, AT_ONCE = 20261126, 24
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
        chance = random.Random(f"{self._owner.seed} {number} {self._name}")
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

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.truths: list[Truth] = []

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        return Habitual(self, model, options)


def number_of(said: Any) -> int:
    found = re.search(r"operation (\d+)", str(said))
    assert found is not None
    return int(found[1])


def call(gateway: Gateway, seed: int, number: int) -> tuple[int, str]:
    """One caller; gives what it heard, "" where it hung up or heard of a failure."""
    chance = random.Random(f"{seed} caller {number}")
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


@dataclass(slots=True)
class Found:
    """What came of it. ``most_usd``: the bound on what the losers may have cost."""

    operations: int = 0
    attempts: int = 0
    lost: int = 0
    extra_usd: Decimal = Decimal(0)
    most_usd: Decimal = Decimal(0)
    all_usd: Decimal = Decimal(0)
    wrong: list[str] = field(default_factory=list)


def play(data_dir: Path, operations: int, seed: int = SEED) -> Found:
    """So many raced operations, and the ledger's rows held against what the deployments know."""
    storm = Storm(seed)
    price = {"usd_per_second": str(USD_PER_SECOND), "bills": ["execute", "boot"]}
    tree = {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            name: {"provider": "scripted", "model": name, "price": price} for name in NAMES
        },
        "models": {"storm": {"deployments": list(NAMES), "strategy": "weighted"}},
    }
    with (
        running_gateway(tree, data_dir, storm, log_attempts=False) as gateway,
        ThreadPoolExecutor(AT_ONCE) as callers,
    ):
        heard = dict(callers.map(lambda number: call(gateway, seed, number), range(operations)))
        eventually(lambda: not gateway.running(), 10)
        eventually(lambda: all(truth.ended_at is not None for truth in storm.truths))
        lines = gateway.journal()
    ended = [line["attempt"] for line in lines if line["kind"] == "end"]
    begun = sum(line["kind"] == "begin" for line in lines)
    found = Found(operations, len(ended))
    if not begun == len(ended) == len(storm.truths):
        found.wrong.append(f"{len(storm.truths)} calls, {begun} begun, {len(ended)} booked")
    rows: dict[int, list[Any]] = defaultdict(list)
    truths: dict[int, dict[str, Truth]] = defaultdict(dict)
    for row in ended:
        rows[int(row["tags"]["operation"])].append(row)
    for truth in storm.truths:
        truths[truth.number][truth.name] = truth
    for number, told in rows.items():
        _compare(found, told, truths[number], heard.get(number))
    if found.extra_usd > found.most_usd:
        found.wrong.append(f"losers cost {found.extra_usd}, and {found.most_usd} at most")
    return found


def _compare(found: Found, told: list[Any], truths: dict[str, Truth], heard: str | None) -> None:
    """One operation."""
    names = {row["deployment"] for row in told}
    winners = {row["deployment"] for row in told if row["status"] == "succeeded"}
    sound = (
        len(names) == len(told) == len(truths)
        and sorted(row["ordinal"] for row in told) == list(range(len(told)))
        and len(winners) <= 1
        and (not heard or winners == set(heard) - {" "})
    )
    if not sound:
        found.wrong.append(f"of {told[0]['operation_id']} the rows are not what was called")
    for row in told:
        found.all_usd += Decimal(row["known_pico_usd"]) / 10**12
        outcome = truths[row["deployment"]].outcome
        expected = {"lost_hedge": "cancelled", "succeeded": "finished", "failed": "failed"}
        # One that was hung up on at its last word has finished, and is cancelled all the same.
        if outcome != expected.get(row["status"], outcome):
            found.wrong.append(f"{row['attempt_id']}: {row['status']}, but {outcome}")
        if row["status"] == "lost_hedge":
            found.lost += 1
            found.extra_usd += Decimal(row["known_pico_usd"]) / 10**12
            found.most_usd += _most_usd(found, truths, truths[row["deployment"]])


def _most_usd(found: Found, truths: dict[str, Truth], loser: Truth) -> Decimal:
    first = [one.first_output_at for one in truths.values() if one.first_output_at is not None]
    if len(first) != 1 or loser.first_output_at is not None:
        found.wrong.append(f"operation {loser.number}: not one alone had output")
        return Decimal(0)
    waited = max(0.0, first[0] - loser.begun_at)
    return USD_PER_SECOND * Decimal(waited + CANCEL_SECONDS + LOOP_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm.hedges", description=__doc__)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = play(Path(folder), given.operations, given.seed)
    print(
        f"{found.operations} raced operations (seed {given.seed}), {found.attempts} attempts, "
        f"{found.lost} losers cancelled and booked\n"
        f"all attempts   {found.all_usd:.6f} USD\n"
        f"of it, losers  {found.extra_usd:.6f} USD\n"
        f"their bound    {found.most_usd:.6f} USD, with {CANCEL_SECONDS} s for each cancel and "
        f"{LOOP_SECONDS} s for a busy machine"
    )
    for fault in found.wrong:
        print(f"WRONG  {fault}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
