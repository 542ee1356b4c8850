"""Hugging Face's router and the errors of its shared machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from providers.contract import (
    Accepted,
    CapacityUnavailable,
    ContextTooLong,
    CredentialsRejected,
    Delta,
    Finished,
    GenerateRequest,
    Http,
    ModelLoading,
    ModelNotFound,
    Parameters,
    ProviderError,
    ProviderRetired,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.huggingface import HuggingFaceOptions, HuggingFaceSettings
from providers.huggingface.calls import call_events
from providers.huggingface.errors import error_from, error_in
from providers.huggingface.payload import Place
from providers.huggingface.wire import Wire
from providers.testing.contract_suite import seen
from providers.testing.scenarios import ANSWER
from tests.adapters.huggingface_runs import World, ask
from tests.emulators.huggingface import (
    DEPLETED,
    GONE,
    NO_PERMISSION,
    NOT_SUPPORTED,
    REQUEST_ID,
    TOO_LARGE,
)
from tests.emulators.huggingface_tasks import TOO_LONG
from tests.toolkit.canned import whole


@pytest.fixture
def world(emulator: Callable[[Any], str], http: Http) -> World:
    return World(emulator, http)


# -- the router ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ":novita", ":fastest", ":cheapest", ":preferred"])
async def test_model_goes_out_with_its_provider_or_policy(world: World, suffix: str) -> None:
    ran = await ask(world.bind(f"org/warm{suffix}"))
    assert ran.text == ANSWER
    assert world.last.path == "/v1/chat/completions"
    assert world.last.body["model"] == f"org/warm{suffix}"


async def test_a_caller_of_the_dialect_loses_nothing(world: World) -> None:
    extra = {"temperature": 0, "logprobs": True, "response_format": {"type": "json_object"}}
    request = GenerateRequest(
        [{"role": "user", "content": "hi"}],
        Parameters(temperature=0),
        stream=False,
        dialect="openai_chat",
        extra=extra,
    )
    ran = await ask(world.bind("org/warm"), request)
    assert {key: world.last.body[key] for key in extra} == extra
    natives = [frame for e in ran.events if isinstance(e, Delta) for frame in e.native]
    assert natives[0]["choices"][0]["message"]["content"] == ANSWER


async def test_who_served_it_and_its_request_id_are_kept(world: World) -> None:
    ran = await ask(world.bind("org/warm"))
    assert ran.events[0] == Accepted(REQUEST_ID)
    assert ran.finished.phases is not None and ran.finished.phases.revision == "novita"
    assert ran.finished.phases.queue_seconds is None  # not said
    assert ran.cold.verdict == "unknown"  # nobody says what boots behind the router
    world.app.served_by = None
    assert (await ask(world.bind("org/warm"))).finished.phases is None


async def test_the_organization_that_pays_is_named(
    emulator: Callable[[Any], str], http: Http
) -> None:
    world = World(emulator, http, bill_to="acme-org")
    await ask(world.bind("org/warm"))
    assert world.last.headers["x-hf-bill-to"] == "acme-org"
    assert world.last.headers["authorization"] == f"Bearer {world.app.key}"
    world.app.endpoint("warm").running()
    await ask(world.bind_endpoint("warm"))
    assert "x-hf-bill-to" not in world.last.headers  # it is the router's


async def test_hf_inference_chats_at_the_models_own_address(world: World) -> None:
    assert (await ask(world.bind("org/warm", via="hf-inference"))).text == ANSWER
    assert world.last.path == "/hf-inference/models/org/warm/v1/chat/completions"


async def test_a_price_that_an_upstream_puts_into_its_usage_is_reported() -> None:
    answer = {
        "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "estimated_cost": 0.000012},
    }
    place = Place("http://127.0.0.1/v1/chat/completions", "org/m", "chat")
    request = GenerateRequest("hi", stream=False)
    last = [event async for event in call_events(Wire(whole(answer)), place, request)][-1]
    assert isinstance(last, Finished) and last.usage is not None
    assert last.usage.cost_usd == Decimal("0.000012")


async def test_hanging_up_in_the_middle_ends_the_work_within_a_second(world: World) -> None:
    async with aclosing(world.bind("org/stalls").generate(GenerateRequest("hi"))) as events:
        async for event in events:
            if isinstance(event, Delta):
                break
    left_at = time.monotonic()
    await seen(lambda: world.app.stopped("stalls") == 1)
    assert time.monotonic() - left_at < 1


@pytest.mark.parametrize("api", ["text-generation", "text-to-image"])
async def test_hanging_up_before_an_answer_ends_the_work(world: World, api: str) -> None:
    deployment = world.bind("org/never-answers", via="hf-inference", api=api)
    request = GenerateRequest("hi", stream=False)
    task = asyncio.create_task(ask(deployment, request))
    await seen(lambda: world.app.began("never-answers") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen(lambda: world.app.stopped("never-answers") == 1)


# -- what can be configured ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"via": "endpoint"}, "needs the endpoint's url"),
        ({"url": "http://127.0.0.1:1"}, "without a use here: url"),
        ({"endpoint": "org/e"}, "without a use here: endpoint"),
        ({"api": "text-to-image"}, "the router only chats"),
        ({"via": "classic"}, "does not chat"),
        ({"details": False}, "without a use here: details"),
        ({"path": "/generate"}, "without a use here: path"),
        (
            {"via": "endpoint", "url": "http://e", "scale_up_timeout_seconds": 60},
            "state needs endpoint",
        ),
        ({"via": "endpoint", "url": "http://e", "endpoint": "no-namespace"}, "endpoint"),
        ({"via": "endpoint", "url": "e.example"}, "http"),
    ],
)
def test_no_key_is_ignored(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HuggingFaceOptions.model_validate(options)


def test_the_routers_address_may_be_the_documented_one() -> None:
    settings = HuggingFaceSettings(base_url="https://router.huggingface.co/v1/")
    assert settings.base_url == "https://router.huggingface.co"


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("nameless", {}, "not org/name"),
        ("org/m:a:b", {}, "not org/name"),
        ("org/m:cheapest", {"via": "hf-inference", "api": "text-generation"}, "policy needs"),
        ("../status/x", {"via": "classic", "api": "native"}, "not org/name"),
    ],
)
async def test_a_model_that_cannot_be_is_refused(
    world: World, model: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        world.bind(model, **options)


async def test_a_token_is_needed_except_at_public_endpoints(
    emulator: Callable[[Any], str], http: Http
) -> None:
    world = World(emulator, http, token=None)
    with pytest.raises(ValueError, match="needs a token"):
        world.bind("org/warm")
    with pytest.raises(ValueError, match="needs a token"):
        world.bind_endpoint("warm")  # its state is not public
    world.bind_endpoint("warm", managed=False)


# -- what goes wrong ----------------------------------------------------------------------------

HTML = "<html><body>502 Bad Gateway</body></html>"
TGI_LIMIT = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": NOT_SUPPORTED}, CredentialsRejected),
        (400, {"error": {**NOT_SUPPORTED, "message": "reworded"}}, CredentialsRejected),
        (400, {"error": "Model not supported by provider hf-inference"}, ModelNotFound),
        (400, {"error": "Bad Request: Invalid state"}, ProviderRetired),
        (400, {"error": "something else"}, RequestRejected),
        (400, {"error": {"message": "no", "code": "context_length_exceeded"}}, ContextTooLong),
        (401, {"error": "Invalid credentials in Authorization header"}, CredentialsRejected),
        (401, "", CredentialsRejected),  # TGI: no body
        (402, {"error": DEPLETED}, QuotaExhausted),
        (402, {"error": "Model is overloaded", "error_type": "overloaded"}, QuotaExhausted),
        (403, {"error": NO_PERMISSION}, CredentialsRejected),
        (403, {"error": TOO_LARGE}, ModelNotFound),  # no question of keys
        (403, HTML, CredentialsRejected),
        (404, {"error": "Not Found"}, ModelNotFound),
        (410, {"error": GONE}, ProviderRetired),
        (413, {"error": TOO_LONG, "error_type": "Validation"}, ContextTooLong),
        (413, {"error": "batch size 33 > 32", "error_type": "Validation"}, RequestRejected),
        (422, {"error": TGI_LIMIT, "error_type": "validation"}, ContextTooLong),
        (422, {"error": "Input validation error: x", "error_type": "validation"}, RequestRejected),
        (422, {"errors": [{"message": TOO_LONG}]}, ContextTooLong),
        (422, {"detail": TOO_LONG}, ContextTooLong),
        (424, {"error": "Request failed", "error_type": "generation"}, UpstreamFailed),
        (424, {"error": "cuda", "error_type": "Backend"}, UpstreamFailed),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, CapacityUnavailable),
        (429, {"error": "Rate limit reached"}, RateLimited),
        (500, {"error": "Model too busy, unable to get response in less"}, CapacityUnavailable),
        (500, {"error": "x", "error_type": "incomplete_generation"}, UpstreamFailed),
        (502, HTML, UpstreamFailed),
        (503, {"error": "Model gpt2 is currently loading", "estimated_time": 20.0}, ModelLoading),
        (503, {"error": "reworded", "estimated_time": 35.6677131652832}, ModelLoading),
        (503, "Service Unavailable", CapacityUnavailable),
        (503, {"error": "unhealthy", "error_type": "healthcheck"}, CapacityUnavailable),
        (504, HTML, UpstreamTimeout),
    ],
)
def test_error_table(status: int, body: Any, expected: type[ProviderError]) -> None:
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    error = error_from(status, {}, raw)
    assert type(error) is expected
    assert error.upstream_status == status
    for upstream_word in ("hf_", "NAME", "16GB", "monthly", "CUDA", "4096"):
        assert upstream_word not in error.detail


def test_a_guess_of_a_boot_is_told_and_not_believed() -> None:
    body = {"error": "Model gpt2 is currently loading", "estimated_time": 1809.1820068359375}
    error = error_from(503, {}, orjson.dumps(body))
    assert isinstance(error, ModelLoading) and error.evidence == "loading_reported"
    assert "1809 s" in error.detail
    assert error.retry_after_seconds is None and error.phases is None
    error = error_from(503, {"retry-after": "3"}, orjson.dumps(body))
    assert error.retry_after_seconds == 3  # that is a request, not a guess


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({"ratelimit": '"api";r=12;t=55'}, None),
        ({"ratelimit": '"api";r=0;t=55', "retry-after": "7"}, 7.0),
        ({"ratelimit": "nonsense"}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert error_from(429, headers, b"{}").retry_after_seconds == seconds


def test_words_may_stand_in_a_header_alone() -> None:
    error = error_from(403, {"x-error-message": TOO_LARGE}, b"")
    assert type(error) is ModelNotFound


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, CapacityUnavailable),
        ({"error": TOO_LONG, "error_type": "validation"}, ContextTooLong),
        ({"error": "?", "error_type": "generation"}, UpstreamFailed),
        ({"error": {"message": TOO_LONG, "http_status_code": 422}}, ContextTooLong),
        ({"error": "what"}, UpstreamFailed),
    ],
)
def test_errors_under_the_status_200(body: dict[str, Any], expected: type[ProviderError]) -> None:
    error = error_in(body)
    assert type(error) is expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("not-enabled", CredentialsRejected),
        ("no-permission", CredentialsRejected),
        ("too-large", ModelNotFound),
        ("not-here", ModelNotFound),
        ("busy", CapacityUnavailable),
        ("html-504", UpstreamTimeout),
    ],
)
async def test_refusals_carry_the_request_id(
    world: World, model: str, expected: type[ProviderError]
) -> None:
    with pytest.raises(ProviderError) as caught:
        await ask(world.bind(f"org/{model}"))
    assert type(caught.value) is expected
    assert caught.value.job_id == REQUEST_ID
