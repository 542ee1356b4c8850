"""Who waits for an operation, and what becomes of it when nobody does.

A caller that has hung up may come back (an SDK tries again by itself), and so may one that was told
to: its time was over before a boot was. The same call, sent again, then finds the operation here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, Final

from gateway.clock import Clock
from gateway.execution.operation import Operation, Order
from gateway.ledger.writing.journal import Journal

NOBODY: Final = "client disconnected"
_LEAST_GRACE_SECONDS = 1.0  # for one who was told when to come back


class Away:
    """Operations that nobody waits for at this moment, by what their callers may send again.

    ``hung_up``: of SDKs that count their tries, the latest of a scope. ``told``: of callers who
    were told to come back, all of them; who comes first gets the first. Their calls are the same to
    the last byte and of one API key, so that each of them gets one answer, whichever it is.
    """

    def __init__(self) -> None:
        self.hung_up: dict[str, Attended] = {}
        self.told: dict[str, deque[Attended]] = {}
        self.left: dict[str, deque[str]] = {}

    def claim_told(self, scope: str) -> Attended | None:
        """The first that one of these callers was told to come back for, and can be joined."""
        while (waiting := self.told.get(scope)) is not None:
            found = waiting[0]
            if found.stopped is None and found.join(ended=True):
                return found
            found.forget()
        return None

    def claim_left(self, scope: str) -> str | None:
        """The operation that an earlier gateway has told one of these callers to come back for."""
        waiting = self.left.get(scope)
        if waiting is None:
            return None
        found = waiting.popleft()
        if not waiting:
            del self.left[scope]
        return found


class Attended(Operation, ABC):
    """An operation with its callers; ``task`` carries it out."""

    task: asyncio.Task[Any]

    def __init__(self, order: Order, journal: Journal, clock: Clock, away: Away) -> None:
        super().__init__(order, journal, clock)
        self._away = away
        self._callers = 1
        self._grace: asyncio.TimerHandle | None = None
        self._told_scope: str | None = None
        self._promised = order.on_disconnect != "cancel"
        self.parked = order.on_disconnect == "park"
        self._late: asyncio.Future[None] | None = None
        if order.deadline_seconds is not None and order.parks:
            self._late = asyncio.get_running_loop().create_future()

    @abstractmethod
    def cancel(self, reason: str) -> None: ...

    @property
    @abstractmethod
    def heard(self) -> bool:
        """Whether its callers have been told a part of the answer."""

    @property
    @abstractmethod
    def stopped(self) -> str | None:
        """Why somebody has ended it, or is ending it."""

    @property
    @abstractmethod
    def asks(self) -> bool:
        """Whether a provider has been asked, or the answer is there."""

    def join(self, *, ended: bool = False) -> bool:
        """One more caller waits for this answer.

        False: it has ended, and ``ended`` is no good; or it is being stopped, as nobody waited.
        """
        if self.stopped == NOBODY or (self.task.done() and not ended):
            return False
        self._callers += 1
        self.unattended_since = None
        self.forget()
        return True

    def park(self) -> None:
        """Somebody was told that the answer can be fetched: it goes on though nobody waits."""
        self._promised = self.parked = True

    @property
    def told_scope(self) -> str | None:
        """The call of one who was told to come back, and is waited for."""
        return self._told_scope

    @property
    def late(self) -> bool:
        """Whether its caller's own time was over while it booted."""
        return self._late is not None and self._late.done()

    def be_late(self) -> None:
        """From now on the deployment's time counts alone; those who wait for it are woken."""
        if self._late is not None and not self._late.done():
            self._late.set_result(None)
            self.log.wake()

    async def wait(self, seconds: float | None = None, *, or_late: bool = False) -> None:
        """Until it has ended and is booked, or for so long; ``or_late``: or until it is late.

        Cancelling the waiter leaves the operation alone.
        """
        ends: list[asyncio.Future[Any]] = [self.task]
        if or_late and self._late is not None:
            ends.append(self._late)
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def leave(self) -> None:
        """A caller is gone. After the last one, the order says what becomes of the work."""
        self._one_less()
        order = self.order
        if self._callers or (self.task.done() and order.retry_scope is None):
            return
        grace_seconds = order.grace_seconds
        if order.retry_scope is not None:
            # The retry of a call that has heard something begins anew: nothing to come back to.
            if self.heard and not self.task.done():
                grace_seconds = 0.0
            else:
                self._away.hung_up[order.retry_scope] = self
        if grace_seconds:
            self._wait_for_return(grace_seconds)
        else:
            self._nobody_came()

    def send_away(self, scope: str | None, back_in_seconds: float, grace_seconds: float) -> None:
        """A caller was told to come back in so long; ``scope`` tells its call when it does.

        What is paid for already goes on to its end, and its answer is kept. One that waits for
        another's boot at the gateway has asked nobody: it keeps its place for that time only.
        """
        self._one_less()
        self.be_late()
        if self.asks:
            self.park()
        if scope is not None and self._told_scope is None:
            self._told_scope = scope
            self._away.told.setdefault(scope, deque()).append(self)
        if self._told_scope is not None or not self._callers:
            grace_seconds = max(_LEAST_GRACE_SECONDS, grace_seconds)
            self._wait_for_return(back_in_seconds + grace_seconds)

    def _one_less(self) -> None:
        self._callers -= 1
        if not self._callers:
            self.unattended_since = self.clock.monotonic()

    def _wait_for_return(self, seconds: float) -> None:
        if self._grace is not None:
            self._grace.cancel()
        loop = asyncio.get_running_loop()
        self._grace = loop.call_later(seconds, self._nobody_came)

    def _nobody_came(self) -> None:
        goes_on = (self._promised or self._callers > 0) and not self.task.done()
        if self._told_scope is not None and goes_on:
            # It goes on, and can be come back to as long as it does, and a while longer.
            self._wait_for_return(max(_LEAST_GRACE_SECONDS, self.order.grace_seconds))
            return
        self.forget()
        if not (self._promised or self._callers):
            self.cancel(NOBODY)

    def forget(self) -> None:
        """Wait for nobody's return any more."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        scope, away = self.order.retry_scope, self._away
        if scope is not None and away.hung_up.get(scope) is self:
            del away.hung_up[scope]
        told_scope, self._told_scope = self._told_scope, None
        if told_scope is not None:
            waiting = away.told[told_scope]
            waiting.remove(self)
            if not waiting:
                del away.told[told_scope]
