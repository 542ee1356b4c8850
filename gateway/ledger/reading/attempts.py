"""Attempts as they stand in the database: whole rows, to compute with. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select

from gateway.clock import rfc3339
from gateway.ledger.codec import attempt_row
from gateway.ledger.months.archive import EVER_US
from gateway.ledger.reading.looking import reading
from gateway.ledger.rows import AttemptRow
from gateway.ledger.schema import attempts, corrections


def attempts_of(data_dir: Path, id_: str) -> list[AttemptRow]:
    """The attempt of that id, or all of the operation of that id, in order."""
    found = select(attempts).where(
        or_(attempts.c.attempt_id == id_, attempts.c.operation_id == id_)
    )
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return []
        rows = [attempt_row(dict(row._mapping)) for row in snapshot.attempts(found, 0, EVER_US)]
    return sorted(rows, key=lambda row: row.ordinal)


def corrections_of(data_dir: Path, attempt_id: str) -> list[dict[str, Any]]:
    """What was corrected of an attempt, oldest first: when, why, the old values and the new."""
    c = corrections.c
    found = select(c.at_us, c.journal, c.seq, c.reason, c.old, c.new)
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return []
        rows = sorted(snapshot.find([attempt_id], c.attempt_id, found), key=lambda row: row[:3])
        return [
            {"at": rfc3339(at_us), "reason": reason, "old": old, "new": new}
            for at_us, _, _, reason, old, new in rows
        ]


def ended_attempts(
    data_dir: Path,
    since_us: int,
    until_us: int,
    *,
    deployment: str | None = None,
    provider: str | None = None,
) -> Iterator[AttemptRow]:
    """Ended attempts of operations that came in between two instants, the second left out."""
    a = attempts.c
    found = select(a.operation_at_us.label("at"), attempts).where(
        a.operation_at_us >= since_us, a.operation_at_us < until_us, a.status != "running"
    )
    for column, value in ((a.deployment, deployment), (a.provider, provider)):
        if value is not None:
            found = found.where(column == value)
    found = found.order_by(a.operation_at_us, a.attempt_id)
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return
        for row in snapshot.in_order(found, since_us, until_us):
            yield attempt_row(dict(row._mapping))
