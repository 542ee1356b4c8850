"""``python -m tests.benchmarks.agreement``: what was simulated, and what came of it over sockets.

A whole gateway serves a stream of requests for each keep-warm policy and for each way to have
several machines: two deployments, two that boot for one request, one that is paid by use beside an
own one, two or three machines for each deployment. It does so at most 50 times as fast as they
come; its provider is a server of machines that scale to zero (``tests/emulators/replicas.py``). The
simulator gets the same streams. Said at the end: how many verdicts agree, and the cost of both.

A machine that boots because others are busy, and then is not needed, is seen by no gateway, so that
where a deployment may have several the ledger has less: the sum is said with those and without.

Requests that come within 5 % of an instant at which something changes (a window that ends, a boot
that is over) may find either, as may those that come while that boot lasts: they are set aside, and
counted. In virtual time nothing is set aside: ``tests/simulation/test_agreement.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from gateway.app import create_app
from gateway.clock import Clock
from gateway.settings import Settings
from gateway.simulation import sources
from gateway.simulation.families import FAMILIES, Family
from gateway.simulation.seen import Seen
from gateway.simulation.streams import Reading, Stream
from gateway.wire import BoundedProtocol
from tests.emulators.replicas import Replicas, plugin
from tests.serving import Server, serve
from tests.simulation.live import Decisions, Recorded, cost_of, lines_of
from tests.simulation.virtual_time import FastLoop
from tests.simulation.worlds import BOOT_SECONDS, ByTime, World, replicas_of, simulated, tree_of

MOST_SPEED = 50.0
WINDOW_SECONDS = 300.0
_NEAR = 0.05
_AFTER_SECONDS = 400.0  # until the last window is over
_OWN_SECONDS = 20.0


@dataclass
class Expected:
    """What the simulator says of a stream, and which of its requests are set aside."""

    world: World
    decisions: Decisions
    near: list[bool]


KINDS: dict[str, dict[str, Any]] = {
    "none-1": {},
    "none-2": {"deployments": 2},
    "dual-2": {"deployments": 2, "hedge": "when_cold"},
    "spill-2": {"deployments": 2, "fallback": "0.012"},
    "machines-1x2": {"replicas": 2},
    "machines-2x3": {"deployments": 2, "replicas": 3},
    **{family: {"family": family, "draws_by_time": True} for family in FAMILIES},
}
"""What is tried: a world each, by what it has beside one deployment without a policy."""


def worlds_of(streams: Sequence[Stream], end_us: int, seed: int) -> list[World]:
    """A world for each kind."""
    made: list[World] = []
    for number, (name, given) in enumerate(KINDS.items()):
        stream = streams[number % len(streams)]
        family: Family | None = given.get("family")
        world = World(
            Stream(name, stream.at_us, stream.execute_us),
            end_us,
            "balanced",
            family,
            WINDOW_SECONDS if family is None else _OWN_SECONDS,
            1,
            seed,
            0.3,
            name,
            "d" if family == "learned" else f"{name}-",
        )
        made.append(replace(world, **given))
    return made


def expect(world: World) -> Expected:
    """Simulate, and look out for what a little time would change."""
    near: list[bool] = []
    tainted_until_us = 0
    own_us = round(world.own_window_seconds * 1e6)

    def watch(seen: Sequence[Seen], recorded: Mapping[str, Recorded], at_us: int) -> None:
        nonlocal tainted_until_us
        close = False
        for deployment in seen:
            policy, ready_us = recorded[deployment.name], deployment.kept.ready_at_us
            close = close or abs(at_us - ready_us) <= _NEAR * BOOT_SECONDS * 1e6
            idle_us = policy.idle_us
            if idle_us is None:
                continue
            due = policy.next_wakeup()
            edges = [when for when, _ in policy.said if when >= idle_us]
            edges += [when + round(BOOT_SECONDS * 1e6) for when in edges]
            edges += [idle_us + own_us, *([] if due is None else [due])]
            close = close or any(abs(at_us - x) <= _NEAR * (x - idle_us) for x in edges)
        if close:
            tainted_until_us = at_us + round(4 * BOOT_SECONDS * 1e6)
        near.append(close or at_us < tainted_until_us)

    decisions = simulated(world, watch)
    return Expected(world, decisions, near)


@contextlib.contextmanager
def gateway(tree: dict[str, Any], speed: float, seed: int) -> Iterator[str]:
    """A whole gateway whose clock runs so fast, in a thread; gives its address."""
    settings = Settings.model_validate(tree)
    began_at, wall_us = time.monotonic(), time.time_ns() // 1000

    def monotonic() -> float:
        return (time.monotonic() - began_at) * speed

    clock = Clock(monotonic, lambda: wall_us + int(monotonic() * 1e6))
    app = create_app(
        settings,
        plugins={"machines": plugin},
        clock=clock,
        log_attempts=False,
        dice=lambda name: ByTime(f"{seed}:{name}", lambda: clock.wall_us() - wall_us),
    )
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=int(5 * speed),
    )
    server = Server(config)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: FastLoop(speed, began_at)) as runner:
            runner.run(server.serve(sockets=[listener]))

    thread = threading.Thread(target=work, name="gateway", daemon=True)
    thread.start()
    try:
        if not server.ready.wait(30):
            raise RuntimeError("the gateway did not start")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


async def send_all(
    url: str, expected: Sequence[Expected], speed: float, began_at: float, end_us: int
) -> dict[str, list[Any]]:
    """Each request at its time; the answers by model, in the order of the requests."""
    answers: dict[str, list[Any]] = {x.world.model: [] for x in expected}
    async with httpx.AsyncClient(base_url=url, timeout=None, limits=httpx.Limits()) as client:

        async def one(model: str, at_us: int, execute_us: int) -> Any:
            await asyncio.sleep(max(0.0, began_at + at_us / 1e6 / speed - time.monotonic()))
            body = {"model": model, "input": f"{execute_us}"}
            answer = await client.post("/v1/generate", json=body)
            if answer.status_code != 200:
                raise RuntimeError(answer.text)
            return answer.json()

        async def all_of(world: World) -> None:
            stream = world.stream
            pairs = zip(stream.at_us, stream.execute_us, strict=True)
            answers[world.model] = await asyncio.gather(*(one(world.model, *p) for p in pairs))

        await asyncio.gather(*(all_of(x.world) for x in expected))
        await asyncio.sleep(max(0.0, began_at + end_us / 1e6 / speed - time.monotonic()))
    return answers


def compare(expected: Sequence[Expected], answers: Mapping[str, list[Any]], data_dir: Path) -> bool:
    """Print the table; whether both aims are met."""
    costs: dict[str, int] = {}
    for line in lines_of(data_dir):
        if (cost := cost_of(line)) and line["kind"] in ("end", "charge"):
            name = line["attempt" if line["kind"] == "end" else "charge"]["deployment"]
            costs[name] = costs.get(name, 0) + cost
    print(
        f"{'':20}{'requests':>9}{'aside':>7}{'agree':>8}{'same place':>12}"
        f"{'simulated USD':>16}{'ledger USD':>14}"
    )
    counted, agreed = 0, 0
    single, several = [0.0, 0.0], [0.0, 0.0]
    for x in expected:
        pairs = [
            (want.verdict, got["cold_start"]["verdict"], want.deployment == got["deployment"])
            for want, got, near in zip(
                x.decisions.requests, answers[x.world.model], x.near, strict=True
            )
            if not near
        ]
        same = sum(want == got for want, got, _ in pairs)
        ledger = sum(costs.get(name, 0) for name in x.world.names) / 1e12
        at_same = sum(place for _, _, place in pairs) / max(1, len(pairs))
        share = f"{same / len(pairs):8.2%}{at_same:12.2%}" if pairs else f"{'':20}"
        print(
            f"{x.world.model:20}{len(x.near):9,}{sum(x.near):7,}{share}"
            f"{x.decisions.cost_pico_usd / 1e12:16.4f}{ledger:14.4f}"
        )
        counted, agreed = counted + len(pairs), agreed + same
        sums = single if x.world.replicas == 1 else several
        sums[0] += x.decisions.cost_pico_usd / 1e12
        sums[1] += ledger
    verdicts = agreed / max(1, counted)
    alone = single[1] / single[0] - 1
    money = (single[1] + several[1]) / (single[0] + several[0]) - 1
    aside = sum(sum(x.near) for x in expected)
    print(
        f"{verdicts:.2%} of {counted:,} verdicts agree (aim: 98 %), {aside:,} set aside; the "
        f"ledger has {money:+.2%} of the simulated cost (aim: within 2 %), {alone:+.2%} without "
        "the deployments of several machines"
    )
    return verdicts >= 0.98 and max(abs(money), abs(alone)) <= 0.02


def streams_of(given: argparse.Namespace, lasting_us: int, count: int) -> list[Stream]:
    """The busiest streams of a trace, or made-up ones, from their first request on."""
    if given.trace is None:
        found = sources.of_kind("diurnal", count, 1.0, given.seed)
    else:
        found = sources.of_trace([given.trace], Reading(given.by, seed=given.seed))
    kept: list[Stream] = []
    for stream in sorted(found.streams, key=lambda s: -len(s.at_us)):
        middle = stream.at_us[len(stream.at_us) // 2]
        first = bisect_left(stream.at_us, middle - lasting_us // 2)
        last = bisect_left(stream.at_us, stream.at_us[first] + lasting_us)
        cut = Stream(stream.name)
        cut.at_us.extend(at - stream.at_us[first] + 10_000_000 for at in stream.at_us[first:last])
        cut.execute_us.extend(stream.execute_us[first:last])
        if 10 <= len(cut.at_us) <= given.most_requests:
            kept.append(cut)
        if len(kept) == count:
            break
    return kept


def main(arguments: Sequence[str] | None = None) -> bool:
    """Run, print, and say whether both aims are met."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.agreement", description=__doc__
    )
    parser.add_argument("--trace", type=Path, help="CSV of requests, or of counts by minute")
    parser.add_argument("--by", help="the column that says whose a request is")
    parser.add_argument("--minutes", type=float, default=4.0, help="of the wall's (default: 4)")
    parser.add_argument("--speed", type=float, default=MOST_SPEED, help="at most 50")
    parser.add_argument("--most-requests", type=int, default=600, help="of a stream")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    # Its 5 seconds for the shipper's end are short ones here.
    logging.getLogger("gateway.ledger").setLevel(logging.CRITICAL)
    speed = min(MOST_SPEED, given.speed)
    lasting_us = round(given.minutes * 60e6 * speed - _AFTER_SECONDS * 1e6)
    streams = streams_of(given, lasting_us, len(KINDS))
    if not streams:
        parser.error("no stream has so many requests, and no more, in so short a time")
    end_us = lasting_us + round(_AFTER_SECONDS * 1e6)
    expected = [expect(world) for world in worlds_of(streams, end_us, given.seed)]
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        machines = {
            name: replica for x in expected for name, replica in replicas_of(x.world).items()
        }
        provider = Replicas(machines, speed)
        with serve(provider.app) as provider_url:
            tree: dict[str, Any] = {"deployments": {}, "models": {}}
            for x in expected:
                own = tree_of(x.world, data_dir / "table.json")
                tree["deployments"] |= own["deployments"]
                tree["models"] |= own["models"]
            tree["providers"] = {"machines": {"base_url": provider_url}}
            tree["server"] = {"data_dir": str(data_dir)}
            with gateway(tree, speed, given.seed) as url:
                began_at = provider.began_at = time.monotonic()
                answers = asyncio.run(send_all(url, expected, speed, began_at, end_us))
        return compare(expected, answers, data_dir)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
