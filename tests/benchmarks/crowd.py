"""``python -m tests.benchmarks.crowd``: many callers at once of one deployment that is cold.

A model server that scales to zero, the gateway and the callers, each a process of its own, on real
sockets; half of the callers stream, each on a connection of its own. Three rows: as it is by
default, with less room than there are callers, and with ``max_concurrency_cold: null``, when
everybody is sent. The lag is how much too late a task of the gateway's event loop woke that sleeps
10 ms over and over, from the first caller to the last answer.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import sys
import tempfile
import threading
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

from tests.benchmarks.process import ServerProcess, free_port, running_server

IDLE_SECONDS = 0.5
AIM_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
_TOLD = ("queue_full", "cold_start_timeout")


@dataclass(frozen=True)
class Scene:
    """One row: how many callers, how long the boot, and the deployment's ``limits``."""

    name: str
    callers: int
    boot_seconds: float
    limits: dict[str, Any]


@dataclass
class Seen:
    """What came of it. ``outcomes``: status and code, by how often."""

    outcomes: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    told_of_boot: int = 0
    answer_seconds: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    cold_calls: int = 0
    boots: int = 0
    rss_before: int = 0
    rss_peak: int = 0
    lags: list[float] = field(default_factory=list)
    own_lags: list[float] = field(default_factory=list)

    @property
    def served(self) -> int:
        """How many got their answer."""
        return self.outcomes["200"]

    @property
    def attempts_cold(self) -> int:
        """Attempts that caused a boot, or asked while one went on: who woke it."""
        return sum(
            row["caused_boot"] is not False and row["verdict"] == "cold" for row in self.rows
        )


def measure(scene: Scene, scratch: Path) -> Seen:
    """One crowd, on servers of its own."""
    upstream_port, port, lags = free_port(), free_port(), scratch / "lags"
    python = sys.executable
    upstream = [python, "-m", "tests.benchmarks.crowd_upstream", str(upstream_port)]
    upstream += [str(scene.boot_seconds), str(IDLE_SECONDS)]
    config = scratch / "gateway.yaml"
    config.write_text(yaml.safe_dump(_settings(upstream_port, port, scratch, scene.limits)))
    gateway = [python, "-m", "tests.benchmarks.crowd_gateway", str(config), str(lags)]
    seen = Seen()
    root = Path(__file__).parents[2]
    with (
        running_server(
            upstream, port=upstream_port, ready_path="/counts", scratch=scratch / "u", folder=root
        ),
        running_server(
            gateway, port=port, ready_path="/healthz", scratch=scratch / "g", folder=root
        ) as process,
    ):
        asyncio.run(_call(port, 0, 30.0, Seen()))  # what boots there is known from here on
        _until_off(port)
        before = _counts(upstream_port)
        began = time.monotonic()
        with _Memory(process) as memory:
            asyncio.run(_crowd(port, scene.callers, seen))
        ended = time.monotonic()
        seen.rss_before, seen.rss_peak = memory.before, memory.peak
        after = _counts(upstream_port)
        seen.cold_calls = after["cold"] - before["cold"]
        seen.boots = after["boots"] - before["boots"]
    seen.rows = _rows(scratch / "data")[1:]
    for line in lags.read_text().splitlines():
        at, lag, cpu = map(float, line.split())
        if began <= at <= ended + lag:
            seen.lags.append(lag)
            seen.own_lags.append(min(lag, cpu))
    return seen


def _settings(upstream: int, port: int, scratch: Path, limits: dict[str, Any]) -> dict[str, Any]:
    loading = {"status": 503, "contains": "Loading"}
    return {
        "server": {"port": port, "data_dir": str(scratch / "data"), "drain_seconds": 5},
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
                "price": {"usd_per_second": "0.001", "bills": ["execute", "boot"]},
                "limits": limits,
            }
        },
        "models": {"cold": {"deployments": ["cold"]}},
    }


async def _crowd(port: int, callers: int, seen: Seen) -> None:
    await asyncio.gather(*(_call(port, n, PATIENCE_SECONDS, seen) for n in range(callers)))


async def _call(port: int, number: int, patience_seconds: float, seen: Seen) -> None:
    """One caller on a connection of its own; those of odd numbers stream."""
    streams = number % 2 == 1
    body = json.dumps({"model": "cold", "input": f"caller {number} " * 20, "stream": streams})
    began = time.monotonic()
    try:
        async with asyncio.timeout(patience_seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = (
                f"POST /v1/generate HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write((head + body).encode())
            told = (await reader.read()).decode()
            writer.close()
    except (OSError, TimeoutError) as error:
        seen.outcomes[type(error).__name__] += 1
        return
    seen.answer_seconds.append(time.monotonic() - began)
    seen.told_of_boot += "event: booting" in told
    status = told.split(" ", 2)[1] if told else "nothing"
    if status == "200" and streams and "event: finished" not in told:
        status = "event"  # a stream's head has gone out before
    code = ""
    if status != "200" and '"code":"' in told:
        code = told.split('"code":"')[1].split('"')[0]
        when = "retry-after: " if status == "503" else '"retry_after_seconds":'
        seen.without_retry_after += when not in told.lower() or f"{when}null" in told
    seen.outcomes[f"{status} {code}".strip()] += 1


class _Memory:
    """The gateway's resident bytes, its children's apart, looked at 50 times a second."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = psutil.Process(process.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self.peak = self._process.memory_info().rss

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)


def _get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _counts(port: int) -> dict[str, int]:
    counts: dict[str, int] = _get(port, "/counts")
    return counts


def _until_off(port: int) -> None:
    began = time.monotonic()
    while _get(port, "/v1/deployments")["data"][0]["state"] != "off":
        if time.monotonic() - began > 30:
            raise TimeoutError("the deployment does not go off")
        time.sleep(0.1)
    time.sleep(1.2 * IDLE_SECONDS)  # so that it is off in truth too


def _rows(data_dir: Path) -> list[dict[str, Any]]:
    files = sorted((data_dir / "journal").glob("*.ndjson"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line["attempt"] for line in lines if line["kind"] == "end"]


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so many of them do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f}"


def show(scene: Scene, seen: Seen) -> tuple[str, ...]:
    """A row of the table."""
    own = [row["gateway_seconds"] for row in seen.rows]
    growth = (seen.rss_peak - seen.rss_before) / 2**20
    others = {name: count for name, count in seen.outcomes.items() if name != "200"}
    return (
        scene.name,
        str(seen.served),
        ", ".join(f"{count} x {name}" for name, count in others.items()) or "-",
        str(seen.attempts_cold),
        str(seen.cold_calls),
        str(seen.boots),
        str(seen.told_of_boot),
        f"{growth:.0f}",
        f"{growth * 1024 / scene.callers:.0f}",
        " / ".join(_ms(quantile(own, share)) for share in (0.5, 0.99, 1.0)),
        " / ".join(_ms(quantile(seen.lags, share)) for share in (0.5, 0.99, 1.0)),
        " / ".join(_ms(quantile(seen.own_lags, share)) for share in (0.5, 0.99, 1.0)),
        " / ".join(
            f"{quantile(seen.answer_seconds, share) or 0.0:.1f}" for share in (0.5, 0.99, 1.0)
        ),
    )


COLUMNS = (
    *("", "served", "others", "attempts that woke it", "calls while it was cold", "boots"),
    *("streams told of the boot", "RSS growth MiB", "KiB a caller"),
    *("gateway ms p50 / p99 / max", "loop lag ms p50 / p99 / max"),
    *("of it own CPU", "answer s p50 / p99 / max"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where the default row falls short of what it says."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.crowd", description=__doc__)
    parser.add_argument("--callers", type=int, default=1000)
    parser.add_argument("--boot-seconds", type=float, default=5.0)
    parser.add_argument("--only", choices=("default", "little room", "everybody"))
    given = parser.parse_args(arguments)
    limits: dict[str, dict[str, Any]] = {
        "default": {},
        "little room": {"max_queued": given.callers // 4},
        "everybody": {"max_concurrency_cold": None},
    }
    table = Table(*COLUMNS)
    problems = []
    for name, chosen in limits.items():
        if given.only not in (None, name):
            continue
        scene = Scene(name, given.callers, given.boot_seconds, chosen)
        with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
            seen = measure(scene, Path(folder))
        table.add_row(*show(scene, seen))
        if name == "default":
            problems = shortfalls(scene, seen)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(f"{given.callers} callers at once, a boot of {given.boot_seconds:g} s")
    console.print(table)
    for problem in problems:
        console.print(problem, style="red")
    return 1 if problems else 0


def shortfalls(scene: Scene, seen: Seen) -> list[str]:
    """Where it is not one wake, everybody served or told when to come back, and quick."""
    told = sum(count for name, count in seen.outcomes.items() if name.endswith(_TOLD))
    checks = {
        f"{seen.attempts_cold} attempts woke it": seen.attempts_cold == 1,
        f"{seen.boots} boots": seen.boots == 1,
        f"{scene.callers - seen.served - told} got neither answer nor a time to come back": (
            seen.served + told == scene.callers and not seen.without_retry_after
        ),
        f"p99 of the gateway's own work over {AIM_SECONDS} s": (
            (quantile([row["gateway_seconds"] for row in seen.rows], 0.99) or 0.0) < AIM_SECONDS
        ),
        f"p99 of the event loop's lag over {AIM_SECONDS} s": (
            (quantile(seen.lags, 0.99) or 0.0) < AIM_SECONDS
        ),
    }
    return [problem for problem, holds in checks.items() if not holds]


if __name__ == "__main__":
    sys.exit(main())
