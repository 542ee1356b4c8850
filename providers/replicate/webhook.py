"""Is a webhook really Replicate's? Signed as Standard Webhooks are; pure, without a clock."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_PREFIX = "whsec_"


class WebhookRejected(ValueError):
    """The message was not signed with this secret, or says too little to tell."""


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A message that is genuine. It may still be an old one or a repeated one: see ``id``."""

    id: str
    sent_at: datetime


def verify_webhook(headers: Mapping[str, str], body: bytes, secret: str) -> WebhookMessage:
    """Check a message against the secret of ``GET /webhooks/default/secret``.

    Shape:  header names in any case; ``body`` as it came, byte by byte. Several signatures may
            stand in one header while a secret is being changed; one that fits is enough.
    Beyond: messages come more than once and in any order. Whoever has a clock refuses an old
            ``sent_at``, and an ``id`` that was seen before is done already.
    Raises: WebhookRejected.
    Source: https://replicate.com/docs/topics/webhooks/verify-webhook (read 2026-11-23).
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
    signed = b"%s.%s.%s" % (message_id.encode(), sent.encode(), body)
    expected = hmac.digest(_key(secret), signed, hashlib.sha256)
    for signature in signatures.split():
        scheme, _, encoded = signature.partition(",")
        if scheme == "v1" and hmac.compare_digest(_decoded(encoded), expected):
            return WebhookMessage(message_id, sent_at)
    raise WebhookRejected("no signature fits")


def _key(secret: str) -> bytes:
    key = _decoded(secret.removeprefix(_PREFIX)) if secret.startswith(_PREFIX) else b""
    if not key:
        raise WebhookRejected("the secret is not of the form whsec_...")
    return key


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
