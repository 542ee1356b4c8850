"""Where a request goes, and what it hears of the choice."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from providers.contract import (
    BootTimeout,
    Delta,
    Finished,
    RateLimited,
    Started,
    UpstreamFailed,
    Usage,
)
from providers.testing import Wait
from providers.testing.scripted import Step
from tests.gateway_app.conftest import KEYS
from tests.gateway_app.gateways import Gateway, running_gateway

END = (Started(), Delta("hi"), Finished(("stop",), Usage(10, 20)))


def priced(name: str, output_usd: str | None, **more: Any) -> dict[str, Any]:
    price = None
    if output_usd is not None:
        price = {
            "usd_per_million_input_tokens": output_usd,
            "usd_per_million_output_tokens": output_usd,
        }
    return {"provider": "scripted", "model": name, "price": price, **more}


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    three = ["dear", "cheap", "unpriced"]
    tree = {
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            "dear": priced("dear", "10"),
            "cheap": priced("cheap", "1"),
            "unpriced": priced("unpriced", None),
        },
        "models": {
            "any": {"deployments": three},
            "ordered": {"deployments": three, "strategy": "priority"},
            "shared": {
                "deployments": three,
                "strategy": "weighted",
                "weights": {"dear": 3, "cheap": 1, "unpriced": 0},
            },
        },
    }
    with running_gateway(tree, tmp_path_factory.mktemp("routed")) as running:
        for name in three:
            running.scripts.only(name, END)
        yield running


@pytest.fixture(autouse=True)
def mended(routed: Gateway) -> None:
    for name in ("dear", "cheap", "unpriced"):
        routed.scripts.only(name, END)
        routed.answer(f"deployment:{name}")  # one success opens a circuit again


def chosen(gateway: Gateway, model: str, **routing: Any) -> Any:
    return gateway.answer(model, routing=routing)["deployment"]


def test_the_default_takes_the_least_cost_where_all_are_as_warm(routed: Gateway) -> None:
    assert chosen(routed, "any") == "cheap"


def test_the_order_of_the_configuration(routed: Gateway) -> None:
    assert chosen(routed, "ordered") == "dear"
    assert chosen(routed, "any:priority") == "dear"
    assert chosen(routed, "any", strategy="priority") == "dear"
    assert routed.answer("ordered:cheapest")["deployment"] == "cheap"
    assert routed.error("ordered:dearest")[0] == 404


def test_weights(routed: Gateway) -> None:
    seen = [routed.answer("shared")["deployment"] for _ in range(80)]
    assert "unpriced" not in seen and seen.count("dear") > seen.count("cheap") > 0


def test_only_and_ignore(routed: Gateway) -> None:
    assert chosen(routed, "any", only=["dear"]) == "dear"
    assert chosen(routed, "any", ignore=["cheap"]) == "dear"
    assert chosen(routed, "any", only=["scripted"], ignore=["cheap", "dear"]) == "unpriced"
    status, error = routed.error("any", routing={"only": ["elsewhere"]})
    assert (status, error["code"]) == (400, "no_deployment_left")


def test_a_ceiling_on_the_cost(routed: Gateway) -> None:
    status, error = routed.error("any", routing={"max_cost_usd": "0.000000001"})
    assert (status, error["code"]) == (402, "max_cost_exceeded")
    assert "unpriced: its price is not known" in error["message"]
    bounded = {"parameters": {"max_output_tokens": 20}, "routing": {"max_cost_usd": "0.0003"}}
    assert routed.answer("ordered", **bounded)["deployment"] == "cheap"


def test_the_ceiling_holds_while_an_answer_is_made(routed: Gateway) -> None:
    """Nothing bounds its output: it is cut when what it has made is worth the ceiling."""
    endless: tuple[Step, ...] = (
        Started(),
        *(Delta("word " * 200) for _ in range(2000)),
        Finished(("stop",)),
    )
    routed.scripts.only("cheap", endless)
    events = routed.stream("any", routing={"max_cost_usd": "0.01", "only": ["cheap"]})
    error = events[-1].data["error"]
    assert (events[-1].name, error["code"]) == ("error", "budget_exceeded")
    assert "max_cost_usd" in error["message"] and "set that limit itself" in error["message"]
    assert 0.005 < float(error["cost"]["known_usd"]) <= 0.01
    # it was this request's own: the next one has one of its own
    routed.scripts.only("cheap", END)
    assert chosen(routed, "any", max_cost_usd="0.01", only=["cheap"]) == "cheap"


def test_without_fallbacks_the_first_failure_is_the_answer(routed: Gateway) -> None:
    routed.scripts.only("cheap", (UpstreamFailed(),), END)
    status, _ = routed.error("any", routing={"allow_fallbacks": False})
    assert status == 502
    routed.scripts.only("cheap", (UpstreamFailed(),), END)
    assert chosen(routed, "any") == "dear"


def test_a_callers_own_deadline(routed: Gateway) -> None:
    routed.scripts.only("cheap", (Started(), Wait(30), Finished()))
    began = time.monotonic()
    status, error = routed.error("any", routing={"deadline_seconds": 0.2, "only": ["cheap"]})
    assert (status, error["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - began < 10


def test_a_dry_run_spends_nothing(routed: Gateway) -> None:
    lines, calls = len(routed.journal()), len(routed.scripts.history)
    told = routed.answer("any", dry_run=True, routing={"ignore": ["dear"]})
    assert told["order"] == ["cheap", "unpriced"] and told["chosen"] == "cheap"
    by_name = {x["deployment"]: x for x in told["candidates"]}
    assert by_name["dear"]["excluded"] == "ignored"
    assert by_name["unpriced"]["expected_usd"] is None  # never 0
    assert float(by_name["cheap"]["expected_usd"]) > 0
    assert by_name["cheap"]["p_warm"] is not None
    assert (len(routed.journal()), len(routed.scripts.history)) == (lines, calls)
    body = {
        "model": "any",
        "messages": [{"role": "user", "content": "x"}],
        "gateway": {"dry_run": True, "routing": {"strategy": "priority"}},
    }
    assert routed.http.post("/v1/chat/completions", json=body).json()["chosen"] == "dear"


def test_an_operation_explains_its_choice(routed: Gateway) -> None:
    answer = routed.answer("any")
    told = routed.operation(answer["id"])
    assert told["candidates"] == answer["candidates"]
    assert [x["deployment"] for x in told["candidates"]] == ["dear", "cheap", "unpriced"]
    dear, cheap, unpriced = (x["expected_usd"] for x in told["candidates"])
    assert float(dear) > float(cheap) and unpriced is None
    assert "candidates" not in routed.answer("deployment:cheap")  # there was nothing to choose


def test_a_deployment_that_fails_is_left_alone_for_a_while(routed: Gateway) -> None:
    routed.scripts.only("cheap", (UpstreamFailed(),))
    for _ in range(5):
        assert chosen(routed, "any") == "dear"
    calls = len(routed.scripts.calls("cheap"))
    assert chosen(routed, "any") == "dear"
    assert len(routed.scripts.calls("cheap")) == calls  # not even asked
    (told,) = [x for x in routed.get("/v1/deployments")["data"] if x["name"] == "cheap"]
    assert told["closed"] == "it fails"
    # with nowhere else to go it is asked all the same, and one success opens it again
    routed.scripts.only("cheap", END)
    assert chosen(routed, "any", only=["cheap"]) == "cheap"
    assert chosen(routed, "any") == "cheap"


def test_a_boot_is_no_failure(routed: Gateway) -> None:
    routed.scripts.only("cheap", (BootTimeout(),))
    for _ in range(8):
        chosen(routed, "any")
    assert len(routed.scripts.calls("cheap")) == 8


def test_one_that_asks_for_a_pause_gets_it(routed: Gateway) -> None:
    routed.scripts.only("cheap", (RateLimited(retry_after_seconds=60),))
    assert [chosen(routed, "any") for _ in range(3)] == ["dear"] * 3
    assert len(routed.scripts.calls("cheap")) == 1


def test_cordon_and_uncordon(routed: Gateway) -> None:
    def post(name: str, verb: str) -> Any:
        return routed.http.post(f"/v1/deployments/{name}/{verb}")

    assert post("cheap", "cordon").json()["cordoned"] is True
    assert chosen(routed, "any") == "dear"
    status, error = routed.error("deployment:cheap")
    assert (status, error["code"]) == (503, "deployments_cordoned")
    assert post("cheap", "uncordon").json()["cordoned"] is False
    assert chosen(routed, "any") == "cheap"
    assert post("nowhere", "cordon").status_code == 404
    refused = post("cheap", "warm")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "cannot_be_warmed")


def test_who_may_look_and_who_may_act(locked: Gateway) -> None:
    def status(method: str, path: str, name: str) -> int:
        headers = {"authorization": f"Bearer {KEYS[name][0]}"}
        return locked.http.request(method, f"/v1/deployments{path}", headers=headers).status_code

    assert status("GET", "", "finance") == 200 and status("GET", "", "app") == 403
    for verb, name in itertools.product(("cordon", "uncordon", "warm"), ("app", "finance")):
        assert status("POST", f"/plain/{verb}", name) == 403


@pytest.mark.parametrize(
    ("routing", "code", "param"),
    [
        ({"a": 1}, "unknown_field", "routing.a"),
        ({"hedge": "yes"}, "invalid_value", "routing.hedge"),
        ({"max_cost_usd": 0.01}, "invalid_value", "routing.max_cost_usd"),  # money is text
        ({"deadline_seconds": 0}, "invalid_value", "routing.deadline_seconds"),
        ({"strategy": "random"}, "invalid_value", "routing.strategy"),
        ({"if_cold": "maybe"}, "invalid_value", "routing.if_cold"),
    ],
)
def test_a_wish_that_is_none(routed: Gateway, routing: Any, code: str, param: str) -> None:
    status, error = routed.error("any", routing=routing)
    assert (status, error["code"], error["param"]) == (400, code, param)
