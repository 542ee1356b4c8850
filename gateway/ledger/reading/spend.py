"""What attempts have cost since an instant, for budgets: read back from the database.

Reads only. SQLAlchemy is imported when it is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.ledger.errors import SchemaMismatch, StoreUnavailable
from gateway.ledger.layout import database_path, journal_dir, journal_names
from gateway.ledger.reading.looking import reading
from gateway.ledger.reading.spend_hours import counted_by_hours
from gateway.ledger.shipping.spend_changes import SpendChange, changes_after, newest

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Select

    from gateway.ledger.months.archive import Snapshot

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class SpendQuery:
    """Which attempts, by the time of their operation; ``end_at_us`` None: without an end."""

    start_at_us: int
    end_at_us: int | None
    key_id: str | None = None
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What they count for, and how many of them have no known cost.

    ``as_of``: up to this number of ``spend_changes``, later words are in it.
    """

    pico_usd: int
    unknown_attempts: int
    as_of: int = 0


class SpendReader:
    """Reads once the database has all that the journal holds at the time of asking.

    ``nudge`` asks the shipper to hurry. It waits for as long as that takes: a sum that leaves
    something out would let a budget be spent twice.
    """

    def __init__(self, data_dir: Path, nudge: Callable[[], None]) -> None:
        self._data_dir = data_dir
        self._nudge = nudge
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def changes_after(self, number: int) -> Sequence[SpendChange]:
        """The next changes. Raises StoreUnavailable, SchemaMismatch."""
        async with self._free:
            return await asyncio.to_thread(changes_after, self._data_dir, number)

    async def __call__(self, queries: Sequence[SpendQuery]) -> Sequence[Spent]:
        """What each query's attempts count for."""
        shipped = await asyncio.to_thread(written, self._data_dir)
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            self._nudge()
            try:
                async with self._free:
                    found = await asyncio.to_thread(spent, self._data_dir, queries, shipped)
                if found is not None:
                    return found
            except (StoreUnavailable, SchemaMismatch) as error:
                logger.warning("budgets: the ledger cannot be read yet: %s", error)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)


def written(data_dir: Path) -> dict[str, int]:
    """How far each journal file goes now, in bytes; a torn last line is no line."""
    directory = journal_dir(data_dir)
    found: dict[str, int] = {}
    for name in journal_names(directory):
        try:
            found[name] = _whole_lines_bytes(directory / name)
        except FileNotFoundError:
            continue  # all of it is shipped: it was deleted while we looked
    return found


def spent(
    data_dir: Path, queries: Sequence[SpendQuery], shipped: Mapping[str, int]
) -> list[Spent] | None:
    """What each query's attempts count for; see ``counting``. Those that run do not count.

    None: the database has not got all of the journal up to ``shipped`` yet. Blocks: call it from
    a worker thread. Raises StoreUnavailable and SchemaMismatch.
    """
    path = database_path(data_dir)
    missing = any(shipped.values())
    if not path.exists():
        return None if missing else [Spent(0, 0) for _ in queries]
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return None if missing else [Spent(0, 0) for _ in queries]
        if not _caught_up(snapshot.connection, shipped):
            return None
        as_of = newest(snapshot.connection)
        return [_sum(snapshot, query, as_of) for query in queries]


def _caught_up(connection: Connection, shipped: Mapping[str, int]) -> bool:
    from sqlalchemy import select

    from gateway.ledger.schema import journal_files

    files = journal_files.c
    rows = connection.execute(
        select(files.name, files.offset_bytes).where(files.name.in_(list(shipped)))
    )
    reached: dict[str, int] = {name: offset for name, offset in rows}
    return all(reached.get(name, 0) >= size for name, size in shipped.items())


def _sum(snapshot: Snapshot, query: SpendQuery, as_of: int) -> Spent:
    from gateway.ledger.months.archive import EVER_US
    from gateway.ledger.sums.carried import carried_of

    start_at_us = query.start_at_us
    end_at_us = EVER_US if query.end_at_us is None else query.end_at_us
    hours = counted_by_hours(snapshot, start_at_us, end_at_us, query.key_id, query.tags or {})
    pico_usd, unknown = hours.pico_usd, 0
    for span in hours.left:
        for of_file in snapshot.attempts(_selected(query, *span), *span):
            pico_usd += int(of_file[0] or 0)
            unknown += int(of_file[1] or 0)
    deleted = carried_of(snapshot.connection, start_at_us, end_at_us, query.key_id, query.tags)
    for carried_pico_usd, carried_unknown in deleted:
        pico_usd += carried_pico_usd
        unknown += carried_unknown
    return Spent(pico_usd, unknown, as_of)


def counted_columns() -> tuple[ColumnElement[Any], ColumnElement[Any], list[ColumnElement[bool]]]:
    """What an attempt counts for (see ``counting``), 1 where its cost is unknown, and which
    attempts count at all.
    """
    from sqlalchemy import and_, case, func, or_

    from gateway.ledger.schema import attempts

    a = attempts.c
    most = func.coalesce(a.high_pico_usd, a.reserved_pico_usd, 0)
    seen_whole = or_(
        a.status == "succeeded",
        and_(
            a.status == "cancelled",
            a.first_output_seconds.is_not(None),
            a.price["usd_per_second"].as_string().is_(None),
        ),
    )
    good = and_(a.cost_pico_usd.is_not(None), or_(a.cost_status == "measured", seen_whole))
    counted = case(
        (good, a.cost_pico_usd),
        (most > a.known_pico_usd, most),
        else_=a.known_pico_usd,
    )
    unknown = case((a.cost_pico_usd.is_(None), 1), else_=0)
    return counted, unknown, [a.status != "running", a.origin == "live"]


def _selected(query: SpendQuery, start_at_us: int, end_at_us: int) -> Select[Any]:
    from sqlalchemy import func, select

    from gateway.ledger.reports.selection import attempt_dimension
    from gateway.ledger.schema import attempts

    a = attempts.c
    counted, unknown, those = counted_columns()
    found = select(func.sum(counted), func.sum(unknown)).where(
        a.operation_at_us >= start_at_us, a.operation_at_us < end_at_us, *those
    )
    if query.key_id is not None:
        found = found.where(a.key_id == query.key_id)
    for name, value in (query.tags or {}).items():
        found = found.where(attempt_dimension(f"tag:{name}") == value)
    return found


def _whole_lines_bytes(path: Path) -> int:
    """Size of a file up to its last line break."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
