"""Callers who hang up, ask to stop or read slowly, and a gateway that shuts down."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.execution.operation import LOG_CAP_BYTES
from providers.contract import Accepted, Booting, Delta, Finished, Started, Usage
from providers.testing import Wait
from tests.emulators.openai_chat import OpenAIChat
from tests.gateway_app.conftest import configuration
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)

SOON_SECONDS = 0.5
END = (Delta("hi"), Finished(("stop",), Usage(1, 2)))


def opened(gateway: Gateway, path: str, body: Any) -> socket.socket:
    """A request that is under way; closing the socket is hanging up."""
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    connection.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(raw) + raw)
    return connection


def stopped(gateway: Gateway, model: str) -> bool:
    calls = gateway.scripts.calls(model)
    return bool(calls) and calls[-1].outcome in ("cancelled", "closed")


def check_cancelled(gateway: Gateway, model: str) -> Any:
    (row,) = gateway.last_rows(model)
    assert row["status"] == "cancelled" and row["error_type"] is None
    assert row["completed_at_us"] > row["begun_at_us"]
    assert row["cost_status"] == "estimated" and row["cost_lines"]
    assert 0 <= row["low_pico_usd"] < row["cost_pico_usd"]
    told = gateway.operation(row["operation_id"])
    assert told["status"] == "cancelled" and told["cost"]["status"] == "estimated"
    return row


def test_hanging_up_after_the_third_delta(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Started(), *(Delta("word ") for _ in range(3)), Wait(30), *END))
    with gateway.streaming("plain", "hello there") as response:
        events = events_of(response)  # held: letting it go hangs up
        wait_for_event(events, "delta", nth=3)
    assert eventually(lambda: stopped(gateway, "plain")) < SOON_SECONDS
    eventually(lambda: not gateway.running())  # untimed: the first /metrics of a gateway is slow
    row = check_cancelled(gateway, "plain")
    assert row["output_tokens"] > 0 and row["output_tokens_source"] == "estimated"


def test_hanging_up_on_an_unstreamed_call(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("seconds", (Started(), Wait(30), *END))
    connection = opened(gateway, "/v1/generate", {"model": "seconds", "input": "hi"})
    eventually(lambda: bool(scripts.calls("seconds")))
    time.sleep(0.1)
    connection.close()
    assert eventually(lambda: stopped(gateway, "seconds")) < SOON_SECONDS
    eventually(lambda: not gateway.running())
    (row,) = gateway.last_rows("seconds")
    assert row["status"] == "cancelled"
    # seconds are measured, whoever left
    assert row["cost_status"] == "measured" and row["cost_pico_usd"] >= 0.1 * 100_000_000


def test_hanging_up_on_work_that_cannot_be_stopped(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("uncancellable", (Started(), Delta("word "), Wait(30), *END))
    with gateway.streaming("uncancellable") as response:
        events = events_of(response)
        wait_for_event(events, "delta")
    eventually(lambda: not gateway.running())
    (row,) = gateway.last_rows("uncancellable")
    # it may go on, and bill, as long as the deployment's total time
    assert (row["status"], row["cost_status"]) == ("cancelled", "estimated")
    assert row["low_pico_usd"] == row["cost_pico_usd"] < row["high_pico_usd"]
    assert row["high_pico_usd"] == 900 * 100_000_000


@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
def test_what_cannot_be_stopped_once_it_streams_is_streamed_for_those_who_ask(
    gateway: Gateway, scripts: Scripts, stream: bool
) -> None:
    scripts.only("whole", (Started(), Wait(30), *END))
    body = {"model": "whole", "input": "hi", "stream": stream}
    connection = opened(gateway, "/v1/generate", body)
    eventually(lambda: bool(scripts.calls("whole")))
    connection.close()
    assert eventually(lambda: stopped(gateway, "whole")) < SOON_SECONDS
    eventually(lambda: not gateway.running())
    assert [call.request.stream for call in scripts.calls("whole")] == [stream]
    (row,) = gateway.last_rows("whole")
    assert row["status"] == "cancelled"
    assert row["cost_status"] == ("estimated" if stream else "measured")


def test_everything_else_is_streamed_for_whoever_asks(gateway: Gateway, scripts: Scripts) -> None:
    """So that the gateway sees the work begin, and stall."""
    scripts.only("plain", END)
    gateway.answer("plain")
    assert [call.request.stream for call in scripts.calls("plain")] == [True]


def test_hanging_up_during_a_boot(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("seconds", (Booting("process_started", True), Wait(30), *END))
    with gateway.streaming("seconds") as response:
        events = events_of(response)  # held: letting it go hangs up
        wait_for_event(events, "booting")
    assert eventually(lambda: stopped(gateway, "seconds")) < SOON_SECONDS
    eventually(lambda: not gateway.running())
    (row,) = gateway.last_rows("seconds")
    assert (row["status"], row["verdict"]) == ("cancelled", "cold")
    kinds = {line["kind"]: line["quantity"] for line in row["cost_lines"]}
    assert kinds["execute_seconds"] == "0" and float(kinds["boot_seconds"]) > 0


@pytest.mark.parametrize(
    ("model", "stream"), [("never-answers", False), ("never-answers", True), ("stalls", True)]
)
def test_hanging_up_on_the_chat_route(
    gateway: Gateway, chat_emulator: OpenAIChat, model: str, stream: bool
) -> None:
    began, ended = chat_emulator.began(model), chat_emulator.stopped(model)
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": model, "messages": messages, "stream": stream}
    connection = opened(gateway, "/v1/chat/completions", body)
    eventually(lambda: chat_emulator.began(model) > began)
    time.sleep(0.1)
    connection.close()
    assert eventually(lambda: chat_emulator.stopped(model) > ended) < SOON_SECONDS
    eventually(lambda: not gateway.running())
    check_cancelled(gateway, model)


def test_one_who_leaves_the_queue_spends_nothing(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("narrow", (Started(), Wait(30), *END))
    first = opened(gateway, "/v1/generate", {"model": "narrow", "input": "1"})
    eventually(lambda: len(scripts.calls("narrow")) == 1)
    second = opened(gateway, "/v1/generate", {"model": "narrow", "input": "2"})
    eventually(lambda: gateway.running() == 2)
    # one holds the place, one waits for it: the third is refused, and told when to come back
    response = gateway.generate("narrow")
    assert response.status_code == 503 and response.headers["retry-after"] == "1"
    assert response.json()["error"]["code"] == "queue_full"
    assert response.json()["error"]["cost"] is None
    lines = len(gateway.journal())
    second.close()
    assert eventually(lambda: gateway.running() == 1) < SOON_SECONDS
    assert len(gateway.journal()) == lines
    first.close()
    eventually(lambda: not gateway.running())
    assert len(scripts.calls("narrow")) == 1
    scripts.only("narrow", END)
    assert gateway.answer("narrow")["status"] == "succeeded"  # the place is free again


def test_cancelling_by_id(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Accepted("job-7"), Delta("word "), Wait(30), *END))
    with gateway.streaming("plain") as response:
        events = events_of(response)
        operation_id = wait_for_event(events, "created").data["id"]
        wait_for_event(events, "delta")
        running = gateway.operation(operation_id)
        assert running["status"] == "running" and running["model"] == "plain"
        began = time.monotonic()
        answered = gateway.http.post(f"/v1/operations/{operation_id}/cancel")
        assert time.monotonic() - began < 1.5 and answered.status_code == 200
        told = answered.json()
        assert told["status"] == "cancelled" and told["attempts"][0]["upstream_id"] == "job-7"
        last = wait_for_event(events, "error")
    assert last.data["error"]["code"] == "operation_cancelled"
    assert last.data["error"]["cost"] == told["cost"]
    check_cancelled(gateway, "plain")
    # again: it is answered as it is
    again = gateway.http.post(f"/v1/operations/{operation_id}/cancel").json()
    assert again["status"] == "cancelled" and again["cost"] == told["cost"]


def test_cancelling_somebody_who_waits_unstreamed(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Started(), Wait(30), *END))
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(gateway.generate("plain")))
    thread.start()
    eventually(lambda: bool(scripts.calls("plain")))
    operation_id = scripts.calls("plain")[0].request.request_id
    assert gateway.http.post(f"/v1/operations/{operation_id}/cancel").status_code == 200
    thread.join(5)
    assert answers[0].status_code == 499
    assert answers[0].json()["error"]["code"] == "operation_cancelled"


def test_cancelling_what_waits_for_a_place(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("narrow", (Started(), Wait(30), *END))
    first = opened(gateway, "/v1/generate", {"model": "narrow", "input": "1"})
    eventually(lambda: len(scripts.calls("narrow")) == 1)
    with gateway.streaming("narrow") as response:
        events = events_of(response)  # held: letting it go hangs up
        operation_id = wait_for_event(events, "created").data["id"]
        told = gateway.http.post(f"/v1/operations/{operation_id}/cancel")
        assert (told.status_code, told.json()["status"]) == (200, "cancelled")
    first.close()
    eventually(lambda: not gateway.running())


def test_cancelling_what_is_not_there(gateway: Gateway) -> None:
    response = gateway.http.post("/v1/operations/gen_nothing/cancel")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "operation_not_found"


def test_a_slow_reader_holds_the_upstream_back(gateway: Gateway, scripts: Scripts) -> None:
    piece, pieces = "x" * 1_000_000, 60
    scripts.only("plain", (*(Delta(piece) for _ in range(pieces)), Finished(("stop",))))
    with gateway.streaming("plain") as response:
        events = events_of(response)
        wait_for_event(events, "delta")
        (call,) = scripts.calls("plain")

        def has_settled() -> bool:
            before = len(call.yielded)
            time.sleep(0.05)
            return len(call.yielded) == before

        eventually(has_settled)
        # one log full, one that is being written, the sockets' buffers and the reader's hands
        read_ahead_bytes = len(call.yielded) * len(piece)
        assert read_ahead_bytes < 2 * LOG_CAP_BYTES + 16_000_000
        assert not stopped(gateway, "plain")
        rest = sum(len(event.data["text"]) for event in events if event.name == "delta")
    assert rest == (pieces - 1) * len(piece)  # held back, not lost
    assert gateway.last_rows("plain")[0]["status"] == "succeeded"


def test_a_slow_reader_who_hangs_up(gateway: Gateway, scripts: Scripts) -> None:
    piece = "x" * 1_000_000
    scripts.only("plain", (*(Delta(piece) for _ in range(200)), Finished(("stop",))))
    with gateway.streaming("plain") as response:
        events = events_of(response)  # held: letting it go hangs up
        wait_for_event(events, "delta")
        time.sleep(0.2)
    assert eventually(lambda: stopped(gateway, "plain")) < SOON_SECONDS
    eventually(lambda: not gateway.running())
    assert gateway.last_rows("plain")[0]["status"] == "cancelled"


def test_shutting_down_books_what_runs(tmp_path: Path) -> None:
    with running_gateway(configuration("http://127.0.0.1:9"), tmp_path) as gateway:
        gateway.scripts.only("plain", (Accepted("j"), Delta("word "), Wait(30), *END))
        connection = opened(
            gateway, "/v1/generate", {"model": "plain", "input": "x", "stream": True}
        )
        eventually(lambda: any(line["kind"] == "accepted" for line in gateway.journal()))
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 5
        connection.close()
        (row,) = gateway.last_rows("plain")
        assert row["status"] == "cancelled" and row["cost_pico_usd"] > 0
        assert stopped(gateway, "plain") and gateway.scripts.closed
