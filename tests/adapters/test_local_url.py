"""Servers that run already, and other people's servers that we start."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from providers.contract import (
    Booting,
    CredentialsRejected,
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    ModelLoading,
    Probeable,
    Started,
    UpstreamFailed,
    UpstreamUnreachable,
    Usage,
)
from providers.local import LocalOptions, LocalProvider, LocalSettings, plugin
from providers.local.launch import free_port
from tests.local.engines import SLOW_ENGINE, own_engines, slow_command, until


@pytest.fixture
async def provider(http: Http, tmp_path: Path) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(LocalSettings(), Host(http, tmp_path))
    yield provider
    await provider.aclose()
    assert own_engines() == []


@contextmanager
def running_server(*arguments: object) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-S", str(SLOW_ENGINE), "--port", str(port), *map(str, arguments)]
    server = subprocess.Popen(command)
    try:
        while not any(c.status == "LISTEN" for c in psutil.Process(server.pid).net_connections()):
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def bind(provider: LocalProvider, **options: Any) -> Deployment:
    return provider.bind("slow", LocalOptions.model_validate(options))


async def collect(deployment: Deployment, *, stream: bool = True) -> list[Event]:
    request = GenerateRequest("hello", stream=stream)
    async with aclosing(deployment.generate(request)) as events:
        return [event async for event in events]


async def probe(deployment: Deployment) -> str:
    assert isinstance(deployment, Probeable)
    return await deployment.probe()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_running_server_is_asked_and_nothing_is_claimed_about_its_warmth(
    provider: LocalProvider, stream: bool
) -> None:
    with running_server("--api-key", "secret") as url:
        deployment = bind(provider, url=url, api_key="secret")
        events = await collect(deployment, stream=stream)
        assert await probe(deployment) == "ready"
        with pytest.raises(CredentialsRejected):
            await collect(bind(provider, url=url, api_key="wrong"))
    assert {type(event) for event in events} == {Delta, Finished}
    assert "".join(e.text for e in events if isinstance(e, Delta)) == "w0 w1 w2 "
    assert isinstance(events[-1], Finished)
    assert events[-1].usage == Usage(input_tokens=7, output_tokens=3)


async def test_a_server_that_loads_its_model(provider: LocalProvider) -> None:
    with running_server("--load-seconds", 60) as url:
        deployment = bind(provider, url=url)
        assert await probe(deployment) == "booting"
        with pytest.raises(ModelLoading) as loading:
            await collect(deployment)
    assert loading.value.evidence == "loading_reported"
    assert loading.value.upstream_status == 503


async def test_a_server_that_nobody_reaches(provider: LocalProvider) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    deployment = bind(provider, url=url)
    assert await probe(deployment) == "down"
    with pytest.raises(UpstreamUnreachable):
        await collect(deployment)
    with pytest.raises(ModelLoading) as loading:
        await collect(bind(provider, url=url, waits_when_refused=True))
    assert loading.value.evidence == "connection_refused"


async def test_a_server_without_a_ready_path_is_in_no_known_state(provider: LocalProvider) -> None:
    with running_server() as url:
        assert await probe(bind(provider, url=url, ready_path="/ready")) == "unknown"


async def test_the_provider_block_may_name_the_server(http: Http, tmp_path: Path) -> None:
    with running_server() as url:
        provider = LocalProvider(LocalSettings(base_url=url), Host(http, tmp_path))
        assert len(await collect(bind(provider))) > 1


async def test_another_server_by_command_boots_answers_and_ends(provider: LocalProvider) -> None:
    deployment = bind(
        provider,
        command=slow_command("--boot-seconds", 0.1),
        environment={"SLOW_ENGINE_KEY": "{api_key}"},
        idle_timeout_seconds=0.1,
    )
    assert deployment.capabilities.keep_alive_seconds == 0.1
    cold = await collect(deployment)
    assert cold[0] == Booting(evidence="process_started", caused_boot=True)
    assert isinstance(cold[1], Started)
    warm = await collect(deployment)
    assert warm[0] == Started(cold[1].instance_id, evidence="scale_state")
    assert [e for e in cold if isinstance(e, Delta)]
    process = own_engines()[0]
    await until(lambda: not process.is_running())
    assert await probe(deployment) == "down"


async def test_a_caller_who_leaves_lets_go_of_the_engine(provider: LocalProvider) -> None:
    deployment = bind(
        provider, command=slow_command("--word-seconds", 5), idle_timeout_seconds=0.05
    )
    async with aclosing(deployment.generate(GenerateRequest("hello"))) as events:
        async for event in events:
            if isinstance(event, Delta):
                break
    assert await until(lambda: own_engines() == []) < 2


async def test_a_caller_who_leaves_during_the_boot(provider: LocalProvider) -> None:
    deployment = bind(
        provider, command=slow_command("--boot-seconds", 0.2), idle_timeout_seconds=0.1
    )
    task = asyncio.create_task(collect(deployment))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    retry = await collect(deployment)  # it joins the boot that the first one caused
    assert retry[0] == Booting(evidence="process_started", caused_boot=False)


async def test_a_boot_that_fails_yields_booting_and_then_the_reason(
    provider: LocalProvider,
) -> None:
    deployment = bind(provider, command=slow_command("--fail"))
    seen = []
    with pytest.raises(UpstreamFailed, match="exit code 7"):
        async with aclosing(deployment.generate(GenerateRequest("hello"))) as events:
            async for event in events:
                seen.append(event)
    assert seen == [Booting(evidence="process_started", caused_boot=True)]


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("llama9", {}, "neither a .gguf file that exists nor an embedded model"),
        ("/nowhere/x.gguf", {}, "neither a .gguf file that exists"),
        ("x", {"command": ["no-such-program"]}, "'no-such-program' is not a program"),
    ],
)
async def test_what_cannot_work_is_refused_when_it_is_bound(
    provider: LocalProvider, model: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        provider.bind(model, LocalOptions.model_validate(options))


async def test_without_the_engine_the_message_says_what_to_install(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ValueError, match=r"serverless-inference-gateway\[local\]"):
        provider.bind("smollm2-135m-instruct", LocalOptions())


@pytest.mark.parametrize(
    "options",
    [
        {"command": ["x"], "url": "http://127.0.0.1:1"},
        {"command": []},
        {"command": ["x"], "slots": 2},
        {"url": "http://127.0.0.1:1", "idle_timeout_seconds": 1},
        {"url": "127.0.0.1:1"},
        {"environment": {"A": "b"}},
        {"api_key": "k"},
        {"idle_timeout": 3},
        {"slots": 0},
    ],
)
def test_an_option_that_would_be_ignored_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LocalOptions.model_validate(options)


def test_the_plugin_is_what_the_entry_point_names() -> None:
    assert plugin.name == "local"
    assert plugin.options is LocalOptions
    assert plugin.settings is LocalSettings
