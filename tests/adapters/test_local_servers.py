"""Servers on GPUs at an address, emulated: one record each, and what it leads to."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from providers.contract import (
    Booting,
    CapacityUnavailable,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    ModelLoading,
    Probeable,
    Scalable,
    Started,
    UpstreamUnreachable,
    Warmable,
)
from providers.local import LocalOptions, LocalProvider, LocalSettings
from providers.local.dialects import DIALECTS, ServerName
from providers.local.launch import free_port
from tests.adapters.folded import attempt, price_of
from tests.emulators.gpu_servers import SCALE, GpuServer, Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
Bind = Callable[..., Deployment]


@pytest.fixture
async def bind(http: Http, tmp_path: Path, emulator: Callable[[Any], str]) -> AsyncIterator[Bind]:
    provider = LocalProvider(LocalSettings(), Host(http, tmp_path))

    def bind(app: GpuServer, **options: Any) -> Deployment:
        options = {"url": emulator(app), "server": app.kind, **options}
        return provider.bind(app.model, LocalOptions.model_validate(options))

    yield bind
    await provider.aclose()


async def collect(deployment: Deployment, *, stream: bool = True) -> list[Event]:
    request = GenerateRequest("hello", stream=stream)
    async with aclosing(deployment.generate(request)) as events:
        return [event async for event in events]


async def probe(deployment: Deployment) -> str:
    assert isinstance(deployment, Probeable)
    return await deployment.probe()


def looks(app: GpuServer) -> set[str]:
    return {path for path in app.paths if not path.endswith("/v1/chat/completions")}


# -- the records ----------------------------------------------------------------------------------


def test_every_server_has_a_record_with_source_and_date() -> None:
    assert set(DIALECTS) == set(get_args(ServerName))
    for dialect in DIALECTS.values():
        assert dialect.source
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", dialect.checked_on)


def test_no_record_reads_a_path_that_is_known_to_wake_or_to_generate() -> None:
    read = {
        (name, path)
        for name, dialect in DIALECTS.items()
        for path in (dialect.ready_path, *(look.path for look in dialect.looks))
    }
    assert not read & {
        ("llama.cpp", "/slots"),
        ("llama.cpp", "/tokenize"),
        ("sglang", "/health"),
        ("sglang", "/health_generate"),
    }


# -- probes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_probing_neither_wakes_nor_generates(bind: Bind, kind: Kind) -> None:
    app = GpuServer(kind)
    deployment = bind(app)
    assert await probe(deployment) == "ready"
    app.asleep = kind in ("llama.cpp", "vllm")
    expected = "down" if app.asleep else "ready"
    assert [await probe(deployment) for _ in range(3)] == [expected] * 3
    assert (app.loads, app.generated_for_nobody, app.truth) == (0, 0, [])
    assert all(path.startswith("GET ") for path in app.paths)


@pytest.mark.parametrize("kind", ["llama.cpp", "sglang", "nim"])
async def test_a_server_that_loads_is_waited_for_and_not_asked(bind: Bind, kind: Kind) -> None:
    app = GpuServer(kind, starting=True)
    deployment = bind(app)
    assert await probe(deployment) == "booting"
    with pytest.raises(ModelLoading) as loading:
        await collect(deployment)
    assert loading.value.evidence == "loading_reported"
    assert app.bodies == []


async def test_a_server_that_hangs_while_it_starts_says_nothing(
    bind: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.local.server.LOOK_READ_TIMEOUT_SECONDS", 0.03)
    assert await probe(bind(GpuServer("vllm", starting=True))) == "unknown"


async def test_a_server_that_is_away(bind: Bind) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    app = GpuServer("vllm")
    assert await probe(bind(app, url=gone)) == "down"
    with pytest.raises(UpstreamUnreachable):
        await collect(bind(app, url=gone))
    with pytest.raises(ModelLoading) as loading:
        await collect(bind(app, url=gone, waits_when_refused=True))
    assert loading.value.evidence == "connection_refused"


# -- verdicts, seconds and money against the truth ------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_warm(bind: Bind, kind: Kind, stream: bool) -> None:
    app = GpuServer(kind)
    request = GenerateRequest("hello", stream=stream)
    folded = await attempt(bind(app), request, price_of("0.5", "execute"))
    (truth,) = app.truth
    row = folded.row
    assert (row.verdict, row.evidence, truth.cold) == ("warm", "scale_state", False)
    assert (row.input_tokens, row.output_tokens) == (5, 2)
    reports = kind in ("llama.cpp", "vllm", "nim") or (kind == "tgi" and not stream)
    if reports:
        assert row.execute_seconds == pytest.approx(truth.execute_seconds)
        assert row.cost_pico_usd == round(truth.execute_seconds * 0.5 * 1e12)
        queue = None if kind == "llama.cpp" else pytest.approx(truth.queue_seconds)
        assert row.queue_seconds == queue
    else:  # by our own clock, which runs with the emulator's scaled time
        assert row.execute_seconds is not None
        assert row.execute_seconds >= truth.execute_seconds * SCALE


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm"])
async def test_asleep(bind: Bind, kind: Kind) -> None:
    app = GpuServer(kind, asleep=True)
    folded = await attempt(bind(app), GenerateRequest("hello"), price_of("0.5", "execute", "boot"))
    row = folded.row
    assert folded.events[:2] == [Booting("scale_state", caused_boot=True), Started()]
    assert (row.verdict, row.evidence, row.caused_boot) == ("cold", "scale_state", True)
    assert app.loads == 1
    assert row.boot_seconds is not None and row.total_seconds is not None
    work_seconds = (app.queue_seconds + app.execute_seconds) * SCALE  # is no boot
    assert app.load_seconds * SCALE <= row.boot_seconds <= row.total_seconds - work_seconds
    assert row.execute_seconds == pytest.approx(app.execute_seconds)


async def test_ten_callers_wake_it_once_and_one_of_them_is_the_cause(bind: Bind) -> None:
    app = GpuServer("vllm", asleep=True)
    deployment = bind(app)
    answers = await asyncio.gather(*(collect(deployment) for _ in range(10)))
    boots = [event for events in answers for event in events if isinstance(event, Booting)]
    assert len(boots) == 10
    assert [boot.caused_boot for boot in boots].count(True) == 1
    assert app.paths.count("POST /wake_up") == 1


async def test_a_caller_who_leaves_lets_the_others_wait_on(bind: Bind) -> None:
    app = GpuServer("vllm", asleep=True)
    deployment = bind(app)
    first = asyncio.create_task(collect(deployment))
    while "POST /wake_up" not in app.paths:  # noqa: ASYNC110 (another thread's list)
        await asyncio.sleep(0.002)
    second = asyncio.create_task(collect(deployment))
    await asyncio.sleep(0.005)
    begun = time.monotonic()
    first.cancel()
    await asyncio.wait({first})
    assert time.monotonic() - begun < 1
    assert isinstance((await second)[-1], Finished)
    assert (app.loads, app.paths.count("POST /wake_up")) == (1, 1)
    assert app.paths.count("GET /is_sleeping") == 1  # we know: it is being woken


async def test_a_wake_that_fails_is_told_to_all_and_tried_again(bind: Bind) -> None:
    app = GpuServer("vllm", asleep=True, weights_dropped=True)
    deployment = bind(app)
    results = await asyncio.gather(*(collect(deployment) for _ in range(3)), return_exceptions=True)
    assert {type(result) for result in results} == {CapacityUnavailable}
    assert app.loads == 0 and "POST /wake_up" not in app.paths  # it would answer with noise
    app.weights_dropped = False
    assert isinstance((await collect(deployment))[-1], Finished)


async def test_vllm_without_dev_mode_cannot_sleep_and_is_asked_only_once(bind: Bind) -> None:
    app = GpuServer("vllm", dev_mode=False)
    deployment = bind(app)
    for _ in range(3):
        assert (await collect(deployment))[0] == Started(evidence="scale_state")
    assert app.paths.count("GET /is_sleeping") == 1
    assert app.paths.count("GET /health") == 3


async def test_a_dead_engine_is_down_and_nothing_is_claimed(
    bind: Bind, emulator: Callable[[Any], str]
) -> None:
    app = GpuServer("vllm", dev_mode=False)

    async def dead(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/health":
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    deployment = bind(app, url=emulator(dead))
    assert await probe(deployment) == "down"
    assert not isinstance((await collect(deployment))[0], Started | Booting)


@pytest.mark.parametrize("asleep", [True, False])
async def test_llamacpp_s_router_says_it_for_each_model(bind: Bind, asleep: bool) -> None:
    app = GpuServer("llama.cpp", router=True, asleep=asleep)
    deployment = bind(app)
    assert await probe(deployment) == ("down" if asleep else "ready")
    (first, *_) = await collect(deployment)
    assert isinstance(first, Booting if asleep else Started)


async def test_servers_that_report_no_times_get_none(bind: Bind) -> None:
    finished = (await collect(bind(GpuServer("vllm", reports_times=False))))[-1]
    assert isinstance(finished, Finished) and finished.phases is None


async def test_a_plain_server_is_not_looked_at(bind: Bind) -> None:
    app = GpuServer("llama.cpp")
    events = await collect(bind(app, server="plain"))
    assert looks(app) == set()
    assert not any(isinstance(event, Started) for event in events)


# -- warming and letting go -----------------------------------------------------------------------


async def test_vllm_is_warmed_and_sent_to_sleep(bind: Bind) -> None:
    app = GpuServer("vllm", asleep=True)
    deployment = bind(app)
    assert isinstance(deployment, Warmable) and isinstance(deployment, Scalable)
    await asyncio.gather(deployment.warm(), deployment.warm())
    await deployment.warm()
    assert (app.loads, app.paths.count("POST /wake_up")) == (1, 1)
    await deployment.scale(0)  # may sleep, need not
    assert not app.asleep
    await deployment.scale(0, 0)
    assert app.asleep
    await deployment.scale(1)
    assert (app.loads, app.asleep) == (2, False)
    assert app.truth == []


@pytest.mark.parametrize("kind", ["sglang", "tgi", "nim"])
async def test_those_that_cannot_be_told_do_not_promise_it(bind: Bind, kind: Kind) -> None:
    deployment = bind(GpuServer(kind))
    assert not isinstance(deployment, Warmable | Scalable)


async def test_what_is_sent_is_what_the_caller_sent(bind: Bind) -> None:
    app = GpuServer("llama.cpp")
    request = replace(GenerateRequest("hi"), dialect="openai_chat", extra={"top_k": 3})
    async with aclosing(bind(app).generate(request)) as events:
        async for _ in events:
            pass
    (body,) = app.bodies
    assert body["top_k"] == 3 and body["return_progress"] is True


@pytest.mark.parametrize(
    "options",
    [
        {"server": "vllm"},
        {"server": "vllm", "command": ["x"]},
        {"server": "no-such", "url": "http://127.0.0.1:1"},
        {"keep_alive_seconds": 5, "url": "http://127.0.0.1:1"},
        {"context_tokens": 512, "url": "http://127.0.0.1:1", "server": "vllm"},
        {"chat_path": "/x", "url": "http://127.0.0.1:1", "server": "ollama"},
        {"keep_alive_seconds": -2, "url": "http://127.0.0.1:1", "server": "ollama"},
    ],
)
def test_an_option_that_would_be_ignored_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LocalOptions.model_validate(options)
