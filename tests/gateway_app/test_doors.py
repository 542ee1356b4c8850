"""Who gets in: without keys this machine's programs alone; with keys, by key and scope."""

from __future__ import annotations

import logging
import socket
from typing import Any

import httpx
import pytest

from providers.contract import Delta, Finished, Started, Usage
from providers.testing import Wait
from tests.gateway_app.conftest import KEYS
from tests.gateway_app.gateways import Gateway, Scripts, eventually

BODY = {"model": "plain", "input": "hi"}


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[name][0]}"}


def error_of(response: httpx.Response, status: int) -> Any:
    assert response.status_code == status, response.text
    return response.json()["error"]


# -- without keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1", "[::1]:8080", "127.9.9.9"]
)
def test_local_names_are_served(gateway: Gateway, host: str) -> None:
    assert gateway.http.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "", "[::1", "a b"]
)
@pytest.mark.parametrize("path", ["/v1/generate", "/v1/chat/completions", "/v1/costs", "/healthz"])
def test_a_foreign_host_is_refused(
    gateway: Gateway, scripts: Scripts, host: str, path: str
) -> None:
    scripts.says("plain")
    response = gateway.http.post(path, json=BODY, headers={"host": host})
    error = error_of(response, 403)
    assert (error["type"], error["code"]) == ("permission_error", "host_not_allowed")
    assert not scripts.calls("plain")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://{host}", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_web_page_of_somebody_else_is_refused(
    gateway: Gateway, scripts: Scripts, headers: dict[str, str]
) -> None:
    scripts.says("plain")
    host = f"localhost:{gateway.port}"
    sent = {"host": host, **{name: value.format(host=host) for name, value in headers.items()}}
    error = error_of(gateway.http.post("/v1/generate", json=BODY, headers=sent), 403)
    assert error["code"] == "origin_not_allowed"
    preflight = gateway.http.options("/v1/generate", headers=sent)
    assert preflight.status_code == 403
    assert not [name for name in preflight.headers if name.startswith("access-control")]
    assert not scripts.calls("plain")


def test_a_page_of_our_own_may_call(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("plain")
    host = f"localhost:{gateway.port}"
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert gateway.http.post("/v1/generate", json=BODY, headers=headers).status_code == 200


def test_old_http_without_a_host(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=3) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")


# -- with keys --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": "sig_app-key-1"}, "missing_api_key"),
        ({"authorization": "Basic c2lnOng="}, "missing_api_key"),
        ({"authorization": "Bearer"}, "missing_api_key"),
        ({"authorization": "Bearer sig_app-key-2"}, "invalid_api_key"),
        ({"authorization": "Bearer SIG_APP-KEY-1"}, "invalid_api_key"),
        ({"x-api-key": "sig_app-key-1"}, "missing_api_key"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/v1/generate", "/v1/chat/completions")),
        *(("GET", path) for path in ("/v1/models", "/v1/costs", "/v1/operations", "/metrics")),
        *(("GET", path) for path in ("/v1/operations/gen_1", "/v1/cold-starts", "/v1/models/m")),
        ("POST", "/v1/operations/gen_1/cancel"),
    ],
)
def test_without_the_right_key(
    locked: Gateway, method: str, path: str, headers: dict[str, str], code: str
) -> None:
    locked.scripts.says("plain")
    response = locked.http.request(method, path, json=BODY, headers=headers)
    error = error_of(response, 401)
    assert (error["type"], error["code"]) == ("authentication_error", code)
    assert response.headers["www-authenticate"] == "Bearer"
    assert "sig_" not in response.text.lower().replace("bearer <key>", "")
    assert not locked.scripts.calls("plain")


def test_probes_need_no_key(locked: Gateway) -> None:
    assert locked.http.get("/healthz").status_code == 200
    assert locked.http.get("/readyz").status_code == 200


def test_with_keys_any_host_and_origin_may_call(locked: Gateway) -> None:
    headers = {**bearer("app"), "host": "gateway.example", "origin": "https://shop.example"}
    locked.scripts.says("plain")
    assert locked.http.post("/v1/generate", json=BODY, headers=headers).status_code == 200


SCOPES = [
    ("POST", "/v1/generate", {"app", "other", "operator", "both"}),
    ("POST", "/v1/chat/completions", {"app", "other", "operator", "both"}),
    ("GET", "/v1/costs", {"app", "other", "finance", "operator", "both"}),
    ("GET", "/v1/operations", {"app", "other", "finance", "operator", "both"}),
    ("GET", "/v1/charges", {"finance", "operator", "both"}),
    ("GET", "/v1/cold-starts", {"app", "other", "finance", "operator", "both"}),
    ("GET", "/v1/operations/gen_1", {"app", "other", "finance", "operator", "both"}),
    ("GET", "/metrics", {"finance", "operator", "both"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), SCOPES)
def test_what_each_scope_opens(locked: Gateway, method: str, path: str, allowed: set[str]) -> None:
    locked.scripts.says("plain")
    body = {"model": "plain", "messages": [{"role": "user", "content": "x"}]}
    if path == "/v1/generate":
        body = dict(BODY)
    for name in KEYS:
        response = locked.http.request(method, path, json=body, headers=bearer(name))
        if name in allowed:
            assert response.status_code in (200, 404), (name, response.text)
        else:
            error = error_of(response, 403)
            assert (error["type"], error["code"]) == ("permission_error", "missing_scope")


def test_a_key_sees_its_own_operations_only(locked: Gateway) -> None:
    locked.scripts.says("plain", usage=Usage(10, 20))
    made = {}
    for name in ("app", "other"):
        body = {**BODY, "tags": {"of": name}}
        answer = locked.http.post("/v1/generate", json=body, headers=bearer(name)).json()
        made[name] = answer["id"]
        assert locked.rows(answer["id"])[0]["key_id"] == name

    def seen(by: str) -> set[str]:
        listed = locked.http.get("/v1/operations", params={"limit": 1000}, headers=bearer(by))
        return {operation["id"] for operation in listed.json()["data"]}

    assert made["app"] in seen("app") and made["other"] not in seen("app")
    assert {made["app"], made["other"]} <= seen("finance")
    assert {made["app"], made["other"]} <= seen("operator")
    for by, of, status in [
        *(("app", "app", 200), ("app", "other", 404), ("other", "app", 404)),
        *(("finance", "app", 200), ("operator", "other", 200)),
    ]:
        path = f"/v1/operations/{made[of]}"
        assert locked.http.get(path, headers=bearer(by)).status_code == status, (by, of)
    own = locked.http.get("/v1/costs", params={"group_by": "key"}, headers=bearer("app")).json()
    assert [row["group"]["key"] for row in own["data"]] == ["app"]
    # nor by asking for them
    asked = {"group_by": "key", "key": "other"}
    assert locked.http.get("/v1/costs", params=asked, headers=bearer("app")).json()["data"] == []
    everyone = locked.http.get("/v1/costs", params={"group_by": "key"}, headers=bearer("finance"))
    assert {"app", "other"} <= {row["group"]["key"] for row in everyone.json()["data"]}


def test_only_its_owner_and_admin_stop_an_operation(locked: Gateway) -> None:
    script = (Started(), Wait(30), Delta("x"), Finished())
    for stopper, status in (("app", 200), ("operator", 200)):
        locked.scripts.only("plain", script)
        body = {**BODY, "stream": True}
        with locked.http.stream("POST", "/v1/generate", json=body, headers=bearer("app")) as held:
            operation_id = held.headers["x-request-id"]
            eventually(lambda: bool(locked.scripts.calls("plain")))
            path = f"/v1/operations/{operation_id}"
            assert locked.http.get(path, headers=bearer("other")).status_code == 404
            assert locked.http.get(path, headers=bearer("finance")).json()["status"] == "running"
            cancel = f"{path}/cancel"
            assert locked.http.post(cancel, headers=bearer("other")).status_code == 404
            for reader in ("finance", "both"):
                assert locked.http.post(cancel, headers=bearer(reader)).status_code == 403
            assert locked.http.get(path, headers=bearer("app")).json()["status"] == "running"
            stopped = locked.http.post(cancel, headers=bearer(stopper))
            assert (stopped.status_code, stopped.json()["status"]) == (status, "cancelled")


def test_keys_and_words_are_never_logged_or_kept(
    locked: Gateway, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    locked.scripts.says("plain", "a secret answer")
    with caplog.at_level(logging.DEBUG):
        for headers in (bearer("app"), {"authorization": "Bearer sig_wrong-key"}):
            body = {**BODY, "input": "a secret prompt"}
            locked.http.post("/v1/generate", json=body, headers=headers)
        locked.http.get("/v1/costs", headers=bearer("app"))  # waits for the shipper's log line
    said = caplog.text + "".join(capfd.readouterr())
    kept = b"".join(file.read_bytes() for file in locked.data_dir.rglob("*") if file.is_file())
    for secret in ("sig_app-key-1", "sig_wrong-key", "a secret prompt", "a secret answer"):
        assert secret not in said and secret.encode() not in kept
