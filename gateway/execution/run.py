"""One operation from order to books: which attempts it has, and how it ends.

A ``Run`` is a task of the gateway's, not of an HTTP handler: handlers follow its log and may ask
it to stop. ``sending`` is what becomes of each attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.errors import GatewayError, InternalError, OperationCancelled
from gateway.execution.course import Failure
from gateway.execution.operation import Order
from gateway.execution.racing import Race
from gateway.execution.retrying import pause_seconds, worth_repeating, worth_trying_elsewhere
from gateway.execution.sending import Sending
from gateway.ledger.errors import LedgerUnavailable
from providers.contract import ProviderError

if TYPE_CHECKING:
    from gateway.execution.executor import Executor

logger = logging.getLogger(__name__)

RunStatus: TypeAlias = Literal["running", "succeeded", "failed", "cancelled"]
Keep: TypeAlias = Callable[["Run"], Awaitable[None]]


class Run(Sending):
    """An operation and the task that carries it out, for one caller or several."""

    def __init__(self, executor: Executor, order: Order, keep: Keep | None) -> None:
        super().__init__(executor, order)
        self._keep = keep
        self.status: RunStatus = "running"
        self.failure: Failure | None = None
        self.task = asyncio.get_running_loop().create_task(self._live(), name=self.id)
        self.lane.task = self.task

    def cancel(self, reason: str) -> None:
        """Ask the run to stop; what it spent is booked. Too late is fine."""
        if self.status == "running":
            self.lane.stop(reason)

    @property
    def stopped(self) -> str | None:
        """Why somebody has ended it, or is ending it."""
        return self.lane.stopped

    @property
    def asks(self) -> bool:
        """Whether a provider has been asked, or the answer is there."""
        return bool(self.rows)

    @property
    def heard(self) -> bool:
        """Whether its callers have been told a part of the answer; of the unstreamed, none was."""
        return self.order.streamed and bool(self.answer.size_bytes)

    def leave_behind(self, tasks: Iterable[asyncio.Task[Failure | None]]) -> None:
        """Attempts that have lost and do not end yet: the operation does not wait for them."""
        for task in tasks:
            self._executor.trail(self, task)

    async def _live(self) -> None:
        try:
            await self._work()
            self.status = "succeeded"
        except OperationCancelled as error:
            self.status, self.failure = "cancelled", error
        except (ProviderError, GatewayError, LedgerUnavailable) as error:
            self.status, self.failure = "failed", error
        except asyncio.CancelledError:
            self.status, self.failure = "cancelled", OperationCancelled()
            if self.lane.stopped is None:
                raise  # the event loop is being torn down
        except Exception:
            logger.exception("operation %s failed on a fault of the gateway", self.id)
            self.status, self.failure = "failed", InternalError()
        finally:
            try:
                if self._keep is not None:
                    await self._keep(self)
            except Exception:
                logger.exception("the answer of operation %s could not be kept", self.id)
            finally:
                self._executor.ended(self)
                self.log.close()
                # What points back at it would keep all of it until the garbage is collected.
                self.attempts.clear()
                self.lane.attempt, self.lanes = None, (self.lane,)

    async def _work(self) -> None:
        """Attempts until one succeeds or nothing is left to try.

        In the plan's order, but for this: whoever was asked last is asked again first, as long as
        it may be. Of two that were booted, or where one was served by another than it waited for,
        that is the one that is up, and the others would have to be woken.
        """
        retries, plan = self._executor.retries, self.order.plan
        failure: Failure | None = None
        left, tried = list(plan.targets), Counter[str]()
        if self.order.hedge or plan.boots:
            raced = await Race(self).run()
            if raced is not None:
                failure = raced.failure
                if failure is None:
                    return
                self.lanes = (self.lane,)
                tried.update(raced.tried)
                left = [x for x in left if tried[x.name] < retries.attempts_per_deployment]
                left.sort(key=lambda target: target.name != raced.winner)
        while left and (failure is None or worth_trying_elsewhere(failure)):
            target, *others = left
            nth = tried[target.name]
            pause = pause_seconds(retries, nth, failure) if nth else 0.0
            if pause is None or (failure is not None and target.cordoned):
                left = others  # too long a wait, or taken out of service meanwhile
                continue
            if nth:
                await self._sleep(pause)
            asked, failure = await self.enter(target, self.lane, others)
            if failure is None:
                return
            tried[asked.name] += 1
            left = [x for x in left if x is not asked]
            if worth_repeating(failure) and tried[asked.name] < retries.attempts_per_deployment:
                left.insert(0, asked)
        assert failure is not None
        raise failure

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            raise self.lane.interruption() from None
        self.idle_since = self.clock.monotonic()
