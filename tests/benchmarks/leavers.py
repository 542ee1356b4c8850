"""``python -m tests.benchmarks.leavers``: callers who leave, and what the gateway keeps of them.

A model server that scales to zero, the gateway and the callers, each a process of its own, on real
sockets. Two rounds of as many calls, of which most are left: hung up on, outlasted by their own
deadline, parked and never asked for again. After each round all settles; then no task, run, hold or
lease may be there that was not there before the first, and the second round may not add to the
gateway's resident memory. Exit status 1 where that is not so. All of it is bounded in time: of a
call that is not answered, or a gateway that does not settle, it is told what is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from tests.benchmarks.process import free_port, running_server

BOOT_SECONDS, IDLE_SECONDS = 0.6, 0.2
CALL_SECONDS = 60.0
"""A caller who stays is answered, or told when to come back, sooner than this."""
SETTLE_SECONDS = 100.0
"""``Retry-After`` is a minute at most, and somebody who was told is waited for a while longer."""
MOST_GROWTH_BYTES = 6 << 20


@dataclass(frozen=True)
class Habit:
    """What a caller asks and does. ``leaves``: it hangs up after up to so many seconds."""

    name: str
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    leaves: float | None = None
    again: dict[str, str] | None = None
    """It comes back, with these headers instead, after what it was told."""


_LATE = {"routing": {"deadline_seconds": 0.15, "max_cost_usd": "1"}}
_SDK = {"x-stainless-retry-count": "0", "x-stainless-read-timeout": "0.3"}
HABITS = (
    Habit("stays"),
    Habit("stays, streams", {"stream": True}),
    Habit("hangs up", leaves=0.4),
    Habit("hangs up a stream", {"stream": True}, leaves=0.4),
    Habit("hangs up, drains", {"on_disconnect": "drain"}, leaves=0.4),
    Habit("hangs up, parks", {"on_disconnect": "park", "stream": True}, leaves=0.4),
    Habit("hangs up with a key", {}, {"idempotency-key": "k"}, leaves=0.4),
    Habit("late", _LATE),
    Habit("late, streams", {**_LATE, "stream": True}),
    Habit("late, parks", {**_LATE, "on_disconnect": "park"}),
    Habit("202, never fetched", {}, {"prefer": "respond-async"}),
    Habit("SDK, gives up", {}, _SDK),
    Habit("SDK, comes back", {}, _SDK, again={**_SDK, "x-stainless-retry-count": "1"}),
    Habit("SDK, hangs up and comes back", {}, {"x-stainless-retry-count": "0"}, 0.1, _SDK),
)


@dataclass(frozen=True)
class Left:
    """What the gateway held at one moment, and its resident bytes."""

    counts: dict[str, int]
    rss_bytes: int

    def beyond(self, before: Left) -> dict[str, int]:
        """What there is more of than before."""
        more = {name: count - before.counts[name] for name, count in self.counts.items()}
        return {name: count for name, count in more.items() if count > 0}


@dataclass
class Rounds:
    """What was seen: before, and after each round; how calls ended, by habit and answer."""

    points: list[Left] = field(default_factory=list)
    outcomes: list[Counter[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rows_running: int = 0

    def problems(self) -> list[str]:
        """Where something is left, or memory grows."""
        before, *after = self.points
        found = [
            f"after round {nth}: {', '.join(f'{n} {name}' for name, n in more.items())}"
            for nth, point in enumerate(after, 1)
            if (more := point.beyond(before))
        ]
        growth = after[-1].rss_bytes - after[-2].rss_bytes
        if growth > MOST_GROWTH_BYTES:
            found.append(f"the last round has added {growth / 2**20:.1f} MiB")
        if self.rows_running:
            found.append(f"{self.rows_running} attempts were begun and never ended")
        for outcomes in self.outcomes:
            stuck = {name: n for name, n in outcomes.items() if name.endswith("no answer in time")}
            found += [f"{n} x {name}" for name, n in stuck.items()]
        return found


def measure(calls: int, at_once: int, scratch: Path, seed: int = 20261127) -> Rounds:
    """Two rounds of ``calls`` each."""
    upstream_port, port, told = free_port(), free_port(), scratch / "told.json"
    config = scratch / "gateway.yaml"
    config.write_text(yaml.safe_dump(_settings(upstream_port, port, scratch)))
    python, root = sys.executable, Path(__file__).parents[2]
    upstream = [python, "-m", "tests.benchmarks.crowd_upstream", str(upstream_port)]
    upstream += [str(BOOT_SECONDS), str(IDLE_SECONDS)]
    gateway = [python, "-m", "tests.benchmarks.leavers_gateway", str(config), str(told)]
    seen = Rounds()
    with (
        running_server(
            upstream, port=upstream_port, ready_path="/counts", scratch=scratch / "u", folder=root
        ),
        running_server(
            gateway, port=port, ready_path="/healthz", scratch=scratch / "g", folder=root
        ) as process,
    ):
        chance = random.Random(seed)
        asyncio.run(_round(port, 2 * len(HABITS), at_once, chance, Counter()))  # what is made once
        seen.points.append(_settled(process.pid, told, None))
        for _ in range(2):
            outcomes = Counter[str]()
            began = time.monotonic()
            asyncio.run(_round(port, calls, at_once, chance, outcomes))
            seen.outcomes.append(outcomes)
            seen.seconds.append(time.monotonic() - began)
            seen.points.append(_settled(process.pid, told, seen.points[0]))
    kinds = Counter(
        line["kind"]
        for file in (scratch / "data" / "journal").glob("*.ndjson")
        for line in map(json.loads, file.read_text().splitlines())
    )
    seen.rows_running = kinds["begin"] - kinds["end"]
    return seen


def _settings(upstream: int, port: int, scratch: Path) -> dict[str, Any]:
    loading = {"status": 503, "contains": "Loading"}
    return {
        "server": {
            "port": port,
            "data_dir": str(scratch / "data"),
            "drain_seconds": 2,
            "disconnect_grace_seconds": 0.5,
        },
        "providers": {
            "upstream": {
                "kind": "openai_chat",
                "base_url": f"http://127.0.0.1:{upstream}/v1",
                "api_key": "none",
                "cold_when": [loading],
            }
        },
        "deployments": {
            "cold": {
                "provider": "upstream",
                "model": "m",
                "idle_window_seconds": IDLE_SECONDS,
                "price": {"usd_per_second": "0.000001", "bills": ["execute", "boot"]},
            }
        },
        "models": {"cold": {"deployments": ["cold"]}},
        "budgets": [{"name": "all", "limit_usd": "1000", "per": "day"}],
    }


async def _round(
    port: int, calls: int, at_once: int, chance: random.Random, outcomes: Counter[str]
) -> None:
    numbers = iter(range(calls))

    async def one() -> None:
        for number in numbers:
            habit = HABITS[number % len(HABITS)]
            outcome = await _call(port, habit, chance)
            outcomes[f"{habit.name}: {outcome}"] += 1

    await asyncio.gather(*(one() for _ in range(at_once)))


async def _call(port: int, habit: Habit, chance: random.Random) -> str:
    name = f"{chance.getrandbits(64):x}"
    body = json.dumps({"model": "cold", "input": f"caller {name} " * 20, **habit.body})
    headers = dict(habit.headers)
    if "idempotency-key" in headers:
        headers["idempotency-key"] = name
    leaves = None if habit.leaves is None else chance.uniform(0, habit.leaves)
    outcome = await _ask(port, body, headers, leaves)
    if habit.again is not None:
        if outcome.startswith("503"):
            await asyncio.sleep(1.0)
        outcome += f", then {await _ask(port, body, habit.again, None)}"
    return outcome


async def _ask(port: int, body: str, headers: dict[str, str], leaves: float | None) -> str:
    """Status and code, or that it has left."""
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    try:
        async with asyncio.timeout(CALL_SECONDS if leaves is None else leaves):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                head = (
                    "POST /v1/generate HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
                    f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{told}\r\n"
                )
                writer.write((head + body).encode())
                answer = (await reader.read()).decode()
            finally:
                writer.close()
    except TimeoutError:
        return "no answer in time" if leaves is None else "left"
    except OSError as error:
        return type(error).__name__
    status = answer.split(" ", 2)[1] if answer else "nothing"
    code = answer.split('"code":"')[1].split('"')[0] if '"code":"' in answer else ""
    return f"{status} {code}".strip()


def _settled(pid: int, told: Path, before: Left | None) -> Left:
    """Once there is no more than before, or ``SETTLE_SECONDS`` have passed."""
    began = time.monotonic()
    while True:
        found = _look(pid, told)
        if before is None:
            settled = not found.counts["run objects"]
        else:
            settled = not found.beyond(before)
        if settled or time.monotonic() - began > SETTLE_SECONDS:
            return found
        time.sleep(0.5)


def _look(pid: int, told: Path) -> Left:
    told.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    began = time.monotonic()
    while not told.exists():
        if time.monotonic() - began > 30:
            raise TimeoutError("the gateway's event loop does not turn")
        time.sleep(0.01)
    return Left(json.loads(told.read_text()), psutil.Process(pid).memory_info().rss)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where something is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.leavers", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="in each of the two rounds")
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--answers", action="store_true", help="print how every kind of call ended")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="leavers-") as folder:
        seen = measure(given.calls, given.at_once, Path(folder))
    console = Console() if sys.stdout.isatty() else Console(width=120)
    rounds = [f"after {given.calls * nth:,}" for nth in range(1, len(seen.points))]
    table = Table("held by the gateway", "before", *rounds)
    for name in seen.points[0].counts:
        table.add_row(name, *(str(point.counts[name]) for point in seen.points))
    table.add_row("RSS MiB", *(f"{point.rss_bytes / 2**20:.1f}" for point in seen.points))
    console.print(table)
    console.print("seconds of the rounds: " + ", ".join(f"{x:.0f}" for x in seen.seconds))
    if given.answers:
        for name, count in sorted(sum(seen.outcomes, Counter[str]()).items()):
            console.print(f"{count:6} {name}")
    problems = seen.problems()
    for problem in problems:
        console.print(problem, style="red")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
