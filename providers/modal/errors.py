"""What Modal's failures mean, by who must act. Their words never leave: they quote prompts.

Sources: modal 1.6.4, ``exception.py`` (gRPC status -> class) and ``_utils/function_utils.py``
(``_process_result``), read 2026-11-23.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import cbor2
from modal import exception
from modal_proto import api_pb2

from providers.contract import (
    CredentialsRejected,
    ModelNotFound,
    ProtocolViolation,
    ProviderError,
    ProviderRetired,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)

# The first row that fits; a class stands before its parents.
_CLASSES: tuple[tuple[type[BaseException], type[ProviderError], str | None], ...] = (
    (exception.AuthError, CredentialsRejected, None),
    (exception.PermissionDeniedError, CredentialsRejected, "Modal's token may not do this."),
    (exception.NotFoundError, ModelNotFound, "Modal knows no such app, function or call."),
    (exception.ResourceExhaustedError, RateLimited, None),
    (exception.FunctionTimeoutError, UpstreamTimeout, "The function ran into its own timeout."),
    (exception.OutputExpiredError, UpstreamFailed, "Modal no longer has the result."),
    (exception.ConflictError, UpstreamFailed, "Modal's app is in no state to take calls."),
    (exception.RequestSizeError, RequestRejected, "The input is too large for Modal."),
    (exception.SerializationError, RequestRejected, "The input cannot be sent to Modal."),
    (exception.InvalidError, RequestRejected, None),
    (exception.ConnectionError, UpstreamUnreachable, None),
    (exception.ClientClosed, UpstreamUnreachable, "The connection to Modal is closed."),
    (exception.VersionError, ProviderRetired, "Modal no longer serves this version of its SDK."),
    (exception.UnimplementedError, ProtocolViolation, None),
    (exception.DeserializationError, ProtocolViolation, None),
    (exception.ExecutionError, ProtocolViolation, None),
    (cbor2.CBORDecodeError, ProtocolViolation, None),
    (exception.RemoteError, UpstreamFailed, "The function failed."),
    (exception.Error, UpstreamFailed, None),
    (OSError, UpstreamFailed, "The connection to Modal broke."),
)

_Status = api_pb2.GenericResult
_STATUSES: Mapping[int, tuple[type[ProviderError], str]] = {
    _Status.GENERIC_STATUS_FAILURE: (UpstreamFailed, "The function raised an exception."),
    _Status.GENERIC_STATUS_TERMINATED: (UpstreamFailed, "The call was ended at Modal."),
    _Status.GENERIC_STATUS_TIMEOUT: (UpstreamTimeout, "The function ran into its own timeout."),
    _Status.GENERIC_STATUS_INIT_FAILURE: (
        UpstreamFailed,
        "The function's container did not start.",
    ),
    _Status.GENERIC_STATUS_INTERNAL_FAILURE: (UpstreamFailed, "Modal lost the call."),
    _Status.GENERIC_STATUS_IDLE_TIMEOUT: (UpstreamFailed, "The container ended as idle."),
    _Status.GENERIC_STATUS_MEMORY_MANAGER_EVICTION: (UpstreamFailed, "Out of memory at Modal."),
    _Status.GENERIC_STATUS_MEMORY_THRASHING_EVICTION: (UpstreamFailed, "Out of memory at Modal."),
    _Status.GENERIC_STATUS_KERNEL_OOM_KILL: (UpstreamFailed, "Out of memory at Modal."),
}


def error_of_status(status: int) -> ProviderError:
    """The error for the status of a call that did not succeed."""
    error, detail = _STATUSES.get(status, (ProtocolViolation, "Modal ended the call oddly."))
    return error(detail)


def translate(error: BaseException) -> ProviderError:
    """The error for whatever the SDK raised; an unknown class is the function's own exception."""
    for kind, ours, detail in _CLASSES:
        if isinstance(error, kind):
            return ours(detail, retry_after_seconds=_retry_after_seconds(error))
    return UpstreamFailed("The function raised an exception.")


@contextmanager
def translated() -> Iterator[None]:
    """Around every use of the SDK. The cause keeps only a class name."""
    try:
        yield
    except ProviderError:
        raise
    except Exception as error:
        raise translate(error) from RuntimeError(type(error).__name__)


def _retry_after_seconds(error: BaseException) -> float | None:
    # `details`, the public name, warns of its own removal.
    for detail in getattr(error, "_grpc_details", None) or ():
        if isinstance(detail, api_pb2.RPCRetryPolicy):
            return float(detail.retry_after_secs)
    return None
