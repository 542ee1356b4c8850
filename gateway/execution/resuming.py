"""A starting gateway takes up an earlier one's charges: machines that were idle, or that stand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from gateway.accounting.idle import LONGEST_IDLE_SECONDS
from gateway.accounting.idle_replay import Use, take_up
from gateway.execution.charging import Charging
from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.reading.opened import Opened
from gateway.ledger.reading.unshipped import Known, Unshipped
from gateway.ledger.reading.uses import MOST_USES
from gateway.ledger.reports.reports import Reports
from gateway.registry import Registry, Target
from providers.contract import EndsWithGateway

logger = logging.getLogger(__name__)

_LOOK_BACK_US = round(LONGEST_IDLE_SECONDS * 1e6)


async def resume_charges(
    registry: Registry,
    charging: Charging,
    open_reports: Callable[[], Reports],
    unshipped: Unshipped,
    opened: Opened,
    *,
    caught_up: Callable[[], Awaitable[object]],
    last_seen_us: int,
) -> None:
    """Take them up, once the database has ``caught_up``, or takes too long to.

    ``last_seen_us`` is the last sign of life of the earlier gateway, ``unshipped`` what the journal
    says of idle machines, this start's own lines included, and ``opened`` what of charges that went
    on.

    An idle time that goes on is booked as any other; one that a death cut off, or that is over,
    here, and once, however far the database is and however many starts died at it. A database
    that does not answer costs the charges of the time since, which is logged, and not the start.
    """
    targets = registry.targets
    idle = [name for name, target in targets.items() if target.machines is not None]
    standing = [name for name, target in targets.items() if target.bills("standing")]
    if not idle and not standing:
        return
    await caught_up()
    reports, clock = open_reports(), charging.clock
    now_us = clock.wall_us()
    until_us: dict[str, int] = {}
    try:
        until_us = await asyncio.to_thread(reports.standing_until, standing)
        for name in idle:
            # From the last sign of life: what was idle then is over by now, and not booked.
            since_us = min(now_us, last_seen_us or now_us) - _LOOK_BACK_US
            known = unshipped.known(
                name,
                since_us,
                await asyncio.to_thread(reports.uses, name, since_us),
                await asyncio.to_thread(reports.stays, name, since_us),
                await asyncio.to_thread(reports.idle_gaps, name, since_us),
            )
            if len(known.uses) >= MOST_USES:
                logger.warning(
                    "charges: of %s only the last %d attempts are looked at; machines that were "
                    "idle since before those are not charged for",
                    name,
                    MOST_USES,
                )
            _take_up(charging, targets[name], known, last_seen_us, now_us)
    except (StoreUnavailable, SchemaMismatch) as error:
        logger.error("charges of the time before this start are not booked: %s", error)
    for name in standing:
        going = opened.going.get(("standing", name))
        known_us = [until_us[name]] if name in until_us else []
        known_us += [] if going is None else [going.since_us]
        charging.stand(targets[name], max(known_us, default=now_us))


def _take_up(
    charging: Charging, target: Target, known: Known, last_seen_us: int, now_us: int
) -> None:
    machines = target.machines
    assert machines is not None
    ahead_us = charging.clock.ahead_us()  # the same for all: what followed must not go before

    def at(at_us: int) -> float:
        return (at_us - ahead_us) / 1e6

    past = [
        Use(
            use.attempt_id,
            at(use.begun_at_us),
            at(use.completed_at_us),
            use.verdict,
            use.worked,
            cut_off=use.cut_off,
        )
        for use in known.uses
    ]
    kept = [(at(begin_us), at(end_us)) for begin_us, end_us in known.stays]
    gaps = take_up(machines, past, at(last_seen_us), stays=kept)
    if isinstance(target.deployment, EndsWithGateway):
        now = datetime.fromtimestamp(now_us / 1e6, UTC)
        ended_by = target.deployment.ended_by(now)
        if ended_by is not None:
            gaps += machines.end_all(at(last_seen_us), at(round(ended_by.timestamp() * 1e6)))
    gaps += machines.due(at(now_us))  # by an earlier start, which died then, it may be booked
    for gap in gaps:
        if gap.charge_id not in known.idle_gaps:  # the same, once more, would differ by clocks
            charging.book_gap(target, gap)
