"""Sums by quarters of an hour for rows that came before there were any: from the newest row back.

An instant is remembered (``progress.quarters_from_us``): rows from it on are in these sums and no
others. A step sums up some thousand rows before it and moves it back, in one transaction, so that a
row that changes meanwhile is always on one side of it. What was pruned before it got its turn keeps
its sums by hour alone.
"""

from __future__ import annotations

from gateway.ledger.looking_back import (
    attempts_within,
    charges_within,
    kept_from_us,
    stretch_before,
)
from gateway.ledger.months import Snapshot
from gateway.ledger.progress import mark_quarters, quarters_from_us
from gateway.ledger.rolled_tags import RolledTags
from gateway.ledger.rolling import Roller
from gateway.ledger.rollup import Rollup

_STEP_ROWS = 4000


def quarters_step(snapshot: Snapshot, roller: Roller) -> int:
    """Sum up some more rows; returns how many, 0 when none is left."""
    connection = snapshot.connection
    before_us = quarters_from_us(connection)
    kept_us = kept_from_us(snapshot)
    if before_us <= kept_us:
        return 0
    start_us = stretch_before(snapshot, before_us, kept_us, _STEP_ROWS)
    if start_us is None:
        mark_quarters(connection, kept_us)
        return 0
    rollup = Rollup(RolledTags(connection).of)
    rows = 0
    for row in attempts_within(snapshot, start_us, before_us):
        rollup.attempt(row)
        rows += 1
    for charge, attempt in charges_within(snapshot, start_us, before_us):
        rollup.charge(charge, attempt)
        rows += 1
    roller.write_quarters(connection, rollup)
    mark_quarters(connection, start_us)
    return rows
