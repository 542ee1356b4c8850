"""What deleted attempts have counted for under budgets: kept for ever, so that a total stays whole.

Before the rows of a month are deleted, their sums are written down by key and tags, in the same
transaction. A month with very many different tags has its most various tags put together: what
could be about a budget then counts as if it were.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from gateway.ledger.months.archive import span_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_GROUPS = 5000  # of one month; keys are never put together
_HELD_GROUPS = 4 * MOST_GROUPS

Tags: TypeAlias = Mapping[str, str | bool]
"""The tags of a sum; false: any value, or none."""

Sums: TypeAlias = tuple[str, str | None, Any, int, int]
"""Month, key id, tags, pico-USD and unknown attempts of some rows."""


@dataclass(slots=True)
class Carried:
    """The sums of months that are about to be deleted."""

    _months: dict[str, _Month] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Sums]) -> Carried:
        """Of rows, or of sums of rows, with their tags as the database has them."""
        found = cls()
        for month, key_id, tags, pico_usd, unknown in rows:
            given = orjson.loads(tags) if isinstance(tags, str) else tags
            found._months.setdefault(month, _Month()).add(key_id, given or {}, pico_usd, unknown)
        return found

    def write(self, main: sqlite3.Connection) -> None:
        """Add them to what is carried already."""
        for name, month in self._months.items():
            month.put_together(MOST_GROUPS)
            main.executemany(
                "INSERT INTO spend_carried (month, identity, key_id, tags, pico_usd, "
                "unknown_attempts) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (month, identity) DO "
                "UPDATE SET pico_usd = pico_usd + excluded.pico_usd, "
                "unknown_attempts = unknown_attempts + excluded.unknown_attempts",
                [
                    (name, orjson.dumps([key_id, tags]).decode(), key_id, tags, pico_usd, unknown)
                    for (key_id, tags), (pico_usd, unknown) in month.groups.items()
                ],
            )


class _Month:
    def __init__(self) -> None:
        self.groups: dict[tuple[str | None, str], tuple[int, int]] = {}
        self._put_together: set[str] = set()

    def add(self, key_id: str | None, tags: Tags, pico_usd: int, unknown: int) -> None:
        told = {name: False if name in self._put_together else tags[name] for name in tags}
        # Whether an attempt had such a tag at all is not told apart either.
        told |= dict.fromkeys(self._put_together, False)
        at = (key_id, orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode())
        known = self.groups.get(at, (0, 0))
        self.groups[at] = (known[0] + pico_usd, known[1] + unknown)
        if len(self.groups) > _HELD_GROUPS:
            self.put_together(MOST_GROUPS)

    def put_together(self, most: int) -> None:
        """Leave at most so many groups, where it is tags that make them many."""
        while len(self.groups) > most:
            values: dict[str, set[object]] = defaultdict(set)
            for _, tags in self.groups:
                for name, value in orjson.loads(tags).items():
                    if value is not False:
                        values[name].add(value)
            if not values:
                return
            self._put_together.add(max(values, key=lambda name: len(values[name])))
            groups, self.groups = self.groups, {}
            for (key_id, tags), (pico_usd, unknown) in groups.items():
                self.add(key_id, orjson.loads(tags), pico_usd, unknown)


def carried_of(
    connection: Connection,
    start_at_us: int,
    end_at_us: int,
    key_id: str | None,
    tags: Mapping[str, str] | None,
) -> Iterator[tuple[int, int]]:
    """Pico-USD and unknown attempts of deleted rows, of months that lie wholly in a stretch."""
    from sqlalchemy import select

    from gateway.ledger.schema import spend_carried

    c = spend_carried.c
    wanted = select(c.month, c.tags, c.pico_usd, c.unknown_attempts)
    if key_id is not None:
        wanted = wanted.where(c.key_id == key_id)
    for month, had, pico_usd, unknown in connection.execute(wanted):
        start_us, end_us = span_of(month)
        if start_at_us <= start_us and end_us <= end_at_us and _may_have(had, tags or {}):
            yield pico_usd, unknown


def _may_have(had: Tags, wanted: Mapping[str, str]) -> bool:
    return all(had.get(name) in (value, False) for name, value in wanted.items())
