"""Banana's protocols: the real Potassium 0.5.0, and emulated what no server shows any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import providers.banana
from providers.banana import BananaOptions, BananaSettings, plugin
from providers.contract import (
    Accepted,
    CapacityUnavailable,
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    ModelLoading,
    Output,
    Parameters,
    Probeable,
    ProtocolViolation,
    ProviderError,
    ProviderRetired,
    Reconcilable,
    RequestRejected,
    Started,
    UpstreamFailed,
    UpstreamTimeout,
    Warmable,
)
from providers.testing.scenarios import ANSWER
from providers.toolkit.http import open_http
from tests.adapters.folded import attempt, price_of
from tests.emulators.banana import Banana
from tests.local.engines import until
from tests.serving import serve

FIELDS = {
    "output_field": "outputs",
    "input_tokens_field": "usage.in",
    "output_tokens_field": "usage.out",
}


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Banana:
    app = Banana()
    app.url = emulator(app)
    return app


@pytest.fixture
async def bind(app: Banana, tmp_path: Path) -> AsyncIterator[Callable[..., Deployment]]:
    settings = BananaSettings.model_validate({"api_key": app.key, "base_url": app.url})
    http = open_http(settings)
    provider = plugin.build(settings, Host(http, tmp_path))
    yield lambda model="m", **options: provider.bind(model, BananaOptions.model_validate(options))
    await http.aclose()


async def collect(deployment: Deployment, given: Any = "hi", **changes: Any) -> list[Event]:
    async with aclosing(deployment.generate(GenerateRequest(given, **changes))) as events:
        return [event async for event in events]


# -- what it says of itself -----------------------------------------------------------------------


def test_it_says_that_the_service_has_ended() -> None:
    assert plugin.status == "service ended"
    assert "has ended" in plugin.summary
    assert "HOSTED SERVICE HAS ENDED" in (providers.banana.__doc__ or "")


@pytest.mark.parametrize("host", ["my-app.run.banana.dev", "API.Banana.dev", "banana.dev."])
@pytest.mark.parametrize("api", ["potassium", "start_check"])
async def test_an_address_of_the_dead_service_is_not_dialled(
    bind: Callable[..., Deployment], host: str, api: str
) -> None:
    deployment = bind(url=f"https://{host}", api=api)
    with pytest.raises(ProviderRetired, match="Potassium servers that you run yourself"):
        await collect(deployment)
    if isinstance(deployment, Probeable):
        assert await deployment.probe() == "down"


async def test_without_an_address_the_operator_is_told_why(http: Http, tmp_path: Path) -> None:
    provider = plugin.build(BananaSettings(), Host(http, tmp_path))
    with pytest.raises(ValueError, match="hosted service has ended"):
        provider.bind("m", BananaOptions())


@pytest.mark.parametrize(
    "options",
    [
        {"api": "start_check", "route": "/x"},
        {"api": "start_check", "waits_when_refused": True},
        {"background": True, "status_path": None},
        {"background": True, "output_field": "x"},
        {"input": {"promt": "prompt"}},
        {"url": "127.0.0.1:8000"},
    ],
)
def test_an_option_that_would_be_ignored_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BananaOptions.model_validate(options)


# -- V2 at the edge -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "error", "retryable", "spends"),
    [
        ("no-capacity", CapacityUnavailable, True, False),  # 423
        ("loading", ModelLoading, True, False),  # 503
        ("too-long", UpstreamTimeout, True, True),  # 504
        ("teapot", ProtocolViolation, False, True),  # 418
        ("invalid-request", RequestRejected, False, False),  # 400
        ("server-fails", UpstreamFailed, True, True),  # 500 with Werkzeug's page
        ("not-json", ProtocolViolation, False, True),
    ],
)
async def test_statuses(
    bind: Callable[..., Deployment],
    route: str,
    error: type[ProviderError],
    retryable: bool,
    spends: bool,
) -> None:
    with pytest.raises(error) as caught:
        await collect(bind(route=f"/{route}"))
    assert type(caught.value) is error
    assert (error.retryable, error.spends) == (retryable, spends)


async def test_a_request_that_is_too_large(bind: Callable[..., Deployment], app: Banana) -> None:
    with pytest.raises(RequestRejected, match="larger than") as caught:
        await collect(bind(route="/warm"), "x" * 1_000_001)
    assert caught.value.upstream_status == 413
    assert app.truth == []


async def test_what_is_sent(bind: Callable[..., Deployment], app: Banana) -> None:
    deployment = bind(route="/warm", input={"prompt": "text", "max_output_tokens": "length"})
    await collect(deployment, parameters=Parameters(max_output_tokens=7), request_id="gen_1")
    ((_, headers, body),) = app.received
    assert body == {"text": "hi", "length": 7}
    assert headers["x-banana-api-key"] == app.key
    assert headers["x-banana-request-id"] == "gen_1"
    with pytest.raises(RequestRejected) as caught:
        await collect(deployment, parameters=Parameters(temperature=0.5))
    assert caught.value.param == "parameters.temperature"
    assert len(app.received) == 1


async def test_callers_of_openai_s_dialect_may_say_what_has_a_name(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    deployment = bind(route="/warm", input={"prompt": "text", "max_output_tokens": "length"})
    extra = {"max_tokens": 7, "n": 1, "stream_options": {"include_usage": True}}
    parameters = Parameters(max_output_tokens=7)
    messages = [{"role": "user", "content": "hi"}]
    await collect(deployment, messages, parameters=parameters, dialect="openai_chat", extra=extra)
    assert app.received[0][2] == {"text": "hi", "length": 7}
    for other in ({"n": 2}, {"logprobs": True}):
        with pytest.raises(RequestRejected) as caught:
            await collect(deployment, messages, dialect="openai_chat", extra=other)
        assert caught.value.param in other
    with pytest.raises(RequestRejected):  # not the dialect that these keys belong to
        await collect(deployment, messages, parameters=parameters, extra={"max_tokens": 7})
    assert len(app.received) == 1


async def test_a_boot_at_the_edge_is_told_priced_and_held_against_the_truth(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    app.up, app.boot_seconds, app.work_seconds = False, 0.05, 0.03
    price = price_of("1", "execute", "boot")
    deployment = bind(route="/work", **FIELDS)
    cold = await attempt(deployment, GenerateRequest("hi"), price)
    warm = await attempt(deployment, GenerateRequest("hi"), price)
    for folded, truth in zip((cold, warm), app.truth, strict=True):
        assert (folded.row.verdict == "cold") == truth.cold
        assert folded.row.cost_pico_usd is not None
        # Ours leave out what a message needs to get there and back, on a machine that is busy.
        billed_seconds = folded.row.cost_pico_usd / 1e12
        assert truth.execute_seconds <= billed_seconds
        assert billed_seconds == pytest.approx(truth.billed_seconds, abs=0.5)
    # Whose boot it was is nowhere said: it may have cost nothing.
    assert (cold.row.cost_status, warm.row.cost_status) == ("estimated", "measured")
    assert cold.row.cost_pico_usd == cold.row.high_pico_usd
    assert cold.row.low_pico_usd is not None and cold.row.high_pico_usd is not None
    assert cold.row.low_pico_usd < cold.row.high_pico_usd
    assert cold.row.evidence == "loading_reported"
    assert cold.row.boot_seconds is not None
    assert 0 < cold.row.boot_seconds <= app.truth[0].boot_seconds
    assert (warm.row.verdict, warm.row.evidence) == ("warm", "scale_state")


async def test_warming_brings_a_replica_up(bind: Callable[..., Deployment], app: Banana) -> None:
    app.up, app.boot_seconds = False, 0.02
    deployment = bind(route="/warm")
    assert isinstance(deployment, Warmable) and isinstance(deployment, Probeable)
    assert await deployment.probe() == "unknown"  # 503: it does not say why
    assert app._booting_since is None  # and the look has started nothing
    with pytest.raises(ModelLoading):
        await deployment.warm()
    await asyncio.sleep(0.03)
    await deployment.warm()
    assert await deployment.probe() == "ready"
    assert app.truth == []  # no handler ran


async def test_a_status_that_is_held_back_proves_nothing(
    emulator: Callable[[Any], str],
    bind: Callable[..., Deployment],
    app: Banana,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy that holds requests during a boot would make every cold call look warm."""
    monkeypatch.setattr("providers.banana.potassium.STATUS_READ_TIMEOUT_SECONDS", 0.03)

    async def holding(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/_k/status":
            await asyncio.sleep(0.05)
        await app(scope, receive, send)

    folded = await attempt(bind(url=emulator(holding), route="/warm"), GenerateRequest("hi"))
    assert folded.failure is None
    assert folded.row.verdict == "unknown"


def status(free: bool, idle_ms: int, number: int) -> dict[str, Any]:
    busy = {"gpu_available": free, "idle_time": idle_ms, "inference_time": 0 if free else 40}
    return {**busy, "sequence_number": number}


async def test_a_background_job_that_the_status_has_not_counted_yet(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    app.statuses = [
        status(True, 900, 5),  # before the call
        status(True, 950, 5),  # behind: it has not counted the call
        status(False, 0, 6),
        status(True, 3, 6),
    ]
    events = await collect(bind(route="/warm", background=True))
    assert isinstance(events[-1], Finished)
    assert app.statuses == []


async def test_a_server_that_goes_away_during_a_background_job(
    bind: Callable[..., Deployment],
) -> None:
    app = Banana(statuses=[status(True, 900, 5), *(status(False, 0, 6) for _ in range(500))])
    with serve(app) as url:
        options = {"url": url, "route": "/warm", "background": True, "waits_when_refused": True}
        job = asyncio.create_task(collect(bind(**options)))
        await until(lambda: app.truth and len(app.statuses) < 499)
    with pytest.raises(UpstreamFailed, match="went away"):  # it was at work: no boot to wait for
        await job


async def test_a_failure_at_a_busy_server_was_no_cold_start(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    app.statuses = [status(False, 0, 6)]
    folded = await attempt(bind(route="/job-fails"), GenerateRequest("hi"))
    assert isinstance(folded.failure, UpstreamFailed)
    assert (folded.row.verdict, folded.row.evidence) == ("warm", "scale_state")


async def test_the_older_template_s_health_says_only_that_it_is_up(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    app.statuses = [{"state": "healthy", "gpu": True}]
    folded = await attempt(bind(route="/warm"), GenerateRequest("hi"))
    assert not any(isinstance(event, Started) for event in folded.events)
    assert (folded.row.verdict, folded.row.evidence) == ("warm", "scale_state")


async def test_text_cut_inside_its_letters(bind: Callable[..., Deployment]) -> None:
    events = await collect(bind(route="/split-text"))
    assert "".join(event.text for event in events if isinstance(event, Delta)) == ANSWER


# -- V1 -------------------------------------------------------------------------------------------


async def test_v1_starts_and_checks_until_it_is_done(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    deployment = bind("cold", api="start_check", **FIELDS)
    folded = await attempt(deployment, GenerateRequest("hi"), price_of("1"))
    assert [type(event) for event in folded.events] == [Accepted, Delta, Finished]
    ((_, headers, body),) = app.received
    assert body == {
        "apiKey": app.key,
        "modelKey": "cold",
        "modelInputs": {"prompt": "hi"},
        "startOnly": True,
    }
    assert "authorization" not in headers
    (call,) = app.calls.values()
    assert call.checks == 3
    assert folded.row.verdict == "unknown"  # it says "running" during a boot, too
    assert folded.row.cost_pico_usd is not None
    assert folded.row.cost_pico_usd / 1e12 >= app.truth[0].billed_seconds


async def test_v1_may_be_done_at_once(bind: Callable[..., Deployment], app: Banana) -> None:
    events = await collect(bind("done-at-once", api="start_check", **FIELDS))
    assert [type(event) for event in events] == [Accepted, Delta, Finished]
    assert next(iter(app.calls.values())).checks == 0


@pytest.mark.parametrize("outputs", [[{"outputs": "x"}], {"outputs": "x"}])
async def test_v1_outputs_are_a_list_of_one_or_the_older_object(
    bind: Callable[..., Deployment], app: Banana, monkeypatch: pytest.MonkeyPatch, outputs: Any
) -> None:
    monkeypatch.setattr("tests.emulators.banana.outputs", lambda scenario: outputs)
    events = await collect(bind("warm", api="start_check", output="json"))
    assert [event.value for event in events if isinstance(event, Output)] in ([outputs], outputs)


@pytest.mark.parametrize("model", ["refused", "job-fails"])
async def test_v1_errors_come_with_status_200(
    bind: Callable[..., Deployment], app: Banana, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(UpstreamFailed) as caught:
        await collect(bind(model, api="start_check"))
    assert app.key not in f"{caught.value!r} {caplog.text}"
    assert "goes on" not in caplog.text  # it has ended by itself


async def test_v1_cannot_cancel_but_can_be_asked_later(
    bind: Callable[..., Deployment], app: Banana
) -> None:
    deployment = bind("never-answers", api="start_check", **FIELDS)
    assert not deployment.capabilities.cancels
    assert isinstance(deployment, Reconcilable)
    async with aclosing(deployment.generate(GenerateRequest("hi"))) as events:
        accepted = await anext(events)
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    assert isinstance(accepted, Accepted)
    report = await deployment.lookup(accepted.job_id)
    assert report is not None and report.status == "running"
    app.calls[accepted.job_id].scenario = "warm"
    report = await deployment.lookup(accepted.job_id)
    assert report is not None and report.status == "succeeded"
    assert report.usage is not None and report.usage.output_tokens is not None
    report = await deployment.lookup("call_unknown")
    assert report is not None and report.status == "failed"


async def test_v1_caller_who_leaves_while_the_call_is_created(
    bind: Callable[..., Deployment], app: Banana, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="providers.banana")
    deployment = bind("slow-start", api="start_check")
    task = asyncio.create_task(collect(deployment))
    await until(lambda: app.began("slow-start"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (call_id,) = app.calls  # the reply was awaited, so the log can say what goes on
    assert f"call {call_id} goes on" in caplog.text


async def test_v1_answer_that_cannot_be_read(bind: Callable[..., Deployment], app: Banana) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        await collect(bind("not-json", api="start_check"))
    assert caught.value.job_id in app.calls
