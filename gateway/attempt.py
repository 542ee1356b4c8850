"""One dispatch of an operation to one deployment: events in, a booked row out."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import aclosing
from typing import TypeAlias

from gateway.accounting.metering import believable
from gateway.accounting.settle import Observed, settle, settle_unknown
from gateway.accounting.timeline import Timeline
from gateway.answer import Answer
from gateway.booting import boot, loading_pause_seconds
from gateway.errors import BudgetRanOut, GatewayError, OperationCancelled
from gateway.lane import Contest
from gateway.learning import learn
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.rows import AttemptRow
from gateway.limits.hold import Hold, Progress
from gateway.operation import Operation
from gateway.registry import Target
from gateway.tracing import pass_on
from gateway.waking import Held
from gateway.watchdog import Watchdog
from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    ModelLoading,
    Output,
    Phases,
    ProtocolViolation,
    ProviderError,
    Queued,
    Started,
    StreamInterrupted,
    Usage,
)
from providers.toolkit.grammar import GrammarChecker

Failure: TypeAlias = ProviderError | GatewayError | LedgerUnavailable

logger = logging.getLogger(__name__)

OUTPUT_CAP_BYTES = 64 << 20


class Attempt:
    """The inside of one dispatch: events in, seconds, counts and a booked row out.

    ``contest``: the race that it takes part in, until it has won; ``lost``: it has not.
    """

    __slots__ = (
        "_answer",
        "_asked_at",
        "_cancels",
        "_held",
        "_hold",
        "_operation",
        "_says_when_it_begins",
        "_sent",
        "_share_mark",
        "_share_seconds",
        "_streams",
        "_watchdog",
        "contest",
        "lost",
        "row",
        "target",
        "timeline",
        "usage",
        "worked",
    )

    def __init__(
        self,
        operation: Operation,
        target: Target,
        row: AttemptRow,
        begun_at: float,
        contest: Contest | None = None,
        held: Held | None = None,
    ) -> None:
        self._held = held
        self._operation = operation
        self._answer = operation.answer
        self.lost = False
        self._sent = False  # until then, nothing but a boot was asked for
        self.contest = contest
        self.target = target
        self.row = row
        self.timeline = timeline = Timeline(begun_at)
        self.usage: Usage | None = None
        self.worked = True  # whether it may have used a machine
        self._asked_at: float | None = None  # the last repeated call of one that was loading
        self._watchdog: Watchdog | None = None
        self._hold: Hold | None = None
        self._share_seconds = 0.0
        order = operation.order
        self._streams = order.asks_stream(target)
        self._says_when_it_begins = order.in_pieces(target)
        self._cancels = target.cancels(streamed=order.streamed)
        self._share_mark: float | None = target.sharing.begin(timeline.begun_at)
        target.running += 1
        if target.keeper is not None:
            target.keeper.begun()
            if held is None:  # else it was told when the caller came
                target.keeper.arrived()

    def lose(self) -> None:
        """Another attempt has answered: what is said from now on is no part of this one."""
        self.lost, self._answer = True, Answer()

    def watch_budgets(self, hold: Hold, cut: Callable[[BudgetRanOut], None]) -> None:
        """Raise what is set aside as the attempt goes on; ``cut`` is called when that ends it."""
        self._hold = hold
        hold.watch(self._progress, cut, self._keep_reserved)

    def _progress(self) -> tuple[Progress, float]:
        answer, since = self._answer, self.timeline.working_since
        if self._hold is not None and self._hold.bills_waiting:
            since = self.timeline.begun_at
        seconds = 0.0 if since is None else self._operation.clock.monotonic() - since
        seen = Progress(answer.text_bytes, answer.images, max(0, round(seconds * 1e6)))
        return seen, self.target.estimator.bytes_per_token

    def _keep_reserved(self, pico_usd: int) -> None:
        """A restart must know what it may have cost; nothing else in the journal tells."""
        self.row.reserved_pico_usd = pico_usd
        told = {"reserved_pico_usd": pico_usd}
        now_us = self._operation.clock.wall_us()
        self._operation.journal.correct(self.row.attempt_id, now_us, "reservation", told)

    async def dispatch(self, watchdog: Watchdog) -> None:
        """Ask the deployment; while it says that it is loading, ask again (the boot's budget)."""
        operation, target, timeline = self._operation, self.target, self.timeline
        if operation.order.trace is not None:
            pass_on(operation.order.trace, self.row.attempt_id)
        deadline = operation.received_at + operation.order.total_seconds(target)
        self._watchdog = watchdog
        self._arm(timeline.begun_at)
        loading_since: float | None = None
        if self.contest is not None and self.contest.boots:
            await self._boot(self.contest)
        self._sent = True
        while True:
            now = operation.clock.monotonic()
            given = operation.order.request
            request = GenerateRequest(  # dataclasses.replace costs five times as much
                given.input,
                given.parameters,
                given.task,
                self._streams,
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
                self._stop_sharing(operation.clock.monotonic(), keep=False)
                if timeline.booting is None or timeline.booted_before:
                    self._observe(Booting(loading.evidence, detail=loading.detail))
                now = operation.clock.monotonic()
                target.waking.boots(loading.evidence, now)
                loading_since = now if loading_since is None else loading_since
                pause = loading_pause_seconds(now - loading_since)
                await asyncio.sleep(max(loading.retry_after_seconds or 0.0, pause))
                self._asked_at = operation.clock.monotonic()
                self._share_mark = target.sharing.begin(self._asked_at)

    async def _boot(self, contest: Contest) -> None:
        """Have it boot, and go on as the first that is up; the others end here."""
        await boot(self.target.deployment, self._observe)
        if not contest.is_first(self):
            raise asyncio.CancelledError
        timeline = self.timeline
        if timeline.booting is not None:
            at = self._operation.clock.monotonic()
            timeline.booted_before = True
            self._start(at, at)
            self._asked_at = at
            self._share_mark = self.target.sharing.begin(at)
            self.target.waking.works(at)
            self._arm(at)

    def _start(self, since: float, at: float) -> None:
        """The boot is over, ``since`` then; the provider has not said so."""
        started = Started()
        self.timeline.observe(started, since)
        self._operation.log.append(at, self.row.attempt_id, started)

    async def _consume(self, request: GenerateRequest) -> None:
        log, answer, hold = self._operation.log, self._answer, self._hold
        checker = GrammarChecker()
        async with aclosing(self.target.deployment.generate(request)) as events:
            async for event in events:
                checker.check(event)
                self._observe(event)
                if hold is not None and hold.wants(answer.text_bytes, answer.images):
                    await hold.renew()
                if log.full and self._watchdog is not None:
                    # A slow reader: stop reading upstream; only the total time still counts.
                    self._watchdog.arm("total", math.inf)
                    await log.room()
                    self._arm(self._operation.clock.monotonic())
        if self._operation.finished is None:
            raise ProtocolViolation("The provider's answer has no end.")

    def _observe(self, event: Event) -> None:
        if self.contest is not None and not self.contest.admits(self, event):
            raise asyncio.CancelledError  # an adapter held the real one back
        operation, timeline = self._operation, self.timeline
        at = operation.clock.monotonic()
        if isinstance(event, Booting):
            asked_at, self._asked_at = self._asked_at, None  # it still booted when we asked
            if timeline.booting is not None:
                self._stop_sharing(at, keep=False)
                if asked_at is not None and timeline.work_began:
                    # It was taken for up, and was not.
                    timeline.boots_on()
                    self.target.waking.boots(event.evidence, at)
                    self._arm(at)
                return  # told before
        elif self._asked_at is not None:
            if timeline.waiting:
                # It was loading and now it answers: the boot was over when we asked this time.
                self._start(self._asked_at, at)
            self._asked_at = None
        worked_before = timeline.work_began
        timeline.observe(event, at)
        if timeline.work_began and not worked_before:
            self.target.waking.works(at)
        match event:
            case Delta() | Output():
                if self._share_mark is None:  # it waited, and nothing else said that work began
                    self._share_mark = self.target.sharing.begin(at)
                if operation.native is None and isinstance(event, Delta):
                    operation.native = event
                self._answer.observe(event)
                if self._answer.size_bytes > OUTPUT_CAP_BYTES:
                    raise ProtocolViolation("The provider's answer is larger than 64 MiB.")
            case Finished():
                self.usage = believable(event.usage)
                operation.finished = event
                return  # shown once the attempt is booked
            case Accepted():
                self.row.upstream_id = event.job_id
                operation.journal.accepted(
                    self.row.attempt_id, event.job_id, operation.clock.wall_us()
                )
            case Queued() | Booting():
                self._stop_sharing(at, keep=False)
                if isinstance(event, Booting):
                    self.target.waking.boots(event.evidence, at)
            case Started() if timeline.started is event:  # else it began when we asked again
                self._stop_sharing(at, keep=False)
                self._share_mark = self.target.sharing.begin(at)
        operation.log.append(at, self.row.attempt_id, event)
        self._arm(at)

    def _arm(self, at: float) -> None:
        """Set the watchdog to the phase that the attempt is in."""
        timeouts, timeline, watchdog = self.target.timeouts, self.timeline, self._watchdog
        if watchdog is None:
            return
        waiting_since = timeline.waiting_since
        if timeline.has_output:
            watchdog.arm("stall", at + timeouts.stall_seconds)
        elif waiting_since is not None:
            # From the begin of the phase: repeated news of a boot does not prolong it.
            if timeline.booting is not None:
                watchdog.arm("boot", waiting_since + timeouts.boot_seconds)
            else:
                watchdog.arm("queue", waiting_since + timeouts.queue_seconds)
        elif self._says_when_it_begins:
            watchdog.arm("first_output", at + timeouts.first_output_seconds)
        else:
            watchdog.arm("total", math.inf)

    def _stop_sharing(self, at: float, *, keep: bool) -> None:
        if self._share_mark is not None:
            share = self.target.sharing.end(self._share_mark, at)
            self._share_mark = None
            self._share_seconds += share if keep else 0.0

    def share_seconds_until(self, at: float) -> float:
        """Its share of the machine's work so far."""
        mark = self._share_mark
        return self._share_seconds + (0.0 if mark is None else self.target.sharing.so_far(mark, at))

    def _unsaid(self, spends: bool) -> bool:
        """Whether the provider still owes its account of the seconds that it bills."""
        phases = self.timeline.phases
        said = phases is not None and phases.execute_seconds is not None
        reports = self.target.deployment.capabilities.reports_seconds
        return reports and spends and self._sent and not said

    def tell_warmth(self) -> None:
        """What this attempt has shown of its deployment, once it is settled."""
        self.target.waking.ended(self.row, self.timeline, self._held, worked=self.worked)

    def settle(self, failure: Failure | None, *, cut_short: bool = False) -> Failure | None:
        """Close the books of this attempt; returns the failure as the caller should see it.

        ``cut_short``: the gateway ended it (a cancellation, a deadline), not the provider.
        """
        operation, target, row, timeline = self._operation, self.target, self.row, self.timeline
        at = operation.clock.monotonic()
        if self.lost and failure is None:
            failure = OperationCancelled()
        self._stop_sharing(at, keep=True)
        target.running -= 1
        target.last_ended_at = at
        # Without a sure record of its begin the provider was not asked.
        usage, spends = self.usage, not isinstance(failure, LedgerUnavailable)
        phases: Phases | None = None
        goes_on = cut_short and self._sent and not self._cancels
        if isinstance(failure, ProviderError):
            usage = usage or believable(failure.usage)
            spends, phases = failure.spends, failure.phases
            goes_on = goes_on or failure.may_have_run
            row.upstream_id = row.upstream_id or failure.job_id
            if timeline.has_output and not isinstance(failure, StreamInterrupted):
                interrupted = StreamInterrupted(usage=usage, phases=phases)
                interrupted.__cause__ = failure
                failure = interrupted
        self.worked = spends or timeline.work_began
        timeline.end(at, phases)
        if failure is None:
            row.status = "succeeded"
            assert operation.finished is not None
            row.finish_reason = next(iter(operation.finished.reasons), None)
        else:
            cancelled = self.lost or isinstance(failure, OperationCancelled)
            row.status = "cancelled" if cancelled else "failed"
            row.error_type = None if cancelled else type(failure).__name__
            if self.lost:
                row.status, failure = "lost_hedge", OperationCancelled()
        row.completed_at_us = row.begun_at_us + round((at - timeline.begun_at) * 1e6)
        tariff_row = None if target.tariff is None else target.tariff.at(row.begun_at_us)
        observed = Observed(
            timeline,
            usage,
            input_bytes=operation.order.input_bytes,
            output_bytes=self._answer.text_bytes,
            images=self._answer.images,
            complete=failure is None,
            boot_limit_seconds=target.timeouts.boot_seconds,
            spends=spends,
            sent=self._sent,
            share_seconds=self._share_seconds
            if tariff_row is not None and tariff_row.shared and timeline.work_began
            else None,
            goes_on_seconds=target.timeouts.total_seconds if goes_on else None,
            unsaid_seconds=target.timeouts.total_seconds if self._unsaid(spends) else None,
            boots=target.boots,
        )
        try:
            settle(row, observed, tariff_row, target.estimator)
        except Exception:
            # Strange figures must cost neither the answer nor the row; their cost is unknown.
            logger.exception("attempt %s cannot be settled", row.attempt_id)
            settle_unknown(row)
        if self._held is not None:
            self._held.book(row)
        now = operation.clock.monotonic()
        row.gateway_seconds = round((row.gateway_seconds or 0.0) + (now - at), 6)
        operation.idle_since = now
        try:
            operation.journal.end(row)
        except TypeError:  # nothing has been written: some value of the adapter's is no JSON
            logger.exception("attempt %s cannot be written down as it is", row.attempt_id)
            settle_unknown(row, words=True)
            operation.journal.end(row)
        if self._hold is not None:
            self._hold.settle()
        if failure is None and operation.finished is not None:
            operation.log.append(at, row.attempt_id, operation.finished)
        try:
            learn(target, row, observed, in_pieces=self._says_when_it_begins)
        except Exception:
            # It is booked and answered: neither is lost for what could not be learnt.
            logger.exception("nothing was learnt from attempt %s", row.attempt_id)
        return failure
