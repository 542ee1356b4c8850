"""Callers who wait as long as they say, and SDKs whose retries find the run they have begun."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from providers.contract import Booting, Delta, Finished, Started, Usage
from providers.testing import Until, Wait
from tests.gateway_app.conftest import configuration
from tests.gateway_app.gateways import Gateway, Scripts, eventually, running_gateway

USAGE = Usage(input_tokens=10, output_tokens=20)
END = (Started(), Delta("at last"), Finished(("stop",), USAGE))
BOOT = Booting("process_started", True)
BODY = {"model": "plain", "input": "Hi"}


def booting(seconds: float) -> tuple[Any, ...]:
    return (BOOT, Wait(seconds), *END)


def prefer(gateway: Gateway, said: str, **fields: Any) -> Any:
    headers = {"prefer": said}
    return gateway.http.post("/v1/generate", json={**BODY, **fields}, headers=headers)


@pytest.mark.parametrize("said", ["respond-async", "wait=0", "respond-async, wait=0"])
def test_an_answer_to_be_fetched(gateway: Gateway, scripts: Scripts, said: str) -> None:
    over = asyncio.Event()
    scripts.only("plain", (BOOT, Until(over), *END))
    response = prefer(gateway, said)
    told = response.json()
    assert (response.status_code, told["status"]) == (202, "running")
    assert response.headers["location"] == f"/v1/operations/{told['id']}"
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["preference-applied"] == said
    assert gateway.operation(told["id"])["status"] == "running"
    assert gateway.loop is not None
    gateway.loop.call_soon_threadsafe(over.set)
    eventually(lambda: not gateway.running(), 5)
    fetched = gateway.get(response.headers["location"])
    assert (fetched["status"], fetched["output"][0]["text"]) == ("succeeded", "at last")
    assert fetched["cold_start"]["verdict"] == "cold"
    assert gateway.http.delete(response.headers["location"]).status_code == 204


def test_an_answer_within_the_wait_is_an_answer(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", booting(0.1))
    response = prefer(gateway, "wait=10")
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")


def test_chat_takes_preferences_too(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", booting(0.1))
    body = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"prefer": "respond-async"}
    response = gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert response.status_code == 202
    eventually(lambda: not gateway.running())
    assert gateway.get(response.headers["location"])["output"][0]["text"] == "at last"


@pytest.mark.parametrize("said", ["wait", "wait=-1", "wait=99999", "handling=lenient", ""])
def test_preferences_nobody_knows(gateway: Gateway, said: str) -> None:
    response = prefer(gateway, said)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "prefer"
    assert prefer(gateway, "wait=1", stream=True).status_code == 400


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["keep_alive_seconds"] = 10
    with running_gateway(tree, tmp_path_factory.mktemp("patient")) as running:
        yield running


def client(gateway: Gateway, timeout_seconds: float) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", timeout=timeout_seconds)


MESSAGES: Any = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("stream", [False, True])
def test_an_sdk_whose_patience_is_shorter_than_the_boot(patient: Gateway, stream: bool) -> None:
    """One attempt, one boot, one answer: its own retries join the run that goes on."""
    patient.scripts.only("plain", booting(2.5))
    lines = len(patient.journal())
    with client(patient, 1.0) as sdk:
        create: Any = sdk.chat.completions.create
        answer = create(model="plain", messages=MESSAGES, stream=stream)
        text = (
            "".join(part.choices[0].delta.content or "" for part in answer)
            if stream
            else answer.choices[0].message.content
        )
    assert text == "at last"
    assert len(patient.scripts.calls("plain")) == 1
    assert [line["kind"] for line in patient.journal()[lines:]] == ["begin", "end"]
    (row,) = patient.last_rows("plain")
    assert (row["status"], row["verdict"], row["caused_boot"]) == ("succeeded", "cold", True)


def test_an_sdk_that_hangs_up_before_it_is_told(patient: Gateway) -> None:
    """A client that names no timeout and counts its retries: the second call joins the first."""
    patient.scripts.only("plain", booting(0.5))
    raw = b'{"model": "plain", "input": "once"}'
    headers = {"content-type": "application/json", "x-stainless-retry-count": "0"}
    with pytest.raises(Exception, match="timed out"):
        patient.http.post("/v1/generate", content=raw, headers=headers, timeout=0.2)
    headers["x-stainless-retry-count"] = "1"
    answer = patient.http.post("/v1/generate", content=raw, headers=headers)
    assert answer.json()["output"][0]["text"] == "at last"
    assert len(patient.scripts.calls("plain")) == 1


def test_one_who_was_told_nothing_joins_though_there_is_output(patient: Gateway) -> None:
    """The provider streams to the gateway; of an answer in one piece the caller has no part yet."""
    patient.scripts.only("plain", (Started(), Delta("at "), Wait(0.5), Delta("last"), Finished()))
    raw = b'{"model": "plain", "input": "in one piece"}'
    headers = {"content-type": "application/json", "x-stainless-retry-count": "0"}
    with pytest.raises(Exception, match="timed out"):
        patient.http.post("/v1/generate", content=raw, headers=headers, timeout=0.2)
    headers["x-stainless-retry-count"] = "1"
    answer = patient.http.post("/v1/generate", content=raw, headers=headers)
    assert answer.json()["output"][0]["text"] == "at last"
    assert len(patient.scripts.calls("plain")) == 1


def test_an_answer_that_came_meanwhile_waits_for_the_retry(patient: Gateway) -> None:
    patient.scripts.only("plain", booting(0.25))
    raw = b'{"model": "plain", "input": "meanwhile"}'
    headers = {"content-type": "application/json", "x-stainless-retry-count": "0"}
    with pytest.raises(Exception, match="timed out"):
        patient.http.post("/v1/generate", content=raw, headers=headers, timeout=0.1)
    eventually(lambda: not patient.running())
    headers["x-stainless-retry-count"] = "1"
    answer = patient.http.post("/v1/generate", content=raw, headers=headers)
    assert answer.json()["status"] == "succeeded"
    assert len(patient.scripts.calls("plain")) == 1
    # it was delivered: the next retry of this body is another call's
    assert patient.http.post("/v1/generate", content=raw, headers=headers).status_code == 200
    assert len(patient.scripts.calls("plain")) == 2


def test_two_first_calls_are_two_calls(patient: Gateway) -> None:
    patient.scripts.only("plain", booting(0.2))
    raw = b'{"model": "plain", "input": "the same"}'
    headers = {"content-type": "application/json", "x-stainless-retry-count": "0"}
    answers = asyncio.run(_both(patient.url, raw, headers))
    assert answers[0] != answers[1] and len(patient.scripts.calls("plain")) == 2


async def _both(url: str, raw: bytes, headers: dict[str, str]) -> list[str]:
    import httpx

    async with httpx.AsyncClient(base_url=url) as http:
        calls = [http.post("/v1/generate", content=raw, headers=headers) for _ in range(2)]
        return [answer.json()["id"] for answer in await asyncio.gather(*calls)]


def test_a_caller_told_to_come_back_is_told_when(patient: Gateway) -> None:
    patient.scripts.only("plain", booting(2.0))
    raw = b'{"model": "plain", "input": "told"}'
    headers = {
        "content-type": "application/json",
        "x-stainless-retry-count": "0",
        "x-stainless-read-timeout": "1.0",
    }
    began = time.monotonic()
    response = patient.http.post("/v1/generate", content=raw, headers=headers)
    assert time.monotonic() - began < 1.0
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "cold_start_timeout")
    assert int(response.headers["retry-after"]) >= 1 and error["operation_id"]
    eventually(lambda: not patient.running())
    headers["x-stainless-retry-count"] = "1"
    answer = patient.http.post("/v1/generate", content=raw, headers=headers).json()
    assert answer["id"] == error["operation_id"]


def test_slow_work_is_not_cut_by_a_patience_for_boots(patient: Gateway) -> None:
    patient.scripts.only("plain", (Started(), Wait(0.5), Delta("slow"), Finished()))
    headers = {"x-stainless-retry-count": "0", "x-stainless-read-timeout": "0.2"}
    response = patient.http.post("/v1/generate", json=BODY, headers=headers)
    assert response.status_code == 200


def test_nobody_comes_back(tmp_path: Path) -> None:
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0.1
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.only("plain", booting(30))
        headers = {"x-stainless-retry-count": "0"}
        with pytest.raises(Exception, match="timed out"):
            gateway.http.post("/v1/generate", json=BODY, headers=headers, timeout=0.2)
        eventually(lambda: not gateway.running())
        assert gateway.last_rows("plain")[0]["status"] == "cancelled"


def test_a_booting_event_says_how_long_boots_take(tmp_path: Path) -> None:
    with running_gateway(configuration("http://127.0.0.1:9"), tmp_path) as gateway:
        gateway.scripts.only("plain", booting(0.2))

        def told() -> float | None:
            events = gateway.stream("plain")
            (event,) = [event for event in events if event.name == "booting"]
            expected: float | None = event.data["expected_seconds"]
            return expected

        seen = [told() for _ in range(4)]
        assert seen[0] is None  # nothing was seen yet, and nothing is guessed
        assert seen[-1] is not None and 0.1 < seen[-1] < 0.5, seen


def test_who_was_promised_an_answer_gets_it_whoever_began_the_work(tmp_path: Path) -> None:
    """A first caller who would have it cancelled leaves, and so does one who was told 202."""
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0.2
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.only("plain", booting(0.8))
        key = {"idempotency-key": "promised"}
        with pytest.raises(Exception, match="timed out"):
            gateway.http.post("/v1/generate", json=BODY, headers=key, timeout=0.1)
        told = gateway.http.post(
            "/v1/generate", json=BODY, headers={**key, "prefer": "respond-async"}
        )
        assert told.status_code == 202
        eventually(lambda: not gateway.running())
        fetched = gateway.get(told.headers["location"])
        assert (fetched["status"], fetched["output"][0]["text"]) == ("succeeded", "at last")
        assert len(gateway.scripts.calls("plain")) == 1


@pytest.mark.parametrize("again", [{"x-stainless-retry-count": "1"}, {"idempotency-key": "slow"}])
def test_one_who_comes_back_too_late_begins_anew(tmp_path: Path, again: dict[str, str]) -> None:
    """Work that is being stopped is no answer: whoever comes meanwhile must not join it."""
    tree = configuration("http://127.0.0.1:9")
    tree["server"]["disconnect_grace_seconds"] = 0.05
    stopping = threading.Event()

    async def stops_slowly(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            stopping.set()
            await asyncio.sleep(0.4)  # a provider takes a while to stop a job
            raise

    with running_gateway(tree, tmp_path, Scripts(sleep=stops_slowly)) as gateway:
        gateway.scripts.only("plain", booting(30), END)
        first = {name: value.replace("1", "0") for name, value in again.items()}
        with pytest.raises(Exception, match="timed out"):
            gateway.http.post("/v1/generate", json=BODY, headers=first, timeout=0.3)
        assert stopping.wait(10)
        answer = gateway.http.post("/v1/generate", json=BODY, headers=again)
        assert (answer.status_code, answer.json()["output"][0]["text"]) == (200, "at last")
        eventually(lambda: not gateway.running())
        assert len(gateway.scripts.calls("plain")) == 2
