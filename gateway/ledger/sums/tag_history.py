"""A tag that was added to ``ledger.rollup_tags`` later, summed up for what came before as well.

Its period is moved back from the newest row on, some thousand rows a step: in one transaction their
sums are taken away as they were counted until now, and added as they are from now on. So at every
moment each row is counted as its instant says. It ends where rows were pruned, or where an earlier
period of the same tag ends; the two become one then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from gateway.ledger.months.archive import Snapshot
from gateway.ledger.schema import charges, rolled_tags
from gateway.ledger.sums.looking_back import attempts_within, kept_from_us, stretch_before
from gateway.ledger.sums.progress import begins
from gateway.ledger.sums.rolled_tags import RolledTags
from gateway.ledger.sums.rolling import Roller
from gateway.ledger.sums.rollup import Rollup

_STEP_ROWS = 4000


class Unfinished(NamedTuple):
    """A tag that is summed up from an instant on, and can be from an earlier one."""

    name: str
    from_us: int
    back_to_us: int


def unfinished(snapshot: Snapshot) -> Iterator[Unfinished]:
    """Tags that are not summed up as far back as they can be."""
    kept_us = kept_from_us(snapshot)
    t = rolled_tags.c
    periods = snapshot.connection.execute(select(t.name, t.from_at_us, t.until_at_us)).all()
    for name, from_us, until_us in sorted(periods):
        if until_us is None:
            ends = [until for other, _, until in periods if other == name and until is not None]
            back_to_us = max(kept_us, *ends, 0)
            if from_us > back_to_us:
                yield Unfinished(name, from_us, back_to_us)


def tags_step(snapshot: Snapshot, roller: Roller) -> int:
    """Sum up some more rows by one tag; returns how many, 0 when none is left."""
    for one in unfinished(snapshot):
        rows = _step(snapshot, roller, one)
        if rows:
            return rows
    return 0


def _step(snapshot: Snapshot, roller: Roller, one: Unfinished) -> int:
    connection = snapshot.connection
    start_us = stretch_before(snapshot, one.from_us, one.back_to_us, _STEP_ROWS)
    if start_us is None:
        start_us = one.back_to_us
    rows = {row["attempt_id"]: row for row in attempts_within(snapshot, start_us, one.from_us)}
    # A charge has the tags of its attempt, whenever its own time was.
    paid = list(snapshot.find(sorted(rows), charges.c.attempt_id, select(charges)))
    for sign in (-1, 1):
        if sign == 1:
            _move(connection, one, start_us)
        rollup = Rollup(RolledTags(connection).of, *begins(connection))
        for row in rows.values():
            rollup.attempt(row, sign)
        for charge in paid:
            rollup.charge(charge._mapping, rows[charge.attempt_id], sign)
        roller.write(connection, rollup)
    return len(rows)


def _move(connection: Connection, one: Unfinished, start_us: int) -> None:
    """Let the period begin earlier, and make one of it and of one that ends there."""
    t = rolled_tags.c
    touching = (t.name == one.name) & (t.until_at_us == start_us)
    earlier_us = connection.scalar(select(t.from_at_us).where(touching))
    if earlier_us is not None:
        connection.execute(delete(rolled_tags).where(touching))
        start_us = earlier_us
    this = (t.name == one.name) & (t.from_at_us == one.from_us)
    connection.execute(update(rolled_tags).where(this).values(from_at_us=start_us))
