"""When a deployment has failed so often that requests go elsewhere for a while. Sans-I/O.

A boot is no failure: a model that loads, and even one that outlives the boot's time, counts for
nothing here. A provider that says when to come back is taken at its word.
"""

from __future__ import annotations

from providers.contract import (
    BootTimeout,
    ModelLoading,
    ProviderError,
    RateLimited,
    RequestRejected,
)

FAILURES = 5
_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 300.0


class Circuit:
    """Closed to requests after so many failures in a row; then one success opens it again.

    Instants are seconds of the gateway's monotonic clock. After its pause a deployment is tried
    like any other; if it fails once more it is left alone for twice as long. ``last_error`` is the
    class of the last failure of an attempt, whatever it counts for, and its instant.
    """

    __slots__ = ("_failures", "_pause_seconds", "_until", "_why", "last_error")

    def __init__(self) -> None:
        self._failures = 0
        self._pause_seconds = _FIRST_SECONDS
        self._until = float("-inf")
        self._why = ""
        self.last_error: tuple[str, float] | None = None

    def observe(self, failure: BaseException | None, at: float) -> None:
        """An attempt has ended; None: it succeeded."""
        if isinstance(failure, ProviderError):
            self.last_error = (type(failure).__name__, at)
        if failure is None:
            self._failures, self._pause_seconds = 0, _FIRST_SECONDS
            self._until = float("-inf")
        elif isinstance(failure, RateLimited):
            if failure.retry_after_seconds is not None:
                pause = min(failure.retry_after_seconds, _LONGEST_SECONDS)
                self._until, self._why = max(self._until, at + pause), "it is rate limited"
        elif _counts(failure):
            self._failures += 1
            if self._failures >= FAILURES:
                self._until, self._why = at + self._pause_seconds, "it fails"
                self._pause_seconds = min(_LONGEST_SECONDS, self._pause_seconds * 2)
                self._failures = FAILURES - 1  # one more is enough

    def closed(self, at: float) -> str | None:
        """Why nothing should be sent there at this moment; None: it may."""
        return self._why if at < self._until else None


def _counts(failure: BaseException) -> bool:
    """Whether it is the deployment's fault, and no boot."""
    innocent = (RequestRejected, ModelLoading, BootTimeout)
    return isinstance(failure, ProviderError) and not isinstance(failure, innocent)
