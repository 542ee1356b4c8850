"""Connections to the ledger's databases."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

import orjson
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine


def engine_for(
    database: Path | str, *, read_only: bool = False, busy_timeout_seconds: float = 1.0
) -> Engine:
    """An engine for a SQLite file or a database URL. Nothing is opened yet."""
    if isinstance(database, str):
        return create_engine(database, json_serializer=_dumps, json_deserializer=orjson.loads)
    # "rw" does not make a file where there is none; "ro" could not follow a WAL nobody else has.
    mode = {"mode": "rw", "uri": "true"} if read_only else {}
    engine = create_engine(
        URL.create(
            "sqlite", database=f"file:{quote(str(database))}" if mode else str(database), query=mode
        ),
        connect_args={"timeout": busy_timeout_seconds},
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, below: reads get one snapshot too
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
