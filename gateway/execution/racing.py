"""Two attempts of one operation at a time: the first with output answers, the other is called off.

Or, where all deployments are cold: two are booted, and the first that is up gets the request.

Each runs in a task and a lane of its own, and both write into the operation's log; none of them has
a part in the answer before it has won. So at every moment the answer is one attempt's, and the
ledger has a row for each that was begun: the loser's is a ``lost_hedge``, with its own cost.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.errors import GatewayError, InternalError
from gateway.execution.candidates import candidate_of
from gateway.execution.course import Course, Failure
from gateway.execution.hedging import QUIET_SHARE, Rival, hedge_after_seconds, hedge_partner
from gateway.execution.lane import Lane
from gateway.execution.retrying import worth_repeating
from gateway.ledger.errors import LedgerUnavailable
from gateway.registry import Target
from gateway.routing import Candidate, coldness
from providers.contract import Booting, Delta, Event, Finished, Output, ProviderError

if TYPE_CHECKING:
    from gateway.execution.run import Run

logger = logging.getLogger(__name__)

LOSER_SECONDS: Final = 1.0
"""How long an answer that is whole waits for the loser's books. One whose provider takes longer to
hang up is told as running, and booked when it has ended."""


@dataclass(frozen=True, slots=True)
class Raced:
    """``failure`` None: one has answered. ``tried``: attempts that each deployment has had.

    ``winner``: the one that failed after it had won.
    """

    failure: Failure | None
    tried: dict[str, int] = field(default_factory=dict)
    winner: str | None = None


class Race:
    """The race of one operation; see ``attempt.Contest``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[Failure | None]] = {}
        self._winner: str | None = None
        self.boots = False
        self._news = asyncio.Event()

    def admits(self, attempt: Course, event: Event) -> bool:
        """The first with output has won, and the others have lost."""
        if isinstance(event, Delta | Output | Finished):
            return self.is_first(attempt)
        if isinstance(event, Booting):
            self._news.set()
        return not attempt.lost

    def is_first(self, attempt: Course) -> bool:
        """The first has won, and the others have lost."""
        if self._winner is not None:
            return False
        self._winner, attempt.contest = attempt.target.name, None
        other = attempt.target.boots_beside
        if self.boots and other is not None:
            self._boot_is_over((attempt.target, other))
            other.waking.send_on(attempt.target.name, attempt.target.waking)
        for name, lane in self._lanes.items():
            if name != self._winner and not self._tasks[name].done():
                lane.lose()
        return True

    async def run(self) -> Raced | None:
        """As the order says; None: there is nothing to race for. Raises OperationCancelled."""
        try:
            pair = self._pair()
            if pair is not None:
                return await self._booted(pair)
            return await self._hedged() if self._run.order.hedge else None
        finally:
            for name, lane in self._lanes.items():
                if self._tasks[name].done():  # else both would be garbage until that is collected
                    lane.contest = None
                    if lane.attempt is not None:
                        lane.attempt.contest = None

    def _pair(self) -> tuple[Target, Target] | None:
        """The two to be booted, if it is still so that all are cold, and nobody boots them now."""
        plan = self._run.order.plan
        pair = [target for target in plan.targets if target.name in plan.boots]
        at = self._run.clock.monotonic()
        if len(pair) != 2 or any(x.boots_beside is not None or x.gate.full for x in pair):
            return None
        if any(coldness(target.outlook(at)) < 2 for target in plan.targets):
            return None
        return pair[0], pair[1]

    async def _booted(self, pair: tuple[Target, Target]) -> Raced:
        """Have both boot; the first that is up gets the request."""
        self.boots = True
        for target, other in (pair, pair[::-1]):
            target.boots_beside = other
            self._run.explain(target.name, "dual_boot", f"booted beside {other.name}")
            entered = self._enter(target)
            entered.add_done_callback(self._explain_refusal(target.name, "dual_boot", "not booted"))
        try:
            return await self._ended()
        except asyncio.CancelledError:
            return await self._stopped()
        finally:
            if self._winner is None:
                self._boot_is_over(pair)

    @staticmethod
    def _boot_is_over(pair: tuple[Target, Target]) -> None:
        for target in pair:
            target.boots_beside = None

    async def _hedged(self) -> Raced:
        """Ask the first of the plan, and where it shows nothing a second one as well.

        Raises OperationCancelled once both are stopped and booked.
        """
        run = self._run
        first, *others = run.order.plan.targets
        known = self._candidate(first)
        try:
            self._enter(first)
            quiet = first.usual.quiet_seconds(QUIET_SHARE, in_pieces=run.order.in_pieces(first))
            if await self._shows_nothing(first, hedge_after_seconds(known.outlook, quiet)):
                self._ask_second(known, others)
            return await self._ended()
        except asyncio.CancelledError:
            return await self._stopped()

    def _enter(self, target: Target) -> asyncio.Task[Failure | None]:
        lane = self._lanes[target.name] = Lane(self)
        task = asyncio.get_running_loop().create_task(self._carry_out(target, lane))
        lane.task = self._tasks[target.name] = task
        task.add_done_callback(lambda _: self._news.set())
        self._run.lanes = tuple(self._lanes.values())
        return task

    async def _carry_out(self, target: Target, lane: Lane) -> Failure | None:
        try:
            _, failure = await self._run.enter(target, lane)
            return failure
        except (ProviderError, GatewayError, LedgerUnavailable) as error:
            # Its frames know the race, which knows this task: garbage until that is collected.
            return error.with_traceback(None)
        except Exception:
            logger.exception("operation %s: an attempt failed on a fault of ours", self._run.id)
            return InternalError()

    async def _shows_nothing(self, first: Target, seconds: float) -> bool:
        """Wait so long, or until it says that it boots; False: it has shown something, or ended."""
        begun_at = self._run.clock.monotonic()
        while self._winner is None and not self._tasks[first.name].done():
            left = seconds - (self._run.clock.monotonic() - begun_at)
            if left <= 0 or self._boots(first):
                return True
            self._news.clear()
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return self._winner is None and not self._tasks[first.name].done()
        return False

    def _boots(self, target: Target) -> bool:
        attempt = self._lanes[target.name].attempt
        return attempt is not None and attempt.timeline.booting is not None

    def _ask_second(self, first: Candidate, others: Sequence[Target]) -> None:
        run = self._run
        order = run.order
        streamed = order.streamed
        rivals = [
            Rival(self._candidate(x), x.cancels(streamed=streamed), not x.gate.full) for x in others
        ]
        target = run.order.plan.targets[0]
        if not target.cancels(streamed=streamed):
            chosen, reasons = None, {x.name: "the first cannot be stopped" for x in others}
        else:
            chosen, reasons = hedge_partner(
                first,
                rivals,
                first_waits=self._boots(target),
                max_cost_pico_usd=order.max_cost_pico_usd,
            )
        for name, why in reasons.items():
            run.explain(name, "hedge", f"not asked: {why}")
        for second in others:
            if second.name == chosen:
                now = run.clock.monotonic()
                if run.rows:
                    run.idle_since = now  # until now there was something to wait for
                run.explain(chosen, "hedge", f"asked after {now - run.received_at:.3f} s")
                entered = self._enter(second)
                entered.add_done_callback(self._explain_refusal(chosen, "hedge", "not asked"))

    def _explain_refusal(
        self, name: str, about: str, what: str
    ) -> Callable[[asyncio.Task[Failure | None]], None]:
        def explain(task: asyncio.Task[Failure | None]) -> None:
            if self._lanes[name].attempt is not None:
                return
            if self._winner is not None or task.cancelled():
                self._run.explain(name, about, f"{what}: the other was first")
            else:
                self._run.explain(name, about, f"{what}: {task.result()}")
                for other in self._lanes.keys() - {name} if self.boots else ():
                    self._run.explain(other, about, "booted alone")

        return explain

    async def _ended(self) -> Raced:
        """Once the winner has ended, or all have failed."""
        pending: set[asyncio.Task[Failure | None]] = set(self._tasks.values())
        while pending and (self._winner is None or self._tasks[self._winner] in pending):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if self._winner is not None:
            if pending:
                _, pending = await asyncio.wait(pending, timeout=LOSER_SECONDS)
                self._run.leave_behind(pending)
            failure = self._tasks[self._winner].result()
            return Raced(failure, {} if failure is None else self._tried(), self._winner)
        failures = {name: task.result() for name, task in self._tasks.items()}
        tried = {name: _attempts_of(failure) for name, failure in failures.items()}
        return Raced(next(iter(failures.values())), tried)

    def _tried(self) -> dict[str, int]:
        """What each has had of a race whose winner has failed; one that was not asked, nothing."""
        tried: dict[str, int] = {}
        for name, lane in self._lanes.items():
            if lane.attempt is None:
                continue
            if lane.stopped is None:
                tried[name] = _attempts_of(self._tasks[name].result())
            elif not self.boots:  # one that lost such a race was asked for nothing but a boot
                tried[name] = 1
        return tried

    async def _stopped(self) -> Raced:
        """The operation is being stopped: so are all of its attempts, and each is booked.

        Raises OperationCancelled, unless the answer was whole before.
        """
        why = self._run.lane.stopped
        if why is not None:  # else the event loop is being torn down, and stops them itself
            for lane in self._lanes.values():
                lane.stop(why)
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()))
        interruption = self._run.lane.interruption()
        winner = None if self._winner is None else self._tasks[self._winner]
        if winner is not None and not winner.cancelled() and winner.result() is None:
            return Raced(None)
        raise interruption

    def _candidate(self, target: Target) -> Candidate:
        order = self._run.order
        return candidate_of(
            target,
            self._run.clock,
            input_bytes=order.input_bytes,
            max_output_tokens=order.request.parameters.max_output_tokens,
        )


def _attempts_of(failure: Failure | None) -> int:
    """One, or as good as all where another would be of no use, or a second bill."""
    return 1 if failure is not None and worth_repeating(failure) else sys.maxsize
