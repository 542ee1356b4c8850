"""Signed messages: which are genuine. Replicate's SDK is asked too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from replicate.webhook import Webhooks, WebhookSigningSecret, WebhookValidationError

from providers.contract import WebhookRejected
from providers.toolkit.webhooks import signature, verify

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
SIGNED = "v1,ji7d8yI8f5vbQdIIEwcPjl1WM26prwxBYvdBbloXuoU="
BODY = b'{"id":"x"}'
HEADERS = {
    "Webhook-Id": "msg_1",
    "webhook-timestamp": "1700000000",
    "webhook-signature": SIGNED,
}
NOW = datetime.fromtimestamp(1700000000, UTC)


def test_a_signed_message() -> None:
    assert signature(SECRET, "msg_1", 1700000000, BODY) == SIGNED
    assert verify(HEADERS, BODY, SECRET, NOW) == "msg_1"
    rotated = {**HEADERS, "webhook-signature": f"v1,AAAA {SIGNED}"}
    assert verify(rotated, BODY, SECRET, NOW) == "msg_1"


def test_five_minutes_either_way() -> None:
    for seconds in (-300, 300):
        verify(HEADERS, BODY, SECRET, NOW + timedelta(seconds=seconds))
    for seconds in (-301, 301):
        with pytest.raises(WebhookRejected, match="too long ago"):
            verify(HEADERS, BODY, SECRET, NOW + timedelta(seconds=seconds))


FORGED: tuple[tuple[dict[str, str], bytes, str], ...] = (
    ({}, BODY + b" ", SECRET),
    ({"Webhook-Id": "msg_2"}, BODY, SECRET),
    ({"webhook-timestamp": "1700000001"}, BODY, SECRET),
    ({"webhook-signature": "v1,AAAA"}, BODY, SECRET),
    ({}, BODY, "whsec_AAAA"),
)


@pytest.mark.parametrize(("headers", "body", "secret"), FORGED)
def test_forged_messages(headers: dict[str, str], body: bytes, secret: str) -> None:
    given = {**HEADERS, **headers}
    with pytest.raises(WebhookRejected):
        verify(given, body, secret, NOW)
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
def test_messages_that_say_too_little(headers: dict[str, str], secret: str) -> None:
    with pytest.raises(WebhookRejected):
        verify({**HEADERS, **headers}, BODY, secret, NOW)
    for missing in HEADERS:
        with pytest.raises(WebhookRejected, match="missing"):
            verify({k: v for k, v in HEADERS.items() if k != missing}, BODY, SECRET, NOW)


@pytest.mark.parametrize("body", [b"{}", '{"output":"Grüße ✓"}'.encode(), b"x" * 100_000])
def test_the_sdk_agrees_on_what_is_genuine(body: bytes) -> None:
    headers = {
        "webhook-id": "msg_9",
        "webhook-timestamp": "1700000009",
        "webhook-signature": signature(SECRET, "msg_9", 1700000009, body),
    }
    assert verify(headers, body, SECRET, NOW) == "msg_9"
    Webhooks.validate(headers=headers, body=body.decode(), secret=WebhookSigningSecret(key=SECRET))
