"""The task that attempts run in, and why it was cancelled: a cancellation alone does not say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.errors import (
    BudgetRanOut,
    ColdStartTimeout,
    CutByShutdown,
    GatewayError,
    OperationCancelled,
)
from gateway.execution.booting import come_back_seconds
from gateway.execution.retrying import timed_out
from gateway.warmth.boots import LONGER_YET
from providers.contract import Event, ProviderError

if TYPE_CHECKING:
    from gateway.execution.attempt import Attempt
    from gateway.execution.course import Course
    from gateway.execution.waking import Held


SHUTDOWN: Final = "shutdown"
"""Why all is stopped that has not ended when the gateway has waited long enough for it."""


class Contest(Protocol):
    """A race that an attempt takes part in: told of each event, before it is taken in.

    ``boots``: the deployments are only booted, and the first that is up gets the request.
    """

    boots: bool

    def admits(self, attempt: Course, event: Event) -> bool:
        """Whether the attempt goes on; False: another one has answered."""

    def is_first(self, attempt: Course) -> bool:
        """Whether nobody was before it; from then on it has won."""


class Lane:
    """An operation has one, and each attempt of a race has one of its own.

    ``stopped``: why somebody ended all that it does. ``contest``: the race that it takes part in.
    ``held``: its wait for a place at a deployment, before an attempt there.
    """

    __slots__ = ("_expired", "_ran_out", "attempt", "contest", "held", "stopped", "task")

    def __init__(self, contest: Contest | None = None) -> None:
        self.contest = contest
        self.task: asyncio.Task[Any] | None = None
        self.attempt: Attempt | None = None  # the latest
        self.held: Held | None = None
        self.stopped: str | None = None
        self._expired: str | None = None
        self._ran_out: BudgetRanOut | None = None

    def stop(self, why: str) -> None:
        """End all that it does; once."""
        if self.stopped is None:
            self.stopped = why
            if self._expired is None:  # else it is stopping already
                self._cancel()

    def lose(self) -> None:
        """Another attempt of the operation has answered."""
        if self.attempt is not None:
            self.attempt.lose()
        self.stop("another attempt answered first")

    def expire(self, phase: str) -> None:
        """End its present attempt: a phase of it has taken too long."""
        # Else it is stopping already: a second cancel would hurt that.
        if self.stopped is None and self._expired is None:
            self._expired = phase
            self._cancel()

    def run_out(self, failure: BudgetRanOut) -> None:
        """End its present attempt: there is no more money for it."""
        self._ran_out = failure
        self.expire("budget")

    def ended(self) -> None:
        """Its present attempt is over: what would have ended it does not end the next."""
        self._expired = None

    @property
    def runs(self) -> bool:
        """Whether it has not come to its end."""
        return self.task is not None and not self.task.done()

    @property
    def waits(self) -> bool:
        """Whether its attempt waits, or it waits for another's to have woken the deployment."""
        if self.held is not None:
            return self.held.cold
        attempt = self.attempt
        return attempt is not None and (attempt.timeline.waiting or self._asks_for_a_boot)

    def left_seconds(self) -> float | None:
        """How much longer that may last, by what was seen there and no guess; None: not known."""
        now = asyncio.get_running_loop().time()
        if self.held is not None:
            return self.held.left_seconds(now)
        attempt = self.attempt
        since = None if attempt is None else attempt.timeline.waiting_since
        if attempt is None or since is None:
            return None
        return attempt.target.warmth.boot_left_seconds(now - since)

    @property
    def boots(self) -> bool:
        """Whether it waits for a boot that somebody has told of, its attempt or another's."""
        if self.held is not None:
            return self.held.boots
        attempt = self.attempt
        if attempt is None or not self.waits:
            return False
        return attempt.timeline.booting is not None or self._asks_for_a_boot

    @property
    def _asks_for_a_boot(self) -> bool:
        """Whether its attempt has asked for nothing else, though nobody has told of it yet."""
        attempt = self.attempt
        if attempt is None or attempt.contest is None:
            return False
        return attempt.contest.boots and not attempt.sent

    def boot_left_seconds(self) -> float | None:
        """The same of a boot that was given up, though nothing but its own length is known."""
        left, attempt = self.left_seconds(), self.attempt
        since = None if attempt is None else attempt.timeline.waiting_since
        if left is not None or since is None:
            return left
        return LONGER_YET * (asyncio.get_running_loop().time() - since)

    def interruption(self) -> ProviderError | GatewayError:
        """Why its task was cancelled. Raises CancelledError when it was not by us."""
        assert self.task is not None
        if self.stopped is not None:
            self.task.uncancel()
            if self.stopped == SHUTDOWN:
                return CutByShutdown(retry_after_seconds=1.0)
            return OperationCancelled(f"The operation was cancelled ({self.stopped}).")
        if self._expired is not None:
            self.task.uncancel()
            phase, self._expired = self._expired, None
            if phase == "budget" and self._ran_out is not None:
                return self._ran_out
            if phase == "total" and self.boots:
                return ColdStartTimeout(retry_after_seconds=come_back_seconds(self.left_seconds()))
            return timed_out(phase)
        raise asyncio.CancelledError

    def _cancel(self) -> None:
        assert self.task is not None
        self.task.cancel()


def lanes_wait(lanes: Sequence[Lane]) -> bool:
    """Whether all that run have something to wait for, and wait."""
    busy = _busy(lanes)
    return bool(busy) and all(lane.waits for lane in busy)


def least_left_seconds(lanes: Sequence[Lane]) -> float | None:
    """How much longer the first of them may wait; None: nobody knows."""
    known = (lane.left_seconds() for lane in _busy(lanes))
    return min((seconds for seconds in known if seconds is not None), default=None)


def _busy(lanes: Sequence[Lane]) -> list[Lane]:
    return [x for x in lanes if x.runs and (x.attempt is not None or x.held is not None)]
