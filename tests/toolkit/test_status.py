from __future__ import annotations

from datetime import UTC, datetime

import pytest

from providers.contract import (
    CapacityUnavailable,
    ContextTooLong,
    CredentialsRejected,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.toolkit.status import error_class_for, retry_after_seconds

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "7"}, 7.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Mon, 99 Nov 2026 12:00:30 GMT"}, None),
        # Their own clock is an hour fast: what they mean is the difference.
        (
            {
                "retry-after": "Mon, 23 Nov 2026 13:00:30 GMT",
                "date": "Mon, 23 Nov 2026 13:00:00 GMT",
            },
            30.0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, UpstreamFailed),
        (400, RequestRejected),
        (401, CredentialsRejected),
        (402, QuotaExhausted),
        (403, CredentialsRejected),
        (404, ModelNotFound),
        (408, UpstreamTimeout),
        (409, RequestRejected),
        (413, RequestRejected),
        (422, RequestRejected),
        (429, RateLimited),
        (500, UpstreamFailed),
        (502, UpstreamFailed),
        (503, CapacityUnavailable),
        (504, UpstreamTimeout),
        (599, UpstreamFailed),
    ],
)
def test_the_plain_meaning_of_a_status(status: int, error: type[ProviderError]) -> None:
    assert error_class_for(status) is error


def test_a_provider_may_mean_something_else() -> None:
    assert error_class_for(403, {403: ContextTooLong}) is ContextTooLong
    assert error_class_for(404, {403: ContextTooLong}) is ModelNotFound
