"""The ledger's database, for tests: filled as the shipper fills it, read as it lies there."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from gateway.ledger.engines import engine_for
from gateway.ledger.layout import database_path
from gateway.ledger.schema import attempts
from gateway.ledger.shipping.shipper import Shipper


def ship(data_dir: Path) -> int:
    shipper = Shipper(data_dir)
    try:
        return shipper.ship()
    finally:
        shipper.close()


def table(data_dir: Path, which: Table) -> list[dict[str, Any]]:
    engine = engine_for(database_path(data_dir), read_only=True)
    with engine.begin() as connection:
        rows = [dict(row) for row in connection.execute(select(which)).mappings()]
    engine.dispose()
    return rows


def attempt_rows(data_dir: Path) -> dict[str, dict[str, Any]]:
    return {row["attempt_id"]: row for row in table(data_dir, attempts)}


def change(data_dir: Path, sql: str) -> None:
    connection = sqlite3.connect(database_path(data_dir))
    connection.execute(sql)
    connection.commit()
    connection.close()
