from __future__ import annotations

from typing import Any

import pytest

from providers.contract import (
    CapacityUnavailable,
    ContentRefused,
    ContextTooLong,
    CredentialsRejected,
    ModelLoading,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
)
from providers.toolkit.openai_chat import ChatEndpoint, ColdWhen
from tests.toolkit.canned import Canned, failure, sse, whole


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"code": "context_length_exceeded"}}, ContextTooLong),
        (400, {"error": {"type": "exceed_context_size_error", "code": 400}}, ContextTooLong),
        (400, {"error": {"message": "This model's maximum context length is 8"}}, ContextTooLong),
        (400, {"error": {"code": "content_filter"}}, ContentRefused),
        (400, {"error": {"code": "invalid_value", "param": "top_p"}}, RequestRejected),
        (401, {"error": {"code": "invalid_api_key"}}, CredentialsRejected),
        (403, {}, CredentialsRejected),
        (404, {"error": {"code": "model_not_found"}}, ModelNotFound),
        (429, {"error": {"code": "insufficient_quota"}}, QuotaExhausted),
        (429, {"error": {"type": "insufficient_quota", "code": None}}, QuotaExhausted),
        (429, {"error": {"code": "rate_limit_exceeded"}}, RateLimited),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, CapacityUnavailable),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}], RateLimited),
        (500, None, UpstreamFailed),
        (502, "<html>", UpstreamFailed),
        (
            503,
            {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
            ModelLoading,
        ),
        (503, {"error": {"message": "busy", "type": "unavailable_error"}}, CapacityUnavailable),
        (302, {}, UpstreamFailed),
    ],
)
async def test_errors_by_code_then_text_then_status(
    status: int, body: Any, error: type[ProviderError]
) -> None:
    caught = await failure(whole(body, status))
    assert type(caught) is error
    assert caught.upstream_status == (status if status >= 400 else None)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Input validation error: `inputs` must have less than 8 tokens. Given: 9", ContextTooLong),
        ("`inputs` tokens + `max_new_tokens` must be <= 8. Given: 9", ContextTooLong),
        ("Input validation error: `seed` must be positive", RequestRejected),
        ("Request failed during generation: out of memory", UpstreamFailed),
        ("Model is overloaded", CapacityUnavailable),
    ],
)
async def test_tgi_says_422_of_every_error_in_a_stream(
    words: str, error: type[ProviderError]
) -> None:
    event = {"error": {"message": words, "http_status_code": 422}}
    caught = await failure(Canned(sse(event)))
    assert type(caught) is error


async def test_rows_of_a_provider() -> None:
    scaling = {"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "wait"}}
    cold = ChatEndpoint("http://127.0.0.1/", "m", cold_when=(ColdWhen(503, "scaling_up"),))
    assert type(await failure(whole(scaling, 503))) is CapacityUnavailable
    assert type(await failure(whole(scaling, 503), endpoint=cold)) is ModelLoading
    assert type(await failure(whole(scaling, 500), endpoint=cold)) is UpstreamFailed
    assert type(await failure(whole({}, 503), endpoint=cold)) is CapacityUnavailable
    bent = ChatEndpoint("http://127.0.0.1/", "m", status_errors={403: ContextTooLong})
    assert type(await failure(whole({}, 403), endpoint=bent)) is ContextTooLong
    key = {"error": {"code": "invalid_api_key"}}
    assert type(await failure(whole(key, 403), endpoint=bent)) is CredentialsRejected


async def test_retry_after_comes_along() -> None:
    http = Canned(b"{}", status=503, headers={"retry-after": "4"})
    assert (await failure(http)).retry_after_seconds == 4.0


async def test_their_words_stay_with_them() -> None:
    body = {
        "error": {
            "message": "bad key sk-secret for prompt hi",
            "code": "sk-secret",
            "type": "bad thing sk-secret",
            "param": "messages[0].content sk-secret",
        }
    }
    error = await failure(whole(body, 400))
    assert "secret" not in f"{error.detail} {error.param} {error!r}"
    known = await failure(whole({"error": {"code": "invalid_value", "param": "a.b[0]"}}, 400))
    assert known.param == "a.b[0]"
    assert known.detail == "The provider refused the request as it stands (code invalid_value)."
