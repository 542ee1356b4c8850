"""What follows a failed attempt: another one, after a pause, there or elsewhere. Pure."""

from __future__ import annotations

import random

from gateway.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    GatewayError,
    OutOfService,
    PriceUnknown,
    QueueFull,
)
from gateway.settings import RetrySettings
from providers.contract import (
    BootTimeout,
    CredentialsRejected,
    ProtocolViolation,
    ProviderError,
    ProviderRetired,
    QuotaExhausted,
    StreamInterrupted,
    UpstreamTimeout,
)


def pause_seconds(retries: RetrySettings, nth: int, failure: BaseException | None) -> float | None:
    """Before another attempt at the same deployment; None: it is not waited for so long."""
    asked = getattr(failure, "retry_after_seconds", None)
    if asked is not None:
        return float(asked) if asked <= retries.max_wait_seconds else None
    doubled = retries.backoff_seconds * 2.0 ** (nth - 1)
    return doubled * random.uniform(0.5, 1.5)  # noqa: S311 (jitter, no secret)


def worth_repeating(failure: BaseException) -> bool:
    """Whether another attempt at the same deployment may go better, and is no second bill.

    A second wait for a boot, or a second job beside one that was lost, would be paid for too.
    """
    if not isinstance(failure, ProviderError) or not failure.retryable:
        return False
    return not (isinstance(failure, BootTimeout) or failure.may_have_run)


def timed_out(phase: str) -> ProviderError | GatewayError:
    """The failure of an attempt whose phase outlived its time."""
    match phase:
        case "queue":
            return UpstreamTimeout("The provider kept the request queued for too long.")
        case "boot":
            return BootTimeout()
        case "first_output":
            return UpstreamTimeout("The provider's answer did not begin in time.")
        case "stall":
            return StreamInterrupted("The provider's answer stalled.")
        case _:
            return DeadlineExceeded()


def worth_trying_elsewhere(failure: Exception | None) -> bool:
    """Whether another deployment may do what this one could not.

    Not after output, and not for a caller's mistake, which is a mistake everywhere.
    """
    if isinstance(failure, ProviderError):
        return failure.retryable or isinstance(failure, _OPERATORS_MATTER)
    elsewhere = QueueFull | OutOfService | BudgetExceeded | PriceUnknown  # one may cost less
    return isinstance(failure, elsewhere)


_OPERATORS_MATTER = (CredentialsRejected, QuotaExhausted, ProviderRetired, ProtocolViolation)
