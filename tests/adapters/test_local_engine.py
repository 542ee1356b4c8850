"""The embedded engine itself: a real model, real tokens, one thread."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

from providers.contract import (
    Booting,
    ContextTooLong,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    Parameters,
    ProviderSettings,
    RequestRejected,
    Started,
    UpstreamFailed,
)
from providers.local import LocalOptions, LocalProvider, LocalSettings, prepare
from providers.local.deployment import ChildDeployment
from providers.local.launch import HERE, Instance
from providers.toolkit.http import open_http
from tests.local.engines import fetch_json, killed_parent, own_engines, survivors, until

MODEL = "smollm2-135m-instruct"
QUESTION = "Explain in a few sentences why the sky is blue."


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[Http]:
    http = open_http(ProviderSettings())
    yield http
    await http.aclose()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    prepare(MODEL, LocalOptions(), folder)
    return folder


@pytest.fixture(scope="module")
async def provider(http: Http, data_dir: Path) -> AsyncIterator[LocalProvider]:
    provider = LocalProvider(LocalSettings(), Host(http, data_dir))
    yield provider
    await provider.aclose()
    assert own_engines() == []


def bind(provider: LocalProvider, **options: Any) -> ChildDeployment:
    options = {"threads": 1, "context_tokens": 1024, "idle_timeout_seconds": None, **options}
    deployment = provider.bind(MODEL, LocalOptions.model_validate(options))
    assert isinstance(deployment, ChildDeployment)
    return deployment


@pytest.fixture(scope="module")
async def deployment(provider: LocalProvider) -> ChildDeployment:
    """One engine for all tests that need no boot of their own."""
    return bind(provider)


@pytest.fixture
async def instance(deployment: ChildDeployment) -> Instance:
    with deployment.supervisor.lease() as lease:
        return await lease.ready()


def ask(max_tokens: int | None = 4, **changes: Any) -> GenerateRequest:
    parameters = Parameters(max_output_tokens=max_tokens, temperature=0.0)
    return GenerateRequest(**{"input": QUESTION, "parameters": parameters, **changes})


async def collect(deployment: ChildDeployment, request: GenerateRequest) -> list[Event]:
    async with aclosing(deployment.generate(request)) as events:
        return [event async for event in events]


def end(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


async def busy_for(http: Http, instance: Instance, *, until: int) -> float:
    """Seconds until so many of the engine's slots work, by its own word."""
    begun = time.monotonic()
    for _ in range(200):
        slots = await fetch_json(http, f"{instance.base_url}/slots", instance.headers)
        if sum(slot["is_processing"] for slot in slots) == until:
            break
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def test_cold_then_warm_then_idle_then_cold_again(provider: LocalProvider) -> None:
    deployment = bind(provider, idle_timeout_seconds=0.1)
    assert await deployment.probe() == "down"
    cold = await collect(deployment, ask())
    warm = await collect(deployment, ask())
    assert await deployment.probe() == "ready"
    await until(lambda: deployment.supervisor.state == "down")
    cold_again = await collect(deployment, ask())

    for events in (cold, cold_again):
        assert events[0] == Booting(evidence="process_started", caused_boot=True)
        assert isinstance(events[1], Started)
        assert events[1].evidence is None
    assert isinstance(warm[0], Started)
    assert isinstance(cold[1], Started)
    assert isinstance(cold_again[1], Started)
    assert warm[0] == Started(cold[1].instance_id, evidence="scale_state")
    assert cold_again[1].instance_id != cold[1].instance_id
    assert text(cold) == text(warm) == text(cold_again) != ""


async def test_the_seen_boot_is_the_boot_by_the_child_s_own_clock(
    provider: LocalProvider,
) -> None:
    differences = []
    for _ in range(5):  # a busy machine only ever adds to the difference
        deployment = bind(provider)
        seen: dict[type[Event], float] = {}
        async with aclosing(deployment.generate(ask(1))) as events:
            async for event in events:
                seen.setdefault(type(event), time.monotonic())
        with deployment.supervisor.lease() as lease:
            instance = await lease.ready()
        # One monotonic clock for the whole machine; the child's begins after its interpreter's.
        child_seconds = instance.report["ready_monotonic"] - instance.report["begun_monotonic"]
        differences.append(seen[Started] - seen[Booting] - child_seconds)
        assert instance.boot_seconds >= child_seconds > 0.1
        if differences[-1] < 0.1:
            break
    assert 0 < min(differences) < 0.1


async def test_ten_callers_make_one_boot_which_one_of_them_caused(
    provider: LocalProvider,
) -> None:
    deployment = bind(provider)
    before = len(own_engines())
    answers = await asyncio.gather(*(collect(deployment, ask(1)) for _ in range(10)))
    boots = [events[0] for events in answers]
    assert all(isinstance(boot, Booting) for boot in boots)
    assert sum(boot.caused_boot is True for boot in boots if isinstance(boot, Booting)) == 1
    assert sum(boot.caused_boot is False for boot in boots if isinstance(boot, Booting)) == 9
    assert len({events[1] for events in answers}) == 1
    assert len(own_engines()) == before + 1


async def test_usage_is_the_engine_s_own_count(
    deployment: ChildDeployment, instance: Instance, http: Http
) -> None:
    messages = [{"role": "user", "content": QUESTION}]
    counted = await fetch_json(
        http,
        f"{instance.base_url}/v1/chat/completions/input_tokens",
        instance.headers,
        {"messages": messages},
    )
    streamed = await collect(deployment, ask(12))
    whole = await collect(deployment, ask(12, stream=False))
    for events in (streamed, whole):
        usage = end(events).usage
        assert usage is not None
        assert usage.input_tokens == counted["input_tokens"]
        assert usage.output_tokens == 12
        assert not usage.counted
        assert end(events).reasons == ("length",)
    timings = end(whole).native[0]["timings"]
    assert timings["predicted_n"] == 12
    assert timings["prompt_n"] + timings["cache_n"] == counted["input_tokens"]


async def test_unstreamed_has_the_same_text_and_one_native_body(
    deployment: ChildDeployment,
) -> None:
    streamed = await collect(deployment, ask(12))
    whole = await collect(deployment, ask(12, stream=False))
    assert text(whole) == text(streamed)
    (body,) = end(whole).native
    assert body["object"] == "chat.completion"
    assert body["model"] == MODEL
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": text(whole)}
    assert choice["finish_reason"] == "length"
    assert not any(event.native for event in whole if isinstance(event, Delta))
    chunks = [f for e in streamed if isinstance(e, Delta | Finished) for f in e.native]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


async def test_a_request_that_names_no_limit_gets_the_default_one(
    provider: LocalProvider,
) -> None:
    deployment = bind(provider, default_max_output_tokens=5)
    for limit, expected in ((None, 5), (9, 9)):
        usage = end(await collect(deployment, ask(limit))).usage
        assert usage is not None and usage.output_tokens == expected


async def test_the_makers_sampling_is_the_default(instance: Instance, http: Http) -> None:
    props = await fetch_json(http, f"{instance.base_url}/props", instance.headers)
    defaults = props["default_generation_settings"]["params"]
    assert defaults["temperature"] == pytest.approx(0.2)
    assert defaults["top_p"] == pytest.approx(0.9)


async def test_progress_is_shown_only_to_who_asks_for_it(deployment: ChildDeployment) -> None:
    for extra in ({}, {"return_progress": True}):
        request = ask(2, dialect="openai_chat", extra={"max_tokens": 2, **extra})
        events = await collect(deployment, request)
        frames = [f for e in events if isinstance(e, Delta | Finished) for f in e.native]
        assert any("prompt_progress" in frame for frame in frames) == bool(extra)
        assert frames[-1]["usage"]["completion_tokens"] == 2


async def test_the_caller_s_own_json_goes_through(deployment: ChildDeployment) -> None:
    request = ask(
        input=[{"role": "user", "content": QUESTION}],
        dialect="openai_chat",
        extra={"max_tokens": 3, "logprobs": True, "top_logprobs": 1},
        stream=False,
    )
    (body,) = end(await collect(deployment, request)).native
    assert len(body["choices"][0]["logprobs"]["content"]) == 3


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_frees_the_slot(
    deployment: ChildDeployment, instance: Instance, http: Http, stream: bool
) -> None:
    request = ask(900, stream=stream)
    async with aclosing(deployment.generate(request)) as events:
        async for event in events:
            if isinstance(event, Delta):
                assert await busy_for(http, instance, until=1) < 0.5
                break
    assert await busy_for(http, instance, until=0) < 0.5


async def test_a_caller_who_is_cancelled_while_waiting_for_the_first_token_frees_the_slot(
    deployment: ChildDeployment, instance: Instance, http: Http
) -> None:
    request = ask(9, stream=False, input=f"{time.time()} " + "why? " * 450)
    task = asyncio.create_task(collect(deployment, request))
    assert await busy_for(http, instance, until=1) < 2.0
    task.cancel()
    await asyncio.wait({task})
    # The engine looks up every 64 tokens, 0.4 s; the whole prompt would take it six seconds.
    assert await busy_for(http, instance, until=0) < 2.5


async def test_too_long_a_prompt(deployment: ChildDeployment) -> None:
    with pytest.raises(ContextTooLong):
        await collect(deployment, ask(input="hello " * 1100))


async def test_a_bad_request(deployment: ChildDeployment) -> None:
    with pytest.raises(RequestRejected) as failure:
        await collect(deployment, ask(input=[{"role": "user", "content": 3}]))
    assert failure.value.upstream_status == 400


async def test_a_request_that_cannot_be_said_boots_nothing(provider: LocalProvider) -> None:
    deployment = bind(provider)
    for change in ({"task": "embed"}, {"input": {"a": 1}}, {"extra": {"a": 1}}):
        with pytest.raises(RequestRejected):
            await collect(deployment, ask(**change))
    assert await deployment.probe() == "down"


async def test_an_engine_killed_in_mid_stream(provider: LocalProvider) -> None:
    deployment = bind(provider)
    first: Instance | None = None
    with pytest.raises(UpstreamFailed, match="ended unexpectedly"):
        async with aclosing(deployment.generate(ask(900))) as events:
            async for event in events:
                if isinstance(event, Delta) and first is None:
                    with deployment.supervisor.lease() as lease:
                        first = await lease.ready()
                    os.kill(first.child.pid, signal.SIGKILL)
    assert await deployment.probe() == "down"
    again = await collect(deployment, ask())
    assert isinstance(again[0], Booting)
    assert text(again)


def test_a_killed_parent_takes_the_engine_along(data_dir: Path) -> None:
    path = prepare(MODEL, LocalOptions(), data_dir)
    config = {
        "model_name": MODEL,
        "model_path": str(path),
        "api_key": "k",
        "context_tokens": 512,
        "slots": 1,
        "threads": 1,
        "max_output_tokens": 1,
        "temperature": None,
        "top_p": None,
    }
    family = killed_parent(
        [sys.executable, "-P", str(HERE / "engine.py")], config, until=one_listens
    )
    assert len(family) == 1
    assert survivors(family) == []


def one_listens(parent: psutil.Process) -> bool:
    sockets = [socket for child in parent.children() for socket in child.net_connections("inet")]
    return any(socket.status == psutil.CONN_LISTEN for socket in sockets)


async def test_the_engine_is_closed_to_others(
    deployment: ChildDeployment, instance: Instance, http: Http
) -> None:
    assert instance.api_key is not None
    assert instance.api_key not in " ".join(psutil.Process(instance.child.pid).cmdline())
    assert instance.api_key not in repr(instance)
    (listener,) = [
        connection.laddr
        for connection in psutil.Process(instance.child.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listener.ip == "127.0.0.1"
    for path in ("/v1/models", "/metrics", "/slots"):
        async with http.send("GET", instance.base_url + path) as answer:
            assert answer.status == 401
            assert answer.headers.get("access-control-allow-origin", "") == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is no model", "not a GGUF file, or it is damaged"),
        (b"GGUF" + b"\0" * 4096, "could not load its model"),
        (None, "model file is missing"),
    ],
)
async def test_a_model_file_that_is_wrong(
    provider: LocalProvider,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes | None,
    words: str,
) -> None:
    path = tmp_path / "my.gguf"
    path.write_bytes(content or b"")
    deployment = provider.bind(str(path), LocalOptions(threads=1))
    assert isinstance(deployment, ChildDeployment)
    if content is None:
        path.unlink()
    with pytest.raises(UpstreamFailed, match=words) as failure:
        await collect(deployment, ask())
    assert str(tmp_path) not in str(failure.value)
    assert re.search(r"did not start .* exit code 1", caplog.text)


async def test_it_is_warmed_kept_and_let_go_without_any_work(provider: LocalProvider) -> None:
    deployment = bind(provider, idle_timeout_seconds=0.1)
    await deployment.warm()
    assert await deployment.probe() == "ready"
    await until(lambda: deployment.supervisor.state == "down")  # nobody kept it
    await deployment.scale(1)
    await deployment.scale(1)  # said twice, it is held once
    await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    assert deployment.supervisor.state == "ready"
    await deployment.scale(0)
    await until(lambda: deployment.supervisor.state == "down")
