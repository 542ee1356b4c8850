"""Replicate's webhooks: what they are good for, and who may not send any."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.app import create_app
from gateway.settings import ConfigError, load
from providers.contract import GenerateRequest, Host, Notifiable, UpstreamFailed, WebhookRejected
from providers.replicate import ReplicateOptions, ReplicateSettings, plugin
from providers.testing.scenarios import ANSWER
from providers.toolkit.http import open_http
from tests.acceptance.gateways import until
from tests.adapters.asking import ask
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_webhooks import SECRET
from tests.emulators.replicate_wire import FILES, WARM
from tests.emulators.replicate_world import Model, _id
from tests.gateways import post, running

PUBLIC = "https://gateway.example.com"
PATH = "/v1/webhooks/replicate"
HOUR = 3600.0
PHOTO = Model(output=f"{FILES}/out.webp")


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate()
    app.models["emulated/photo"] = PHOTO
    app.url = emulator(app)
    return app


@contextmanager
def gateway(app: Replicate, tmp_path: Path, **block: Any) -> Iterator[str]:
    """Between two looks it would wait for an hour, and first of all for 450 s."""
    usual = {"api_token": app.key, "base_url": f"{app.url}/v1", "poll_seconds": HOUR}
    changes = {
        "server": {"data_dir": str(tmp_path)},
        "providers": {"replicate": {**usual, "webhook_base_url": PUBLIC, **block}},
        "deployments": {
            name: {
                "provider": "replicate",
                "model": f"emulated/{name}",
                "price": "replicate-gpu-l40s",
            }
            for name in ("photo", "warm")
        }
        | {"here": {"provider": "local", "model": "m", "url": app.url}},
        "models": {name: {"deployments": [name]} for name in ("photo", "warm", "here")},
    }
    with running(create_app(load(None, {}, changes), log_attempts=False)) as url:
        app.hooks.leads_to[PUBLIC] = url
        yield url


# -- what they are good for -----------------------------------------------------------------------


def asked_for_a_photo(app: Replicate, url: str) -> dict[str, Any]:
    """An answer that the first look was too early for: the next one is 450 s away."""
    app.world.stop_at(app.world.now + timedelta(seconds=30))
    with ThreadPoolExecutor(1) as pool:
        body = {"model": "photo", "input": {"prompt": "a cat"}}
        asking = pool.submit(post, f"{url}/v1/generate", body)
        try:
            until(lambda: app.world.made and app.last().looks == 1)
        finally:
            app.world.stop_at(None)
        return asking.result()


def test_a_look_that_is_an_hour_away_comes_when_it_is_told(app: Replicate, tmp_path: Path) -> None:
    with gateway(app, tmp_path) as url:
        answer = asked_for_a_photo(app, url)
    made = app.last()
    assert answer["output"][0]["url"] == f"{FILES}/out.webp"
    assert answer["cold_start"]["verdict"] == "cold"
    assert Decimal(answer["cost"]["total_usd"]) == made.billed_usd > 0
    assert made.looks == 2 and not app.sent("POST", "/cancel")
    (created,) = app.sent("POST", "/predictions")
    assert created.body["webhook"] == PUBLIC + PATH
    assert created.body["webhook_events_filter"] == ["completed"]
    # The account was asked for the secret once, by the message that came first.
    assert len(app.sent("GET", "/webhooks/default/secret")) == 1


def test_a_message_that_is_not_taken_at_first_comes_again(app: Replicate, tmp_path: Path) -> None:
    with gateway(app, tmp_path, webhook_secret=SECRET) as url:
        app.hooks.lost = 3  # the start, and the end twice
        answer = asked_for_a_photo(app, url)
        until(lambda: app.hooks.posts[-1].status is not None)
    assert answer["status"] == "succeeded"
    assert [post.status for post in app.hooks.posts] == [None, None, None, 204]
    assert not app.sent("GET", "/webhooks/default/secret")


def test_a_stream_is_not_cut_short_by_one(app: Replicate, tmp_path: Path) -> None:
    app.models["emulated/warm"] = replace(WARM, frames="bytes", late_seconds=30.0)
    with gateway(app, tmp_path) as url:
        answer = post(f"{url}/v1/generate", {"model": "warm", "input": "Say something."})
    assert answer["output"] == [{"type": "text", "text": ANSWER}]
    assert answer["usage"]["source"] == "reported" and app.last().connections == 1


def test_without_an_address_none_is_asked_for_and_none_is_taken(
    app: Replicate, tmp_path: Path
) -> None:
    with gateway(app, tmp_path, webhook_base_url=None, poll_seconds=0.02) as url:
        post(f"{url}/v1/generate", {"model": "photo", "input": {"prompt": "a cat"}})
        assert "webhook" not in app.sent("POST", "/predictions")[0].body
        body = ended(app, app.last().id)
        assert sent(url, body, app.hooks.signed("msg_1", body)) == (403, "webhook_refused")
    assert not app.sent("GET", "/webhooks/default/secret")


# -- who may send them ----------------------------------------------------------------------------


def ended(app: Replicate, prediction_id: str, status: str = "succeeded") -> bytes:
    return json.dumps({"id": prediction_id, "status": status}).encode()


def sent(
    url: str, body: bytes, headers: dict[str, str], path: str = PATH, host: str = PUBLIC[8:]
) -> tuple[int, str]:
    """Status and code of the answer to a post, by the gateway's public name."""
    request = urllib.request.Request(url + path, body, {**headers, "host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())["error"]["code"]


def announced(url: str, size_bytes: int) -> int:
    """The status that a body of this size gets before it is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=10)
    try:
        connection.putrequest("POST", PATH)
        connection.putheader("content-length", str(size_bytes))
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_signature_is_the_door(app: Replicate, tmp_path: Path) -> None:
    with gateway(app, tmp_path) as url:
        body, sign = ended(app, "abc"), app.hooks.signed
        genuine = sign("msg_1", body)
        refused = (403, "webhook_refused")
        # Of a job that nobody knows here: it need not come again.
        assert sent(url, body, genuine) == (204, "")
        assert sent(url, body, genuine) == (204, "")
        for headers in (
            {},
            {**genuine, "webhook-signature": "v1,AAAA"},
            {**genuine, "webhook-id": "msg_2"},
            sign("msg_1", body, time.time() - 400),
            sign("msg_1", body, time.time() + 400),
        ):
            assert sent(url, body, headers) == refused
        assert sent(url, body + b" ", genuine) == refused
        # Whether there is such a provider, and whether it takes messages, nobody learns.
        for name in ("acme", "local", "replicate/x"):
            known = sent(url, body, genuine, f"/v1/webhooks/{name}")
            assert known == (refused if "/" not in name else (404, "route_not_found"))
        for odd in (b"[]", b"{}", b"not json", ended(app, "abc", "processing")):
            assert sent(url, odd, sign("msg_3", odd)) == (204, "")
        assert announced(url, (1 << 20) + 1) == 413
    assert len(app.sent("GET", "/webhooks/default/secret")) == 1


def test_only_this_door_is_open_to_the_public_name(app: Replicate, tmp_path: Path) -> None:
    with gateway(app, tmp_path) as url:
        body = ended(app, "abc")
        for path in ("/v1/generate", "/v1/webhooks", "/v1/costs"):
            assert sent(url, body, {}, path) == (403, "host_not_allowed")
        roundabout = sent(url, body, {}, f"{PATH}/../../generate")
        assert roundabout == (404, "route_not_found")
        headers = app.hooks.signed("msg_1", body)
        assert sent(url, body, {**headers, "origin": "https://evil.example"})[0] == 403
        # A tunnel that says that it is this machine does not open the others.
        local = f"localhost:{url.rpartition(':')[2]}"
        told = {"content-type": "application/json", "x-forwarded-host": "gateway.example.com"}
        assert sent(url, body, told, "/v1/generate", local) == (403, "host_not_allowed")
        two = {**told, "x-forwarded-host": "localhost, gateway.example.com"}
        assert sent(url, body, two, "/v1/generate", local) == (403, "host_not_allowed")
        here = {**told, "x-forwarded-host": "localhost:3000"}
        assert sent(url, b"{}", here, "/v1/generate", local)[0] in (400, 422)
        assert sent(url, body, {**headers, **told}, PATH, local) == (204, "")


def test_with_keys_no_key_is_needed_for_it(app: Replicate, tmp_path: Path) -> None:
    key = {"name": "app", "sha256": "0" * 64}
    changes: dict[str, Any] = {
        "server": {"data_dir": str(tmp_path)},
        "auth": {"keys": [key]},
        "providers": {
            "mine": {
                "kind": "replicate",
                "api_token": app.key,
                "base_url": f"{app.url}/v1",
                "webhook_base_url": f"{PUBLIC}/behind/a/proxy/",
                "webhook_secret": SECRET,
            }
        },
        "deployments": {"photo": {"provider": "mine", "model": "emulated/photo"}},
        "models": {"photo": {"deployments": ["photo"]}},
    }
    built = create_app(load(None, {}, changes), log_attempts=False)
    with running(built) as url:
        body = ended(app, "abc")
        headers = app.hooks.signed("msg_1", body)
        assert sent(url, body, headers, "/v1/webhooks/mine") == (204, "")
        assert sent(url, body, headers, "/v1/webhooks/replicate") == (403, "webhook_refused")
        assert sent(url, b"{}", {}, "/v1/generate") == (401, "missing_api_key")


# -- secrets --------------------------------------------------------------------------------------


@contextmanager
def account(app: Replicate, tmp_path: Path, **block: Any) -> Iterator[Any]:
    settings = ReplicateSettings.model_validate(
        {
            "api_token": app.key,
            "base_url": f"{app.url}/v1",
            "poll_seconds": HOUR,
            "webhook_base_url": PUBLIC,
            **block,
        }
    )
    provider = plugin.build(settings, Host(open_http(settings), tmp_path, PATH))
    assert isinstance(provider, Notifiable)
    yield provider


async def test_a_secret_that_was_changed_is_asked_for_again_once_a_minute(
    app: Replicate, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    with account(app, tmp_path) as provider:
        body = ended(app, "abc")
        assert await provider.notified(app.hooks.signed("msg_1", body), body, now) == "abc"
        app.hooks.secret = "whsec_" + "QUFB" * 8
        body = ended(app, "abd")
        changed = app.hooks.signed("msg_2", body)
        with pytest.raises(WebhookRejected):
            await provider.notified(changed, body, now)
        later = now + timedelta(seconds=61)
        assert await provider.notified(changed, body, later) == "abd"
        with pytest.raises(WebhookRejected):
            await provider.notified({**changed, "webhook-id": "x"}, body, later)
        assert len(app.sent("GET", "/webhooks/default/secret")) == 2
        await provider._api._http.aclose()


async def test_a_secret_that_is_not_told_is_not_asked_for_at_each_message(
    app: Replicate, tmp_path: Path
) -> None:
    app.hooks.secret = ""
    now = datetime.now(UTC)
    with account(app, tmp_path) as provider:
        body = ended(app, "abc")
        for _ in range(3):
            with pytest.raises(UpstreamFailed):
                await provider.notified({}, body, now)
        assert len(app.sent("GET", "/webhooks/default/secret")) == 1
        await provider._api._http.aclose()


async def test_one_that_comes_before_the_answer_to_the_create_call(
    app: Replicate, tmp_path: Path
) -> None:
    app.models["emulated/photo"] = replace(PHOTO, always_warm=True, early_answer=True)
    with account(app, tmp_path, webhook_secret=SECRET) as provider:
        first = _id("emulated/photo 0")
        body, now = ended(app, first), datetime.now(UTC)
        # Nobody here knew it then, so that it may be one that broke off.
        assert await provider.notified(app.hooks.signed("m", body), body, now) == first
        # Its answer says that it still runs, and the first look were 450 s away.
        request = GenerateRequest({"prompt": "x"}, stream=False)
        asked = await ask(provider.bind("emulated/photo", ReplicateOptions()), request)
        assert asked.error is None and asked.kinds[-2:] == ["Output", "Finished"]
        assert (app.last().id, app.last().looks) == (first, 1)
        await provider._api._http.aclose()


def test_a_secret_that_cannot_be_asked_for_is_busy_and_not_refused(
    app: Replicate, tmp_path: Path
) -> None:
    app.hooks.secret = ""
    with gateway(app, tmp_path) as url:
        body = ended(app, "abc")
        assert sent(url, body, {}) == (503, "busy")


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"webhook_base_url": "http://gateway.example.com"}, "must begin with https://"),
        ({"webhook_base_url": "gateway.example.com"}, "must begin with https://"),
        ({"webhook_base_url": "https://gateway.example.com/?a=b"}, "without a query"),
        ({"webhook_base_url": "https://me:pw@gateway.example.com"}, "or a password"),
        ({"webhook_secret": "secret"}, "not of the form whsec_"),
    ],
)
def test_settings_that_cannot_work(
    app: Replicate, tmp_path: Path, block: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        with gateway(app, tmp_path, **block):
            pass


def test_what_is_refused_is_logged_a_few_times(
    app: Replicate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with gateway(app, tmp_path, webhook_secret=SECRET) as url:
        for _ in range(9):
            assert sent(url, b"{}", {})[0] == 403
        until(lambda: "8 refused" in caplog.text)
    told = [record for record in caplog.records if "refused so far" in record.getMessage()]
    assert len(told) == 4 and SECRET not in caplog.text
