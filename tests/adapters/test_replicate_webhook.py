"""Webhooks of Replicate: which are genuine. The SDK's own check is asked as well."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from replicate.webhook import Webhooks, WebhookSigningSecret, WebhookValidationError

from providers.replicate import WebhookRejected, verify_webhook

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
SIGNED = "v1,ji7d8yI8f5vbQdIIEwcPjl1WM26prwxBYvdBbloXuoU="
BODY = b'{"id":"x"}'
HEADERS = {
    "Webhook-Id": "msg_1",
    "webhook-timestamp": "1700000000",
    "webhook-signature": SIGNED,
}


def test_a_signed_webhook() -> None:
    message = verify_webhook(HEADERS, BODY, SECRET)
    assert (message.id, message.sent_at) == ("msg_1", datetime.fromtimestamp(1700000000, UTC))
    rotated = {**HEADERS, "webhook-signature": f"v1,AAAA {SIGNED}"}
    assert verify_webhook(rotated, BODY, SECRET).id == "msg_1"


FORGED: tuple[tuple[dict[str, str], bytes, str], ...] = (
    ({}, BODY + b" ", SECRET),
    ({"Webhook-Id": "msg_2"}, BODY, SECRET),
    ({"webhook-timestamp": "1700000001"}, BODY, SECRET),
    ({"webhook-signature": "v1,AAAA"}, BODY, SECRET),
    ({}, BODY, "whsec_AAAA"),
)


@pytest.mark.parametrize(("headers", "body", "secret"), FORGED)
def test_forged_webhooks(headers: dict[str, str], body: bytes, secret: str) -> None:
    given = {**HEADERS, **headers}
    with pytest.raises(WebhookRejected):
        verify_webhook(given, body, secret)
    with pytest.raises(WebhookValidationError):  # the SDK agrees
        Webhooks.validate(
            headers=given, body=body.decode(), secret=WebhookSigningSecret(key=secret)
        )


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({"webhook-timestamp": "yesterday"}, SECRET),
        ({"webhook-timestamp": "9" * 30}, SECRET),
        ({"webhook-signature": "v1"}, SECRET),
        ({"webhook-signature": f"v2,{SIGNED[3:]}"}, SECRET),
        ({"webhook-signature": "v1,no base64!"}, SECRET),
        ({"webhook-signature": ""}, SECRET),
        ({}, "whsec_"),
        ({}, "whsec_!"),
        ({}, SECRET.removeprefix("whsec_")),
    ],
)
def test_webhooks_that_say_too_little(headers: dict[str, str], secret: str) -> None:
    with pytest.raises(WebhookRejected):
        verify_webhook({**HEADERS, **headers}, BODY, secret)
    for missing in HEADERS:
        with pytest.raises(WebhookRejected, match="missing"):
            verify_webhook({k: v for k, v in HEADERS.items() if k != missing}, BODY, SECRET)


@pytest.mark.parametrize("body", [b"{}", '{"output":"Grüße ✓"}'.encode(), b"x" * 100_000])
def test_the_sdk_agrees_on_what_is_genuine(body: bytes) -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, b"msg_9.1790000000." + body, hashlib.sha256)
    headers = {
        "webhook-id": "msg_9",
        "webhook-timestamp": "1790000000",
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    assert verify_webhook(headers, body, SECRET).id == "msg_9"
    Webhooks.validate(headers=headers, body=body.decode(), secret=WebhookSigningSecret(key=SECRET))
