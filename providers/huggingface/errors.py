"""What Hugging Face's error answers mean: codes and texts first, the status last.

One host sends ``{"error": "text"}`` and ``{"error": {...}}``, engines add ``error_type``, and a
load balancer answers in HTML. Their words never reach a caller.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from providers.contract import (
    CapacityUnavailable,
    ContextTooLong,
    CredentialsRejected,
    ModelLoading,
    ModelNotFound,
    ProviderError,
    ProviderRetired,
    QuotaExhausted,
    RequestRejected,
    UpstreamFailed,
)
from providers.toolkit.openai_errors import error_from_answer, error_from_body

PAUSED = "The endpoint is paused and does not wake by itself; resume it at Hugging Face."
NOT_ENABLED = "No inference provider that the Hugging Face account has enabled serves this model."


@dataclass(frozen=True, slots=True)
class _Row:
    """``contains`` stands in the message, in lower case; ``status`` None: whatever it is."""

    status: int | None
    contains: str
    error: type[ProviderError]
    detail: str | None
    source: str


# Each source was read 2026-11-23; the date in it is the one of the answer on record. TGI is
# text-generation-inference at db931fcf, 2026-01-08.
_TEXTS: tuple[_Row, ...] = (
    _Row(
        403,
        "too large to be loaded automatically",  # permanent, and no question of keys
        ModelNotFound,
        "The model is too large for Hugging Face's shared service.",
        "quoted alike in several repositories, 2024",
    ),
    _Row(
        403,
        "sufficient permissions",
        CredentialsRejected,
        "The Hugging Face token lacks the permission to call Inference Providers.",
        "router, 2026-02-18",
    ),
    _Row(
        400,
        "not supported by any provider you have enabled",  # an account's setting: the operator's
        CredentialsRejected,
        NOT_ENABLED,
        "router, 2025 and 2026",
    ),
    _Row(
        400,
        "model not supported by provider",
        ModelNotFound,
        "Hugging Face does not serve this model this way.",
        "router, hf-inference, 2026",
    ),
    _Row(
        400,
        "bad request: invalid state",
        ProviderRetired,
        PAUSED,
        "https://github.com/elastic/elasticsearch/issues/112033, 2024-08-20",
    ),
    _Row(
        410,
        "is no longer supported",
        ProviderRetired,
        "Hugging Face has ended this address of its API.",
        "api-inference.huggingface.co, 2026-02-02",
    ),
    _Row(500, "model too busy", CapacityUnavailable, None, "api-inference.huggingface.co, 2023"),
    _Row(
        503,
        "is currently loading",
        ModelLoading,
        None,
        "api-inference.huggingface.co, 2022 to 2024",
    ),
    _Row(
        None, "`inputs` must have less than", ContextTooLong, None, "TGI router/src/validation.rs"
    ),
    _Row(
        None,
        "`inputs` tokens + `max_new_tokens` must be",
        ContextTooLong,
        None,
        "TGI router/src/validation.rs",
    ),
    _Row(429, "model is overloaded", CapacityUnavailable, None, "TGI router/src/infer/mod.rs"),
)

# error_type and error.code, in lower case. Sources, read 2026-11-23: TGI router/src/infer/mod.rs
# at db931fcf; TEI router/src/lib.rs (capitalised there); the router's answer of 2025 and 2026.
_CODES: Mapping[str, type[ProviderError]] = {
    "validation": RequestRejected,
    "template_error": RequestRejected,
    "missing_template_variable": RequestRejected,
    "tool_error": RequestRejected,
    "tokenizer": RequestRejected,
    "empty": RequestRejected,
    "generation": UpstreamFailed,
    "backend": UpstreamFailed,
    "incomplete_generation": UpstreamFailed,
    "incomplete_generation_stream": UpstreamFailed,
    "stream_serialization_error": UpstreamFailed,
    "overloaded": CapacityUnavailable,
    "unhealthy": CapacityUnavailable,
    "healthcheck": CapacityUnavailable,
    "model_not_supported": CredentialsRejected,
}
_DETAILS = {"model_not_supported": NOT_ENABLED}
_NONE_LEFT = re.compile(r"(?:^|;)\s*r=0\s*(?:;|$)")
_RESETS_IN = re.compile(r"(?:^|;)\s*t=(\d{1,9})\s*(?:;|$)")


def error_from(status: int, headers: Mapping[str, str], raw: bytes) -> ProviderError:
    """What an answer other than 2xx stands for."""
    plain = error_from_answer(status, headers, raw)
    if status == 402:  # the wording changed in 2026, the status did not
        return _made(QuotaExhausted, None, plain)
    body = _json(raw)
    found = _classify(status, headers, body)
    retry_after = plain.retry_after_seconds
    if retry_after is None and status == 429:
        retry_after = _reset_seconds(headers.get("ratelimit", ""))
    if found is None:
        plain.retry_after_seconds = retry_after
        return plain
    error_class, detail = found
    return _made(error_class, detail, plain, retry_after)


def error_in(body: Mapping[str, Any]) -> ProviderError:
    """The error that a body or a stream's event reports under the status 200."""
    plain = error_from_body(body)
    found = _classify(None, {}, body)
    return plain if found is None else _made(*found, plain)


def says_why(raw: bytes) -> bool:
    """Whether an engine wrote this error, with a code, and not the proxy in front of it."""
    body = _json(raw)
    if not isinstance(body, Mapping):
        return False
    error = body.get("error")
    return "error_type" in body or (isinstance(error, Mapping) and bool(error.get("type")))


def message_of(body: Any, headers: Mapping[str, str]) -> str:
    """Their words, for comparing only; all places that huggingface_hub 2.4.0 looks into."""
    said: list[Any] = [headers.get("x-error-message")]
    if isinstance(body, Mapping):
        error = body.get("error")
        said += [error, body.get("message"), body.get("detail")]
        if isinstance(error, Mapping):
            said.append(error.get("message"))
        errors = body.get("errors")
        for item in errors if isinstance(errors, list) else ():
            said.append(item.get("message") if isinstance(item, Mapping) else item)
    return "\n".join(words for words in said if isinstance(words, str))


def _classify(
    status: int | None, headers: Mapping[str, str], body: Any
) -> tuple[type[ProviderError], str | None] | None:
    message = message_of(body, headers).lower()
    for row in _TEXTS:
        if row.contains in message and (status is None or row.status in (None, status)):
            return row.error, row.detail or _guess(row.error, body)
    if not isinstance(body, Mapping):
        return None
    if status in (None, 503) and _seconds(body.get("estimated_time")) is not None:
        return ModelLoading, _guess(ModelLoading, body)
    error = body.get("error")
    names = [body.get("error_type"), body.get("type")]
    if isinstance(error, Mapping):
        names += [error.get("code"), error.get("type")]
    for name in names:
        if isinstance(name, str) and name.lower() in _CODES:
            return _CODES[name.lower()], _DETAILS.get(name.lower())
    return None


def _guess(error: type[ProviderError], body: Any) -> str | None:
    """The provider's guess of a boot, for people to read and for nothing else.

    It is made from the model's size, is the constant 20.0 for most and is repeated unchanged for
    ever: https://github.com/huggingface/api-inference-community/issues/141 ("never accurate").
    So it is neither a boot's seconds nor a time after which to come back.
    """
    seconds = _seconds(body.get("estimated_time")) if isinstance(body, Mapping) else None
    if error is not ModelLoading or seconds is None:
        return None
    return f"The model is being loaded; Hugging Face's guess, seldom right, is {seconds:.0f} s."


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _reset_seconds(rate_limit: str) -> float | None:
    """``"api";r=0;t=55``: none left, and the window ends in 55 s. Source: Hub docs, 2025-09."""
    resets = _RESETS_IN.search(rate_limit)
    return float(resets[1]) if resets and _NONE_LEFT.search(rate_limit) else None


def _made(
    error_class: type[ProviderError],
    detail: str | None,
    plain: ProviderError,
    retry_after_seconds: float | None = None,
) -> ProviderError:
    return error_class(
        detail,
        upstream_status=plain.upstream_status,
        retry_after_seconds=retry_after_seconds,
    )


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
