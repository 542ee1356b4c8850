"""The same call again, by its Idempotency-Key: one run, one bill, the same answer."""

from __future__ import annotations

import asyncio
import itertools
import threading
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from providers.contract import Delta, Finished, RateLimited, Started, UpstreamFailed, Usage
from providers.testing import Wait
from tests.gateway_app.conftest import configuration
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)
from tests.gateway_app.test_leaving import stopped

USAGE = Usage(input_tokens=10, output_tokens=40)
ANSWER = (Started(), Delta("one "), Delta("two"), Finished(("stop",), USAGE))
SLOWLY = (Started(), Delta("one "), Wait(0.2), Delta("two"), Finished(("stop",), USAGE))
_numbers = itertools.count()


@pytest.fixture
def key() -> dict[str, str]:
    return {"idempotency-key": f"key-{next(_numbers)}"}


def ask(
    gateway: Gateway, key: dict[str, str], model: str = "plain", **fields: Any
) -> httpx.Response:
    body = {"model": model, "input": "Hi", **fields}
    return gateway.http.post("/v1/generate", json=body, headers=key)


def test_a_repeat_gets_the_answer_back_and_costs_nothing(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", ANSWER)
    first = ask(gateway, key, parameters={"seed": 1, "temperature": 0}).json()
    lines = len(gateway.journal())
    response = ask(gateway, key, parameters={"temperature": 0, "seed": 1})  # the order is no matter
    again = response.json()
    assert len(scripts.calls("plain")) == 1 and len(gateway.journal()) == lines
    assert again["output"] == first["output"] and again["usage"] == first["usage"]
    assert again["id"] == again["replayed_from"] == first["id"]
    assert again["cost"]["total_usd"] == "0" and again["attempts"] == []
    assert first["cost"]["total_usd"] != "0" and "replayed_from" not in first
    assert response.headers["x-gateway-cost-usd"] == "0"
    assert gateway.operation(first["id"])["cost"] == first["cost"]


def test_a_repeated_stream_is_the_same_stream(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", ANSWER)
    streams = []
    for _ in range(2):
        body = {"model": "plain", "input": "Hi", "stream": True}
        with gateway.http.stream("POST", "/v1/generate", json=body, headers=key) as response:
            streams.append([event for event in events_of(response) if event.name != ":"])
    first, again = streams
    assert len(scripts.calls("plain")) == 1
    assert first[:-1] == again[:-1]
    assert (again[-1].name, again[-1].id) == ("finished", first[-1].id)
    assert again[-1].data["output"] == first[-1].data["output"]
    assert again[-1].data["cost"]["total_usd"] == "0"


@pytest.mark.parametrize("model", ["warm", "tools"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_openai_sdk_repeats_a_call(
    gateway: Gateway, chat_emulator: Any, key: dict[str, str], model: str, stream: bool
) -> None:
    began = chat_emulator.began(model)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none") as client:

        def call() -> list[Any]:
            create: Any = client.chat.completions.create
            answer = create(
                model=model,
                messages=[{"role": "user", "content": "hi"}],
                extra_headers=key,
                stream=stream,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            )
            return [part.model_dump() for part in (answer if stream else [answer])]

        first, again = call(), call()
    assert chat_emulator.began(model) == began + 1
    assert [part["choices"] for part in again] == [part["choices"] for part in first]
    assert again[-1]["id"] == first[-1]["id"]
    assert (first[-1]["usage"]["cost"] > 0, again[-1]["usage"]["cost"]) == (True, 0)
    assert again[-1]["usage"]["replayed_from"] == first[-1]["id"]
    assert again[-1]["usage"]["completion_tokens"] == first[-1]["usage"]["completion_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_whoever_comes_meanwhile_joins_the_run(
    gateway: Gateway, scripts: Scripts, key: dict[str, str], stream: bool
) -> None:
    scripts.only("plain", SLOWLY)
    said: list[str] = []

    def call() -> None:
        said.append(ask(gateway, key, stream=stream).text)

    callers = [threading.Thread(target=call) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert len(said) == 5 and len(scripts.calls("plain")) == 1
    (row,) = gateway.last_rows("plain")
    for text in said:
        assert row["operation_id"] in text and "two" in text
        assert "replayed_from" not in text  # they share the operation, and its bill is one


def test_callers_on_one_event_loop_start_one_run(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", SLOWLY)

    async def burst() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as http:
            body = {"model": "plain", "input": "burst"}
            calls = (http.post("/v1/generate", json=body, headers=key) for _ in range(40))
            return await asyncio.gather(*calls)

    answers = asyncio.run(burst())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(scripts.calls("plain")) == 1


def test_another_body_with_the_same_key_is_refused(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", SLOWLY)
    with gateway.http.stream(
        "POST", "/v1/generate", json={"model": "plain", "input": "Hi"}, headers=key
    ):
        for moment in ("meanwhile", "afterwards"):
            if moment == "afterwards":
                eventually(lambda: not gateway.running())
            else:
                eventually(lambda: bool(scripts.calls("plain")))
            refused = ask(gateway, key, input="Something else")
            assert refused.status_code == 422, moment
            error = refused.json()["error"]
            assert (error["code"], error["param"]) == ("idempotency_key_reused", "idempotency-key")
    assert len(scripts.calls("plain")) == 1
    assert ask(gateway, key, stream=True).status_code == 422  # a stream is another answer


def test_a_failure_frees_the_key(gateway: Gateway, scripts: Scripts, key: dict[str, str]) -> None:
    scripts.only("plain", (UpstreamFailed(may_have_run=True),), ANSWER)
    assert ask(gateway, key).status_code == 502
    assert ask(gateway, key).json()["status"] == "succeeded"
    assert ask(gateway, key).json()["replayed_from"]
    assert len(scripts.calls("plain")) == 2


def test_a_refusal_at_the_door_frees_the_key(gateway: Gateway, key: dict[str, str]) -> None:
    assert ask(gateway, key, model="nowhere").status_code == 404
    gateway.scripts.says("plain")
    assert ask(gateway, key).status_code == 200


def test_those_who_joined_hear_of_a_failure_too(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", (Wait(0.15), RateLimited(retry_after_seconds=60)))
    statuses: list[int] = []
    callers = [
        threading.Thread(target=lambda: statuses.append(ask(gateway, key).status_code))
        for _ in range(3)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert statuses == [429] * 3 and len(scripts.calls("plain")) == 1


def test_a_lost_connection_is_taken_up_again(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", (Started(), Delta("one "), Wait(0.4), Delta("two"), Finished()))
    body = {"model": "plain", "input": "Hi", "stream": True}
    with gateway.http.stream("POST", "/v1/generate", json=body, headers=key) as response:
        events = events_of(response)
        wait_for_event(events, "delta")
    # within the grace the run goes on, and whoever comes back hears it from the begin
    with gateway.http.stream("POST", "/v1/generate", json=body, headers=key) as response:
        texts = [event.data["text"] for event in events_of(response) if event.name == "delta"]
    assert texts == ["one ", "two"] and len(scripts.calls("plain")) == 1


def test_after_the_grace_the_work_is_stopped(tmp_path: Path, key: dict[str, str]) -> None:
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0.1
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.only("plain", (Started(), Delta("one "), Wait(30), Finished()), ANSWER)
        body = {"model": "plain", "input": "Hi", "stream": True}
        with gateway.http.stream("POST", "/v1/generate", json=body, headers=key) as response:
            wait_for_event(events_of(response), "delta")
        took = eventually(lambda: stopped(gateway, "plain"))
        assert took > 0.05
        eventually(lambda: not gateway.running())
        assert gateway.last_rows("plain")[0]["status"] == "cancelled"
        assert ask(gateway, key, stream=True).status_code == 200  # the key is free again
        assert len(gateway.scripts.calls("plain")) == 2


def test_an_answer_outlives_a_restart(tmp_path: Path, key: dict[str, str]) -> None:
    tree = configuration("http://127.0.0.1:9")
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.says("plain", "once")
        first = ask(gateway, key).json()
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.says("plain", "twice")
        again = ask(gateway, key).json()
        assert again["output"][0]["text"] == "once" and again["replayed_from"] == first["id"]
        assert not gateway.scripts.calls("plain")


def test_a_stream_too_long_to_be_kept_is_not_paid_for_twice(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", (*(Delta("x" * 1_000_000) for _ in range(12)), Finished()))
    assert ask(gateway, key, stream=True).status_code == 200
    again = ask(gateway, key, stream=True)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "answer_not_kept")
    assert len(scripts.calls("plain")) == 1


@pytest.mark.parametrize("bad", ["", "x" * 256, "tab\tinside"])
def test_a_key_that_is_none(gateway: Gateway, bad: str) -> None:
    response = ask(gateway, {"idempotency-key": bad})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "idempotency-key"


def test_routes_have_keys_of_their_own(
    gateway: Gateway, scripts: Scripts, key: dict[str, str]
) -> None:
    scripts.only("plain", ANSWER)
    body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
    assert ask(gateway, key).status_code == 200
    chat = gateway.http.post("/v1/chat/completions", json=body, headers=key)
    assert chat.status_code == 200 and len(scripts.calls("plain")) == 2
