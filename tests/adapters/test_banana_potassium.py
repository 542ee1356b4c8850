"""Against the real Potassium 0.5.0, in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from providers.banana import BananaOptions, BananaSettings, plugin
from providers.contract import (
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    ModelLoading,
    ModelNotFound,
    Output,
    Probeable,
    ProviderError,
    RequestRejected,
    Started,
    UpstreamFailed,
    UpstreamUnreachable,
    Usage,
    Warmable,
)
from providers.local.launch import free_port
from providers.toolkit.http import open_http
from tests.adapters.folded import attempt, price_of
from tests.emulators.potassium_server import server
from tests.local.engines import fetch_json

PIECES = 20
Bind = Callable[..., Deployment]


def bound(http: Http, tmp_path: Path, url: str, **options: Any) -> Deployment:
    provider = plugin.build(BananaSettings(base_url=url), Host(http, tmp_path))
    return provider.bind("m", BananaOptions.model_validate(options))


async def probe(deployment: Deployment) -> str:
    assert isinstance(deployment, Probeable)
    return await deployment.probe()


async def collect(deployment: Deployment, given: Any) -> list[Event]:
    async with aclosing(deployment.generate(GenerateRequest(given))) as events:
        return [event async for event in events]


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    http = open_http(BananaSettings())
    with server(free_port()) as url:
        deployment = bound(http, tmp_path_factory.mktemp("p"), url)
        for _ in range(1000):
            if await probe(deployment) == "ready":
                break
            await asyncio.sleep(0.02)
        yield url
    await http.aclose()


async def until_status(http: Http, url: str, **expected: Any) -> None:
    """It is a moment behind what happens."""
    for _ in range(1000):
        status = await fetch_json(http, f"{url}/_k/status", {})
        if expected.items() <= status.items():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still not {expected}")


@pytest.fixture
async def bind(running: str, http: Http, tmp_path: Path) -> Bind:
    """Deployments of the server, which has nothing to do by now."""
    await until_status(http, running, gpu_available=True, inference_time=0)
    return lambda **options: bound(http, tmp_path, running, **options)


async def facts(http: Http, url: str) -> dict[str, Any]:
    found: dict[str, Any] = await fetch_json(http, f"{url}/facts", {}, {})
    return found


async def test_an_answer_with_the_handler_s_own_counts(bind: Bind) -> None:
    deployment = bind(
        output_field="outputs",
        input_tokens_field="usage.tokens_in",
        output_tokens_field="usage.tokens_out",
    )
    folded = await attempt(deployment, GenerateRequest("say it loud"), price_of("0.01"))
    assert folded.events == [
        Started(evidence="scale_state"),
        Delta("SAY IT LOUD"),
        Finished(("stop",), Usage(input_tokens=3, output_tokens=2)),
    ]
    row = folded.row
    assert (row.verdict, row.evidence, row.boot_seconds) == ("warm", "scale_state", None)
    assert (row.input_tokens, row.input_tokens_source) == (3, "reported")
    assert row.cost_status == "measured" and row.cost_pico_usd


async def test_a_whole_answer_and_the_request_s_name(bind: Bind, running: str, http: Http) -> None:
    deployment = bind()
    request = GenerateRequest({"prompt": "a b"}, request_id="gen_17")
    async with aclosing(deployment.generate(request)) as events:
        (output,) = [event async for event in events if isinstance(event, Output)]
    assert output.value == {"outputs": "A B", "usage": {"tokens_in": 2, "tokens_out": 2}}
    assert "gen_17" in (await facts(http, running))["requests"]


async def test_a_stream_is_text_as_it_comes(bind: Bind) -> None:
    events = await collect(bind(route="/stream"), {"pieces": PIECES})
    deltas = [event for event in events if isinstance(event, Delta)]
    expected = "".join(f"{number} ✓ " for number in range(PIECES))
    assert "".join(delta.text for delta in deltas) == expected
    assert len(deltas) > 5


@pytest.mark.parametrize("output", ["auto", "image"])
async def test_bytes(bind: Bind, output: str) -> None:
    typed = output == "auto"
    events = await collect(bind(route="/picture", output=output), {"typed": typed, "content": "✓"})
    (picture,) = [event for event in events if isinstance(event, Output)]
    assert picture.kind == "image"
    assert picture.data == "✓".encode()
    assert picture.media_type == ("image/png" if typed else None)


async def test_a_handler_that_raises_and_what_its_traceback_holds(bind: Bind) -> None:
    with pytest.raises(UpstreamFailed, match="handler raised") as caught:
        await collect(bind(route="/fails"), "my secret")
    assert "secret" not in f"{caught.value!r}{caught.value.__cause__!r}"


async def test_a_route_without_a_handler(bind: Bind) -> None:
    with pytest.raises(ModelNotFound):
        await collect(bind(route="/nowhere"), "x")


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "RequestRejected"),
        (401, "CredentialsRejected"),
        (413, "RequestRejected"),
        (418, "ProtocolViolation"),
        (422, "RequestRejected"),
        (423, "CapacityUnavailable"),
        (503, "ModelLoading"),
        (504, "UpstreamTimeout"),
    ],
)
async def test_a_status_of_the_handler_s_own(bind: Bind, status: int, name: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await collect(bind(route="/says"), {"status": status})
    assert type(caught.value).__name__ == name
    assert caught.value.upstream_status == status


async def test_a_wrong_field_is_not_the_caller_s_fault(bind: Bind) -> None:
    with pytest.raises(ProviderError, match="output_field") as caught:
        await collect(bind(output_field="answer"), "x")
    assert not isinstance(caught.value, RequestRejected) and caught.value.spends


async def test_a_busy_server_is_warm_but_says_nothing_about_the_begin(
    bind: Bind, running: str, http: Http
) -> None:
    slow = asyncio.create_task(collect(bind(route="/work"), {"seconds": 0.5}))
    await until_status(http, running, gpu_available=False)
    folded = await attempt(bind(output_field="outputs"), GenerateRequest("x"))
    await slow
    assert not any(isinstance(event, Started) for event in folded.events)
    assert (folded.row.verdict, folded.row.evidence) == ("warm", "scale_state")
    assert folded.row.wait_seconds is None
    assert folded.row.execute_seconds is not None and folded.row.execute_seconds > 0.05


async def test_hanging_up_does_not_stop_the_handler_and_we_say_so(
    bind: Bind, running: str, http: Http
) -> None:
    deployment = bind(route="/stream")
    assert deployment.capabilities.cancels is False
    before = (await facts(http, running))["yielded"]
    request = GenerateRequest({"pieces": PIECES})
    async with aclosing(deployment.generate(request)) as events:
        async for event in events:
            if isinstance(event, Delta):
                break
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    # One worker: it answers once the abandoned generator has been drained to its end.
    assert (await facts(http, running))["yielded"] - before == PIECES


async def test_a_background_handler_lasts_until_the_server_is_idle(
    bind: Bind, running: str, http: Http
) -> None:
    deployment = bind(route="/later", background=True)
    request = GenerateRequest({"seconds": 0.2, "name": "a"}, stream=False)
    folded = await attempt(deployment, request, price_of("1", "execute"))
    assert [type(event) for event in folded.events] == [Started, Output, Finished]
    assert folded.events[1] == Output("json", value={"started": True})
    assert "a" in (await facts(http, running))["background"]
    assert folded.row.cost_pico_usd is not None
    assert folded.row.total_seconds is not None
    assert 0.2 <= folded.row.cost_pico_usd / 1e12 <= folded.row.total_seconds


async def test_a_background_handler_that_nobody_could_watch_is_not_begun(
    bind: Bind, running: str, http: Http
) -> None:
    deployment = bind(route="/later", background=True, status_path="/nowhere")
    with pytest.raises(UpstreamFailed, match="nothing was begun"):
        await collect(deployment, {"seconds": 0, "name": "never"})
    assert "never" not in (await facts(http, running))["background"]


async def test_probing_asks_no_handler_and_warming_neither(
    bind: Bind, running: str, http: Http
) -> None:
    async def requests() -> int:
        status = await fetch_json(http, f"{running}/_k/status", {})
        return int(status["sequence_number"])

    deployment = bind()
    assert isinstance(deployment, Warmable)
    before = await requests()
    assert await probe(deployment) == "ready"
    assert await requests() == before
    await deployment.warm()
    for _ in range(100):  # it counts a moment after its answer
        if await requests() == before + 1:
            break
        await asyncio.sleep(0.01)
    assert await requests() == before + 1


async def test_a_server_that_starts_is_a_boot_only_where_we_know_that_it_starts(
    http: Http, tmp_path: Path
) -> None:
    port, init_seconds = free_port(), 0.3
    url = f"http://127.0.0.1:{port}"
    known = bound(http, tmp_path, url, waits_when_refused=True, output_field="outputs")
    unknown = bound(http, tmp_path, url)
    assert await probe(known) == "down"
    with pytest.raises(UpstreamUnreachable):
        await collect(unknown, "x")
    with pytest.raises(ModelLoading) as loading:
        await collect(known, "x")
    assert loading.value.evidence == "connection_refused"
    begun = time.monotonic()
    with server(port, init_seconds):
        folded = await attempt(known, GenerateRequest("x"), price_of("1"))
        ready_seconds = time.monotonic() - begun
    row = folded.row
    assert (row.verdict, row.evidence) == ("cold", "connection_refused")
    assert row.boot_seconds is not None
    assert init_seconds < row.boot_seconds <= ready_seconds
    assert row.execute_seconds is not None and row.total_seconds is not None
    assert row.boot_seconds + row.execute_seconds <= row.total_seconds + 1e-5
