"""Launches, supervisors and other means for testing local engines."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from providers.contract import Http
from providers.local.launch import CommandLaunch
from providers.local.supervisor import Supervisor

SLOW_ENGINE = Path(__file__).parents[1] / "emulators" / "slow_engine.py"


def slow_command(*arguments: object) -> tuple[str, ...]:
    """The command line of the slow engine. -S: it needs the standard library only."""
    return (sys.executable, "-S", str(SLOW_ENGINE), "--port", "{port}", *map(str, arguments))


def slow_launch(http: Http, *arguments: object, **changes: Any) -> CommandLaunch:
    return replace(CommandLaunch(http, slow_command(*arguments), model="slow"), **changes)


@asynccontextmanager
async def supervised(
    http: Http, *arguments: object, idle: float | None = None, boot: float = 10.0, **changes: Any
) -> AsyncIterator[Supervisor]:
    """A supervisor of the slow engine; afterwards nothing of it is left."""
    supervisor = Supervisor(
        slow_launch(http, *arguments, **changes),
        idle_timeout_seconds=idle,
        boot_timeout_seconds=boot,
    )
    try:
        yield supervisor
    finally:
        await supervisor.aclose()


async def until(condition: Callable[[], object], within_seconds: float = 5.0) -> float:
    """Wait for a condition of another process, which no clock of ours can hurry; the seconds."""
    begun = time.monotonic()
    while not condition():
        elapsed = time.monotonic() - begun
        assert elapsed < within_seconds, f"still not so after {elapsed:.1f} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


PARENT = """
import asyncio, json, sys
from providers.local.child import Child

async def main(argv, config):
    child = await Child.spawn(json.loads(argv), json.loads(config))
    while await child.report():
        pass
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


def killed_parent(
    argv: list[str], config: Mapping[str, Any], until: Callable[[psutil.Process], bool]
) -> list[psutil.Process]:
    """Let a process start the child, and kill it with SIGKILL when ``until``; its descendants."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(argv), json.dumps(config)])
    try:
        deadline = time.monotonic() + 10
        while not until(psutil.Process(parent.pid)):
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.01)
        return psutil.Process(parent.pid).children(recursive=True)
    finally:
        parent.kill()
        parent.wait()


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after a while; the dead whom nobody has buried do not count."""

    def runs(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    deadline = time.monotonic() + 3
    while any(map(runs, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [process for process in processes if runs(process)]


async def fetch_json(http: Http, url: str, headers: dict[str, str], body: object = None) -> Any:
    """One request to an engine, past the adapter."""
    async with http.send(
        "GET" if body is None else "POST",
        url,
        headers={**headers, "content-type": "application/json"},
        content=None if body is None else json.dumps(body).encode(),
    ) as response:
        content = await response.read(1 << 20)
        assert response.status == 200, content
        return json.loads(content)


def own_engines() -> list[psutil.Process]:
    """Engines that this very process has started, and what those have; not a whole gateway's."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        try:
            if any(word.endswith(("engine.py", "guard.py")) for word in child.cmdline()):
                found += [child, *child.children(recursive=True)]
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return found
