"""The one place where a failure becomes an HTTP status, and the one shape of an error body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from gateway import errors as own
from gateway.http.json import JsonResponse
from gateway.ledger.errors import LedgerUnavailable, SchemaMismatch, StoreUnavailable
from gateway.limits.keystore import KeyStoreUnusable
from providers import contract


class HttpError(Exception):
    """A request that goes no further than the door: status, code and a message for the caller."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers or {}
        super().__init__(message)


STATUSES: Mapping[type[BaseException], tuple[int, str]] = {
    contract.ProviderError: (502, "provider_failed"),
    contract.RequestRejected: (422, "request_rejected"),
    contract.ModelNotFound: (404, "model_not_found"),
    contract.ContextTooLong: (400, "context_length_exceeded"),
    contract.ContentRefused: (400, "content_refused"),
    contract.CredentialsRejected: (502, "provider_credentials_rejected"),
    contract.QuotaExhausted: (503, "provider_quota_exhausted"),
    contract.RateLimited: (429, "provider_rate_limited"),
    contract.CapacityUnavailable: (503, "provider_capacity_unavailable"),
    contract.ModelLoading: (503, "model_loading"),
    contract.BootTimeout: (503, "cold_start_timeout"),
    contract.UpstreamTimeout: (504, "provider_timeout"),
    contract.UpstreamUnreachable: (502, "provider_unreachable"),
    contract.UpstreamFailed: (502, "provider_failed"),
    contract.StreamInterrupted: (502, "stream_interrupted"),
    contract.ProviderRetired: (502, "provider_retired"),
    contract.ProtocolViolation: (502, "provider_protocol_violation"),
    own.GatewayError: (500, "internal_error"),
    own.QueueFull: (503, "queue_full"),
    own.ColdStartTimeout: (503, "cold_start_timeout"),
    own.OutOfService: (503, "deployments_cordoned"),
    own.DeadlineExceeded: (504, "deadline_exceeded"),
    own.Draining: (503, "draining"),
    own.OperationCancelled: (499, "operation_cancelled"),
    own.CutByShutdown: (503, "draining"),
    own.ResultsUnavailable: (503, "results_unavailable"),
    own.InternalError: (500, "internal_error"),
    own.BudgetExceeded: (402, "budget_exceeded"),
    own.BudgetRanOut: (402, "budget_exceeded"),
    own.PriceUnknown: (402, "price_unknown"),
    own.BudgetUnknown: (503, "budget_unknown"),
    LedgerUnavailable: (503, "ledger_unavailable"),
    StoreUnavailable: (503, "reports_unavailable"),
    SchemaMismatch: (503, "reports_unavailable"),
    KeyStoreUnusable: (503, "keys_unavailable"),
}

_RETRY_AFTER_SECONDS = {"cold_start_timeout": 5.0, "ledger_unavailable": 5.0, "model_loading": 5.0}
_LONGEST_RETRY_AFTER_SECONDS = 7 * 86_400.0

_BEFORE_THE_BODY = frozenset({401, 403, 408, 413, 415})


def status_of(error: BaseException) -> tuple[int, str]:
    """HTTP status and code of a failure."""
    if isinstance(error, HttpError):
        return error.status, error.code
    for known in type(error).__mro__:  # a stranger's plugin may have classes of its own
        if known in STATUSES:
            return STATUSES[known]
    return STATUSES[own.InternalError]


def retry_after_seconds(error: BaseException) -> float | None:
    """When it is worth coming back, where anybody knows."""
    asked: float | None = getattr(error, "retry_after_seconds", None)
    if asked is None or math.isnan(asked):
        return _RETRY_AFTER_SECONDS.get(status_of(error)[1])
    return min(max(0.0, asked), _LONGEST_RETRY_AFTER_SECONDS)


def error_json(
    error: BaseException, *, operation_id: str | None = None, cost: Any = None
) -> dict[str, Any]:
    """The body of every error, a superset of OpenAI's."""
    status, code = status_of(error)
    message = error.message if isinstance(error, HttpError) else getattr(error, "detail", None)
    if isinstance(error, StoreUnavailable | SchemaMismatch | KeyStoreUnusable):
        message = (type(error).__doc__ or "").split("\n", 1)[0]
    return {
        "error": {
            "type": _error_type(status),
            "code": code,
            "message": message or "The gateway has a fault; its log says more.",
            "param": getattr(error, "param", None),
            "operation_id": operation_id,
            "retry_after_seconds": retry_after_seconds(error),
            "cost": cost,
            "doc_url": None,
        }
    }


def error_response(
    error: BaseException, *, operation_id: str | None = None, cost: Any = None
) -> Response:
    """The error as an HTTP answer; ``Retry-After`` in whole seconds, rounded up."""
    status, _ = status_of(error)
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    wait = retry_after_seconds(error)
    if wait is not None:
        headers["retry-after"] = str(math.ceil(wait))
    if operation_id is not None:
        headers["x-request-id"] = operation_id
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in _BEFORE_THE_BODY:
        headers["connection"] = "close"  # the rest of the body will not be read
    body = orjson.dumps(error_json(error, operation_id=operation_id, cost=cost))
    return JsonResponse(body, status, headers)


def _error_type(status: int) -> str:
    return {
        401: "authentication_error",
        402: "budget_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }.get(status, "api_error" if status >= 500 else "invalid_request_error")
