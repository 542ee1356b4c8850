"""After a start: what the ledger knows of each deployment's warmth, read beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from gateway.clock import Clock
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.reports.reports import Reports
from gateway.registry import Target
from gateway.warmth.history import Past, replay
from gateway.warmth.warmth import Warmth
from providers.contract import Supervised

logger = logging.getLogger(__name__)


def remembered(
    targets: Mapping[str, Target], history: Mapping[str, list[Past]], at: float, wall_us: int
) -> dict[str, Warmth]:
    """The warmth of each deployment as its history tells it; ``at`` and ``wall_us`` are now."""
    epoch_us = wall_us - round(at * 1e6)
    found = {}
    for name, target in targets.items():
        warmth = Warmth(target.warmth.prior, epoch_us / 1e6)
        replay(warmth, history.get(name, ()), epoch_us)
        found[name] = warmth
    return found


def without_gateway(target: Target, warmth: Warmth, at: float) -> Warmth:
    """The same where no gateway runs: nor does a process that only a gateway runs."""
    if not isinstance(target.deployment, Supervised):
        return warmth
    off = Warmth(warmth.prior, warmth.wall_offset_seconds)
    off.supervised("down", at)  # before it knows when it was used: that says nothing of keep-alive
    off.absorb(warmth)
    return off


def supervise(target: Target, clock: Clock) -> None:
    """Let its warmth know where its process stands, where the gateway runs that itself."""
    deployment, warmth = target.deployment, target.warmth
    if isinstance(deployment, Supervised):
        deployment.watch(lambda state: warmth.supervised(state, clock.monotonic()))


async def recall(
    targets: Mapping[str, Target],
    clock: Clock,
    caught_up: Callable[[], Awaitable[bool]],
    open_reports: Callable[[], Reports],
) -> None:
    """Let each deployment remember, once the database has all of the journal.

    Requests go on meanwhile; what they show is newer, and stays. A database that does not answer
    costs what was learned, which is logged, and nothing else.
    """
    before_us = clock.wall_us()
    await caught_up()

    def read() -> dict[str, Warmth]:
        history = open_reports().warm_history(before_us)
        return remembered(targets, history, clock.monotonic(), clock.wall_us())

    try:
        older = await asyncio.to_thread(read)
    except (StoreUnavailable, SchemaMismatch) as error:
        logger.error("what was learned of keep-alive and boots cannot be read: %s", error)
        return
    for name, warmth in older.items():
        targets[name].warmth.absorb(warmth)
