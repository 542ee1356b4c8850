"""Keys that are made, rotated and revoked while the gateway runs, and what a key may do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from providers.contract import Delta, Finished, Usage
from tests.gateway_app.gateways import Gateway, eventually, running_gateway
from tests.gateway_app.limited import (
    ADMIN,
    APP,
    DOLLAR,
    bearer,
    budget,
    deployment,
    tree,
    with_keys,
)

ROOT = bearer(ADMIN)
MINUS = {"limit_usd": "-1", "per": "day"}
BODY = {"model": "plain", "input": "Hi", "parameters": {"max_output_tokens": 2}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    given = tree(
        {name: deployment(name, DOLLAR) for name in ("plain", "fancy")},
        auth=with_keys(models=["plain", "deployment:plain"]),
        budgets=[{"name": "of-app", "limit_usd": "3", "per": "total", "key": "app"}],
    )
    with running_gateway(given, tmp_path_factory.mktemp("keys")) as running:
        running.scripts.only("plain", (Delta("x"), Finished(("stop",), Usage(1, 2))))
        running.scripts.only("fancy", (Delta("x"), Finished(("stop",), Usage(1, 2))))
        yield running


def make(gateway: Gateway, name: str, **fields: Any) -> str:
    response = gateway.http.post("/v1/keys", json={"name": name, **fields}, headers=ROOT)
    assert response.status_code == 201, response.text
    key: str = response.json()["key"]
    return key


def ask(gateway: Gateway, key: str, **fields: Any) -> tuple[int, str]:
    """Status and error code of a call."""
    response = gateway.http.post("/v1/generate", json={**BODY, **fields}, headers=bearer(key))
    return response.status_code, response.json().get("error", {}).get("code", "")


def listed(gateway: Gateway, name: str) -> Any:
    response = gateway.http.get("/v1/keys", headers=ROOT)
    assert response.status_code == 200
    (found,) = [key for key in response.json()["data"] if key["name"] == name]
    return found


def command(gateway: Gateway, *arguments: str) -> str:
    said = CliRunner().invoke(app, ["keys", *arguments, "--data-dir", str(gateway.data_dir)])
    assert said.exit_code == 0, said.output
    return said.output


def shown(said: str) -> str:
    return said.partition("shown only now: ")[2].split()[0]


# -- over HTTP --------------------------------------------------------------------------------


def test_a_key_is_made_shown_once_and_works(gateway: Gateway) -> None:
    key = make(gateway, "one", scopes=["generate", "reports"])
    answer = gateway.http.post("/v1/generate", json=BODY, headers=bearer(key))
    assert answer.status_code == 200
    assert gateway.rows(answer.json()["id"])[0]["key_id"] == "one"
    told = listed(gateway, "one")
    assert (told["status"], told["source"]) == ("active", "store")
    assert told["scopes"] == ["generate", "reports"] and "key" not in told
    everywhere = [file for file in gateway.data_dir.rglob("*") if file.is_file()]
    assert not [file for file in everywhere if key.encode() in file.read_bytes()]
    assert (gateway.data_dir / "keys.sqlite3").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("POST", "/v1/keys/app/rotate"),
        ("DELETE", "/v1/keys/app"),
    ],
)
def test_only_admin_may(gateway: Gateway, method: str, path: str) -> None:
    for headers, status in ((bearer(APP), 403), ({}, 401)):
        response = gateway.http.request(method, path, headers=headers)
        assert response.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/keys", {"name": "root"}, 409, "key_exists"),
        ("POST", "/v1/keys", {"name": "a b"}, 400, "invalid_value"),
        ("POST", "/v1/keys", {"name": "n", "scopes": ["god"]}, 400, "invalid_value"),
        ("POST", "/v1/keys", {"name": "n", "colour": 1}, 400, "unknown_field"),
        ("POST", "/v1/keys", {"name": "n", "expires_at": "2027-01-01T00:00:00"}, 400, None),
        ("POST", "/v1/keys", {"name": "n", "budgets": [MINUS]}, 400, "invalid_value"),
        ("POST", "/v1/keys/app/rotate", {}, 409, "key_is_configured"),
        ("POST", "/v1/keys/nobody/rotate", {}, 404, "key_not_found"),
        ("POST", "/v1/keys/nobody/rotate", {"grace_seconds": -1}, 400, "invalid_value"),
        ("DELETE", "/v1/keys/app", None, 409, "key_is_configured"),
        ("DELETE", "/v1/keys/nobody", None, 404, "key_not_found"),
    ],
)
def test_what_cannot_be_done(
    gateway: Gateway, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    response = gateway.http.request(method, path, json=body, headers=ROOT)
    assert response.status_code == status, response.text
    assert code in (None, response.json()["error"]["code"])


def test_a_name_is_used_once(gateway: Gateway) -> None:
    make(gateway, "once")
    gateway.http.delete("/v1/keys/once", headers=ROOT)
    response = gateway.http.post("/v1/keys", json={"name": "once"}, headers=ROOT)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "key_exists")


def test_a_revoked_key_is_refused_at_once(gateway: Gateway) -> None:
    key = make(gateway, "gone")
    response = gateway.http.delete("/v1/keys/gone", headers=ROOT)
    assert response.json()["status"] == "revoked" and "key" not in response.json()
    assert ask(gateway, key) == (401, "invalid_api_key")
    assert gateway.http.delete("/v1/keys/gone", headers=ROOT).status_code == 404


def test_a_rotated_key_goes_on_for_a_while(gateway: Gateway) -> None:
    old = make(gateway, "turning")
    rotated = gateway.http.post(
        "/v1/keys/turning/rotate", json={"grace_seconds": 3600}, headers=ROOT
    ).json()
    new = rotated["key"]
    assert new != old and rotated["old_secret_until"] is not None
    assert ask(gateway, old) == ask(gateway, new) == (200, "")
    newest = gateway.http.post("/v1/keys/turning/rotate", json={"grace_seconds": 0}, headers=ROOT)
    assert ask(gateway, new) == (401, "api_key_expired")
    assert ask(gateway, old) == (401, "invalid_api_key")
    assert ask(gateway, newest.json()["key"]) == (200, "")


def test_an_expired_key_says_so(gateway: Gateway) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.15)
    key = make(gateway, "brief", expires_at=soon.isoformat())
    eventually(lambda: ask(gateway, key) == (401, "api_key_expired"))
    assert listed(gateway, "brief")["status"] == "expired"


# -- models -----------------------------------------------------------------------------------


def test_a_key_may_be_for_some_models(gateway: Gateway) -> None:
    key = make(gateway, "narrow", models=["fancy"])
    assert ask(gateway, key, model="fancy") == (200, "")
    calls = len(gateway.scripts.calls("plain"))
    for model in ("plain", "deployment:fancy", "deployment:plain"):
        assert ask(gateway, key, model=model) == (403, "model_not_allowed")
    body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
    response = gateway.http.post("/v1/chat/completions", json=body, headers=bearer(key))
    assert response.json()["error"]["code"] == "model_not_allowed"
    assert len(gateway.scripts.calls("plain")) == calls
    models = gateway.http.get("/v1/models", headers=bearer(key)).json()["data"]
    assert [model["id"] for model in models] == ["fancy"]
    assert gateway.http.get("/v1/models/plain", headers=bearer(key)).status_code == 404


def test_a_configured_key_may_be_for_some_models_too(gateway: Gateway) -> None:
    assert ask(gateway, APP, model="fancy") == (403, "model_not_allowed")


# -- budgets of keys --------------------------------------------------------------------------


def test_a_key_comes_with_its_budget(gateway: Gateway) -> None:
    key = make(gateway, "thrifty", budgets=[{"limit_usd": "3", "per": "day"}])
    assert [b["name"] for b in listed(gateway, "thrifty")["budgets"]] == ["key:thrifty:day"]
    assert ask(gateway, key) == (200, "")
    assert ask(gateway, key) == (402, "budget_exceeded")
    assert budget(gateway, "key:thrifty:day", **ROOT)["spent_usd"] == "2"
    gateway.http.delete("/v1/keys/thrifty", headers=ROOT)
    names = [b["name"] for b in gateway.http.get("/v1/budgets", headers=ROOT).json()["data"]]
    assert names == ["of-app"]


def test_a_budget_of_a_configured_key(gateway: Gateway) -> None:
    assert ask(gateway, ADMIN) == ask(gateway, ADMIN) == (200, "")  # it is not about this one
    assert ask(gateway, APP) == (200, "")
    assert ask(gateway, APP) == (402, "budget_exceeded")
    assert budget(gateway, "of-app", **ROOT)["spent_usd"] == "2"


# -- by the command line, while it runs -------------------------------------------------------


def test_what_the_command_line_does_is_noticed_while_it_runs(gateway: Gateway) -> None:
    key = shown(command(gateway, "create", "--name", "cli", "--budget", "3/hour"))
    eventually(lambda: ask(gateway, key)[0] != 401, 10)
    eventually(lambda: ask(gateway, key) == (402, "budget_exceeded"), 10)
    new = shown(command(gateway, "rotate", "cli", "--grace-seconds", "600"))
    eventually(lambda: ask(gateway, new)[0] == 402, 10)
    assert ask(gateway, key)[0] == 402
    assert re.search(r"^cli +generate +active ", command(gateway, "list"), re.M)
    command(gateway, "revoke", "cli")
    eventually(lambda: ask(gateway, new) == (401, "invalid_api_key"), 10)
    assert re.search(r"^cli +generate +revoked ", command(gateway, "list"), re.M)


def test_without_keys_none_is_made_over_http(tmp_path: Path) -> None:
    given = tree({"plain": deployment("plain", DOLLAR)})
    with running_gateway(given, tmp_path) as open_one:
        response = open_one.http.post("/v1/keys", json={"name": "n"})
        assert (response.status_code, response.json()["error"]["code"]) == (409, "keys_are_off")


def test_a_spoilt_file_lets_nobody_in_and_costs_no_key_that_is_known(gateway: Gateway) -> None:
    key = make(gateway, "known")
    file = gateway.data_dir / "keys.sqlite3"
    sound = file.read_bytes()
    file.write_bytes(b"spoilt" * 1000)
    try:
        response = gateway.http.post("/v1/keys", json={"name": "more"}, headers=ROOT)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (503, "keys_unavailable")
        assert "sqlite" not in error["message"]
        assert ask(gateway, key)[0] == 200
    finally:
        file.write_bytes(sound)
    said = CliRunner().invoke(app, ["keys", "create", "--name", "a/b"])
    assert said.exit_code == 1 and "is no name" in str(said.exception)
