"""Later words on what attempts count for under budgets, numbered: a gateway that runs hears of each
once.

Whoever ships a correction writes the difference that it makes, in the same transaction: a reader
of sums knows by the greatest number in its snapshot which of them its sums hold already.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.ledger.codec import attempt_row
from gateway.ledger.reading.counting import counted_pico_usd
from gateway.ledger.reading.looking import reading

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_AT_ONCE = 1000
_KEEP_US = 7 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class SpendChange:
    """What one correction changed; the differences may be negative."""

    number: int
    operation_at_us: int
    key_id: str | None
    tags: Mapping[str, str]
    pico_usd: int
    unknown_attempts: int


def note(connection: Connection, old: Mapping[str, Any], new: Mapping[str, Any]) -> int | None:
    """Write down what the change of an attempt's row comes to; its number, None if to nothing.

    What runs is counted by what is set aside for it, and what was imported is not counted.
    """
    from gateway.ledger.schema import spend_changes

    if old["origin"] != "live" or "running" in (old["status"], new["status"]):
        return None
    was, now = attempt_row(dict(old)), attempt_row(dict(new))
    pico_usd = counted_pico_usd(now) - counted_pico_usd(was)
    unknown = (now.cost_pico_usd is None) - (was.cost_pico_usd is None)
    if not pico_usd and not unknown:
        return None
    written = connection.execute(
        spend_changes.insert(),
        {
            "at_us": time.time_ns() // 1000,
            "operation_at_us": now.operation_at_us,
            "key_id": now.key_id,
            "tags": now.tags,
            "pico_usd": pico_usd,
            "unknown_attempts": unknown,
        },
    )
    key = written.inserted_primary_key
    assert key is not None
    return int(key[0])


def newest(connection: Connection) -> int:
    """The greatest number that was given; 0 before the first."""
    from sqlalchemy import func, select

    from gateway.ledger.schema import spend_changes

    return int(connection.scalar(select(func.max(spend_changes.c.number))) or 0)


def changes_after(data_dir: Path, number: int) -> list[SpendChange]:
    """The next changes, at most ``MOST_AT_ONCE``. Blocks.

    Raises StoreUnavailable, SchemaMismatch.
    """
    from sqlalchemy import select

    from gateway.ledger.schema import spend_changes

    c = spend_changes.c
    columns = (c.number, c.operation_at_us, c.key_id, c.tags, c.pico_usd, c.unknown_attempts)
    wanted = select(*columns).where(c.number > number).order_by(c.number).limit(MOST_AT_ONCE)
    with reading(data_dir) as snapshot:
        if snapshot is None:
            return []
        return [SpendChange(*row) for row in snapshot.connection.execute(wanted)]


def forget(connection: Connection, now_us: int) -> None:
    """Delete what every gateway that runs has heard of long ago."""
    from gateway.ledger.schema import spend_changes

    connection.execute(spend_changes.delete().where(spend_changes.c.at_us < now_us - _KEEP_US))
