"""From an HTTP status to the error that says who must act, and how long a provider asks to wait.

The table is the plain meaning of HTTP. Providers bend it (403 is "context too long" at Together,
400 is "cold" at Featherless), so an adapter looks at structured codes first and passes its own
rows in ``overrides``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from providers.contract import (
    CapacityUnavailable,
    CredentialsRejected,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    UpstreamTimeout,
)

STATUS_ERRORS: Mapping[int, type[ProviderError]] = {
    401: CredentialsRejected,
    402: QuotaExhausted,
    403: CredentialsRejected,
    404: ModelNotFound,
    407: CredentialsRejected,
    408: UpstreamTimeout,
    410: ModelNotFound,
    425: CapacityUnavailable,
    429: RateLimited,
    503: CapacityUnavailable,
    504: UpstreamTimeout,
    # Not in any RFC, but in the field: Cloudflare's edge timeouts and Anthropic's "overloaded".
    522: UpstreamTimeout,
    524: UpstreamTimeout,
    529: CapacityUnavailable,
}


def error_class_for(
    status: int, overrides: Mapping[int, type[ProviderError]] | None = None
) -> type[ProviderError]:
    """The class for an answer that is no success; never None, whatever the number."""
    if overrides and status in overrides:
        return overrides[status]
    if status in STATUS_ERRORS:
        return STATUS_ERRORS[status]
    return RequestRejected if 400 <= status < 500 else UpstreamFailed


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long the provider asks to wait, from ``retry-after-ms`` or ``retry-after``.

    Units:   seconds, at least 0. None: it did not say, or said what cannot be read.
    Shape:   header names in lower case. An HTTP date counts from the answer's own ``date`` where
             there is one, so that their clock is not held against ours; from ``now`` otherwise.
    Source:  RFC 9110, 10.2.3; ``retry-after-ms`` is what OpenAI and Azure send besides.
    """
    milliseconds = _non_negative(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _non_negative(value)
    if seconds is not None:
        return seconds
    until = _http_date(value)
    if until is None:
        return None
    return max(0.0, (until - (_http_date(headers.get("date")) or now)).total_seconds())


def _non_negative(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _http_date(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
