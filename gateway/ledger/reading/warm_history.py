"""The newest attempts, as far as they tell how warm their deployments are. Reads only."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, select

from gateway.ledger.months.archive import EVER_US
from gateway.ledger.phases import since_dispatch, waited_before
from gateway.ledger.schema import attempts, charges
from gateway.warmth.history import Past

_DAY_US: Final = 86_400_000_000
MOST_ROWS = 20_000
"""Read at a start, of all deployments together: about half a second of one core."""


_COLUMNS = (
    *("deployment", "attempt_id", "begun_at_us", "completed_at_us", "verdict", "caused_boot"),
    *("queue_seconds", "boot_seconds", "wait_seconds", "first_output_seconds", "instance_id"),
    *("upstream_revision", "status", "cost_pico_usd", "held_seconds", "execute_seconds", "origin"),
)


def recent(
    connection: Connection, before_us: int, most_rows: int = MOST_ROWS
) -> dict[str, list[Past]]:
    """The newest attempts that went through a gateway and have ended, by deployment.

    Only what came in before ``before_us``: of what came since, the reader has seen for itself.
    """
    newest = (  # by the index of time, and no further than so many rows, whatever they are
        select(*(attempts.c[name] for name in _COLUMNS))
        .where(attempts.c.operation_at_us < before_us)
        .order_by(attempts.c.operation_at_us.desc(), attempts.c.operation_id.desc())
        .limit(most_rows)
        .subquery()
    )
    found = select(*(newest.c[name] for name in _COLUMNS[:-1])).where(
        newest.c.origin == "live", newest.c.completed_at_us.is_not(None)
    )
    by_deployment: dict[str, list[Past]] = {}
    for name, *row in connection.execute(found):
        (attempt_id, begun, completed, verdict, caused, queue, boot, wait, first, *rest) = row
        instance_id, revision, status, cost, held_seconds, execute = rest
        worked = status == "succeeded" or cost != 0  # an unknown cost may be one
        held = waited_before(held_seconds, verdict, caused)
        _, wait = since_dispatch(held_seconds, verdict, caused, boot, wait)
        began = first is not None or bool(execute)  # work may end before it shows anything
        after = wait if wait is not None and began else first
        past = Past(
            *(attempt_id, begun, completed, verdict, caused, queue, boot, after),
            *(instance_id, revision, worked, held),
        )
        by_deployment.setdefault(name, []).append(past)
    return _with_stays(connection, by_deployment)


def _with_stays(
    connection: Connection, by_deployment: dict[str, list[Past]]
) -> dict[str, list[Past]]:
    """The same, told of each whether a policy held its machine when it came."""
    begins = [past.begun_at_us for some in by_deployment.values() for past in some]
    if not begins:
        return by_deployment
    c = charges.c
    found = select(c.deployment, c.period_start_at_us, c.period_end_at_us).where(
        c.kind == "keep_warm", c.period_start_at_us >= min(begins) - _DAY_US
    )
    stays: dict[str, list[tuple[int, int]]] = {}
    for name, begin_us, end_us in connection.execute(found):
        stays.setdefault(name, []).append((begin_us, end_us))
    for name, of_one in stays.items():
        of_one.sort()
        by_deployment[name] = [
            replace(past, kept=True) if _is_within(of_one, past.begun_at_us) else past
            for past in by_deployment.get(name, ())
        ]
    return by_deployment


def _is_within(stays: list[tuple[int, int]], at_us: int) -> bool:
    place = bisect_right(stays, (at_us, EVER_US)) - 1
    return place >= 0 and at_us <= stays[place][1]
