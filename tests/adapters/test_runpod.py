"""What is peculiar to RunPod: what is sent, what failures mean, streams that break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from providers.contract import (
    ContentRefused,
    ContextTooLong,
    GenerateRequest,
    Output,
    Parameters,
    Probeable,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    Scalable,
    StreamInterrupted,
    UpstreamFailed,
    UpstreamTimeout,
    Usage,
    Warmable,
)
from providers.runpod import RunPodOptions, RunPodSettings
from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from tests.adapters.asking import usd
from tests.adapters.runpod_asking import COUNTS, STREAMED, Asking, asking
from tests.emulators.runpod import RunPod, cold
from tests.emulators.runpod_chat import MODEL
from tests.emulators.runpod_wire import WARM, raised
from tests.emulators.runpod_world import Handler


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> RunPod:
    app = RunPod()
    app.url = emulator(app)
    return app


@pytest.fixture
async def account(app: RunPod, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(app, tmp_path, poll_seconds=0.02) as account:
        yield account


FILTERED = '{"error": {"message": "it\'s secret", "code": "content_filter"}}'


def give(**what: Any) -> Handler:
    return Handler(always_warm=True, **what)


# -- what is sent ------------------------------------------------------------------------------


async def test_the_gateways_deadline_goes_along(account: Asking, app: RunPod) -> None:
    app.endpoint("a", give(output="x"))
    request = GenerateRequest("hi", Parameters(temperature=0.5), deadline_seconds=899.2)
    await account.ask("a", request, input={"prompt": "text", "temperature": "heat"})
    await account.ask("a", GenerateRequest("hi", deadline_seconds=0.5))
    await account.ask("a", GenerateRequest("hi"))
    bodies = [received.body for received in app.sent("POST", "/run")]
    assert bodies[0] == {
        "input": {"text": "hi", "heat": 0.5},
        "policy": {"ttl": 900_000},
    }
    assert bodies[1]["policy"] == {"ttl": 10_000}
    assert bodies[2] == {"input": {"prompt": "hi"}}


async def test_vllm_is_asked_in_its_own_dialect(account: Asking, app: RunPod) -> None:
    extra = {"max_completion_tokens": 5, "logprobs": True}
    request = GenerateRequest(
        [{"role": "user", "content": "hi"}],
        Parameters(max_output_tokens=5),
        dialect="openai_chat",
        extra=extra,
    )
    deployment = account.bind("chat-warm", MODEL, api="openai", extra_body={"top_k": 3})
    assert deployment.capabilities.dialect == "openai_chat"
    native = [e async for e in deployment.generate(request)]
    assert app.last().input == {
        "openai_route": "/v1/chat/completions",
        "openai_input": {
            **extra,
            "top_k": 3,
            "model": MODEL,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    }
    frames = [f for e in native for f in getattr(e, "native", ())]
    assert frames[0]["choices"][0]["delta"]["role"] == "assistant"
    assert frames[-1]["usage"]["completion_tokens"] == OUTPUT_TOKENS


async def test_what_cannot_be_said_is_not_sent(account: Asking, app: RunPod) -> None:
    for request in (
        GenerateRequest("hi", Parameters(seed=1)),
        GenerateRequest("hi", task="embed"),
        GenerateRequest({"at": object()}),
    ):
        assert isinstance((await account.ask("warm", request)).error, RequestRejected)
    assert app.received == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "no/path"},
        {"api": "openai", "output": "json"},
        {"api": "openai", "streams": True},
        {"extra_body": {"top_k": 1}},
        {"input": {"promt": "x"}},
        {"public": True, "read_workers": True},
        {"api": "openai", "public": True},
    ],
)
def test_options_that_say_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunPodOptions.model_validate({"endpoint": "e1", **wrong})


def test_addresses_are_addresses() -> None:
    with pytest.raises(ValidationError):
        RunPodSettings.model_validate({"api_key": "k", "base_url": "api.runpod.ai"})
    settings = RunPodSettings.model_validate({"api_key": "k", "base_url": "http://x/v2/"})
    assert settings.base_url == "http://x/v2"


# -- what comes back ---------------------------------------------------------------------------


async def test_outputs(account: Asking, app: RunPod) -> None:
    app.endpoint("text", give(output={"say": {"text": ["Hel", "lo"]}, "n": {"out": 2}}))
    asked = await account.ask("text", output_field="say.text", output_tokens_field="n.out")
    assert asked.text == "Hello" and asked.finished.usage == Usage(output_tokens=2)
    app.endpoint("json", give(output={"a": 1}))
    (json_output,) = [e for e in (await account.ask("json")).events if isinstance(e, Output)]
    assert (json_output.kind, json_output.value) == ("json", {"a": 1})
    address = "https://bucket.example/a.png"
    app.endpoint("image", give(output={"images": [address, address]}))
    asked = await account.ask("image", output="image", output_field="images")
    outputs = [e for e in asked.events if isinstance(e, Output)]
    assert [(o.kind, o.url, o.index) for o in outputs] == [("image", address, i) for i in (0, 1)]
    # worker-vllm before its rewrite
    old = [{"choices": [{"tokens": ["a", "b"]}], "usage": {"input": 7, "output": 2}}]
    app.endpoint("old", give(output=old))
    asked = await account.ask(
        "old",
        output_field="choices.0.tokens",
        input_tokens_field="usage.input",
        output_tokens_field="usage.output",
    )
    assert asked.text == "ab" and asked.finished.usage == Usage(7, 2)


async def test_a_public_endpoint_says_what_it_cost(account: Asking, app: RunPod) -> None:
    # public-endpoints/models/flux-schnell and .../granite-4
    app.endpoint("flux", give(output={"image_url": "https://x.example/a.png", "cost": 0.00251658}))
    options = {"public": True, "output_field": "image_url", "output": "image"}
    asked = await account.ask("flux", GenerateRequest({"prompt": "a cat"}), **options)
    assert [e.url for e in asked.events if isinstance(e, Output)] == ["https://x.example/a.png"]
    assert asked.finished.usage == Usage(cost_usd=Decimal("0.00251658"))
    row = asked.row("runpod-l40s")
    assert (row.cost_status, usd(row.cost_pico_usd)) == ("measured", Decimal("0.00251658"))
    output = {
        "choices": [{"tokens": ["Hi"]}],
        "cost": 0.00185,
        "usage": {"input": 35, "output": 150},
    }
    app.endpoint("granite", cold(give(output=output), boot_seconds=9.0))
    asked = await account.ask(
        "granite",
        public=True,
        output_field="choices.0.tokens",
        input_tokens_field="usage.input",
        output_tokens_field="usage.output",
    )
    assert asked.text == "Hi"
    assert asked.finished.usage == Usage(35, 150, cost_usd=Decimal("0.00185"))
    assert asked.row("runpod-l40s").verdict == "unknown"  # whose queue or boot it was is not told
    assert not app.sent("GET", "/workers")
    deployment = account.bind_any("flux", public=True)
    assert not isinstance(deployment, Scalable | Probeable | Warmable)
    assert deployment.capabilities.keep_alive_seconds is None


@pytest.mark.parametrize(
    ("output", "options", "error"),
    [
        ({"b": 1}, {"output_field": "a"}, ProtocolViolation),
        ({"a": {}}, {"output_field": "a", "output": "text"}, UpstreamFailed),
    ],
)
async def test_an_output_that_was_configured_wrongly_is_paid(
    account: Asking, app: RunPod, output: Any, options: Any, error: type[ProviderError]
) -> None:
    app.endpoint("a", give(output=output))
    failed = (await account.ask("a", **options)).error
    assert type(failed) is error and failed.phases is not None
    assert failed.phases.execute_seconds == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("handler", "error", "detail"),
    [
        (give(error=raised("ValueError")), UpstreamFailed, "The handler raised an error (Value"),
        (give(error="Input is bad: secret"), UpstreamFailed, "The handler reported an error."),
        (give(error={"secret": 1}), UpstreamFailed, "The handler reported an error."),
        (give(error=raised("secret words")), UpstreamFailed, "The handler reported an error."),
        (give(error="x", end="TIMED_OUT"), UpstreamTimeout, "The job ran out of the time"),
        (give(error="x", end="CANCELLED"), UpstreamFailed, "The job was cancelled at RunPod."),
        (
            give(error="{'message': 'vLLM returned HTTP 400: a maximum context length'}"),
            ContextTooLong,
            "",
        ),
        (
            give(error=str({"message": f"vLLM returned HTTP 400: {FILTERED}", "code": None})),
            ContentRefused,
            "The provider refused the content (code content_filter)",
        ),
        (give(error="{'message': 'vLLM returned HTTP 400: bad'}"), RequestRejected, ""),
        (give(error="{'message': 'vLLM returned HTTP 400"), UpstreamFailed, "The handler rep"),
    ],
)
async def test_failures(
    account: Asking, app: RunPod, handler: Handler, error: type[ProviderError], detail: str
) -> None:
    app.endpoint("a", handler)
    failed = (await account.ask("a")).error
    assert type(failed) is error and failed.detail.startswith(detail)
    assert "secret" not in failed.detail
    assert failed.job_id == app.last().id
    assert failed.phases is not None and failed.phases.execute_seconds == pytest.approx(2.0)
    assert app.stopped("a") == 0  # it has ended: there is nothing to cancel


async def test_a_job_is_never_submitted_twice(account: Asking, app: RunPod) -> None:
    app.lost_jobs = 1
    failed = (await account.ask("warm")).error
    assert isinstance(failed, UpstreamFailed) and failed.may_have_run
    assert len(app.world.made) == len(app.sent("POST", "/run")) == 1


async def test_looks_may_fail_now_and_then(account: Asking, app: RunPod) -> None:
    app.endpoint("slow", cold(WARM, boot_seconds=300.0))
    app.refused_looks = 4
    assert (await account.ask("slow", **STREAMED)).text == ANSWER
    app.refused_looks = 100
    failed = (await account.ask("never-answers", **STREAMED)).error
    assert isinstance(failed, UpstreamFailed) and failed.job_id == app.last().id
    assert failed.may_have_run
    assert app.stopped("never-answers") == 1  # it may still run, so it is cancelled


async def test_a_job_that_outlives_its_time(account: Asking, app: RunPod) -> None:
    app.endpoint("long", give(output="x", execute_seconds=1e6))
    app.endpoint("stuck", cold(give(output="x"), boot_seconds=1e6))
    for name in ("long", "stuck"):
        failed = (await account.ask(name, GenerateRequest("x", deadline_seconds=20))).error
        assert type(failed) is UpstreamTimeout and failed.may_have_run
        assert failed.job_id == app.last().id


# -- streams -----------------------------------------------------------------------------------


async def test_pieces_that_were_lost_are_taken_from_the_whole(account: Asking, app: RunPod) -> None:
    app.endpoint("a", replace(WARM, execute_seconds=100.0))
    app.lost_pieces = 1
    asked = await account.ask("a", **STREAMED)
    assert asked.text == ANSWER
    assert asked.finished.usage == Usage(INPUT_TOKENS, OUTPUT_TOKENS)


async def test_pieces_that_nobody_has_are_no_answer(account: Asking, app: RunPod) -> None:
    app.endpoint("a", replace(WARM, execute_seconds=100.0, aggregates=False))
    assert (await account.ask("a", **STREAMED)).text == ANSWER
    app.lost_pieces = 1
    asked = await account.ask("a", **STREAMED)
    assert isinstance(asked.error, StreamInterrupted) and asked.error.phases is not None


async def test_a_handler_that_does_not_stream(account: Asking, app: RunPod) -> None:
    for frames in ("none", "whole"):
        app.endpoint("a", replace(WARM, execute_seconds=100.0, frames=frames))
        assert (await account.ask("a", **STREAMED)).text == ANSWER
    app.endpoint("a", give(output={"text": ANSWER}, frames="none"))
    assert (await account.ask("a", None, streams=False, **COUNTS)).text == ANSWER
    assert app.sent("GET", "/stream/")  # only where it was said that it streams
    app.received.clear()
    await account.ask("a", None, **COUNTS)
    assert not app.sent("GET", "/stream/")


async def test_each_read_is_one_delta(account: Asking, app: RunPod) -> None:
    app.endpoint("a", replace(WARM, execute_seconds=0.0))
    asked = await account.ask("a", **STREAMED)
    assert asked.kinds[-2:] == ["Delta", "Finished"] and asked.text == ANSWER
    pieces = ({"text": "a"}, {"text": "https://x.example/1.png"}, {"text": "b"})
    app.endpoint("mixed", replace(WARM, pieces=pieces))
    kinds = (await account.ask("mixed", **STREAMED)).kinds
    assert kinds[-4:] == ["Delta", "Output", "Delta", "Finished"]


async def test_chat_that_ends_early_is_no_answer(account: Asking, app: RunPod) -> None:
    app.place("chat-stalls")
    place = app.world.places["chat-stalls"]
    place.handler = replace(place.handler, execute_seconds=5.0)
    deployment = account.bind("chat-stalls", MODEL, api="openai")
    with pytest.raises(StreamInterrupted):
        async for _ in deployment.generate(GenerateRequest("x")):
            pass


# -- the endpoint itself -----------------------------------------------------------------------
