"""Keys as people and programs see them: everything but the secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.clock import rfc3339
from gateway.ledger.reports.views import usd
from gateway.limits.keystore import StoredKey
from gateway.settings import KeySettings

GRACE_SECONDS = 86_400


def keys_json(
    configured: Sequence[KeySettings], stored: Sequence[StoredKey], now_us: int
) -> list[dict[str, Any]]:
    """Those of the configuration, then those of the store; a name stands for the first of both."""
    names = {key.name for key in configured}
    return [
        *(_shown(key, now_us, source="configuration") for key in configured),
        *(key_json(key, now_us) for key in stored if key.name not in names),
    ]


def key_json(key: StoredKey, now_us: int) -> dict[str, Any]:
    """A key of the store."""
    shown = _shown(key.settings, now_us, source="store")
    if key.revoked_at_us is not None:
        shown["status"] = "revoked"
    old_until_us = key.old_until_us
    return {
        **shown,
        "created_at": rfc3339(key.created_at_us),
        "revoked_at": None if key.revoked_at_us is None else rfc3339(key.revoked_at_us),
        "old_secret_until": None
        if old_until_us is None or old_until_us <= now_us
        else rfc3339(old_until_us),
        "budgets": [
            {"name": given.name, "limit_usd": usd(int(given.limit_usd * 10**12)), "per": given.per}
            for given in key.budget_settings()
        ],
    }


def _shown(key: KeySettings, now_us: int, *, source: str) -> dict[str, Any]:
    expires_at_us = _micros(key.expires_at)
    expired = expires_at_us is not None and expires_at_us <= now_us
    return {
        "name": key.name,
        "source": source,
        "status": "expired" if expired else "active",
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "created_at": None,
        "expires_at": None if expires_at_us is None else rfc3339(expires_at_us),
        "revoked_at": None,
        "old_secret_until": None,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "budgets": [],
        "sha256_begins": key.sha256[:8],
    }


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else round(instant.timestamp() * 1_000_000)
