"""One operation as data: what was asked, what has come of it so far."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gateway.clock import Clock
from gateway.execution.answer import Answer
from gateway.execution.eventlog import EventLog
from gateway.ledger.rows import AttemptRow
from gateway.ledger.writing.journal import Journal
from gateway.registry import Target
from gateway.routing import Plan
from gateway.tracing import Trace
from providers.contract import Delta, Finished, GenerateRequest

LOG_CAP_BYTES = 8 << 20

OnDisconnect: TypeAlias = Literal["cancel", "drain", "park"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a route wants done. ``input_bytes``: UTF-8 bytes of the input's text.

    ``on_disconnect``: what becomes of it when nobody waits for the answer any more; cancelling
    waits ``grace_seconds`` for somebody to come back. ``retry_scope``: by what the retry of an SDK
    finds the run that its first call has begun, as long as that call has heard no output.
    ``deadline_seconds``: the longest that the whole may take, by the caller's own word; where it
    comes during a boot and ``parks``, it ends the caller's waiting and not the work.
    ``max_cost_pico_usd``: the most that it may cost, all attempts together. ``hedge``: a second
    deployment may be asked beside the first, and the slower one is called off.
    ``trace``: where its spans belong; None while traces are off.
    """

    plan: Plan[Target]
    request: GenerateRequest
    route: str
    streamed: bool
    input_bytes: int
    key_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    on_disconnect: OnDisconnect = "cancel"
    grace_seconds: float = 0.0
    retry_scope: str | None = None
    deadline_seconds: float | None = None
    parks: bool = True
    max_cost_pico_usd: int | None = None
    hedge: bool = False
    trace: Trace | None = None

    def total_seconds(self, target: Target, *, late: bool = False) -> float:
        """How long the whole may take at a deployment; ``late``: a boot outlasted the deadline."""
        total_seconds = target.timeouts.total_seconds
        if self.deadline_seconds is None or late:
            return total_seconds
        return min(total_seconds, self.deadline_seconds)

    def asks_stream(self, target: Target) -> bool:
        """Whether it is sent as a stream, which also shows when the work begins and stalls."""
        whole = target.deployment.capabilities.cancels_whole and not self.streamed
        return self.request.stream and not whole

    def in_pieces(self, target: Target) -> bool:
        """Whether something is shown before all of it is made.

        A caller who wants the whole of a model's own output gets it in one piece, at the end.
        """
        native = isinstance(self.request.input, Mapping) and not self.streamed
        return self.asks_stream(target) and not native


class Operation:
    """What the attempts of one operation share, and what its followers read.

    ``received_at`` is monotonic seconds, ``received_at_us`` wall time in microseconds; later
    instants are the one plus what the other has grown by. ``native`` is the first delta: where a
    dialect passes through unstreamed, it holds the whole body. ``unattended_since``: when its last
    caller left, or was told to come back (monotonic); None: somebody waits.
    """

    def __init__(self, order: Order, journal: Journal, clock: Clock) -> None:
        self.order = order
        self.journal = journal
        self.clock = clock
        self.received_at = clock.monotonic()
        self.received_at_us = clock.wall_us()
        self.id = f"gen_{new_id(self.received_at_us)}"
        self.rows: list[AttemptRow] = []
        self.log = EventLog(LOG_CAP_BYTES)
        self.answer = Answer()
        self.finished: Finished | None = None
        self.native: Delta | None = None
        self.unattended_since: float | None = None
        self.idle_since = self.received_at  # when the gateway last had nothing to wait for


def new_id(at_us: int) -> str:
    """22 hex digits, sortable by time: 14 of microseconds, 8 at random."""
    return f"{at_us:014x}{os.urandom(4).hex()}"
