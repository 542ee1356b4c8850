"""What the ``openai`` SDK raises, and how often it tries again by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from providers.contract import (
    BootTimeout,
    ContentRefused,
    Delta,
    ModelLoading,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.contract import ProviderError as Failure
from providers.testing import Wait
from tests.emulators.openai_chat import OpenAIChat
from tests.gateway_app.conftest import KEYS
from tests.gateway_app.gateways import Gateway, Scripts

MESSAGES: Any = [{"role": "user", "content": "Say it."}]
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def sdk(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def raised(sdk: openai.OpenAI, model: str, stream: bool, **more: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.chat.completions.create(model=model, messages=MESSAGES, stream=stream, **more)
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("nowhere", openai.NotFoundError, "model_not_found"),
        ("no-such-model", openai.NotFoundError, "model_not_found"),
        ("context-too-long", openai.BadRequestError, "context_length_exceeded"),
        ("invalid-request", openai.UnprocessableEntityError, "request_rejected"),
        ("rate-limited", openai.RateLimitError, "provider_rate_limited"),
        ("out-of-quota", openai.InternalServerError, "provider_quota_exhausted"),
        ("bad-key", openai.InternalServerError, "provider_credentials_rejected"),
        ("job-fails", openai.InternalServerError, "provider_failed"),
    ],
)
def test_the_class_that_the_sdk_raises(
    sdk: openai.OpenAI, model: str, error: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    got = raised(sdk, model, stream)
    assert type(got) is error and got.code == code
    body: Any = got.body
    if model == "nowhere":
        assert got.param == "model"
    else:
        assert got.request_id == body["operation_id"] and body["cost"]["total_usd"] is not None
    if model == "invalid-request":
        assert got.param == "temperature"
    if model == "rate-limited":
        assert got.response.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (ContentRefused(), openai.BadRequestError),
        (UpstreamTimeout(), openai.InternalServerError),
        (BootTimeout(), openai.InternalServerError),
        (RateLimited(retry_after_seconds=9), openai.RateLimitError),
    ],
)
def test_errors_of_other_dialects(
    sdk: openai.OpenAI, scripts: Scripts, failure: Failure, error: type[openai.APIStatusError]
) -> None:
    scripts.only("plain", (failure,))
    for stream in (False, True):
        assert type(raised(sdk, "plain", stream)) is error


def test_a_bad_body(sdk: openai.OpenAI) -> None:
    body: Any = {"max_tokens": "many"}
    got = raised(sdk, "plain", False, extra_body=body)
    assert type(got) is openai.BadRequestError and got.param == "max_tokens"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("param", ["logprobs", "tools", "response_format"])
def test_a_parameter_that_a_deployment_of_another_dialect_does_not_know(
    sdk: openai.OpenAI, scripts: Scripts, param: str, stream: bool
) -> None:
    scripts.only("plain", (RequestRejected("This deployment does not know it.", param=param),))
    got = raised(sdk, "plain", stream, extra_body={param: True})
    assert type(got) is openai.BadRequestError
    assert (got.code, got.param) == ("unsupported_parameter", param)
    body: Any = got.body
    assert param in body["message"] and body["type"] == "invalid_request_error"
    assert body["cost"]["total_usd"] == "0"


def test_other_rejections_of_another_dialect_stay_what_they_are(
    sdk: openai.OpenAI, scripts: Scripts
) -> None:
    for param in (None, "messages", "seed"):
        scripts.only("plain", (RequestRejected(param=param),))
        got = raised(sdk, "plain", False, extra_body={"logprobs": True})
        assert (got.status_code, got.code, got.param) == (422, "request_rejected", param)


def test_an_answer_that_breaks_off(gateway: Gateway, sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(model="dies-mid-stream", messages=MESSAGES, stream=True)
    said = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            said += chunk.choices[0].delta.content or ""
    assert said
    body: Any = caught.value.body
    assert body["code"] == "stream_interrupted" and body["cost"]["status"] == "estimated"
    (row,) = gateway.rows(body["operation_id"])
    assert (row["status"], row["error_type"]) == ("failed", "StreamInterrupted")


def test_a_failure_late_but_before_the_first_output(gateway: Gateway, scripts: Scripts) -> None:
    """The head has gone out already: the error is an event, and there is no end mark."""
    scripts.only("plain", (Wait(0.3), UpstreamFailed()))
    body = {"model": "plain", "messages": MESSAGES, "stream": True}
    response = gateway.http.post(CHAT, json=body)
    assert response.status_code == 200
    assert '"code":"provider_failed"' in response.text and "[DONE]" not in response.text


def test_the_sdk_tries_again_when_told_so_and_not_for_ever(
    gateway: Gateway, scripts: Scripts
) -> None:
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=1) as client:
        scripts.only("plain", (RateLimited(retry_after_seconds=0.3),))
        began = time.monotonic()
        assert type(raised(client, "plain", False)) is openai.RateLimitError
        # ours: one attempt each (0.3 s is longer than max_wait_seconds); theirs: one retry
        assert len(scripts.calls("plain")) == 2
        assert 0.3 <= time.monotonic() - began < 3
        scripts.only("plain", (ContentRefused(),))
        raised(client, "plain", False)
        assert len(scripts.calls("plain")) == 1


def test_loading_is_waited_for_before_a_stream_begins(sdk: openai.OpenAI, scripts: Scripts) -> None:
    scripts.only("impatient", (ModelLoading(),))
    got = raised(sdk, "impatient", False)
    assert (got.status_code, got.code) == (503, "cold_start_timeout")
    # What is left of the boot by what is known of it; never at once, and never past a minute.
    assert 1 <= int(got.response.headers["retry-after"]) <= 60


def test_without_the_right_key(locked: Gateway) -> None:
    url = f"{locked.url}/v1"
    with openai.OpenAI(base_url=url, api_key="sig_wrong", max_retries=0) as client:
        got = raised(client, "plain", False)
        assert type(got) is openai.AuthenticationError and got.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
    with openai.OpenAI(base_url=url, api_key=KEYS["finance"][0], max_retries=0) as client:
        assert type(raised(client, "plain", False)) is openai.PermissionDeniedError
    locked.scripts.says("plain", "hi")
    with openai.OpenAI(base_url=url, api_key=KEYS["app"][0], max_retries=0) as client:
        answer = client.chat.completions.create(model="plain", messages=MESSAGES)
        assert answer.choices[0].message.content == "hi"


def test_the_key_of_the_upstream_stays_here(
    gateway: Gateway, chat_emulator: OpenAIChat, scripts: Scripts
) -> None:
    headers = {"authorization": "Bearer callers-own-key", "x-custom": "1"}
    body = {"model": "warm", "messages": MESSAGES}
    response: httpx.Response = gateway.http.post(CHAT, json=body, headers=headers)
    assert response.status_code == 200
    sent = chat_emulator.received[-1].headers
    assert sent["authorization"] == f"Bearer {chat_emulator.key}"
    assert "x-custom" not in sent and chat_emulator.key not in str(response.headers)


def test_deltas_before_a_failure_are_not_lost(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Delta("a"), Delta("b"), UpstreamFailed()))
    body = {"model": "plain", "messages": MESSAGES, "stream": True}
    text = gateway.http.post(CHAT, json=body).text
    assert text.count('"content":') == 2 and '"code":"stream_interrupted"' in text
