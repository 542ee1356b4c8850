"""Keys that are made, changed and revoked while a gateway runs: a small SQLite file.

Kept is the SHA-256 of a key, never the key. The command line and the gateway write it; a gateway
notices what others wrote by ``changes``. Everything here blocks: call it from a worker thread.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.settings import Allowance, BudgetSettings, KeySettings

KEY_PREFIX = "sig_"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of stored keys: they stand in paths and in names of budgets."""
_BUSY_SECONDS = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    models TEXT,
    created_at_us INTEGER NOT NULL,
    expires_at_us INTEGER,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    budgets TEXT NOT NULL,
    old_sha256 TEXT,
    old_until_us INTEGER,
    revoked_at_us INTEGER
)
"""


class KeyStoreUnusable(OSError):
    """The file of keys cannot be read or written now; the operator must look at it."""


class KeyTaken(ValueError):
    """A key of this name is or was there; names are not used twice, the ledger knows them."""


class NoSuchKey(LookupError):
    """No such key, or it is revoked."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of the store; instants in microseconds since the epoch.

    ``old_sha256`` is what it was before it was rotated, good until ``old_until_us``.
    """

    settings: KeySettings
    budgets: tuple[Allowance, ...]
    created_at_us: int
    old_sha256: str | None
    old_until_us: int | None
    revoked_at_us: int | None

    @property
    def name(self) -> str:
        """The key's id in the ledger."""
        return self.settings.name

    def budget_settings(self) -> list[BudgetSettings]:
        """Its budgets, with names: ``key:<name>:<per>``, numbered from the second of a kind on."""
        found: list[BudgetSettings] = []
        taken: dict[str, int] = {}
        for given in self.budgets:
            nth = taken[given.per] = taken.get(given.per, 0) + 1
            name = f"key:{self.name}:{given.per}{'' if nth == 1 else f':{nth}'}"
            # Not validated again: a colon keeps these names apart from those of the file.
            found.append(
                BudgetSettings.model_construct(**dict(given), name=name, key=self.name, tag=None)
            )
        return found


def new_key() -> tuple[str, str]:
    """A random key, and the SHA-256 of it in hex."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, hashlib.sha256(key.encode()).hexdigest()


class KeyStore:
    """The file ``keys.sqlite3``; made when the first key is. Raises KeyStoreUnusable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched: sqlite3.Connection | None = None
        self._inode: int | None = None

    def keys(self) -> list[StoredKey]:
        """All keys, revoked ones too, by name."""
        if not self._path.exists():
            return []
        with self._open() as connection:
            rows = connection.execute("SELECT * FROM keys ORDER BY name").fetchall()
        return [_stored(row) for row in rows]

    def create(self, settings: KeySettings, budgets: Sequence[Allowance], now_us: int) -> None:
        """Add a key. Raises KeyTaken."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        except OSError as error:
            raise KeyStoreUnusable(f"{self._path.name}: {error.strerror}") from error
        columns = {
            "name": settings.name,
            "sha256": settings.sha256,
            "scopes": json.dumps(sorted(settings.scopes)),
            "models": None if settings.models is None else json.dumps(sorted(settings.models)),
            "created_at_us": now_us,
            "expires_at_us": _micros(settings.expires_at),
            "requests_per_minute": settings.requests_per_minute,
            "tokens_per_minute": settings.tokens_per_minute,
            "budgets": json.dumps([given.model_dump(mode="json") for given in budgets]),
        }
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        try:
            with self._open() as connection:
                connection.execute(
                    f"INSERT INTO keys ({names}) VALUES ({marks})",  # noqa: S608 (our own names)
                    list(columns.values()),
                )
        except sqlite3.IntegrityError:
            raise KeyTaken(f"there is or was a key named {settings.name!r}") from None

    def rotate(self, name: str, sha256: str, old_until_us: int) -> None:
        """Give a key another secret; the present one is good for a while. Raises NoSuchKey."""
        self._change(
            name,
            "old_sha256 = sha256, old_until_us = ?, sha256 = ?",
            (old_until_us, sha256),
        )

    def revoke(self, name: str, now_us: int) -> None:
        """Refuse a key from now on; its name stays taken. Raises NoSuchKey."""
        self._change(name, "revoked_at_us = ?", (now_us,))

    def changes(self) -> int | None:
        """A number that differs after somebody else has written; None: there is no file."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            self.close()
            return None
        try:
            if self._watched is None or inode != self._inode:
                self.close()
                self._watched, self._inode = self._connect(), inode
            (number,) = self._watched.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise KeyStoreUnusable(f"keys.sqlite3: {error}") from error
        return int(number)

    def close(self) -> None:
        """Let go of the file."""
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    def _change(self, name: str, set_: str, values: tuple[Any, ...]) -> None:
        if not self._path.exists():
            raise NoSuchKey(name)
        with self._open() as connection:
            changed = connection.execute(
                f"UPDATE keys SET {set_} WHERE name = ? AND revoked_at_us IS NULL",  # noqa: S608
                (*values, name),
            )
            if not changed.rowcount:
                raise NoSuchKey(name)

    def _connect(self) -> sqlite3.Connection:
        # Watched from worker threads, one at a time.
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        connection.row_factory = sqlite3.Row
        return connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own."""
        try:
            connection = self._connect()
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                yield connection
                connection.execute("COMMIT")
            finally:
                connection.close()  # rolls back what is not committed
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise KeyStoreUnusable(f"keys.sqlite3: {error}") from error


def _stored(row: sqlite3.Row) -> StoredKey:
    models = None if row["models"] is None else json.loads(row["models"])
    settings = KeySettings(
        name=row["name"],
        sha256=row["sha256"],
        scopes=frozenset(json.loads(row["scopes"])),
        models=None if models is None else frozenset(models),
        expires_at=_instant(row["expires_at_us"]),
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
    )
    budgets = tuple(Allowance.model_validate(given) for given in json.loads(row["budgets"]))
    return StoredKey(
        settings,
        budgets,
        row["created_at_us"],
        row["old_sha256"],
        row["old_until_us"],
        row["revoked_at_us"],
    )


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else round(instant.timestamp() * 1_000_000)


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else datetime.fromtimestamp(at_us / 1e6, UTC)
