"""Callers whose own deadline comes during a boot: told to come back, to the run that goes on."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.clock import Clock
from gateway.execution.results import KeptAnswer, Results, told_scope
from gateway.execution.run import Run
from providers.contract import Booting, Delta, Finished, Started, Usage
from providers.testing import Until, Wait
from tests.gateway_app.conftest import KEYS, configuration
from tests.gateway_app.gateways import Event, Gateway, eventually, running_gateway

BOOT = Booting("process_started", True)
END = (Started(), Delta("at last"), Finished(("stop",), Usage(10, 20)))
METRICS: dict[str, Any] = {
    "url": "/metrics",
    "headers": {"authorization": f"Bearer {KEYS['finance'][0]}"},
}
ROUTING = {"deadline_seconds": 0.3}


def body(question: str, **more: Any) -> dict[str, Any]:
    """A call of a test's own: the same one, sent again, would join what another has begun."""
    return {"model": "plain", "input": question, "routing": ROUTING, **more}


def booting(seconds: float) -> tuple[Any, ...]:
    return (BOOT, Wait(seconds), *END)


class Gated:
    """A boot, or work, that ends when a test says so."""

    def __init__(self, gateway: Gateway) -> None:
        self._loop = gateway.loop
        self._over = asyncio.Event()
        self.step = Until(self._over)

    def ends(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["keep_alive_seconds"] = 10
    with running_gateway(tree, tmp_path_factory.mktemp("late")) as running:
        yield running


def told(response: httpx.Response) -> Any:
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "cold_start_timeout"), response.text
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["x-request-id"] == error["operation_id"]
    return error["operation_id"]


@pytest.mark.parametrize("key", [{}, {"idempotency-key": "late"}])
@pytest.mark.parametrize("policy", ["cancel", "park"])
def test_the_boot_goes_on_and_is_paid_once(late: Gateway, key: dict[str, str], policy: str) -> None:
    boot = Gated(late)
    late.scripts.only("plain", (BOOT, boot.step, *END))
    lines = len(late.journal())
    key = {name: f"{value} {policy}" for name, value in key.items()}

    def ask() -> httpx.Response:
        asked = body("once", on_disconnect=policy)
        return late.http.post("/v1/generate", json=asked, headers=key)

    operation_id = told(ask())
    assert late.operation(operation_id)["status"] == "running"
    assert told(ask()) == operation_id  # the same call, sent again, waits with it
    boot.ends()
    eventually(lambda: not late.running())
    answer = ask().json()
    assert (answer["id"], answer["output"][0]["text"]) == (operation_id, "at last")
    (call,) = late.scripts.calls("plain")
    assert call.outcome == "finished"
    assert [line["kind"] for line in late.journal()[lines:]] == ["begin", "end"]
    (row,) = late.last_rows("plain")
    assert (row["status"], row["verdict"], row["caused_boot"]) == ("succeeded", "cold", True)
    assert 0 < row["unattended_seconds"] < row["boot_seconds"]  # since the second has left
    # nobody has to come back for it
    assert late.operation(operation_id)["output"][0]["text"] == "at last"


def test_the_provider_is_not_told_to_stop_at_that_time(late: Gateway) -> None:
    boot = Gated(late)
    late.scripts.only("plain", (BOOT, boot.step, *END))
    told(late.http.post("/v1/generate", json=body("stop?")))
    boot.ends()
    eventually(lambda: not late.running())
    given = late.scripts.calls("plain")[0].request.deadline_seconds
    assert given is not None and given > 800


def test_for_one_who_never_comes_back_it_costs_the_deployments_own_time_at_most(
    late: Gateway,
) -> None:
    """And its row says how much of that nobody waited for."""
    late.scripts.only("brief", (BOOT, Wait(60)))
    call = {"model": "brief", "input": "never back", "routing": {"deadline_seconds": 0.1}}
    operation_id = told(late.http.post("/v1/generate", json=call))
    eventually(lambda: not late.running())
    operation = late.operation(operation_id)
    assert (operation["status"], late.scripts.calls("brief")[0].outcome) == ("failed", "cancelled")
    timing = operation["timing"]
    assert 0 < timing["unattended_seconds"] < timing["total_seconds"]
    (row,) = late.last_rows("brief")
    assert row["unattended_seconds"] == timing["unattended_seconds"]


def test_each_of_several_gets_an_answer_of_its_own(late: Gateway) -> None:
    boot = Gated(late)
    late.scripts.only("plain", (BOOT, boot.step, *END))
    calls = [body(f"{number}") for number in range(2)]
    ids = [told(late.http.post("/v1/generate", json=call)) for call in calls]
    boot.ends()
    eventually(lambda: not late.running())
    answers = [late.http.post("/v1/generate", json=call).json()["id"] for call in calls]
    assert answers == ids and len(set(ids)) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_the_sdk_comes_back_by_itself(late: Gateway, stream: bool) -> None:
    late.scripts.only("plain", booting(0.9))
    with openai.OpenAI(base_url=f"{late.url}/v1", api_key="none") as sdk:
        create: Any = sdk.chat.completions.create
        answer = create(
            model="plain",
            messages=[{"role": "user", "content": "Hi"}],
            stream=stream,
            extra_body={"gateway": {"routing": ROUTING}},
        )
        if stream:
            text = "".join(part.choices[0].delta.content or "" for part in answer)
        else:
            text = answer.choices[0].message.content
    assert text == "at last"
    assert len(late.scripts.calls("plain")) == 1
    (row,) = late.last_rows("plain")
    assert (row["status"], row["verdict"]) == ("succeeded", "cold")


def test_a_stream_that_has_begun_ends_in_an_error_and_can_be_had_again(late: Gateway) -> None:
    boot = Gated(late)
    late.scripts.only("plain", (BOOT, boot.step, *END))

    def said() -> list[Event]:
        events = late.stream("plain", "in pieces", routing=ROUTING)
        return [event for event in events if event.name != ":"]

    first = said()
    assert [event.name for event in first] == ["created", "booting", "error"]
    error = first[-1].data["error"]
    assert error["code"] == "cold_start_timeout" and error["retry_after_seconds"] >= 1
    boot.ends()
    eventually(lambda: not late.running())
    again = said()
    assert [event.name for event in again] == ["created", "booting", "started", "delta", "finished"]
    assert again[-1].data["id"] == error["operation_id"]
    assert len(late.scripts.calls("plain")) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_one_who_came_back_and_whose_time_ends_in_the_work(late: Gateway, stream: bool) -> None:
    """The boot was outlasted, the work is not: it goes on without the caller, and is kept."""
    boot, work = Gated(late), Gated(late)
    late.scripts.only("plain", (BOOT, boot.step, Started(), work.step, *END[1:]))
    if stream:
        operation_id = late.stream(**body("slow"))[-1].data["error"]["operation_id"]
        boot.ends()
        error = late.stream(**body("slow"))[-1].data["error"]
    else:
        operation_id = told(late.http.post("/v1/generate", json=body("slow")))
        boot.ends()
        response = late.http.post("/v1/generate", json=body("slow"))
        error = response.json()["error"]
        assert response.status_code == 504
    assert (error["code"], error["operation_id"]) == ("deadline_exceeded", operation_id)
    work.ends()
    eventually(lambda: not late.running())
    assert late.operation(operation_id)["output"][0]["text"] == "at last"
    assert len(late.scripts.calls("plain")) == 1


def test_one_who_was_answered_at_once_has_set_a_bound_to_the_operation(late: Gateway) -> None:
    late.scripts.only("plain", booting(30))
    prefer = {"prefer": "respond-async"}
    accepted = late.http.post("/v1/generate", json=body("later"), headers=prefer)
    eventually(lambda: not late.running())
    found = late.get(accepted.headers["location"])
    assert (found["status"], found["error"]["code"]) == ("failed", "cold_start_timeout")
    assert late.scripts.calls("plain")[0].outcome == "cancelled"


def test_what_is_parked_can_be_stopped(late: Gateway) -> None:
    late.scripts.only("plain", booting(30), END)
    operation_id = told(late.http.post("/v1/generate", json=body("stopped")))
    assert late.http.delete(f"/v1/operations/{operation_id}").status_code == 204
    assert late.last_rows("plain")[-1]["status"] == "cancelled"
    assert late.http.post("/v1/generate", json=body("stopped")).json()["id"] != operation_id


def test_nobody_comes_back_to_the_wait(tmp_path: Path) -> None:
    """One that waits for another's boot has asked nobody, and costs nothing."""
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0
    with running_gateway(tree, tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        gateway.scripts.only("plain", (BOOT, Wait(0.05), *END), (BOOT, Wait(60)))
        gateway.answer("plain")  # a boot takes no longer than that
        first = pool.submit(gateway.generate, "plain")
        eventually(lambda: gateway.get("/v1/deployments")["data"][0]["state"] == "booting")
        status, _ = gateway.error("plain", routing={"deadline_seconds": 0.1})
        assert (status, gateway.running()) == (503, 2)
        eventually(lambda: gateway.running() == 1)
        operation = gateway.get("/v1/operations", status="running")["data"][0]
        assert gateway.http.delete(f"/v1/operations/{operation['id']}").status_code == 204
        assert first.result().status_code == 499 and len(gateway.scripts.calls("plain")) == 2


def test_one_who_was_told_and_does_not_come_back_is_forgotten(tmp_path: Path) -> None:
    """Though another waits for the same operation, and gets its answer."""
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0
    with running_gateway(tree, tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        boot = Gated(gateway)
        gateway.scripts.only("plain", (BOOT, Wait(0.05), *END), (BOOT, boot.step, *END), END)
        gateway.answer("plain")  # a boot takes no longer than that

        def ask(**headers: str) -> httpx.Response:
            told = {"idempotency-key": "shared", **headers}
            return gateway.http.post("/v1/generate", json=asked, headers=told)

        asked = {"model": "plain", "input": "shared"}
        stays = pool.submit(ask)
        eventually(lambda: gateway.get("/v1/deployments")["data"][0]["state"] == "booting")
        operation_id = told(ask(**{"x-stainless-read-timeout": "0.2"}))
        (run,) = (x for x in gc.get_objects() if isinstance(x, Run) and x.id == operation_id)
        left = weakref.ref(run)
        del run
        boot.ends()
        assert stays.result().json()["id"] == operation_id

        def is_free() -> bool:
            gc.collect()
            return left() is None

        eventually(is_free)
        again = gateway.http.post("/v1/generate", json=asked)  # it has no key: another call
        assert again.json()["id"] != operation_id


def test_one_whose_turn_comes_before_it_is_back(tmp_path: Path) -> None:
    """It is sent; when it should have been back and is not, its ``on_disconnect`` holds."""
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0
    with running_gateway(tree, tmp_path) as gateway, ThreadPoolExecutor(1) as pool:
        boot = Gated(gateway)
        works = (Started(), Wait(60), *END[1:])
        gateway.scripts.only("plain", (BOOT, Wait(0.05), *END), (BOOT, boot.step, *END), works)
        gateway.answer("plain")  # a boot takes no longer than that
        first = pool.submit(gateway.generate, "plain")
        eventually(lambda: gateway.get("/v1/deployments")["data"][0]["state"] == "booting")
        operation_id = told(gateway.http.post("/v1/generate", json=body("its turn")))
        boot.ends()
        assert first.result().status_code == 200
        eventually(lambda: len(gateway.scripts.calls("plain")) == 3)
        eventually(lambda: gateway.running() == 0)
        assert gateway.scripts.calls("plain")[2].outcome == "cancelled"
        assert gateway.operation(operation_id)["status"] == "cancelled"


def test_what_is_parked_is_for_the_same_call_of_the_same_key(locked: Gateway) -> None:
    """Whatever the SDK counts: another body, or another key, is another operation."""
    boot = Gated(locked)
    locked.scripts.only("plain", (BOOT, boot.step, *END), END)
    calls = [("app", "same"), ("app", "another"), ("other", "same")]

    def ask(name: str, question: str) -> httpx.Response:
        key = {"authorization": f"Bearer {KEYS[name][0]}", "x-stainless-retry-count": "1"}
        return locked.http.post("/v1/generate", json=body(question), headers=key)

    ids = [told(ask(*call)) for call in calls]
    assert len(set(ids)) == 3
    assert told(ask(*calls[0])) == ids[0]
    seen = {}
    for name in ("app", "other", "finance"):
        key = {"authorization": f"Bearer {KEYS[name][0]}"}
        (held,) = locked.http.get("/v1/operations", headers=key).json()["held"]
        seen[name] = (held["deployment"], held["operations"])
    # the first of each key boots it or waits for that; a key sees its own
    assert seen == {"app": ("plain", 1), "other": ("plain", 1), "finance": ("plain", 2)}
    boot.ends()
    eventually(lambda: "gateway_operations_running 0" in locked.http.get(**METRICS).text)
    assert [ask(*call).json()["id"] for call in calls] == ids
    assert len(locked.scripts.calls("plain")) == 3


@pytest.mark.parametrize("hours", [1, -1])
def test_the_wall_clock_is_set_while_callers_wait(tmp_path: Path, hours: int) -> None:
    """Their time is measured by another one, and so are the seconds that are booked."""
    moved_us = 0
    clock = Clock(wall_us=lambda: time.time_ns() // 1000 + moved_us)
    tree = configuration("http://127.0.0.1:9")
    with running_gateway(tree, tmp_path, clock=clock) as gateway, ThreadPoolExecutor(3) as pool:
        boot = Gated(gateway)
        gateway.scripts.only("plain", (BOOT, boot.step, *END), END)
        stays = pool.submit(gateway.answer, "plain")
        eventually(lambda: gateway.get("/v1/deployments")["data"][0]["state"] == "booting")
        began = time.monotonic()
        waits = pool.submit(gateway.http.post, "/v1/generate", json=body("waits"))
        eventually(lambda: gateway.running() == 2)
        moved_us = hours * 3_600_000_000
        operation_id = told(waits.result())
        assert 0.3 <= time.monotonic() - began < 10
        assert told(gateway.http.post("/v1/generate", json=body("waits"))) == operation_id
        boot.ends()
        timing = stays.result()["timing"]
        assert 0 < timing["boot_seconds"] <= timing["total_seconds"] < 60
        eventually(lambda: not gateway.running())
        assert gateway.http.post("/v1/generate", json=body("waits")).json()["id"] == operation_id
        assert len(gateway.scripts.calls("plain")) == 2


def test_the_next_gateway_gives_each_answer_to_one_who_has_not_had_it(tmp_path: Path) -> None:
    """One was fetched before the restart, and one while it was being written down; the third, a
    stream, is told from its begin.
    """
    tree = configuration("http://127.0.0.1:9")
    fetched, streamed = body("fetched"), body("not yet", stream=True)
    meanwhile = body("meanwhile")
    with running_gateway(tree, tmp_path) as gateway:
        boot = Gated(gateway)
        gateway.scripts.only("plain", (BOOT, boot.step, *END))
        first = told(gateway.http.post("/v1/generate", json=fetched))
        second = gateway.stream(**streamed)[-1].data["error"]["operation_id"]
        boot.ends()
        eventually(lambda: not gateway.running())
        assert gateway.http.post("/v1/generate", json=fetched).json()["id"] == first
        boot = Gated(gateway)
        gateway.scripts.only("plain", (BOOT, boot.step, *END))
        third = told(gateway.http.post("/v1/generate", json=meanwhile))
        database = sqlite3.connect(tmp_path / "results.sqlite3", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")  # it can be read, and takes no writes
        boot.ends()
        eventually(lambda: gateway.journal()[-1]["kind"] == "end")
        with ThreadPoolExecutor(1) as pool:
            comes = pool.submit(gateway.http.post, "/v1/generate", json=meanwhile)
            for _ in range(5):  # it is there by then
                gateway.operation(third)
            database.close()
            assert comes.result().json()["id"] == third
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.only("plain", END)
        assert gateway.http.post("/v1/generate", json=fetched).json()["id"] != first
        assert gateway.http.post("/v1/generate", json=meanwhile).json()["id"] != third
        again, anew = (gateway.stream(**streamed) for _ in range(2))
        assert again[0].data["id"] == again[-1].data["id"] == second
        assert {"booting", "started", "delta"} <= {event.name for event in again}
        assert anew[-1].data["id"] != second and len(gateway.scripts.calls("plain")) == 3


async def test_an_answer_that_is_handed_out_while_it_is_written_is_not_told_any_more(
    tmp_path: Path,
) -> None:
    results = Results(tmp_path / "results.sqlite3", keep_seconds=60)
    answer = KeptAnswer("gen_1", None, told_scope("call", "gen_1"), None, 1_000, b"{}")
    writes = asyncio.create_task(results.keep(answer))
    await asyncio.sleep(0)
    assert await results.hand_out("gen_1", 1_001) == answer
    await writes
    assert await results.told(1_002) == [] and await results.find("gen_1", 1_002) is not None
    await results.aclose()
