"""One dispatch of an operation to one deployment: its life, from the call to the books."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing

from gateway.errors import BudgetRanOut
from gateway.execution.booking import book
from gateway.execution.booting import boot, loading_pause_seconds
from gateway.execution.course import Course, Failure
from gateway.execution.lane import Contest
from gateway.execution.operation import Operation
from gateway.execution.waking import Held
from gateway.execution.watchdog import Watchdog
from gateway.ledger.rows import AttemptRow
from gateway.limits.hold import Hold, Progress
from gateway.registry import Target
from gateway.tracing import pass_on
from providers.contract import Booting, GenerateRequest, ModelLoading, ProtocolViolation
from providers.toolkit.grammar import GrammarChecker


class Attempt(Course):
    """Events in, seconds, counts and a booked row out."""

    __slots__ = ("_hold",)

    def __init__(
        self,
        operation: Operation,
        target: Target,
        row: AttemptRow,
        begun_at: float,
        contest: Contest | None = None,
        held: Held | None = None,
    ) -> None:
        super().__init__(operation, target, row, begun_at, contest, held)
        self._hold: Hold | None = None
        target.running += 1
        if target.keeper is not None:
            target.keeper.begun()
            if held is None:  # else it was told when the caller came
                target.keeper.arrived()

    def watch_budgets(self, hold: Hold, cut: Callable[[BudgetRanOut], None]) -> None:
        """Raise what is set aside as the attempt goes on; ``cut`` is called when that ends it."""
        self._hold = hold
        hold.watch(self._progress, cut, self._keep_reserved)

    def _progress(self) -> tuple[Progress, float]:
        answer, since = self.answer, self.timeline.working_since
        if self._hold is not None and self._hold.bills_waiting:
            since = self.timeline.begun_at
        seconds = 0.0 if since is None else self.operation.clock.monotonic() - since
        seen = Progress(answer.text_bytes, answer.images, max(0, round(seconds * 1e6)))
        return seen, self.target.estimator.bytes_per_token

    def _keep_reserved(self, pico_usd: int) -> None:
        """A restart must know what it may have cost; nothing else in the journal tells."""
        self.row.reserved_pico_usd = pico_usd
        told = {"reserved_pico_usd": pico_usd}
        now_us = self.operation.clock.wall_us()
        self.operation.journal.correct(self.row.attempt_id, now_us, "reservation", told)

    async def dispatch(self, watchdog: Watchdog) -> None:
        """Ask the deployment; while it says that it is loading, ask again (the boot's budget)."""
        operation, target, timeline = self.operation, self.target, self.timeline
        if operation.order.trace is not None:
            pass_on(operation.order.trace, self.row.attempt_id)
        order = operation.order
        # A provider that ends its work by itself must not do so during a boot that outlasts it.
        deadline = operation.received_at + order.total_seconds(target, late=order.parks)
        streams = order.asks_stream(target)
        self.watchdog = watchdog
        self.arm(timeline.begun_at)
        loading_since: float | None = None
        if self.contest is not None and self.contest.boots:
            await self._boot(self.contest)
        self.sent = True
        while True:
            now = operation.clock.monotonic()
            given = operation.order.request
            request = GenerateRequest(  # dataclasses.replace costs five times as much
                given.input,
                given.parameters,
                given.task,
                streams,
                given.dialect,
                given.extra,
                operation.id,
                max(0.0, deadline - now),
            )
            target.waking.asks(again=loading_since is not None)
            try:
                await self._consume(request)
                return
            except ModelLoading as loading:
                if timeline.has_output:
                    raise
                now = self.loads(Booting(loading.evidence, detail=loading.detail))
                loading_since = now if loading_since is None else loading_since
                pause = loading_pause_seconds(now - loading_since)
                await asyncio.sleep(max(loading.retry_after_seconds or 0.0, pause))
                self.asks_again(operation.clock.monotonic())

    async def _boot(self, contest: Contest) -> None:
        """Have it boot, and go on as the first that is up; the others end here."""
        gate = self.target.gate  # its own place is one of those held
        await boot(self.target.deployment, self.observe, lambda: gate.held > 1 or gate.queued > 0)
        if not contest.is_first(self):
            raise asyncio.CancelledError
        if self.timeline.booting is not None:
            self.is_up(self.operation.clock.monotonic())

    async def _consume(self, request: GenerateRequest) -> None:
        log, answer, hold = self.operation.log, self.answer, self._hold
        checker = GrammarChecker()
        async with aclosing(self.target.deployment.generate(request)) as events:
            async for event in events:
                checker.check(event)
                self.observe(event)
                if hold is not None and hold.wants(answer.text_bytes, answer.images):
                    await hold.renew()
                if log.full and self.watchdog is not None:
                    # A slow reader: stop reading upstream; only the total time still counts.
                    self.watchdog.arm("total", math.inf)
                    await log.room()
                    self.arm(self.operation.clock.monotonic())
        if self.finished is None:
            raise ProtocolViolation("The provider's answer has no end.")

    def settle(self, failure: Failure | None, *, cut_short: bool = False) -> Failure | None:
        """Close the books of this attempt; returns the failure as the caller should see it.

        ``cut_short``: the gateway ended it (a cancellation, a deadline), not the provider.
        """
        self.watchdog = None  # it holds on to the lane
        return book(self, self._hold, failure, cut_short=cut_short)

    def tell_warmth(self) -> None:
        """What this attempt has shown of its deployment, once it is settled."""
        self.target.waking.ended(self.row, self.timeline, self.held, worked=self.worked)
