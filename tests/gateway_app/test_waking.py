"""Many callers of one cold deployment: one wakes it, the others wait, and what they are told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from providers.contract import (
    ModelLoading,
    UpstreamFailed,
)
from providers.testing import Until, Wait
from tests.gateway_app.cold import BOOT, IDLE_SECONDS, PRICE, WARM, Cold
from tests.gateway_app.gateways import (
    Event,
    Gateway,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)

DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "own": {},
    "one-place": {"limits": {"max_queued": 1}},
    "light": {"limits": {"max_queued_bytes": 100}},
    "soon-proved": {"limits": {"cold_proof_seconds": 0.2}},
    "late-proved": {"limits": {"cold_proof_seconds": 5}},
    "all-at-once": {"limits": {"max_concurrency_cold": None}},
    "two-at-once": {"limits": {"max_concurrency_cold": 2}},
    "other": {},
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as workers:
        yield workers


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Its deployments are off when they have not been used for an instant."""
    deployments = {
        name: {
            "provider": "scripted",
            "model": name,
            "price": PRICE,
            "keep_alive_seconds": IDLE_SECONDS,
            **more,
        }
        for name, more in DEPLOYMENTS.items()
    }
    deployments["unknown"] = {"provider": "scripted", "model": "unknown"}
    models: dict[str, Any] = {name: {"deployments": [name]} for name in deployments}
    models["both"] = {"deployments": ["one-place", "other"], "strategy": "priority"}
    tree = {
        "server": {"keep_alive_seconds": 0.05},
        "retries": {"attempts_per_deployment": 1},
        "deployments": deployments,
        "models": models,
    }
    with running_gateway(tree, tmp_path_factory.mktemp("cold")) as running:
        yield running


@pytest.fixture
def cold(
    gateway: Gateway, pool: ThreadPoolExecutor, request: pytest.FixtureRequest
) -> Iterator[Cold]:
    found = Cold(gateway, pool, getattr(request, "param", "own"))
    yield found
    found.ready()


def of(name: str) -> pytest.MarkDecorator:
    """The fixture for another deployment."""
    return pytest.mark.parametrize("cold", [name], indirect=True, ids=[name])


def test_one_wakes_it_and_the_others_wait_without_an_attempt(cold: Cold) -> None:
    lines = len(cold.gateway.journal())
    callers = [cold.asks(stream=number % 2 == 1) for number in range(30)]
    cold.queued(29)
    assert cold.calls() == 1
    assert [line["kind"] for line in cold.gateway.journal()[lines:]] == ["begin"]
    cold.ready()
    assert {caller.result().status_code for caller in callers} == {200}
    rows = [x["attempt"] for x in cold.gateway.journal()[lines:] if x["kind"] == "end"]
    assert len(rows) == 30 and {row["status"] for row in rows} == {"succeeded"}
    assert {row["verdict"] for row in rows} == {"cold"}
    assert {row["unattended_seconds"] for row in rows} == {None}
    assert {row["evidence"] for row in rows} == {"process_started"}
    assert sorted(row["caused_boot"] for row in rows) == [False] * 29 + [True]
    for row in rows:
        assert 0 < row["boot_seconds"] <= row["wait_seconds"]
        if not row["caused_boot"]:  # neither the boot nor the wait is theirs to pay
            assert row["held_seconds"] >= row["boot_seconds"]
            assert row["queue_seconds"] is None
            assert [line["kind"] for line in row["cost_lines"]] == ["execute_seconds"]
            assert row["cost_pico_usd"] < row["boot_seconds"] * 1e12
        else:
            assert row["held_seconds"] is None


def test_lists_say_who_is_held_though_no_row_does(cold: Cold) -> None:
    gateway = cold.gateway
    first = cold.wakes()
    assert gateway.get("/v1/operations")["held"] == []
    with gateway.streaming(cold.name) as response:
        events = events_of(response)
        held = wait_for_event(events, "created").data["id"]
        others = [cold.asks() for _ in range(2)]
        cold.queued(3)
        told = gateway.operation(held)
        since = told["held"]["since"]
        assert told["held"] == {"deployment": cold.name, "waits_for": "boot", "since": since}
        assert told["created_at"] <= since
        listed = gateway.get("/v1/operations", status="succeeded")
        assert listed["held"] == [{**told["held"], "operations": 3}]
        assert held not in {operation["id"] for operation in listed["data"]}
        seen = [datetime.fromisoformat(x) for x in (since, cold.state()["queued_since"])]
        assert abs((seen[0] - seen[1]).total_seconds()) < 1
        metrics = gateway.http.get("/metrics").text
        longest = f'gateway_deployment_queued_longest_seconds{{deployment="{cold.name}"}} '
        (line,) = (x for x in metrics.splitlines() if x.startswith(longest))
        assert 0 < float(line.removeprefix(longest)) < 60
        page = gateway.http.get("/dashboard").text
        assert "held, waits for a boot" in page and re.search(r"since \d\d:\d\d:\d\d", page)
        assert "waits for a boot of" in gateway.http.get(f"/dashboard/operations/{held}").text
        page = gateway.http.get("/dashboard/operations").text
        assert f"3 held for {cold.name} since " in page
    cold.ready()
    assert {caller.result().status_code for caller in (first, *others)} == {200}
    assert gateway.get("/v1/operations")["held"] == []
    assert cold.state()["queued_since"] is None


def test_the_answer_tells_of_the_wait_as_what_it_was(cold: Cold) -> None:
    first = cold.wakes()
    second = cold.asks()
    cold.queued(1)
    cold.ready()
    assert first.result().json()["cold_start"]["caused_boot"] is True
    answer = second.result().json()
    told, timing = answer["cold_start"], answer["timing"]
    assert (told["verdict"], told["evidence"], told["caused_boot"]) == (
        *("cold", "process_started"),
        False,
    )
    assert 0 < timing["boot_seconds"] <= timing["held_seconds"] <= timing["wait_seconds"]
    # Waiting is no work of the gateway's: the two lie one after the other.
    assert timing["held_seconds"] + timing["gateway_seconds"] < timing["total_seconds"]
    assert len(answer["attempts"]) == 1


def test_streams_hear_of_the_boot_before_they_have_an_attempt(cold: Cold) -> None:
    with cold.gateway.streaming(cold.name) as before, cold.gateway.streaming(cold.name) as after:
        waking, waiting = events_of(before), events_of(after)
        assert next(waking).name == "created"
        booting = next(event for event in waiting if event.name == "booting")
        assert booting.data["attempt_id"] is None
        assert (booting.data["evidence"], booting.data["caused_boot"]) == ("process_started", False)
        assert 0 <= booting.data["expected_seconds"] < 1
        assert next(waiting).name == ":"  # kept alive
        cold.ready()
        rest: list[Event] = [event for event in waiting if event.name != ":"]
        assert [event.name for event in rest] == ["started", "delta", "finished"]
        assert rest[0].data["attempt_id"].startswith("att_")
        assert rest[-1].data["cold_start"]["caused_boot"] is False
        assert [event.name for event in waking][-1] == "finished"


def test_when_the_wake_fails_the_next_one_wakes(cold: Cold) -> None:
    boom = (BOOT, Until(cold.up), UpstreamFailed())
    cold.plays(boom, (BOOT, Wait(0.1), *WARM))
    first = cold.wakes()
    others = [cold.asks() for _ in range(5)]
    cold.queued(5)
    cold.ready()
    assert first.result().status_code == 502
    eventually(lambda: cold.calls() == 2)
    assert cold.state()["queued"] == 4
    answers = [other.result().json() for other in others]
    assert cold.calls() == 6
    caused = [answer["cold_start"]["caused_boot"] for answer in answers]
    assert sorted(caused) == [False] * 4 + [True]
    (woke,) = (answer for answer in answers if answer["cold_start"]["caused_boot"])
    assert woke["timing"]["boot_seconds"] > 0.09
    (line,) = (x for x in woke["cost"]["lines"] if x["kind"] == "boot_seconds")
    assert abs(float(line["quantity"]) - woke["timing"]["boot_seconds"]) < 1e-6  # its own alone


@of("one-place")
def test_who_finds_no_room_is_told_when_to_come_back(cold: Cold) -> None:
    first, second = cold.wakes(), cold.asks()
    cold.queued(1)
    refused = cold.asks().result()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    cold.gateway.scripts.only("other", WARM)
    elsewhere = cold.asks(model="both").result().json()
    assert elsewhere["deployment"] == "other"
    cold.ready()
    assert {first.result().status_code, second.result().status_code} == {200}


@of("light")
def test_what_waits_is_bounded_in_bytes(cold: Cold) -> None:
    first = cold.wakes(input="a" * 200)  # it does not wait
    second = cold.asks(input="a" * 60)
    cold.queued(1)
    assert cold.asks(input="a" * 41).result().json()["error"]["code"] == "queue_full"
    third = cold.asks(input="a" * 40)
    cold.queued(2)
    cold.ready()
    assert {x.result().status_code for x in (first, second, third)} == {200}


def test_a_deadline_that_comes_in_the_wait(cold: Cold) -> None:
    """Who waits has asked nobody; the same call, sent again, has its place."""
    first = cold.wakes()
    lines = len(cold.gateway.journal())
    told = [cold.asks(routing={"deadline_seconds": 0.1}).result() for _ in range(2)]
    for late in told:
        error = late.json()["error"]
        assert (late.status_code, error["code"]) == (503, "cold_start_timeout")
        assert int(late.headers["retry-after"]) >= 1 and error["cost"] is None
    assert len({late.json()["error"]["operation_id"] for late in told}) == 1
    assert cold.state()["queued"] == 1 and len(cold.gateway.journal()) == lines
    cold.ready()
    assert first.result().status_code == 200
    eventually(lambda: not cold.gateway.running())
    answer = cold.asks(routing={"deadline_seconds": 0.1}).result().json()
    assert answer["id"] == error["operation_id"] and cold.calls() == 2


def test_one_who_hangs_up_in_the_wait_costs_nothing(cold: Cold) -> None:
    first = cold.wakes()
    lines = len(cold.gateway.journal())
    with cold.gateway.streaming(cold.name) as response:
        events = events_of(response)
        assert wait_for_event(events, "booting").data["attempt_id"] is None
    cold.queued(0)
    cold.ready()
    assert first.result().status_code == 200 and cold.calls() == 1
    assert [line["kind"] for line in cold.gateway.journal()[lines:]] == ["end"]


def test_the_waker_hangs_up_and_the_next_one_wakes(cold: Cold) -> None:
    cold.plays((BOOT, Wait(30)), (BOOT, Wait(0.05), *WARM))
    with cold.gateway.streaming(cold.name) as response:
        events = events_of(response)
        assert next(events).name == "created"
        eventually(lambda: cold.state()["state"] == "booting")
        others = [cold.asks() for _ in range(3)]
        cold.queued(3)
    assert {other.result().status_code for other in others} == {200}
    assert cold.calls() == 4


def test_an_sdk_told_to_come_back_joins_its_own_wait(cold: Cold) -> None:
    first = cold.wakes()
    raw = b'{"model": "own", "input": "again"}'
    headers = {
        "content-type": "application/json",
        "x-stainless-retry-count": "0",
        "x-stainless-read-timeout": "0.2",
    }
    told = cold.gateway.http.post("/v1/generate", content=raw, headers=headers)
    assert (told.status_code, told.json()["error"]["code"]) == (503, "cold_start_timeout")
    cold.ready()
    headers["x-stainless-retry-count"] = "1"
    answer = cold.gateway.http.post("/v1/generate", content=raw, headers=headers).json()
    assert answer["id"] == told.json()["error"]["operation_id"]
    assert first.result().status_code == 200 and cold.calls() == 2


def test_a_deployment_of_which_nothing_is_known_holds_nobody_back(
    gateway: Gateway, pool: ThreadPoolExecutor
) -> None:
    up = asyncio.Event()
    gateway.scripts.only("unknown", (Until(up), *WARM))
    callers = [pool.submit(gateway.generate, "unknown") for _ in range(3)]
    eventually(lambda: len(gateway.scripts.calls("unknown")) == 3)
    assert gateway.loop is not None
    gateway.loop.call_soon_threadsafe(up.set)
    assert not any("held_seconds" in caller.result().json()["timing"] for caller in callers)


@of("soon-proved")
def test_one_that_was_thought_off_and_is_up_holds_back_nobody_for_long(cold: Cold) -> None:
    """It says nothing until its work is done: the others wait for proof of a boot, not for that."""
    cold.plays((Until(cold.up), *WARM))
    first = cold.asks()
    eventually(lambda: cold.calls() == 1)
    others = [cold.asks() for _ in range(3)]
    cold.queued(3)
    answers = [other.result().json() for other in others]
    assert not first.done()
    for answer in answers:
        assert answer["cold_start"]["verdict"] == "warm"
        assert 0 < answer["timing"]["held_seconds"] < 1
        assert answer["timing"]["boot_seconds"] is None
    cold.ready()
    assert first.result().status_code == 200


@of("late-proved")
def test_one_that_refuses_while_it_loads_is_asked_by_one_alone(cold: Cold) -> None:
    loading: Any = (ModelLoading(retry_after_seconds=0.02),)
    cold.plays(*([loading] * 20))
    first = cold.wakes()
    others = [cold.asks() for _ in range(10)]
    answers = [other.result().json() for other in others]
    assert first.result().status_code == 200
    assert cold.calls() == 20 + 1 + 10
    assert {answer["cold_start"]["evidence"] for answer in answers} == {"loading_reported"}


@of("all-at-once")
def test_as_many_as_ever_where_the_provider_scales_by_its_queue(cold: Cold) -> None:
    cold.gateway.scripts.only(cold.name, (BOOT, Until(cold.up), *WARM))
    callers = [cold.asks() for _ in range(5)]
    eventually(lambda: cold.calls() == 5)
    cold.ready()
    assert {caller.result().status_code for caller in callers} == {200}


@of("two-at-once")
def test_a_few_may_wake_it(cold: Cold) -> None:
    cold.plays((BOOT, Until(cold.up), *WARM), (BOOT, Until(cold.up), *WARM))
    callers = [cold.asks() for _ in range(6)]
    cold.queued(4)
    assert cold.calls() == 2
    cold.ready()
    assert {caller.result().status_code for caller in callers} == {200}


def test_what_is_known_of_its_warmth_is_not_misled(cold: Cold) -> None:
    """The verdicts of those who waited count as cold, and say nothing of how they found it."""

    def known() -> Any:
        (line,) = (
            x for x in cold.gateway.get("/v1/warmth")["data"] if x["deployment"] == cold.name
        )
        return line

    before = known()
    callers = [cold.asks() for _ in range(10)]
    cold.queued(9)
    cold.ready()
    assert {caller.result().status_code for caller in callers} == {200}
    after = known()
    assert after["evidence"]["cold"] - before["evidence"]["cold"] == 10
    assert after["evidence"]["boots"] - before["evidence"]["boots"] == 1
    assert after["evidence"]["scale_outs"] == before["evidence"]["scale_outs"]
