"""How far the sums of an older ledger are made.

By id, since ids have an order in any database: while a name of ``WHICH`` stands in ``meta``, rows
up to the id beside it are summed up and rows beyond are not. Where it does not stand, all are.

The sums by quarters of an hour came later, and are made from the newest row back: while
``quarters_from_us`` stands in ``meta``, they hold the rows from that instant on, and nothing
of what came before it. So with ``gaps_from_us`` and the sums by idle time and revision, which came
later still and never reach further back than those by quarters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from sqlalchemy import Connection, delete, select

from gateway.ledger.dialects import insert_for
from gateway.ledger.schema import meta

Which: TypeAlias = Literal["attempts_rolled_to", "charges_rolled_to"]
WHICH: tuple[Which, ...] = ("attempts_rolled_to", "charges_rolled_to")
_QUARTERS = "quarters_from_us"
_GAPS = "gaps_from_us"


class Begins(NamedTuple):
    """From which instant on rows are in the sums by quarters, and in those by idle time; 0: all."""

    quarters_from_us: int
    gaps_from_us: int


def rolled_to(connection: Connection) -> dict[Which, str]:
    """The marks that stand; none when all rows are summed up."""
    found = dict(
        connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name.in_(WHICH))).all()
    )
    return {which: found[which] for which in WHICH if which in found}


def mark(connection: Connection, which: Which, last_id: str | None) -> None:
    """Rows up to this id are summed up now; None: all are."""
    _remember(connection, which, last_id)


def _remember(connection: Connection, name: str, value: str | None) -> None:
    if value is None:
        connection.execute(delete(meta).where(meta.c.name == name))
        return
    insert = insert_for(connection.dialect)
    made = insert(meta).values(name=name, value=value)
    connection.execute(
        made.on_conflict_do_update(index_elements=["name"], set_={"value": made.excluded.value})
    )


def quarters_from_us(connection: Connection) -> int:
    """From which instant on rows are in the sums by quarters; 0: all are."""
    return begins(connection).quarters_from_us


def mark_quarters(connection: Connection, from_us: int) -> None:
    """Rows from this instant on are in the sums by quarters now."""
    _remember(connection, _QUARTERS, str(from_us) if from_us else None)


def begins(connection: Connection) -> Begins:
    """As it stands there."""
    names = (_QUARTERS, _GAPS)
    wanted = select(meta.c.name, meta.c.value).where(meta.c.name.in_(names))
    found = {name: int(value) for name, value in connection.execute(wanted)}
    return Begins(*(found.get(name, 0) for name in names))


def mark_gaps(connection: Connection, from_us: int) -> None:
    """Rows from this instant on are in the sums by idle time and revision now."""
    _remember(connection, _GAPS, str(from_us) if from_us else None)


def counted(connection: Connection) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
    """Whether an attempt, and a charge, of an id is in the sums, if it is in the tables."""
    marks = rolled_to(connection)

    def test(which: Which) -> Callable[[str], bool]:
        if which not in marks:
            return lambda _: True
        last_id = marks[which]
        return lambda of: of <= last_id

    return test("attempts_rolled_to"), test("charges_rolled_to")
