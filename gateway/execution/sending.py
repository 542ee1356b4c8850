"""One attempt of an operation: its place, its money, its line in the journal, then its deployment.

Money is spent in attempts. Each is written down before the provider is called (``begin``) and, on
every exit, before the caller sees the last of the answer (``end``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import (
    BudgetRanOut,
    DeadlineExceeded,
    GatewayError,
    OperationCancelled,
    OutOfService,
    QueueFull,
)
from gateway.execution.attempt import Attempt
from gateway.execution.attended import Attended
from gateway.execution.booting import come_back_seconds
from gateway.execution.candidates import considered_json
from gateway.execution.course import Failure
from gateway.execution.draft import draft
from gateway.execution.lane import Lane, lanes_wait, least_left_seconds
from gateway.execution.operation import Order
from gateway.execution.waking import Held
from gateway.execution.watchdog import Watchdog
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.rows import AttemptRow
from gateway.limits.budgets import Budgets, Covering
from gateway.limits.gate import GateFull
from gateway.limits.hold import Hold
from gateway.registry import Target
from providers.contract import Booting, BootTimeout, ProtocolViolation, ProviderError

if TYPE_CHECKING:
    from gateway.execution.executor import Executor

logger = logging.getLogger(__name__)

CORDONED_SECONDS: Final = 30.0
"""When to come back to what an operator has taken out of service: a guess."""


class Sending(Attended):
    """An operation that sends attempts; ``lanes`` are the tasks that these run in.

    ``attempts``: of each of ``rows``, what the gateway saw; none once it has ended.
    """

    def __init__(self, executor: Executor, order: Order) -> None:
        super().__init__(order, executor.journal, executor.clock, executor.away)
        self._executor = executor
        self.lane = Lane()
        self.lanes: Sequence[Lane] = (self.lane,)
        self.attempts: list[Attempt] = []
        self._explained: dict[str, dict[str, str]] = {}

    @property
    def waits_for_boot(self) -> bool:
        """Whether it waits, for its own attempts or for another's that wakes a deployment.

        As far as anybody said, and as long as nothing has come.
        """
        return lanes_wait(self.lanes) and not self.answer.size_bytes

    def expected_wait_seconds(self) -> float | None:
        """How much longer the present wait may last; None: nobody knows."""
        return least_left_seconds(self.lanes) if self.waits_for_boot else None

    @property
    def held(self) -> Held | None:
        """Its wait here for a place at a deployment, before an attempt; of two, the longer one."""
        waits = [lane.held for lane in self.lanes if lane.held is not None]
        return min(waits, key=lambda held: held.since, default=None)

    def explain(self, deployment: str, about: str, why: str) -> None:
        """Say with the choice what became of a deployment, while the first attempt runs."""
        self._explained.setdefault(deployment, {})[about] = why
        if self.rows:
            self._tell(self.rows[0].choice or ())

    def _tell(self, choice: Iterable[dict[str, Any]]) -> None:
        for told in choice:
            told.update(self._explained.get(told["deployment"], {}))

    def choice(self) -> list[dict[str, Any]] | None:
        """The candidates, as they were when the request came, and what became of each.

        None: there was nothing to choose.
        """
        if self.rows:
            return self.rows[0].choice
        choice = [considered_json(one) for one in self.order.plan.considered]
        self._tell(choice)
        return choice or None

    async def enter(
        self, target: Target, lane: Lane, others: Sequence[Target] = ()
    ) -> tuple[Target, Failure | None]:
        """One attempt, once the deployment has a place for it: who was asked, and the failure.

        ``others`` may be asked in its stead: that is the one asked which is up before it.
        """
        if self.rows and self.clock.monotonic() >= self._total_deadline(target):
            return target, DeadlineExceeded()
        held = None
        if not target.waking.try_enter(self.clock.monotonic()):
            try:
                held = await self._wait_for_place(target, lane, [other.name for other in others])
            except GateFull:
                come_back_seconds = target.waking.come_back_seconds(self.clock.monotonic())
                return target, QueueFull(retry_after_seconds=come_back_seconds)
            if held.deployment != target.name:
                target = self._moved(held.deployment)
        try:
            if held is not None and target.waking.cold and self._is_left_alone(target, others):
                # It would wake it anew; those whom a boot has served before are let in.
                return target, OutOfService(retry_after_seconds=CORDONED_SECONDS)
            return target, await self._attempt(target, lane, held)
        finally:
            target.gate.leave()

    def _is_left_alone(self, target: Target, others: Iterable[Target]) -> bool:
        """Whether it was taken out of service, or fails to boot while another may serve."""
        if target.cordoned:
            return True
        fails = target.circuit.closed(self.clock.monotonic()) is not None
        return fails and not all(other.cordoned for other in others)

    async def _wait_for_place(self, target: Target, lane: Lane, elsewhere: Sequence[str]) -> Held:
        """Until the deployment has a place, or has been woken. Raises GateFull."""
        lane.held = held = target.waking.join(
            target.name, self.order.input_bytes, self._hear_of_boot, self.clock.monotonic, elsewhere
        )
        for waited_for in (target, target.boots_beside):  # either may be the one that is up first
            if waited_for is not None and waited_for.keeper is not None:
                waited_for.keeper.arrived()
        watchdog = self._watch(target, lane)
        try:
            await target.gate.wait(held)
        except asyncio.CancelledError:
            raise lane.interruption() from None
        finally:
            watchdog.disarm()
            lane.held = None
        self.idle_since = held.since + held.seconds
        return held

    def _moved(self, name: str) -> Target:
        """The deployment that was up before the one whose queue this stood in."""
        self.explain(name, "dual_boot", "up before the one that was waited for")
        return next(target for target in self.order.plan.targets if target.name == name)

    def _hear_of_boot(self, booting: Booting) -> None:
        """The boot that it waits for, without an attempt of its own, is proved."""
        self.log.append(self.clock.monotonic(), "", booting)

    async def _attempt(self, target: Target, lane: Lane, held: Held | None) -> Failure | None:
        """Dispatch once, observe, book. Returns why it failed, or None."""
        executor, order = self._executor, self.order
        budgets = executor.budgets if order.max_cost_pico_usd is None else executor.ceilings
        try:
            covering = () if budgets is None else await self._covering(budgets, lane)
            begun_at = self.clock.monotonic()
            row = draft(self, target, begun_at, None if held is None else held.seconds)
            hold = None
            if budgets is not None and covering:
                hold = await self._reserve(budgets, covering, target, row, lane)
        except GatewayError as refused:
            return refused
        self._begin(target, row, hold)
        attempt = lane.attempt = Attempt(self, target, row, begun_at, lane.contest, held)
        self.attempts.append(attempt)
        if hold is not None:
            attempt.watch_budgets(hold, lane.run_out)
        failure: Failure | None = None
        torn_down: asyncio.CancelledError | None = None
        cut_short = False
        watchdog = self._watch(target, lane)
        try:
            if self._executor.fsync:
                await self.journal.durable()
            await attempt.dispatch(watchdog)
        except asyncio.CancelledError as cancelled:
            cut_short = True
            try:
                failure = lane.interruption()
            except asyncio.CancelledError:
                torn_down, failure = cancelled, OperationCancelled()
        except BudgetRanOut as error:
            failure, cut_short = error, True
        except (ProviderError, LedgerUnavailable) as error:
            failure = error
        except Exception as error:
            # A fault in an adapter must not cost the books; the trace goes to the log alone.
            logger.exception("adapter of deployment %s failed", target.name)
            failure = ProtocolViolation("The provider's adapter has a fault.")
            failure.__cause__ = error
        finally:
            watchdog.disarm()
            lane.ended()
        if isinstance(failure, BootTimeout) and failure.retry_after_seconds is None:
            failure.retry_after_seconds = come_back_seconds(lane.boot_left_seconds())
        failure = attempt.settle(failure, cut_short=cut_short)
        target.circuit.observe(failure, self.clock.monotonic())
        attempt.tell_warmth()
        if target.machines is not None:
            self._executor.charging.settle(
                target,
                row,
                begun_at=begun_at,
                worked=attempt.worked,
                boots_on_seconds=attempt.boots_on_seconds,
            )
        if self._executor.fsync and torn_down is None:
            await self.journal.durable()
        if torn_down is not None:
            raise torn_down
        if isinstance(failure, OperationCancelled):
            raise failure
        return failure

    async def _covering(self, budgets: Budgets, lane: Lane) -> Sequence[Covering]:
        """The budgets that the operation is under. Raises GatewayError."""
        order = self.order
        try:
            covering = await budgets.over(order.key_id, order.tags, self.received_at_us)
        except asyncio.CancelledError:
            raise lane.interruption() from None
        most = order.max_cost_pico_usd
        if most is None:
            return covering
        return [*covering, budgets.ceiling(self.id, self.received_at_us, most)]

    async def _reserve(
        self,
        budgets: Budgets,
        covering: Sequence[Covering],
        target: Target,
        row: AttemptRow,
        lane: Lane,
    ) -> Hold:
        """Set its money aside. Raises GatewayError: then nothing may be spent."""
        tariff = target.tariff
        try:
            return await budgets.reserve(
                row,
                None if tariff is None else tariff.at(row.begun_at_us),
                covering,
                input_bytes=self.order.input_bytes,
                total_seconds=target.timeouts.total_seconds,
            )
        except asyncio.CancelledError:
            raise lane.interruption() from None

    def _begin(self, target: Target, row: AttemptRow, hold: Hold | None) -> None:
        """Write the attempt down. Raises LedgerUnavailable; after any error, spend nothing."""
        try:
            row.ordinal = len(self.rows)
            if not self.rows and self.order.plan.considered:
                row.choice = self.choice()
            self.journal.begin(row)
        except Exception:
            if hold is not None:
                hold.release()
            raise
        self.rows.append(row)
        if target.machines is not None:
            target.machines.begin(row.attempt_id)
        target.warmth.began(row.attempt_id, self.clock.monotonic())

    def _watch(self, target: Target, lane: Lane) -> Watchdog:
        loop = asyncio.get_running_loop()
        expire: Callable[[str], float | None] = lane.expire
        if self.order.deadline_seconds is not None and self.order.parks:
            expire = partial(self._expire, target, lane)
        return Watchdog(loop, self._total_deadline(target), expire)

    def _expire(self, target: Target, lane: Lane, phase: str) -> float | None:
        """A caller's own time that ends during a boot ends its waiting, and not the boot."""
        later = self.received_at + target.timeouts.total_seconds
        if phase == "total" and later > self.clock.monotonic():
            if self.late or (lane.boots and self.waits_for_boot):
                self.be_late()
                return later
        lane.expire(phase)
        return None

    def _total_deadline(self, target: Target) -> float:
        return self.received_at + self.order.total_seconds(target, late=self.late)
