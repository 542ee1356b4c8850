"""What Replicate's refusals and failed predictions mean. Its own words never reach a caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from providers.contract import (
    BootTimeout,
    ContentRefused,
    ModelNotFound,
    Phases,
    ProviderError,
    RateLimited,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.replicate.prediction import Prediction, number
from providers.toolkit.status import error_class_for, retry_after_seconds

ERROR_BODY_BYTES = 64 * 1024

# Problem titles (lower case) that say more than their status. Bodies as quoted by several public
# programs, read 2026-11-23.
_TITLES: Mapping[str, type[ProviderError]] = {
    "invalid version or not permitted": ModelNotFound,
}
# The two throttling texts: "Your rate limit resets in ~9s." (since 2025; the body then has
# retry_after too) and the older "Expected available in 1 second." Read 2026-11-23.
_RESETS = re.compile(r"(?:resets in ~?|available in )(\d{1,6}) ?s", re.IGNORECASE)
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]]{0,63}")
_CODE = re.compile(r"\bE\d{3,4}\b")


@dataclass(frozen=True, slots=True)
class _FailureRow:
    contains: str
    error: type[ProviderError]
    detail: str
    source: str
    checked: str


_ERROR_CODES = "https://replicate.com/docs/reference/error-codes"
_RECORDED = "npm all-the-public-replicate-models 1.352.0"
# What stands in the ``error`` of a failed prediction; compared without regard to case.
FAILURES: tuple[_FailureRow, ...] = (
    _FailureRow(
        "e6716", BootTimeout, "The model could not be started in time.", _ERROR_CODES, "2026-11-23"
    ),
    _FailureRow(
        "e1001", UpstreamFailed, "The model ran out of memory.", _ERROR_CODES, "2026-11-23"
    ),
    _FailureRow(
        "e005",
        ContentRefused,
        "The provider refused the content.",
        "ModelError texts of Replicate's official image models, quoted by public programs",
        "2026-11-23",
    ),
    _FailureRow(
        "nsfw content", ContentRefused, "The model refused the content.", _RECORDED, "2026-11-23"
    ),
    _FailureRow(
        "prediction interrupted",
        UpstreamFailed,
        "The provider interrupted the prediction.",
        _RECORDED,
        "2026-11-23",
    ),
    _FailureRow(
        "prediction timed out",
        UpstreamTimeout,
        "The prediction ran for longer than the provider allows.",
        _RECORDED,
        "2026-11-23",
    ),
)


def refusal(status: int, headers: Mapping[str, str], raw: bytes) -> ProviderError:
    """The error for an answer that is no success, whatever its body."""
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        body = {}
    title = body.get("title")
    known = _TITLES.get(title.lower()) if isinstance(title, str) else None
    error = known or error_class_for(status)
    return error(
        param=_param(body),
        upstream_status=status,
        retry_after_seconds=_retry_after(error, headers, body),
    )


def failure(prediction: Prediction, phases: Phases, *, had_deadline: bool = False) -> ProviderError:
    """The error for a prediction that ended without success."""
    known: dict[str, Any] = {
        "job_id": prediction.id,
        "usage": prediction.usage,
        "phases": phases,
    }
    if prediction.status == "aborted":
        return BootTimeout(
            "The provider did not start the prediction before its deadline.", **known
        )
    if prediction.status == "canceled":
        if had_deadline:
            return UpstreamTimeout("The provider ended the prediction at its deadline.", **known)
        return UpstreamFailed("The prediction was cancelled at the provider.", **known)
    text = prediction.error.lower() if isinstance(prediction.error, str) else ""
    for row in FAILURES:
        if row.contains in text:
            return row.error(row.detail, **known)
    code = _CODE.search(text.upper())
    detail = f"The model failed at the provider ({code[0]})." if code else "The model failed."
    return UpstreamFailed(detail, **known)


def _param(body: Mapping[str, Any]) -> str | None:
    """The field that is at fault, from ``invalid_fields``."""
    fields = body.get("invalid_fields")
    first = fields[0] if isinstance(fields, list) and fields else None
    name = first.get("field") if isinstance(first, dict) else None
    return name if isinstance(name, str) and _PARAMETER.fullmatch(name) else None


def _retry_after(
    error: type[ProviderError], headers: Mapping[str, str], body: Mapping[str, Any]
) -> float | None:
    """How long to wait: the body first, since Replicate documents no header."""
    if error is RateLimited:
        told = number(dict(body), "retry_after")
        if told is not None:
            return told
        detail = body.get("detail")
        found = _RESETS.search(detail) if isinstance(detail, str) else None
        if found is not None:
            return float(found[1])
    return retry_after_seconds(headers, datetime.now(UTC))
