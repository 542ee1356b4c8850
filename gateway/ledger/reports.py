"""Questions to the ledger's database, answered as JSON-ready dicts. Reads only.

Call it from a worker thread: it blocks, and a report reads each attempt of its range (about 8 us
of one core for each). SQLAlchemy is imported when the first question is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.clock import rfc3339
from gateway.ledger.codec import attempt_row
from gateway.ledger.cold_start_report import cold_start_report
from gateway.ledger.cost_report import cost_report
from gateway.ledger.errors import BadQuery, StoreUnavailable
from gateway.ledger.query import ReportQuery, cursor
from gateway.ledger.rows import AttemptRow
from gateway.ledger.traffic import MOST_ROWS, read_traffic
from gateway.ledger.views import operation_json
from gateway.warmth.arrivals import Traffic

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["BadQuery", "ReportQuery", "Reports", "StoreUnavailable"]


class Reports:
    """Reports over one ledger. A database that does not exist yet is an empty one.

    Raises BadQuery (the question), StoreUnavailable and SchemaMismatch (the database).
    """

    def __init__(self, database: Path | str) -> None:
        self._database = database
        self._engine: Engine | None = None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    def as_of(self) -> str | None:
        """When the last line of the journal came into the database; None: never."""
        from gateway.ledger import selection

        with self._reading() as connection:
            at_us = None if connection is None else connection.scalar(selection.shipped_at())
        return None if at_us is None else rfc3339(at_us)

    def operations(self, query: ReportQuery) -> dict[str, Any]:
        """Operations with an attempt that the query is about, newest first, each one whole."""
        from gateway.ledger import selection

        after = query.after()
        if after is not None and not isinstance(after[1], str):
            raise BadQuery("cursor", "cursor belongs to another report.")
        before = None if after is None else (after[0], after[1])
        with self._reading() as connection:
            if connection is None:
                return _nothing()
            found = connection.execute(selection.operations_of(query, before)).all()
            shown = found[: query.limit]
            wanted = [operation_id for _, operation_id in shown]
            rows = self._operations(connection, wanted, query.key_id)
        places = [list(place) for place in shown]
        return {
            "data": [operation_json(rows[operation_id]) for operation_id in wanted],
            "next_cursor": cursor(places[-1]) if len(found) > len(shown) else None,
        }

    def operation(self, operation_id: str, key_id: str | None = None) -> dict[str, Any] | None:
        """One operation without its output; None if there is none, or it is another key's."""
        with self._reading() as connection:
            if connection is None:
                return None
            rows = self._operations(connection, [operation_id], key_id).get(operation_id)
        return None if rows is None else operation_json(rows)

    def costs(self, query: ReportQuery) -> dict[str, Any]:
        """What attempts and charges cost; see ``cost_report``."""
        from gateway.ledger import selection
        from gateway.ledger.schema import attempts, charges

        a, c = attempts.c, charges.c
        with self._reading() as connection:
            if connection is None:
                return _nothing()
            money = (a.cost_pico_usd, a.known_pico_usd, a.low_pico_usd, a.high_pico_usd)
            columns = (a.operation_at_us, a.cost_status, *money, a.cost_lines)
            bounds = (c.low_pico_usd, c.high_pico_usd)
            charged = (c.period_start_at_us, c.status, c.cost_pico_usd, *bounds, c.kind, c.quantity)
            return cost_report(
                query,
                _stream(connection, selection.attempts_of(query, *columns)),
                _stream(connection, selection.charges_of(query, *charged)),
            )

    def cold_starts(self, query: ReportQuery) -> dict[str, Any]:
        """How often attempts were cold; see ``cold_start_report``. Running ones have no verdict."""
        from gateway.ledger import selection
        from gateway.ledger.schema import attempts

        a = attempts.c
        columns = (
            a.operation_at_us,
            a.verdict,
            a.evidence,
            a.caused_boot,
            a.boot_seconds,
            a.wait_seconds,
        )
        found = selection.attempts_of(query, *columns).where(a.status != "running")
        with self._reading() as connection:
            if connection is None:
                return _nothing()
            return cold_start_report(query, _stream(connection, found))

    def last_ended(self, deployments: list[str], since_us: int) -> dict[str, tuple[str, int]]:
        """See ``charged.last_ended``."""
        from gateway.ledger import charged

        with self._reading() as connection:
            if connection is None:
                return {}
            return charged.last_ended(connection, deployments, since_us)

    def standing_until(self, deployments: list[str]) -> dict[str, int]:
        """See ``charged.standing_until``."""
        from gateway.ledger import charged

        with self._reading() as connection:
            return {} if connection is None else charged.standing_until(connection, deployments)

    def traffic(self, query: ReportQuery, most_rows: int = MOST_ROWS) -> Traffic:
        """The requests themselves, in columns; a sample beyond ``most_rows`` attempts."""
        with self._reading() as connection:
            if connection is None:
                return Traffic("ledger", query.start_at_us, query.end_at_us, [], 0)
            return read_traffic(connection, query, most_rows)

    def _operations(
        self, connection: Connection, wanted: list[str], key_id: str | None
    ) -> dict[str, list[AttemptRow]]:
        from gateway.ledger import selection

        rows: dict[str, list[AttemptRow]] = {}
        for found in connection.execute(selection.whole_operations(wanted, key_id)).mappings():
            rows.setdefault(found["operation_id"], []).append(attempt_row(dict(found)))
        return rows

    @contextmanager
    def _reading(self) -> Iterator[Connection | None]:
        """One snapshot of the database; None while there is none."""
        from sqlalchemy import inspect
        from sqlalchemy.exc import DBAPIError

        from gateway.ledger.store import check_schema, engine_for

        if isinstance(self._database, Path) and not self._database.exists():
            yield None
            return
        if self._engine is None:
            self._engine = engine_for(self._database, read_only=True)
        try:
            with self._engine.begin() as connection:
                if not inspect(connection).has_table("meta"):
                    yield None
                    return
                check_schema(connection)
                yield connection
        except DBAPIError as error:
            raise StoreUnavailable(str(error.orig)) from error


def _stream(connection: Connection, query: Any) -> Iterator[Any]:
    result = connection.execution_options(yield_per=2000).execute(query)
    for part in result.partitions():
        yield from part


def _nothing() -> dict[str, Any]:
    return {"data": [], "next_cursor": None}
