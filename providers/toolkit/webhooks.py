"""Signed messages: Standard Webhooks 1.0, both ends. Pure, without a clock.

HMAC-SHA256 of ``id.timestamp.body`` in base64, as ``v1,<signature>`` in ``webhook-signature``; the
secret is ``whsec_`` and base64. Source: https://www.standardwebhooks.com (read 2026-11-23). Those
who send so call the headers ``webhook-*``; Svix's older ``svix-*`` are not read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from providers.contract import WebhookRejected

TOLERANCE = timedelta(minutes=5)  # between their clock and ours
_PREFIX = "whsec_"


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``; ``timestamp`` in seconds since the epoch."""
    digest = _digest(secret, message_id, str(timestamp), body)
    return "v1," + base64.b64encode(digest).decode()


def verify(headers: Mapping[str, str], body: bytes, secret: str, now: datetime) -> str:
    """The id of a message that is genuine and was sent about ``now``.

    Shape:  header names in any case; ``body`` as it came, byte by byte. Several signatures may
            stand in one header while a secret is being changed; one that fits is enough.
    Beyond: messages come more than once and in any order.
    Raises: WebhookRejected.
    """
    named = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent, signatures = (
            named[f"webhook-{part}"] for part in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        raise WebhookRejected(f"the header {missing.args[0]} is missing") from None
    try:
        sent_at = datetime.fromtimestamp(int(sent), UTC)
    except (ValueError, OverflowError, OSError):
        raise WebhookRejected("the header webhook-timestamp is no time") from None
    if abs(now - sent_at) > TOLERANCE:
        raise WebhookRejected("it was sent too long ago, or the clocks differ")
    expected = _digest(secret, message_id, sent, body)
    for one in signatures.split():
        scheme, _, encoded = one.partition(",")
        if scheme == "v1" and hmac.compare_digest(_decoded(encoded), expected):
            return message_id
    raise WebhookRejected("no signature fits")


def _digest(secret: str, message_id: str, sent: str, body: bytes) -> bytes:
    key = _decoded(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else b""
    if not key:
        raise WebhookRejected("the secret is not of the form whsec_...")
    signed = b"%s.%s.%s" % (message_id.encode(), sent.encode(), body)
    return hmac.digest(key, signed, hashlib.sha256)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
