"""Who starts runs, and knows those that live."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.clock import Clock
from gateway.errors import Draining
from gateway.execution.attended import Away
from gateway.execution.charging import Charging
from gateway.execution.lane import SHUTDOWN
from gateway.execution.operation import Order
from gateway.execution.run import Keep, Run
from gateway.ledger.writing.journal import Journal
from gateway.limits.budgets import Budgets
from gateway.settings import RetrySettings


class Executor:
    """Starts runs and knows those that live."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        retries: RetrySettings,
        charging: Charging,
        *,
        fsync: bool = False,
        budgets: Budgets | None = None,
        ceilings: Budgets | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.charging = charging
        self.retries = retries
        self.fsync = fsync
        self.budgets = budgets  # None while there are none
        self.ceilings = ceilings  # the same ones, for requests that set limits of their own
        self.runs: dict[str, Run] = {}
        self.away = Away()
        self.newest: dict[str, Run] = {}
        self._trailing: set[asyncio.Task[Any]] = set()
        self.draining = False
        self.begun = 0

    def start(self, order: Order, keep: Keep | None = None) -> Run:
        """Begin an operation; ``keep`` gets it once it has ended, before its callers hear of that.

        Raises Draining.
        """
        if self.draining:
            raise Draining(retry_after_seconds=1.0)
        self.begun += 1
        run = Run(self, order, keep)
        self.runs[run.id] = run
        if order.retry_scope is not None:
            self.newest[order.retry_scope] = run
        return run

    def ended(self, run: Run) -> None:
        """A run has come to its end."""
        self.runs.pop(run.id, None)
        self._lift_ceiling(run)
        scope = run.order.retry_scope
        if scope is not None and self.newest.get(scope) is run:
            del self.newest[scope]

    def trail(self, run: Run, task: asyncio.Task[Any]) -> None:
        """A lost attempt of a run that need not wait for it: its books are closed all the same."""
        self._trailing.add(task)

        def ended(_: object) -> None:
            self._trailing.discard(task)
            self._lift_ceiling(run)  # it had money set aside

        task.add_done_callback(ended)

    def rejoin(self, retry_scope: str) -> Run | None:
        """The run that callers of this scope have left, for the one who has come back."""
        run = self.away.hung_up.get(retry_scope)
        if run is None:
            # A retry can be here before its first call is known to have hung up.
            run = self.newest.get(retry_scope)
            if run is None or run.heard:
                return None
        assert isinstance(run, Run)
        return run if run.join(ended=True) else None

    def rejoin_told(self, scope: str) -> Run | None:
        """One that a caller of this scope was told to come back for."""
        run = self.away.claim_told(scope)
        assert run is None or isinstance(run, Run)
        return run

    def _lift_ceiling(self, run: Run) -> None:
        if run.order.max_cost_pico_usd is not None and self.ceilings is not None:
            self.ceilings.lift(run.id)

    async def drain(self, seconds: float) -> None:
        """Let running operations end; cancel those that have not after ``seconds``."""
        self.draining = True
        tasks = [run.task for run in self.runs.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for run in list(self.runs.values()):
            run.cancel(SHUTDOWN)
        ending = {*(run.task for run in self.runs.values()), *self._trailing}
        if ending:
            await asyncio.wait(ending, timeout=10.0)
