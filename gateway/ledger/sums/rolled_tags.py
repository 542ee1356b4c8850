"""Which tags are rolled up, and since when: ``ledger.rollup_tags``.

A sum can only be corrected if a row is counted today as it was counted when it came. So what is
counted of a row's tags depends on nothing that may change by itself: a tag is rolled up for
operations that came in within its periods, which begin and end with an hour that has not begun
(``tag_history`` moves a begin back, and counts anew what lies between); and of each tag the first
``MOST_VALUES`` values are told apart for ever, whatever comes after counts as "another".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, func, insert, select, update

from gateway.ledger.dialects import insert_for
from gateway.ledger.schema import attempts, rolled_tags, series, tag_values
from gateway.ledger.sums.rollup import HOUR_US

MOST_VALUES = 1000
_NO_TAGS = "{}"


class RolledTags:
    """The tags of rows, as their series have them, for one connection's transactions."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        insert_ = insert_for(connection.dialect)
        self._insert = insert_(tag_values).on_conflict_do_nothing()
        self._periods = [
            (name, from_at_us, until_at_us)
            for name, from_at_us, until_at_us in connection.execute(
                select(rolled_tags).order_by(rolled_tags.c.name)
            )
        ]
        self._values: dict[str, set[str]] = {name: set() for name, _, _ in self._periods}
        if self._periods:
            for name, value in connection.execute(select(tag_values)):
                self._values.setdefault(name, set()).add(value)

    def of(self, row: Mapping[str, Any]) -> str:
        """JSON with sorted keys: null where the row has no such tag, false for another value."""
        at_us = row["operation_at_us"]
        if at_us is None or not self._periods:
            return _NO_TAGS
        tags = row["tags"] if isinstance(row["tags"], dict) else {}
        found: dict[str, Any] = {}
        for name, from_at_us, until_at_us in self._periods:
            if at_us >= from_at_us and (until_at_us is None or at_us < until_at_us):
                value = tags.get(name)
                found[name] = value if value is None or self._knows(name, value) else False
        return orjson.dumps(found).decode() if found else _NO_TAGS

    def _knows(self, name: str, value: str) -> bool:
        known = self._values[name]
        if value in known:
            return True
        if len(known) >= MOST_VALUES:
            return False
        self.connection.execute(self._insert, {"name": name, "value": value})
        known.add(value)
        return True


def set_rolled_tags(connection: Connection, names: Sequence[str], now_us: int) -> None:
    """From the next hour on, roll up these tags and no others; from the first row on, if nothing
    has been rolled up yet. What came before is summed up by and by; see ``tag_history``.
    """
    if connection.scalar(select(series.c.id).limit(1)) is None:
        from_at_us = 0
    else:
        newest_us = connection.scalar(select(func.max(attempts.c.operation_at_us))) or 0
        from_at_us = (max(now_us, newest_us) // HOUR_US + 1) * HOUR_US
    running = {
        name: at_us
        for name, at_us in connection.execute(
            select(rolled_tags.c.name, rolled_tags.c.from_at_us).where(
                rolled_tags.c.until_at_us.is_(None)
            )
        )
    }
    for name in running.keys() - set(names):
        connection.execute(
            update(rolled_tags)
            .where(rolled_tags.c.name == name, rolled_tags.c.from_at_us == running[name])
            .values(until_at_us=max(from_at_us, running[name]))
        )
    for name in sorted(set(names) - running.keys()):
        same = (rolled_tags.c.name == name) & (rolled_tags.c.from_at_us == from_at_us)
        reopened = connection.execute(update(rolled_tags).where(same).values(until_at_us=None))
        if reopened.rowcount == 0:
            connection.execute(insert(rolled_tags), {"name": name, "from_at_us": from_at_us})
