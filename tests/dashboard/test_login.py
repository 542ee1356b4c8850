"""Who sees the pages, what the cookie is, and that no other page can act through it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from http.cookies import SimpleCookie

import httpx
import pytest

from gateway.http.dashboard.sessions import LIFETIME_SECONDS, Sessions
from tests.dashboard.conftest import END, KEYS, logged_in
from tests.gateway_app.gateways import Gateway

PAGES = ("", "/cost", "/operations", "/cold-starts", "/compare?model=tokens", "/playground")


@pytest.fixture
def finance(guarded: Gateway) -> Iterator[httpx.Client]:
    with closing(logged_in(guarded, "finance")) as client:
        yield client


@pytest.fixture
def operator(guarded: Gateway) -> Iterator[httpx.Client]:
    with closing(logged_in(guarded, "operator")) as client:
        yield client


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", PAGES)
def test_without_a_cookie_there_is_only_the_form(guarded: Gateway, path: str) -> None:
    answer = httpx.get(f"{guarded.url}/dashboard{path}")
    assert answer.status_code == 303
    form = httpx.get(answer.url.join(answer.headers["location"]))
    assert form.status_code == 200 and 'type="password"' in form.text
    assert "gen_" not in form.text and "scripted" not in form.text  # nothing of what lies behind


def test_logging_in_leads_back(guarded: Gateway) -> None:
    with httpx.Client(base_url=guarded.url, follow_redirects=True) as client:
        form = client.get("/dashboard/cost", params={"group_by": "model"})
        found = re.search(r'name="next" value="([^"]+)"', form.text)
        assert found is not None
        where = found[1].replace("&amp;", "&")
        sent = {"key": KEYS["finance"][0], "next": where}
        answer = client.post("/dashboard/login", data=sent)
        assert answer.url.path == "/dashboard/cost" and answer.url.params["group_by"] == "model"


@pytest.mark.parametrize("where", ["https://evil.example", "//evil.example", "/x", "a:b", "..\\x"])
def test_logging_in_leads_nowhere_else(guarded: Gateway, where: str) -> None:
    sent = {"key": KEYS["finance"][0], "next": where}
    answer = httpx.post(f"{guarded.url}/dashboard/login", data=sent)
    assert answer.headers["location"] == "../dashboard"


def test_the_cookie(guarded: Gateway) -> None:
    key = KEYS["finance"][0]
    answer = httpx.post(f"{guarded.url}/dashboard/login", data={"key": key})
    (header,) = answer.headers.get_list("set-cookie")
    (cookie,) = SimpleCookie(header).values()
    assert cookie["httponly"] and cookie["samesite"] == "strict"
    assert len(cookie.value) >= 40 and key not in header
    again = httpx.post(f"{guarded.url}/dashboard/login", data={"key": key})
    assert again.headers["set-cookie"] != header  # random, not made of the key
    kept = b"".join(f.read_bytes() for f in guarded.data_dir.rglob("*") if f.is_file())
    assert cookie.value.encode() not in kept and key.encode() not in kept


def test_the_cookie_stays_on_https(guarded: Gateway) -> None:
    """Where the page came by HTTPS, as a proxy in front of the gateway says."""
    login, sent = f"{guarded.url}/dashboard/login", {"key": KEYS["finance"][0]}
    for scheme, secure in (("https", True), ("http", False)):
        answer = httpx.post(login, data=sent, headers={"x-forwarded-proto": scheme})
        assert ("secure" in answer.headers["set-cookie"].lower()) is secure


def test_a_revoked_key_ends_its_sessions(guarded: Gateway, operator: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {KEYS['operator'][0]}"}
    body = {"name": "brief", "scopes": ["reports"]}
    made = guarded.http.post("/v1/keys", json=body, headers=headers)
    assert made.status_code in (200, 201), made.text
    with httpx.Client(base_url=guarded.url) as client:
        assert client.post("/dashboard/login", data={"key": made.json()["key"]}).status_code == 303
        assert client.get("/dashboard").status_code == 200
        assert guarded.http.delete("/v1/keys/brief", headers=headers).is_success
        answer = client.get("/dashboard")
        assert answer.status_code == 303 and answer.headers["location"].startswith(
            "dashboard/login"
        )


def test_a_session_ends_after_its_time_and_there_are_not_endless_ones() -> None:
    sessions = Sessions()
    first = sessions.begin("digest", 0.0)
    found = sessions.find(first, LIFETIME_SECONDS - 1)
    assert found is not None and found.csrf not in (first, sessions.keyless.csrf)
    assert sessions.find(first, LIFETIME_SECONDS) is None
    ids = [sessions.begin("digest", 0.0) for _ in range(1001)]
    assert len(set(ids)) == 1001
    assert sessions.find(ids[0], 1.0) is None and sessions.find(ids[1], 1.0) is not None


@pytest.mark.parametrize(
    ("key", "status"), [("", 401), ("sig_wrong", 401), (KEYS["app"][0], 403), ("é" * 50, 401)]
)
def test_keys_that_do_not_open_it(guarded: Gateway, key: str, status: int) -> None:
    answer = httpx.post(f"{guarded.url}/dashboard/login", data={"key": key})
    assert answer.status_code == status and "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text


def test_a_cookie_is_no_key_of_the_api(guarded: Gateway, finance: httpx.Client) -> None:
    assert finance.get("/dashboard/cost").status_code == 200
    assert finance.get("/v1/costs").status_code == 401


def test_logging_out(guarded: Gateway, finance: httpx.Client) -> None:
    csrf = csrf_of(finance.get("/dashboard/cost"))
    cookies = dict(finance.cookies)
    assert finance.post("/dashboard/logout", data={"csrf": "x"}).status_code == 403
    assert finance.get("/dashboard/cost").status_code == 200
    assert finance.post("/dashboard/logout", data={"csrf": csrf}).status_code == 303
    assert httpx.get(f"{guarded.url}/dashboard/cost", cookies=cookies).status_code == 303


def test_an_action_needs_the_token_and_the_scope(
    guarded: Gateway, finance: httpx.Client, operator: httpx.Client
) -> None:
    path = "/dashboard/deployments/tokens/cordon"
    token = csrf_of(operator.get("/dashboard"))

    def cordoned() -> bool:
        headers = {"authorization": f"Bearer {KEYS['operator'][0]}"}
        rows = guarded.http.get("/v1/deployments", headers=headers).json()["data"]
        return bool(next(row for row in rows if row["name"] == "tokens")["cordoned"])

    for csrf in ("", "x", csrf_of(finance.get("/dashboard"))):
        answer = operator.post(path, data={"csrf": csrf})
        assert answer.status_code == 403 and "csrf_token_wrong" in answer.text
    foreign = operator.post(path, data={"csrf": token}, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    lacking = finance.post(path, data={"csrf": csrf_of(finance.get("/dashboard"))})
    assert lacking.status_code == 403 and "missing_scope" in lacking.text
    assert not cordoned()
    assert operator.post(path, data={"csrf": token}).status_code == 303
    assert cordoned() and "out of service" in operator.get("/dashboard").text
    assert operator.post(path.replace("cordon", "uncordon"), data={"csrf": token}).is_redirect
    assert not cordoned()
    for wrong, status in (("nobody/cordon", 404), ("tokens/drop", 404), ("tokens/warm", 409)):
        answer = operator.post(f"/dashboard/deployments/{wrong}", data={"csrf": token})
        assert answer.status_code == status and "<h1>" in answer.text


def test_actions_are_shown_to_those_who_may(finance: httpx.Client, operator: httpx.Client) -> None:
    assert "/cordon" in operator.get("/dashboard").text
    assert "/cordon" not in finance.get("/dashboard").text


def test_the_playground_books_on_the_key_that_logged_in(
    guarded: Gateway, finance: httpx.Client, operator: httpx.Client
) -> None:
    body = {"model": "tokens", "input": "hi"}
    token = csrf_of(operator.get("/dashboard/playground"))
    run = "/dashboard/playground/run"
    guarded.scripts.only("tokens", END)
    assert operator.post(run, json=body).status_code == 403
    lacking = finance.post(
        run, json=body, headers={"x-csrf-token": csrf_of(finance.get("/dashboard/playground"))}
    )
    assert lacking.status_code == 403 and not guarded.scripts.calls("tokens")
    answer = operator.post(run, json=body, headers={"x-csrf-token": token})
    assert answer.status_code == 200, answer.text
    (row,) = guarded.rows(answer.json()["id"])
    assert row["key_id"] == "operator"


def test_without_keys_there_is_no_login_but_the_doors_hold(shown: Gateway) -> None:
    assert shown.http.get("/dashboard/login").status_code == 303
    page = shown.http.get("/dashboard")
    assert page.status_code == 200 and "Log out" not in page.text
    for headers in ({"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert shown.http.get("/dashboard", headers=headers).status_code == 403
    path = "/dashboard/deployments/tokens/cordon"
    assert shown.http.post(path, data={"csrf": "x"}).status_code == 403
    assert shown.http.post(path).status_code == 403


def test_a_form_that_is_none(guarded: Gateway) -> None:
    login = f"{guarded.url}/dashboard/login"
    for body in (b"key=" + b"x" * 20_000, b"\xff\xfe", b"&".join([b"a=1"] * 50)):
        assert httpx.post(login, content=body).status_code in (400, 401, 413)
