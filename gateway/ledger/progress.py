"""How far the rollups of an older ledger are made: by id, since ids have an order in any database.

While a name of these stands in ``meta``, rows up to the id beside it are summed up and rows beyond
are not. Where it does not stand, all are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.ledger.schema import meta

Which: TypeAlias = Literal["attempts_rolled_to", "charges_rolled_to"]
WHICH: tuple[Which, ...] = ("attempts_rolled_to", "charges_rolled_to")


def rolled_to(connection: Connection) -> dict[Which, str]:
    """The marks that stand; none when all rows are summed up."""
    found = dict(
        connection.execute(select(meta.c.name, meta.c.value).where(meta.c.name.in_(WHICH))).all()
    )
    return {which: found[which] for which in WHICH if which in found}


def mark(connection: Connection, which: Which, last_id: str | None) -> None:
    """Rows up to this id are summed up now; None: all are."""
    if last_id is None:
        connection.execute(delete(meta).where(meta.c.name == which))
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    made = insert(meta).values(name=which, value=last_id)
    connection.execute(
        made.on_conflict_do_update(index_elements=["name"], set_={"value": made.excluded.value})
    )


def counted(connection: Connection) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
    """Whether an attempt, and a charge, of an id is in the sums, if it is in the tables."""
    marks = rolled_to(connection)

    def test(which: Which) -> Callable[[str], bool]:
        if which not in marks:
            return lambda _: True
        last_id = marks[which]
        return lambda of: of <= last_id

    return test("attempts_rolled_to"), test("charges_rolled_to")
