"""Attempts as they stand in the database: whole rows, to compute with. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, or_, select
from sqlalchemy.exc import DBAPIError

from gateway.clock import rfc3339
from gateway.ledger.codec import attempt_row
from gateway.ledger.errors import StoreUnavailable
from gateway.ledger.layout import database_path
from gateway.ledger.rows import AttemptRow
from gateway.ledger.schema import attempts, corrections
from gateway.ledger.store import check_schema, engine_for


def attempts_of(data_dir: Path, id_: str) -> list[AttemptRow]:
    """The attempt of that id, or all of the operation of that id, in order."""
    found = select(attempts).where(
        or_(attempts.c.attempt_id == id_, attempts.c.operation_id == id_)
    )
    with _reading(data_dir) as connection:
        if connection is None:
            return []
        rows = connection.execute(found.order_by(attempts.c.ordinal)).mappings()
        return [attempt_row(dict(row)) for row in rows]


def corrections_of(data_dir: Path, attempt_id: str) -> list[dict[str, Any]]:
    """What was corrected of an attempt, oldest first: when, why, the old values and the new."""
    c = corrections.c
    found = select(c.at_us, c.reason, c.old, c.new).where(c.attempt_id == attempt_id)
    with _reading(data_dir) as connection:
        if connection is None:
            return []
        rows = connection.execute(found.order_by(c.at_us, c.journal, c.seq))
        return [
            {"at": rfc3339(at_us), "reason": reason, "old": old, "new": new}
            for at_us, reason, old, new in rows
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
    found = select(attempts).where(
        a.operation_at_us >= since_us, a.operation_at_us < until_us, a.status != "running"
    )
    for column, value in ((a.deployment, deployment), (a.provider, provider)):
        if value is not None:
            found = found.where(column == value)
    with _reading(data_dir) as connection:
        if connection is None:
            return
        result = connection.execution_options(yield_per=1000).execute(
            found.order_by(a.operation_at_us, a.attempt_id)
        )
        for row in result.mappings():
            yield attempt_row(dict(row))


@contextmanager
def _reading(data_dir: Path) -> Iterator[Connection | None]:
    """One snapshot; None where nothing has been shipped yet."""
    path = database_path(data_dir)
    if not path.exists():
        yield None
        return
    engine = engine_for(path, read_only=True)
    try:
        with engine.begin() as connection:
            if not inspect(connection).has_table("meta"):
                yield None
                return
            check_schema(connection)
            yield connection
    except DBAPIError as error:
        raise StoreUnavailable(str(error.orig)) from error
    finally:
        engine.dispose()
