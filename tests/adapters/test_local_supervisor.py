from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from providers.contract import BootTimeout, Http, UpstreamFailed
from providers.local.failures import boot_failure
from providers.local.launch import HERE, Instance, free_port
from providers.local.supervisor import Supervisor
from tests.local.engines import (
    SLOW_ENGINE,
    killed_parent,
    own_engines,
    supervised,
    survivors,
    until,
)


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


async def test_many_callers_at_once_make_one_start_and_one_of_them_caused_it(
    http: Http, starts_file: Path
) -> None:
    async with supervised(http, "--boot-seconds", 0.2, "--starts-file", starts_file) as supervisor:

        async def caller() -> tuple[bool, bool, str]:
            with supervisor.lease() as lease:
                return lease.booted, lease.caused, (await lease.ready()).id

        answers = await asyncio.gather(*(caller() for _ in range(10)))
        late = await caller()
    assert {booted for booted, _, _ in answers} == {True}
    assert sum(caused for _, caused, _ in answers) == 1
    assert len({instance_id for _, _, instance_id in answers}) == 1
    assert late == (False, False, answers[0][2])
    assert starts(starts_file) == 1


async def test_an_idle_engine_is_ended_and_the_next_caller_gets_a_new_one(
    http: Http, starts_file: Path
) -> None:
    async with supervised(http, "--starts-file", starts_file, idle=0.05) as supervisor:
        before = supervisor.state
        assert before == "down"
        with supervisor.lease() as lease:
            first = await lease.ready()
            await asyncio.sleep(0.2)
            assert supervisor.state == "ready", "it was ended while it was in use"
        await until(lambda: supervisor.state == "down")
        await until(lambda: not psutil.pid_exists(first.child.pid))
        second = await boot(supervisor)
        assert second.id != first.id
    assert starts(starts_file) == 2


async def test_a_caller_within_the_idle_time_keeps_the_engine(http: Http) -> None:
    async with supervised(http, idle=0.3) as supervisor:
        first = await boot(supervisor)
        for _ in range(4):
            await asyncio.sleep(0.15)
            assert (await boot(supervisor)).id == first.id


async def test_a_caller_who_leaves_does_not_end_the_boot_for_another(http: Http) -> None:
    async with supervised(http, "--boot-seconds", 0.2) as supervisor:
        leaver = asyncio.create_task(boot(supervisor))
        stayer = asyncio.create_task(boot(supervisor))
        await asyncio.sleep(0.05)
        leaver.cancel()
        await asyncio.wait({leaver})
        assert (await stayer).child.alive


async def test_a_boot_that_everybody_left_goes_on_and_then_ends_for_idleness(http: Http) -> None:
    async with supervised(http, "--boot-seconds", 0.2, idle=0.1) as supervisor:
        leaver = asyncio.create_task(boot(supervisor))
        await asyncio.sleep(0.05)
        leaver.cancel()
        await asyncio.wait({leaver})
        assert supervisor.state == "booting"
        await until(lambda: supervisor.state == "ready")
        await until(lambda: supervisor.state == "down")


async def test_a_boot_that_fails_fails_for_all_and_the_next_caller_tries_again(
    http: Http, starts_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(http, "--fail", "--starts-file", starts_file) as supervisor:
        for count in (1, 2):
            failures = await asyncio.gather(
                *(boot(supervisor) for _ in range(3)), return_exceptions=True
            )
            assert [type(failure) for failure in failures] == [UpstreamFailed] * 3
            assert len(set(map(id, failures))) == 3
            assert "exit code 7" in str(failures[0])
            assert supervisor.state == "down"
            assert starts(starts_file) == count
    assert "hello from the log" in caplog.text


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGILL, "AVX2"), (signal.SIGKILL, "memory"), (3, "131")]
)
async def test_an_engine_killed_while_it_boots_says_why(
    http: Http, number: int, words: str
) -> None:
    # One that leaves a core behind takes its time to die on a busy machine.
    async with supervised(http, "--die-of", number, boot=60.0) as supervisor:
        with pytest.raises(UpstreamFailed, match=words):
            await boot(supervisor)


@pytest.mark.parametrize(
    ("exit_code", "reason", "words"),
    [
        (-4, None, "AVX2"),
        (132, None, "AVX2"),
        (-9, None, "memory ran out"),
        (137, None, "memory ran out"),
        (1, None, "exit code 1"),
        (1, "engine_missing", "not installed"),
        (1, "something new", "could not start"),
    ],
)
def test_the_words_for_a_boot_that_failed(exit_code: int, reason: str | None, words: str) -> None:
    error = boot_failure(exit_code, reason)
    assert words in error.detail
    assert error.retryable


async def test_a_command_that_does_not_exist(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    async with supervised(http, command=("no-such-engine", "--port", "{port}")) as supervisor:
        with pytest.raises(UpstreamFailed, match="command could not be started"):
            await boot(supervisor)
    assert "no-such-engine" in caplog.text


async def test_no_process_can_be_started(http: Http, caplog: pytest.LogCaptureFixture) -> None:
    async with supervised(http, argv=("/nowhere/python",)) as supervisor:
        with pytest.raises(UpstreamFailed, match="could not be started"):
            await boot(supervisor)
    assert "/nowhere/python" in caplog.text


async def test_an_engine_that_is_never_ready_is_given_up(http: Http) -> None:
    async with supervised(http, "--load-seconds", 60, boot=0.3) as supervisor:
        with pytest.raises(BootTimeout, match=r"0\.3 seconds"):
            await boot(supervisor)
        assert supervisor.state == "down"
        assert own_engines() == []


async def test_loading_is_not_ready(http: Http) -> None:
    async with supervised(http, "--load-seconds", 0.3) as supervisor:
        assert (await boot(supervisor)).boot_seconds >= 0.3


async def test_a_taken_port_is_no_failure(http: Http) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        ports = iter([taken, free_port()])
        async with supervised(http, choose_port=lambda: next(ports)) as supervisor:
            instance = await boot(supervisor)
        assert not instance.base_url.endswith(f":{taken}")


async def test_a_port_lost_to_a_stranger_during_the_boot(http: Http, starts_file: Path) -> None:
    lost = free_port()
    ports = iter([lost, free_port()])
    options = ("--boot-seconds", 0.3, "--starts-file", starts_file)
    async with supervised(http, *options, choose_port=lambda: next(ports)) as supervisor:
        waiting = asyncio.create_task(boot(supervisor))
        await until(starts_file.exists)
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", lost))
            stranger.listen()  # and never answers
            instance = await waiting
        assert not instance.base_url.endswith(f":{lost}")
    assert starts(starts_file) == 2


async def test_the_search_for_a_port_has_an_end(http: Http) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        async with supervised(http, choose_port=lambda: taken) as supervisor:
            with pytest.raises(UpstreamFailed, match="no free port"):
                await boot(supervisor)


async def test_an_engine_that_dies_is_noticed_and_started_anew(
    http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervised(http) as supervisor:
        first = await boot(supervisor)
        program = psutil.Process(first.child.pid).children()[0]
        os.kill(program.pid, signal.SIGKILL)
        await until(lambda: supervisor.state == "down")
        second = await boot(supervisor)
        assert second.id != first.id
    assert "ended by itself (exit code 137)" in caplog.text


async def test_an_engine_that_ignores_sigterm_is_killed(
    http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.local.child.GRACE_SECONDS", 0.1)
    async with supervised(http, "--ignore-sigterm") as supervisor:
        await boot(supervisor)


async def test_a_new_engine_waits_until_the_old_one_has_left_its_memory(
    http: Http, starts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.local.child.GRACE_SECONDS", 0.2)
    options = ("--ignore-sigterm", "--starts-file", starts_file)
    async with supervised(http, *options, idle=0.0) as supervisor:
        first = await boot(supervisor)
        await until(lambda: supervisor.state == "down")
        assert first.child.alive
        waiting = asyncio.create_task(boot(supervisor))
        await until(lambda: starts(starts_file) == 2 or not first.child.alive)
        assert starts(starts_file) == 1
        await waiting


async def test_what_the_engine_has_started_ends_with_it(http: Http, tmp_path: Path) -> None:
    pid_file = tmp_path / "worker"
    async with supervised(http, "--worker-pid-file", pid_file) as supervisor:
        await boot(supervisor)
        worker = psutil.Process(int(pid_file.read_text()))
    await until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


async def test_closing_during_a_boot_ends_it(http: Http) -> None:
    async with supervised(http, "--load-seconds", 60) as supervisor:
        waiting = asyncio.create_task(boot(supervisor))
        await asyncio.sleep(0.05)
        await supervisor.aclose()
        with pytest.raises(UpstreamFailed, match="shut down"):
            await waiting
        with pytest.raises(UpstreamFailed, match="shut down"):
            await boot(supervisor)


async def test_a_key_is_made_for_a_command_that_names_one_and_kept_out_of_sight(
    http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with supervised(http, environment={"SLOW_ENGINE_KEY": "{api_key}"}) as supervisor:
        instance = await boot(supervisor)
        guard = psutil.Process(instance.child.pid)
        seen = [*guard.cmdline(), *guard.children()[0].cmdline(), repr(instance), caplog.text]
    assert instance.api_key is not None
    assert not any(instance.api_key in text for text in seen)


def test_a_killed_parent_takes_the_engine_and_its_workers_along(tmp_path: Path) -> None:
    pid_file = tmp_path / "worker"
    command = [sys.executable, str(SLOW_ENGINE), "--port", str(free_port())]
    family = killed_parent(
        [sys.executable, "-P", str(HERE / "guard.py")],
        {"command": [*command, "--worker-pid-file", str(pid_file)], "environment": {}},
        until=lambda _: pid_file.exists() and pid_file.read_text() != "",
    )
    assert len(family) == 3  # guard, program, worker
    assert survivors(family) == []
