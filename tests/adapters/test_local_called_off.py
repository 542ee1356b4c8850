"""A boot that was asked for by itself, and that nobody waits for any more, is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from providers.contract import Host, Http, ProbeState
from providers.local import LocalOptions, LocalProvider, LocalSettings, prepare
from providers.local.deployment import ChildDeployment
from providers.local.launch import Instance
from providers.local.supervisor import Supervisor
from tests.local.engines import own_engines, supervised, until

MODEL = "smollm2-135m-instruct"


@pytest.fixture
def starts_file(tmp_path: Path) -> Path:
    return tmp_path / "starts"


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    assert own_engines() == []


def starts(file: Path) -> int:
    return len(file.read_text().splitlines())


async def boot(supervisor: Supervisor) -> Instance:
    with supervisor.lease() as lease:
        return await lease.ready()


async def left_while_it_boots(supervisor: Supervisor, starts_file: Path) -> None:
    """Ask for a boot alone, and leave when the engine's process is there."""
    waiting = asyncio.create_task(supervisor.boot())
    await asyncio.sleep(0)
    await until(starts_file.exists)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_boot_alone_ends_with_the_last_who_waits_for_it(
    http: Http, starts_file: Path
) -> None:
    async with supervised(http, "--load-seconds", 60, "--starts-file", starts_file) as supervisor:
        told: list[ProbeState] = []
        supervisor.watch(told.append)
        first, second = (asyncio.create_task(supervisor.boot()) for _ in range(2))
        await until(starts_file.exists)
        first.cancel()
        await asyncio.wait({first})
        assert told == ["down", "booting"]
        second.cancel()
        await asyncio.wait({second})
        assert first.cancelled() and second.cancelled()
        # who has left has seen it end
        assert set(told[2:]) == {"down"} and own_engines() == []


async def test_a_boot_that_a_call_has_joined_goes_on_whoever_leaves(
    http: Http, starts_file: Path, tmp_path: Path
) -> None:
    options = ("--starts-file", starts_file, "--ready-file", tmp_path / "ready")
    async with supervised(http, *options) as supervisor:
        call = asyncio.create_task(boot(supervisor))
        await left_while_it_boots(supervisor, starts_file)
        call.cancel()
        await asyncio.wait({call})
        await left_while_it_boots(supervisor, starts_file)
        assert supervisor.state == "booting"
        (tmp_path / "ready").touch()
        await boot(supervisor)
    assert starts(starts_file) == 1


async def test_who_comes_while_a_boot_ends_gets_another_one(
    http: Http, starts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.local.child.GRACE_SECONDS", 0.2)
    options = ("--ignore-sigterm", "--starts-file", starts_file, "--ready-file", tmp_path / "ready")
    comers: list[asyncio.Task[None]] = []

    def come(state: ProbeState) -> None:
        if state == "down":  # the process lives yet
            comers.extend(asyncio.create_task(supervisor.boot()) for _ in range(2))

    async with supervised(http, *options) as supervisor:
        leaving = asyncio.create_task(left_while_it_boots(supervisor, starts_file))
        await until(lambda: supervisor.state == "booting")
        supervisor.watch(come)
        await until(lambda: comers)
        stayer, leaver = comers
        await asyncio.sleep(0)
        leaver.cancel()
        await leaving
        (tmp_path / "ready").touch()
        await stayer
        assert supervisor.state == "ready"
    assert starts(starts_file) == 2


async def test_one_that_begins_to_wait_as_another_leaves_keeps_the_boot(
    http: Http, starts_file: Path, tmp_path: Path
) -> None:
    options = ("--starts-file", starts_file, "--ready-file", tmp_path / "ready")
    async with supervised(http, *options) as supervisor:
        leaver = asyncio.create_task(supervisor.boot())
        await until(starts_file.exists)
        leaver.cancel()
        comer = asyncio.create_task(supervisor.boot())  # both in the same turn of the loop
        await asyncio.wait({leaver})
        await asyncio.sleep(0)
        (tmp_path / "ready").touch()
        await comer
        await until(lambda: supervisor.state == "ready")


async def test_one_that_came_up_as_its_caller_left_stays_up(http: Http, tmp_path: Path) -> None:
    async with supervised(http, "--ready-file", tmp_path / "ready") as supervisor:
        waiting = asyncio.create_task(supervisor.boot())

        def leave(state: ProbeState) -> None:
            if state == "ready":
                waiting.cancel()

        supervisor.watch(leave)
        (tmp_path / "ready").touch()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert supervisor.state == "ready"
        await boot(supervisor)


async def test_closing_while_a_boot_that_was_called_off_ends(
    http: Http, starts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.local.child.GRACE_SECONDS", 0.2)
    options = ("--ignore-sigterm", "--load-seconds", 60, "--starts-file", starts_file)
    async with supervised(http, *options) as supervisor:
        leaving = asyncio.create_task(left_while_it_boots(supervisor, starts_file))
        await until(lambda: supervisor.state == "booting")
        await until(lambda: supervisor.state == "down")
        await supervisor.aclose()
        assert own_engines() == []
        await leaving


async def test_the_embedded_engine_s_boot_ends_unless_it_is_to_be_kept(
    http: Http, tmp_path: Path
) -> None:
    prepare(MODEL, LocalOptions(), tmp_path)
    provider = LocalProvider(LocalSettings(), Host(http, tmp_path))
    deployment = provider.bind(MODEL, LocalOptions(threads=1, context_tokens=1024))
    assert isinstance(deployment, ChildDeployment)
    assert deployment.capabilities.ends_boots

    async def left() -> list[int]:
        """Ask for a boot and leave when its process is there; those that are there afterwards."""
        warming = asyncio.create_task(deployment.warm())
        await until(own_engines)
        warming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await warming
        return [process.pid for process in own_engines()]

    assert await left() == [] and await deployment.probe() == "down"
    keeping = asyncio.create_task(deployment.scale(1))
    (kept,) = await left()
    await keeping
    assert await deployment.probe() == "ready" and psutil.pid_exists(kept)
    await provider.aclose()
