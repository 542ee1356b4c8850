"""``GET /v1/compare`` after traffic of known cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from providers.contract import Delta, Finished, Started, Usage
from tests.gateway_app.conftest import KEYS
from tests.gateway_app.gateways import Gateway, Scripts

USD = Decimal("0.00019")  # 1000 x 0.05 + 2000 x 0.07, per million


def test_the_requests_of_a_model(gateway: Gateway, scripts: Scripts) -> None:
    script = (Started("i", "scale_state"), Delta("hi"), Finished(("stop",), Usage(1000, 2000)))
    scripts.only("first", script)
    tags = {"mark": "compare"}
    for _ in range(3):
        gateway.answer("both", tags=tags)
    asked: dict[str, Any] = {"model": "both", "tag:mark": "compare"}
    found = gateway.get("/v1/compare", **asked)
    assert found["model"] == "both" and found["traffic"]["requests"] == 3
    by_name = {row["name"]: row for row in found["candidates"]}
    assert by_name.keys() == {"first", "second"}
    assert Decimal(by_name["first"]["total_usd"]) == 3 * USD
    assert by_name["first"]["status"] == "measured"
    assert by_name["first"]["waits"]["cold_rate"] == 0
    assert by_name["second"]["waits"]["p95_seconds"] is None
    assert found["sentence"].startswith("The cheapest for these 3 requests in ")
    limited = gateway.get("/v1/compare", max_wait_p95_seconds="5", **asked)
    assert limited["cheapest"] == "first" and "unknown at second" in limited["sentence"]
    report = gateway.get("/v1/costs", **{"model": "both", "tag:mark": "compare"})
    assert Decimal(report["data"][0]["known_usd"]) == 3 * USD


def test_made_up_traffic_and_an_own_card(gateway: Gateway) -> None:
    found = gateway.get(
        "/v1/compare",
        model="plain",
        requests_per_day="100",
        input_tokens="600",
        output_tokens="200",
        own_gpu="h100",
        capex_usd="30000",
        price=["modal-h100", "modal-l4"],
        shape="llama-3-8b",
    )
    names = {row["name"] for row in found["candidates"]}
    assert names == {"plain", "modal-h100", "modal-l4", "own h100"}
    assert found["traffic"]["origin"] == "what_if"
    assert all(row["total_usd"] is not None for row in found["candidates"])


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"foo": "1"}, "foo"),
        ({"group_by": "model"}, "group_by"),
        ({"bucket_width": "1d"}, "bucket_width"),
        ({"limit": "10"}, "limit"),
        ({"trace": "/etc/passwd"}, "trace"),
        ({"html": "x"}, "html"),
        ({"model": "none"}, "model"),
        ({"model": ""}, "model"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"max_wait_p95_seconds": "-1"}, "max_wait_p95_seconds"),
        ({"max_wait_p95_seconds": "inf"}, "max_wait_p95_seconds"),
        ({"max_wait_p95_seconds": "1" * 5000}, "max_wait_p95_seconds"),
        ({"requests_per_day": "5"}, "input_tokens"),
        ({"requests_per_day": "1e300"}, "requests_per_day"),
        ({"input_tokens": "1.5"}, "input_tokens"),
        ({"price": "none"}, "price"),
        ({"shape": "none"}, "shape"),
        ({"own_gpu": "h100"}, "capex_usd"),
        ({"own_gpu": "h100", "capex_usd": "1e30"}, "capex_usd"),
        ({"capex_usd": "5"}, "capex_usd"),
        ({"places": "0"}, "places"),
        ({"boot_seconds": ["1", "2"]}, "boot_seconds"),
    ],
)
def test_bad_questions(gateway: Gateway, params: dict[str, Any], named: str) -> None:
    response = gateway.http.get("/v1/compare", params={"model": "plain", **params})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", named)


def test_several_models_need_one_named(gateway: Gateway) -> None:
    response = gateway.http.get("/v1/compare")
    assert response.status_code == 400 and response.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("name", "status"), [("app", 403), ("finance", 200), ("operator", 200), ("both", 200)]
)
def test_it_needs_the_scope_reports(locked: Gateway, name: str, status: int) -> None:
    headers = {"authorization": f"Bearer {KEYS[name][0]}"}
    response = httpx.get(
        f"{locked.url}/v1/compare", params={"model": "plain"}, headers=headers, timeout=20
    )
    assert response.status_code == status, response.text
