"""Sums for rows that came before there were any such sums: from the newest row back.

By quarters of an hour, and by idle time and revision. For each an instant is remembered
(``progress``): rows from it on are in these sums and no others. A step sums up some thousand rows
before it and moves it back, in one transaction, so that a row that changes meanwhile is always on
one side of it. What was pruned before it got its turn keeps its sums by hour alone.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from gateway.ledger.months.archive import Snapshot
from gateway.ledger.sums.looking_back import (
    attempts_within,
    charges_within,
    kept_from_us,
    stretch_before,
)
from gateway.ledger.sums.progress import begins, mark_gaps, mark_quarters
from gateway.ledger.sums.rolled_tags import RolledTags
from gateway.ledger.sums.rolling import Roller
from gateway.ledger.sums.rollup import Rollup

_STEP_ROWS = 4000


def quarters_step(snapshot: Snapshot, roller: Roller) -> int:
    """Sum up some more rows by quarters; returns how many, 0 when none is left."""
    before_us = begins(snapshot.connection).quarters_from_us
    start_us = _step_begin(snapshot, before_us, mark_quarters)
    if start_us is None:
        return 0
    rollup = Rollup(RolledTags(snapshot.connection).of, gaps_from_us=before_us)
    rows = 0
    for row in attempts_within(snapshot, start_us, before_us):
        rollup.attempt(row)
        rows += 1
    for charge, attempt in charges_within(snapshot, start_us, before_us):
        rollup.charge(charge, attempt)
        rows += 1
    roller.write_quarters(snapshot.connection, rollup)
    mark_quarters(snapshot.connection, start_us)
    return rows


def gaps_step(snapshot: Snapshot, roller: Roller) -> int:
    """Sum up some more rows by idle time and revision, once there are sums by quarters; returns
    how many, 0 when none is left.
    """
    before_us = begins(snapshot.connection).gaps_from_us
    start_us = _step_begin(snapshot, before_us, mark_gaps)
    if start_us is None:
        return 0
    rollup = Rollup(RolledTags(snapshot.connection).of)
    rows = 0
    for row in attempts_within(snapshot, start_us, before_us, gaps_alone=True):
        rollup.gap(row)
        rows += 1
    roller.write(snapshot.connection, rollup)
    mark_gaps(snapshot.connection, start_us)
    return max(rows, 1)


def _step_begin(
    snapshot: Snapshot, before_us: int, mark: Callable[[Connection, int], None]
) -> int | None:
    """Where the step's stretch begins; None where nothing is left, which is marked then."""
    kept_us = kept_from_us(snapshot)
    if before_us <= kept_us:
        return None
    start_us = stretch_before(snapshot, before_us, kept_us, _STEP_ROWS)
    if start_us is None:
        mark(snapshot.connection, kept_us)
    return start_us
