"""Rows from the newest back, in steps: for sums that are made after the rows came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import select

from gateway.ledger.months.archive import Snapshot
from gateway.ledger.schema import attempts, charges
from gateway.ledger.sums.rollup import GAPPED, ROLLED, Row

_ROLLED = select(*(attempts.c[name] for name in ROLLED))
_GAPPED = select(*(attempts.c[name] for name in GAPPED))
_AT = attempts.c.operation_at_us
_PAID_AT = charges.c.period_start_at_us
_PART = 2000


def kept_from_us(snapshot: Snapshot) -> int:
    """From which instant on no rows were pruned."""
    return max((month.span[1] for month in snapshot.months.values() if month.pruned), default=0)


def stretch_before(snapshot: Snapshot, before_us: int, from_us: int, most_rows: int) -> int | None:
    """The begin of a stretch up to ``before_us`` that has ``most_rows`` rows of a kind and file at
    most, but one instant's at least; None where no row lies between the two instants.
    """
    last: list[int] = []
    beyond: list[int] = []
    for at, source in ((_AT, snapshot.attempts), (_PAID_AT, snapshot.charges)):
        newest = select(at).where(at >= from_us, at < before_us).order_by(at.desc()).limit(1)
        last += [row[0] for row in source(newest, from_us, before_us)]
        beyond += [row[0] for row in source(newest.offset(most_rows), from_us, before_us)]
    if not last:
        return None
    return min(max(beyond) + 1, max(last)) if beyond else from_us


def attempts_within(
    snapshot: Snapshot, start_us: int, end_us: int, *, gaps_alone: bool = False
) -> Iterator[Row]:
    """Attempts of a stretch of time, with what sums are made of, or those by idle time alone."""
    wanted = (_GAPPED if gaps_alone else _ROLLED).where(_AT >= start_us, _AT < end_us)
    for row in snapshot.attempts(wanted, start_us, end_us):
        yield row._mapping


def charges_within(
    snapshot: Snapshot, start_us: int, end_us: int
) -> Iterator[tuple[Row, Row | None]]:
    """Charges of a stretch of time, each with the attempt that it belongs to."""
    wanted = select(charges).where(_PAID_AT >= start_us, _PAID_AT < end_us)
    found = (row._mapping for row in snapshot.charges(wanted, start_us, end_us))
    while part := list(islice(found, _PART)):
        paying = paying_for(snapshot, part)
        for row in part:
            yield row, paying.get(row["attempt_id"])


def paying_for(snapshot: Snapshot, rows: list[Any]) -> dict[str, Mapping[str, Any]]:
    """The attempts that some charges belong to."""
    ids = sorted({row["attempt_id"] for row in rows if row["attempt_id"] is not None})
    found = snapshot.find(ids, attempts.c.attempt_id, _ROLLED)
    return {row.attempt_id: row._mapping for row in found}
