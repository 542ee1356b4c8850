"""Alerts: what has worsened is posted to a webhook, signed, and to nowhere private by mistake."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.settings import ConfigError, load
from gateway.warmth.alarm import Alarm, Thresholds, Totals
from gateway.webhooks import WebhookRefused, is_public, post
from providers.toolkit.webhooks import verify
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.gateway_app.test_warmth import COLD, WARM, tree

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
HOUR = 3600.0


class Hook:
    """A webhook on a real socket: what it got, and how often it refuses before it takes."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        self.got.append(({k.decode(): v.decode() for k, v in scope["headers"]}, body))
        status, self.refusals = (500, self.refusals - 1) if self.refusals else (204, 0)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def alert(url: str, **changes: Any) -> dict[str, Any]:
    usual = {"name": "colder", "webhook": url, "secret": SECRET, "cold_rate_increase": 0.2}
    return {**usual, **changes}


def test_a_worse_cold_rate_is_posted_once_signed_and_linked(
    tmp_path: Path, emulator: Callable[[Any], str]
) -> None:
    hook = Hook()
    settings = alert(
        emulator(hook),
        allow_private_addresses=True,
        fewest_attempts=8,
        window_seconds=2.0,  # a busy machine still gets eight answers into it
        report_base_url="https://gateway.example/",
        deployments=["own"],
    )
    with running_gateway({**tree(), "alerts": [settings]}, tmp_path) as gateway:
        gateway.scripts.only("own", *[WARM] * 30, COLD)
        for _ in range(30):
            gateway.answer("own")
        eventually(lambda: _cold(gateway) and len(hook.got) == 1, 15)
        for _ in range(20):
            gateway.answer("own")
        ((headers, body),) = hook.got
        told = orjson.loads(body)
        assert verify(headers, body, SECRET, datetime.now(UTC)).startswith("msg_")
        assert told["type"] == "cold_starts.worsened"
        data = told["data"]
        assert (data["alert"], data["deployment"], data["what"]) == ("colder", "own", "cold_rate")
        # How many of each fall into the window is for the machine to say; the rest is not.
        assert data["now"] - data["before"] >= 0.2
        assert min(data["count_before"], data["count_now"]) >= 8
        link = data["report"]
        assert link.startswith("https://gateway.example/v1/cold-starts?group_by=deployment&")
        answer = gateway.http.get(link.removeprefix("https://gateway.example"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"][0]["cold"] > 0 and "explanation" in answer.json()


def _cold(gateway: Gateway) -> bool:
    for _ in range(10):
        gateway.answer("own")
    return True


# -- when to tell -------------------------------------------------------------------------------


def alarm(**changes: Any) -> Alarm:
    usual: dict[str, Any] = {
        "cold_rate_increase": 0.1,
        "boot_p90_increase": 0.5,
        "window_seconds": HOUR,
        "against_seconds": 24 * HOUR,
        "fewest_attempts": 20,
        "fewest_boots": 5,
        "repeat_after_seconds": 6 * HOUR,
    }
    return Alarm(Thresholds(**{**usual, **changes}))


def hours(watch: Alarm, *totals: Totals) -> list[Any]:
    """One total an hour; what was told, with its hour."""
    told = []
    for number, total in enumerate(totals):
        watch.observe("d", number * HOUR, total)
        told += [(number, worse.what) for worse in watch.decide(number * HOUR)]
    return told


def test_only_what_chance_does_not_explain_is_told() -> None:
    steady = [Totals(10 * n, 90 * n) for n in range(6)]
    assert hours(alarm(), *steady) == []
    worse = [*steady, Totals(90, 510), Totals(130, 570), Totals(170, 630)]
    assert hours(alarm(), *worse) == [(6, "cold_rate")]  # and not again within six hours
    assert hours(alarm(repeat_after_seconds=1.0), *worse)[:2] == [
        (6, "cold_rate"),
        (7, "cold_rate"),
    ]
    a_little = [*steady, Totals(65, 535)]  # 15 of 100 after 10 of 100
    assert hours(alarm(cold_rate_increase=0.04), *a_little) == []
    few = [Totals(), Totals(0, 100), Totals(10, 105)]
    assert hours(alarm(), *few) == []


def test_slower_boots_are_told() -> None:
    steady = [Totals(10 * n, 90 * n, 10 * n, 30.0) for n in range(4)]
    slower = [*steady, Totals(40, 360, 40, 46.0)]
    assert hours(alarm(), *slower) == [(4, "boot_p90")]
    assert hours(alarm(boot_p90_increase=None), *slower) == []
    assert hours(alarm(fewest_boots=11), *slower) == []


def test_before_is_as_long_as_was_asked_for() -> None:
    # Colder days ago than now: against the last day it is worse, against three days it is not.
    long_ago = [Totals(50 * n, 50 * n) for n in range(48)]
    last_day = [Totals(2350, 2350 + 100 * n) for n in range(1, 25)]
    now = Totals(2390, 4750 + 60)
    told = hours(alarm(), *long_ago, *last_day, now)
    assert [what for _, what in told] == ["cold_rate"]
    told = hours(alarm(against_seconds=72 * HOUR), *long_ago, *last_day, now)
    assert told == []


# -- where it may go ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *((address, False) for address in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1")),
        *(
            (address, False)
            for address in ("0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "fe80::1%2")
        ),
        *((address, False) for address in ("fd00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1")),
        ("2002:7f00:1::", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_private_address_is_refused_unless_it_is_allowed(
    emulator: Callable[[Any], str],
) -> None:
    hook = Hook(refusals=1)
    url = emulator(hook).replace("127.0.0.1", "localhost")
    message: dict[str, Any] = {"secret": SECRET, "message_id": "msg_1", "timestamp": 1_800_000_000}
    with pytest.raises(WebhookRefused, match="allow_private_addresses") as refused:
        await post(url, b"{}", **message)
    assert "localhost" not in str(refused.value) and not hook.got
    with pytest.raises(WebhookRefused, match="500"):
        await post(url, b"{}", allow_private_addresses=True, **message)
    await post(url, b"{}", allow_private_addresses=True, **message)
    assert len(hook.got) == 2
    assert hook.got[0][0]["host"].startswith(
        "localhost:"
    )  # the name, though the address is dialled
    with pytest.raises(WebhookRefused, match="name is not known"):
        await post("https://no-such-name.invalid/", b"{}", **message)


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(WebhookRefused, match="could not be reached"):
        await post(
            f"http://127.0.0.1:{port}/",
            b"{}",
            secret=SECRET,
            message_id="m",
            timestamp=1,
            allow_private_addresses=True,
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cold_rate_increase": None}, "name cold_rate_increase"),
        ({"secret": "hush"}, "whsec_"),
        ({"secret": "whsec_AAAA"}, "24 to 64 bytes"),
        ({"webhook": "ftp://example.com"}, "begins with http"),
        ({"deployments": ["nobody"]}, "no deployment named"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    path = tmp_path / "gateway.yml"
    given = {**tree(), "alerts": [alert("https://example.com", **wrong)]}
    path.write_bytes(orjson.dumps(given))
    with pytest.raises(ConfigError, match=message) as refused:
        load(path, {})
    assert "hush" not in str(refused.value)
