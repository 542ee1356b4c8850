"""What goes wrong in the gateway itself, apart from any provider. Docstring = public message."""

from __future__ import annotations


class GatewayError(Exception):
    """The gateway could not do it."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.detail = detail or (type(self).__doc__ or "").split("\n", 1)[0]
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.detail)


class QueueFull(GatewayError):
    """Too many requests are waiting for this model; try again later."""


class OutOfService(GatewayError):
    """The deployment was taken out of service while the request waited for it; try again later."""


class DeadlineExceeded(GatewayError):
    """The operation took longer than its total time allows."""


class ColdStartTimeout(GatewayError):
    """The model is still starting, and the time that the call allows is over; come back later."""


class Draining(GatewayError):
    """The gateway is shutting down; try again."""


class OperationCancelled(GatewayError):
    """The operation was cancelled."""


class CutByShutdown(OperationCancelled):
    """The gateway is shutting down and has cancelled the operation; try again."""


class ResultsUnavailable(GatewayError):
    """Kept answers cannot be read or written now; try again."""


class InternalError(GatewayError):
    """The gateway has a fault; its log says more."""


class BudgetExceeded(GatewayError):
    """A budget has no room for this request; whoever set the budget can raise it."""


class BudgetRanOut(GatewayError):
    """A budget was used up while the answer was being made; what was made is booked."""


class PriceUnknown(GatewayError):
    """This model has no known price, and a budget takes none without; the operator can set one."""


class BudgetUnknown(GatewayError):
    """It is not known yet what a budget has spent; try again."""
