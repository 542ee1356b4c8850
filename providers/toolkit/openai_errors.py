"""What the error answers of OpenAI-compatible servers mean.

Structured codes first, text only by the table below, the status last. Their words never reach a
caller: a message may quote the prompt or a part of the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

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
    UpstreamFailed,
)
from providers.toolkit.status import error_class_for, retry_after_seconds

ERROR_BODY_BYTES = 64 * 1024

# error.code or error.type, lower case. Sources, all read 2026-11-23:
#   OpenAI     https://platform.openai.com/docs/guides/error-codes
#   llama.cpp  tools/server/README.md and its answers (release b11434)
#   TGI        https://huggingface.co/docs/text-generation-inference (error_type)
_CODES: Mapping[str, type[ProviderError]] = {
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,  # llama.cpp
    "model_not_found": ModelNotFound,
    "insufficient_quota": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "content_filter": ContentRefused,
    "content_policy_violation": ContentRefused,
    "invalid_api_key": CredentialsRejected,
    "authentication_error": CredentialsRejected,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "overloaded": CapacityUnavailable,  # TGI
    "overloaded_error": CapacityUnavailable,
    "server_error": UpstreamFailed,
}


@dataclass(frozen=True, slots=True)
class _TextRow:
    status: int
    contains: str
    error: type[ProviderError]
    source: str
    checked: str


_TGI = "text-generation-inference router/src at db931fcf"

# Only where a server gives no code. Compared without regard to case.
_TEXTS: tuple[_TextRow, ...] = (
    _TextRow(503, "loading model", ModelLoading, "llama.cpp tools/server", "2026-11-23"),
    _TextRow(400, "maximum context length", ContextTooLong, "vllm serving_engine.py", "2026-11-23"),
    # TGI says 422 of every error within a chat stream.
    _TextRow(422, "`inputs` must have less than", ContextTooLong, _TGI, "2026-11-23"),
    _TextRow(422, "`inputs` tokens + `max_new_tokens` must be", ContextTooLong, _TGI, "2026-11-23"),
    _TextRow(422, "request failed during generation", UpstreamFailed, _TGI, "2026-11-23"),
    _TextRow(422, "model is overloaded", CapacityUnavailable, _TGI, "2026-11-23"),
)

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]]{0,63}")


@dataclass(frozen=True, slots=True)
class ColdWhen:
    """An error answer that means "the model is being loaded", recognised by its status and text."""

    status: int
    contains: str = ""


def error_from_answer(
    status: int,
    headers: Mapping[str, str],
    raw: bytes,
    *,
    cold_when: tuple[ColdWhen, ...] = (),
    overrides: Mapping[int, type[ProviderError]] | None = None,
) -> ProviderError:
    """What an answer other than 2xx stands for; ``overrides``: this provider's own statuses."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    return _error(
        status,
        body,
        raw.decode(errors="replace"),
        cold_when=cold_when,
        overrides=overrides,
        retry_after=retry_after_seconds(headers, datetime.now(UTC)),
    )


def error_from_body(
    body: Mapping[str, Any], *, cold_when: tuple[ColdWhen, ...] = ()
) -> ProviderError:
    """The error in a body or stream frame that came with status 200."""
    error = body.get("error", body)
    code = None
    if isinstance(error, Mapping):
        code = error.get("http_status_code") or error.get("code")  # the first is TGI's
    status = code if isinstance(code, int) and 400 <= code < 600 else 200
    return _error(status, body, orjson.dumps(body).decode(), cold_when=cold_when)


def _error(
    status: int,
    body: Any,
    text: str,
    *,
    cold_when: tuple[ColdWhen, ...],
    overrides: Mapping[int, type[ProviderError]] | None = None,
    retry_after: float | None = None,
) -> ProviderError:
    if isinstance(body, list) and body:  # Google wraps the object in a list
        body = body[0]
    error = body.get("error", body) if isinstance(body, Mapping) else None
    fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    names = [fields.get("code"), fields.get("type")]
    if isinstance(body, Mapping):
        names.append(body.get("error_type"))
    code = next((n for n in names if isinstance(n, str) and _IDENTIFIER.fullmatch(n)), None)
    param = fields.get("param")
    if not (isinstance(param, str) and _PARAMETER.fullmatch(param)):
        param = None

    error_class = _classify(status, names, text.lower(), cold_when, overrides)
    detail = (error_class.__doc__ or "").strip()
    if code is not None:
        detail = f"{detail.rstrip('.')} (code {code})."
    upstream_status = status if status >= 400 else None
    if error_class is ModelLoading:  # no parameter is at fault
        return ModelLoading(
            detail, upstream_status=upstream_status, retry_after_seconds=retry_after
        )
    return error_class(
        detail, param=param, upstream_status=upstream_status, retry_after_seconds=retry_after
    )


def _classify(
    status: int,
    names: list[Any],
    text: str,
    cold_when: tuple[ColdWhen, ...],
    overrides: Mapping[int, type[ProviderError]] | None,
) -> type[ProviderError]:
    for cold in cold_when:
        if cold.status == status and cold.contains.lower() in text:
            return ModelLoading
    for name in names:
        if isinstance(name, str) and name.lower() in _CODES:
            return _CODES[name.lower()]
    for row in _TEXTS:
        if row.status == status and row.contains in text:
            return row.error
    return error_class_for(status, overrides)
