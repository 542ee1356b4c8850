"""Whoever listens where a gateway is looked for, and addresses that are none."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from gateway.cli.client import Asked
from gateway.settings import ConfigError
from tests.emulators.asgi import Call
from tests.serving import serve


def test_another_listener_is_no_gateway() -> None:
    said: dict[str, tuple[int, Any]] = {
        "/list": (200, []),
        "/other": (200, {"data": "none"}),
        "/words": (404, "Not here"),
        "/error": (404, {"error": "Not here"}),
        "/null": (403, {"error": {"message": None}}),
    }

    async def other(scope: Any, receive: Any, send: Any) -> None:
        call = await Call.of(scope, receive, send)
        await call.json(*said[call.path])

    with serve(other) as url, closing(Asked(url, "key")) as asked:
        for path, (status, _) in said.items():
            why = "does not answer as a gateway does" if status == 200 else f"answers {status}: it "
            with pytest.raises(ConfigError, match=why):
                asked.get(path)


@pytest.mark.parametrize(
    ("url", "key", "why"),
    [
        ("http://[::", None, "is no address"),
        ("http://127.0.0.1", "geh\u00e4im", "the API key is none of a gateway's"),
    ],
)
def test_what_cannot_be_sent_is_said(url: str, key: str | None, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        Asked(url, key)
    assert key is None or key not in str(refused.value)
