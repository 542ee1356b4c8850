"""``/`` and HEAD: what somebody tries first."""

from __future__ import annotations

import http.client
import re

import pytest

from tests.gateway_app.gateways import Gateway


def test_a_browser_gets_a_page_whose_links_lead_somewhere(gateway: Gateway) -> None:
    page = gateway.http.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    links = re.findall(r'href="([^"]+)"', page.text)
    assert {"dashboard", "docs", "docs/guides", "docs/guides.css", "openapi.json"} <= set(links)
    for link in links:
        assert gateway.http.get(f"/{link}", follow_redirects=True).status_code == 200, link
    assert "v1/generate" in page.text


def test_a_program_gets_the_same_as_json(gateway: Gateway) -> None:
    answer = gateway.http.get("/", headers={"accept": "*/*"})  # as curl says
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["generate"] == "POST /v1/generate"
    for name in ("models", "dashboard", "docs", "openapi", "health"):
        assert gateway.http.get(told[name]).status_code == 200, name


def test_the_entrance_asks_for_no_key(locked: Gateway) -> None:
    assert locked.http.get("/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/healthz", "/readyz", "/metrics", "/dashboard", "/docs", "/openapi.json"),
        *("/v1/models", "/v1/costs", "/v1/models/plain", "/dashboard/static/dashboard.css"),
        "/docs/start.js",
    ],
)
def test_head_is_get_without_the_body(gateway: Gateway, path: str) -> None:
    got = gateway.http.get(path)
    head = gateway.http.head(path)
    assert got.status_code == head.status_code == 200
    assert got.content and not head.content
    assert head.headers["content-type"] == got.headers["content-type"]
    assert "content-length" in head.headers


def test_head_sends_no_byte_of_a_body(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    for path, status in (("/healthz", 200), ("/v1/nothing", 404), ("/v1/generate", 405)):
        connection.request("HEAD", path)  # on one connection: a byte too many would be the next's
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, b"")
    connection.close()


def test_head_asks_for_a_key_where_get_does(locked: Gateway) -> None:
    assert locked.http.head("/v1/costs").status_code == 401
