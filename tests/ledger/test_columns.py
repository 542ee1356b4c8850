"""A database that an older release made gets the columns that came since."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from pathlib import Path

from gateway.ledger.layout import database_path
from gateway.ledger.shipping.fold import fold
from gateway.ledger.shipping.store import Store
from tests.ledger.samples import begun, finished


def test_a_column_that_came_later_is_added_and_old_rows_say_null(tmp_path: Path) -> None:
    Store.open(database_path(tmp_path)).close()
    with sqlite3.connect(database_path(tmp_path)) as old:
        old.execute("ALTER TABLE attempts DROP COLUMN lookup")
    old.close()
    store = Store.open(database_path(tmp_path))
    row = asdict(finished(begun()))
    batch = fold([{"kind": "end", "seq": 1, "attempt": row | {"lookup": "found"}}])
    store.apply("a.ndjson", 0, 1, batch, lines=1)
    store.close()
    with sqlite3.connect(database_path(tmp_path)) as new:
        assert new.execute("SELECT lookup FROM attempts").fetchall() == [("found",)]
    new.close()
