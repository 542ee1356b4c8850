"""The course of one attempt as data: what its deployment has said, and the seconds that it took."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, TypeAlias

from gateway.accounting.metering import believable
from gateway.accounting.timeline import Timeline
from gateway.errors import GatewayError
from gateway.execution.answer import Answer
from gateway.execution.operation import Operation
from gateway.execution.watchdog import Watchdog
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.rows import AttemptRow
from gateway.registry import Target
from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    Output,
    ProtocolViolation,
    ProviderError,
    Queued,
    Started,
    Usage,
)

if TYPE_CHECKING:
    from gateway.execution.lane import Contest
    from gateway.execution.waking import Held

Failure: TypeAlias = ProviderError | GatewayError | LedgerUnavailable

OUTPUT_CAP_BYTES = 64 << 20


class Course:
    """What one dispatch of an operation to one deployment has come to.

    ``contest``: the race that it takes part in, until it has won; ``lost``: it has not.
    ``sent``: until then, nothing but a boot was asked for. ``finished``: the answer is whole.
    ``cancels``: hanging up ends the work; ``in_pieces``: output shows as it comes. ``worked``:
    whether it may have used a machine, ``boots_on_seconds``: how much longer its boot is taken to
    go on unseen, once it is booked.
    """

    __slots__ = (
        "_asked_at",
        "_share_mark",
        "_share_seconds",
        "answer",
        "boots_on_seconds",
        "cancels",
        "contest",
        "finished",
        "held",
        "in_pieces",
        "lost",
        "operation",
        "row",
        "sent",
        "target",
        "timeline",
        "usage",
        "watchdog",
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
        self.operation = operation
        self.target = target
        self.row = row
        self.contest = contest
        self.held = held
        self.answer = operation.answer
        self.timeline = Timeline(begun_at)
        self.usage: Usage | None = None
        self.finished: Finished | None = None
        self.lost = False
        self.sent = False
        self.worked = True
        self.boots_on_seconds = 0.0
        self.in_pieces = operation.order.in_pieces(target)
        self.cancels = target.cancels(streamed=operation.order.streamed)
        self._asked_at: float | None = None  # the last repeated call of one that was loading
        self.watchdog: Watchdog | None = None
        self._share_seconds = 0.0
        self._share_mark: float | None = target.sharing.begin(begun_at)

    def lose(self) -> None:
        """Another attempt has answered: what is said from now on is no part of this one."""
        self.lost, self.answer = True, Answer()

    def observe(self, event: Event) -> None:
        """Take in what the deployment says. Raises ProtocolViolation, CancelledError: it lost."""
        if self.contest is not None and not self.contest.admits(self, event):
            if isinstance(event, Accepted):  # its provider can say what it has cost
                self._accept(event)
            raise asyncio.CancelledError  # an adapter held the real one back
        operation, timeline = self.operation, self.timeline
        at = operation.clock.monotonic()
        if isinstance(event, Booting):
            asked_at, self._asked_at = self._asked_at, None  # it still booted when we asked
            if timeline.booting is not None:
                self.stop_sharing(at, keep=False)
                if asked_at is not None and timeline.work_began:
                    # It was taken for up, and was not.
                    timeline.boots_on()
                    self.target.waking.boots(event.evidence, at)
                    self.arm(at)
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
            if self.target.machines is not None and timeline.waited_for_others:
                self.target.machines.works(self.row.attempt_id, at)
        match event:
            case Delta() | Output():
                if self._share_mark is None:  # it waited, and nothing else said that work began
                    self._share_mark = self.target.sharing.begin(at)
                if operation.native is None and isinstance(event, Delta):
                    operation.native = event
                self.answer.observe(event)
                if self.answer.size_bytes > OUTPUT_CAP_BYTES:
                    raise ProtocolViolation("The provider's answer is larger than 64 MiB.")
            case Finished():
                self.usage = believable(event.usage)
                self.finished = event
                return  # shown once the attempt is booked
            case Accepted():
                self._accept(event)
            case Queued() | Booting():
                self.stop_sharing(at, keep=False)
                if isinstance(event, Booting):
                    self.target.waking.boots(event.evidence, at)
            case Started() if timeline.started is event:  # else it began when we asked again
                self.stop_sharing(at, keep=False)
                self._share_mark = self.target.sharing.begin(at)
        operation.log.append(at, self.row.attempt_id, event)
        self.arm(at)

    def _accept(self, event: Accepted) -> None:
        self.row.upstream_id = event.job_id
        at_us = self.operation.clock.wall_us()
        self.operation.journal.accepted(self.row.attempt_id, event.job_id, at_us)

    def loads(self, booting: Booting) -> float:
        """It does not answer yet, and is to be asked again; returns the instant."""
        self.stop_sharing(self.operation.clock.monotonic(), keep=False)
        if self.timeline.booting is None or self.timeline.booted_before:
            self.observe(booting)
        at = self.operation.clock.monotonic()
        self.target.waking.boots(booting.evidence, at)
        return at

    def asks_again(self, at: float) -> None:
        """It is asked once more, now that it may be up."""
        self._asked_at = at
        self._share_mark = self.target.sharing.begin(at)

    def is_up(self, at: float) -> None:
        """It was booted without any work, and is asked now."""
        self.timeline.booted_before = True
        self._start(at, at)
        self.asks_again(at)
        self.target.waking.works(at)
        self.arm(at)

    def _start(self, since: float, at: float) -> None:
        """The boot is over, ``since`` then; the provider has not said so."""
        started = Started()
        self.timeline.observe(started, since)
        self.operation.log.append(at, self.row.attempt_id, started)

    def arm(self, at: float) -> None:
        """Set the watchdog to the phase that the attempt is in."""
        timeouts, timeline, watchdog = self.target.timeouts, self.timeline, self.watchdog
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
        elif self.in_pieces:
            watchdog.arm("first_output", at + timeouts.first_output_seconds)
        else:
            watchdog.arm("total", math.inf)

    def stop_sharing(self, at: float, *, keep: bool) -> None:
        """It does not work any more; the share that it had was work only with ``keep``."""
        if self._share_mark is not None:
            share = self.target.sharing.end(self._share_mark, at)
            self._share_mark = None
            self._share_seconds += share if keep else 0.0

    @property
    def boot_ended(self) -> bool:
        """Whether the boot that was all it asked for is over when it leaves, as far as is known.

        One that its provider ends goes on where others wait for it. Of a process of ours it is
        known; another one that has begun meanwhile passes for it, and makes an estimate of a
        measure.
        """
        if not self._only_boots or not self.target.deployment.capabilities.ends_boots:
            return False
        return self.target.warmth.process != "booting"

    @property
    def leaves_it_up(self) -> bool:
        """Whether a process of ours was up before its boot could be called off, and idles now."""
        target = self.target
        return self.boot_ended and target.warmth.process == "ready" and not target.running

    @property
    def _only_boots(self) -> bool:
        timeline = self.timeline
        return not self.sent and timeline.booting is not None and not timeline.work_began

    def boot_left_seconds(self, timeline: Timeline) -> float:
        """How much longer the boot is expected to take that was all it asked for, when it was
        called off as ``timeline`` ends; 0: there is none, or it has ended.
        """
        if not self._only_boots or self.boot_ended:
            return 0.0
        target, waited_seconds = self.target, timeline.boot_seconds or 0.0
        most_seconds = max(0.0, target.timeouts.boot_seconds - waited_seconds)
        return min(target.warmth.boots.left_seconds(waited_seconds), most_seconds)

    def share_seconds_until(self, at: float) -> float:
        """Its share of the machine's work so far."""
        mark = self._share_mark
        return self._share_seconds + (0.0 if mark is None else self.target.sharing.so_far(mark, at))
