"""``POST /v1/generate``: the JSON answer, the stream of events, and that both say the same."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from providers.contract import Accepted, Booting, Delta, Finished, Output, Queued, Started, Usage
from providers.testing import Wait
from tests.gateway_app.gateways import Gateway, Scripts, events_of

USAGE = Usage(input_tokens=12, output_tokens=40, cached_input_tokens=0)


def total_of_lines(cost: Any) -> Decimal:
    return sum((Decimal(line["usd"]) for line in cost["lines"]), Decimal(0))


def without_ids_and_times(operation: Any) -> Any:
    told = {k: v for k, v in operation.items() if k not in ("id", "created_at", "timing")}
    told["cold_start"] = {**told["cold_start"], "idle_before_seconds": None, "boot_seconds": None}
    told["attempts"] = [{**attempt, "id": None} for attempt in told["attempts"]]
    return told


def test_the_answer_in_json(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Delta("Hello, "), Delta("world"), Finished(("stop",), USAGE)))
    response = gateway.generate("plain", tags={"team": "search"})
    answer = response.json()
    assert answer["id"].startswith("gen_") and len(answer["id"]) == 26
    assert answer["model"] == answer["deployment"] == "plain"
    assert answer["provider"] == "scripted"
    assert answer["created_at"].endswith("Z")
    assert answer["status"] == "succeeded"
    assert answer["output"] == [{"type": "text", "text": "Hello, world"}]
    assert answer["finish_reason"] == "stop"
    assert answer["usage"] == {
        "input_tokens": 12,
        "output_tokens": 40,
        "cached_input_tokens": 0,
        "source": "reported",
        "sources": {"input_tokens": "reported", "output_tokens": "reported"},
    }
    assert answer["cold_start"]["verdict"] == "unknown"
    assert answer["tags"] == {"team": "search"}
    (attempt,) = answer["attempts"]
    assert attempt["id"].startswith("att_")
    assert attempt | {"id": None} == {
        "id": None,
        "deployment": "plain",
        "status": "succeeded",
        "upstream_id": None,
        "cost_usd": answer["cost"]["total_usd"],
        "verdict": "unknown",
    }
    timing = answer["timing"]
    assert timing["queue_seconds"] is timing["boot_seconds"] is timing["wait_seconds"] is None
    assert 0 < timing["first_output_seconds"] <= timing["total_seconds"]
    assert 0 < timing["gateway_seconds"] < timing["total_seconds"]

    headers = response.headers
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == answer["id"]
    assert headers["x-gateway-provider"] == "scripted"
    assert headers["x-gateway-cost-usd"] == answer["cost"]["total_usd"]
    assert headers["x-gateway-cost-status"] == "measured"
    assert headers["x-gateway-cold-start"] == "unknown"
    assert "total;dur=" in headers["server-timing"]


def test_the_provider_gets_what_was_asked(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("plain")
    parameters = {"max_output_tokens": 64, "temperature": 0.5, "top_p": 0.9, "stop": ["x"]}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi ✓"}]
    answer = gateway.answer("plain", messages, parameters={**parameters, "seed": 7})
    (call,) = scripts.calls("plain")
    given = call.request
    assert given.input == messages and given.dialect is None and not given.extra
    assert given.request_id == answer["id"]
    assert given.parameters.max_output_tokens == 64 and given.parameters.seed == 7
    assert given.parameters.temperature == 0.5 and given.parameters.top_p == 0.9
    assert given.parameters.stop == ("x",)
    assert given.deadline_seconds is not None and 890 < given.deadline_seconds <= 900


def test_cost_lines_add_up_to_the_last_digit(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("plain", usage=Usage(input_tokens=1_234_567, output_tokens=7_654_321))
    cost = gateway.answer("plain")["cost"]
    assert cost["status"] == "measured" and cost["range_usd"] is None
    assert [line["kind"] for line in cost["lines"]] == ["input_tokens", "output_tokens"]
    assert [line["quantity"] for line in cost["lines"]] == ["1234567", "7654321"]
    assert cost["lines"][0]["price_id"].startswith("config:plain@")
    expected = Decimal(1_234_567) * Decimal("0.05") / 10**6
    expected += Decimal(7_654_321) * Decimal("0.07") / 10**6
    assert Decimal(cost["total_usd"]) == total_of_lines(cost) == expected
    assert cost["known_usd"] == cost["total_usd"]


def test_seconds_cost_what_the_clock_says(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only(
        "seconds",
        (Booting("process_started", True), Wait(0.03), Started(), Wait(0.02), *text("hi")),
    )
    answer = gateway.answer("seconds")
    cost, timing = answer["cost"], answer["timing"]
    quantities = {line["kind"]: Decimal(line["quantity"]) for line in cost["lines"]}
    assert quantities == {
        "execute_seconds": Decimal(str(timing["execute_seconds"])),
        "boot_seconds": Decimal(str(timing["boot_seconds"])),
    }
    assert timing["boot_seconds"] >= 0.029 and timing["execute_seconds"] >= 0.019
    assert Decimal(cost["total_usd"]) == total_of_lines(cost)
    assert Decimal(cost["total_usd"]) == sum(quantities.values()) * Decimal("0.0001")


def test_unknown_is_null_and_never_zero(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("unpriced")
    response = gateway.generate("unpriced")
    cost = response.json()["cost"]
    assert cost["total_usd"] is None and cost["status"] == "unknown"
    assert cost["known_usd"] == "0" and cost["range_usd"] == {"low": "0", "high": None}
    assert "x-gateway-cost-usd" not in response.headers
    assert response.json()["attempts"][0]["cost_usd"] is None


def test_counts_that_nobody_gave_are_estimates(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("plain", usage=Usage(input_tokens=5))
    answer = gateway.answer("plain")
    assert answer["usage"]["source"] == "mixed"
    assert answer["usage"]["sources"] == {"input_tokens": "reported", "output_tokens": "estimated"}
    assert answer["usage"]["cached_input_tokens"] is None
    cost = answer["cost"]
    assert cost["status"] == "estimated"
    low, high = Decimal(cost["range_usd"]["low"]), Decimal(cost["range_usd"]["high"])
    assert low < Decimal(cost["total_usd"]) < high
    assert [line["status"] for line in cost["lines"]] == ["measured", "estimated"]


def test_every_kind_of_output(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only(
        "plain",
        (
            Delta("hm", channel="reasoning"),
            Delta("A"),
            Delta("B", index=1),
            Output("json", value={"a": [1]}),
            Output("image", data=b"\x89PNG", media_type="image/png"),
            Output("file", url="https://files.example/1", media_type="text/csv"),
            Finished(("stop", "length"), USAGE),
        ),
    )
    assert gateway.answer("plain")["output"] == [
        {"type": "reasoning", "text": "hm"},
        {"type": "text", "text": "A"},
        {"type": "text", "text": "B", "index": 1},
        {"type": "json", "value": {"a": [1]}},
        {"type": "image", "media_type": "image/png", "data": "iVBORw=="},
        {"type": "file", "media_type": "text/csv", "url": "https://files.example/1"},
    ]


LIFE = (
    Accepted("job-1"),
    Queued(),
    Booting("phase_reported", True),
    Started("instance-9"),
    Delta("hm", channel="reasoning"),
    Delta("Hello, "),
    Delta("wörld ✓"),
    Output("json", value={"n": 1}),
    Finished(("stop",), USAGE),
)


def test_the_stream_of_events(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", LIFE)
    with gateway.streaming("plain") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        events = [event for event in events_of(response) if event.name != ":"]
    assert [event.name for event in events] == [
        *("created", "accepted", "queued", "booting", "started"),
        *("delta", "delta", "delta", "output", "finished"),
    ]
    assert [event.id for event in events] == list(range(1, 11))
    operation_id = events[0].data["id"]
    assert events[0].data == {"id": operation_id, "model": "plain", "status": "running"}
    assert response.headers["x-request-id"] == operation_id
    (attempt_id,) = {event.data["attempt_id"] for event in events[1:-1]}
    assert events[1].data == {"attempt_id": attempt_id, "upstream_id": "job-1"}
    assert events[3].data["evidence"] == "phase_reported" and events[3].data["caused_boot"] is True
    assert events[4].data["instance_id"] == "instance-9"
    said = [(e.data["type"], e.data["text"]) for e in events if e.name == "delta"]
    assert said == [("reasoning", "hm"), ("text", "Hello, "), ("text", "wörld ✓")]
    assert events[8].data["value"] == {"n": 1}
    finished = events[-1].data
    assert finished["id"] == operation_id and finished["attempts"][0]["id"] == attempt_id
    assert finished["attempts"][0]["upstream_id"] == "job-1"


def test_streamed_and_unstreamed_say_the_same(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", LIFE)
    whole = gateway.answer("plain", tags={"a": "b"})
    streamed = gateway.stream("plain", tags={"a": "b"})[-1]
    assert streamed.name == "finished"
    assert list(streamed.data) == list(whole)
    assert without_ids_and_times(streamed.data) == without_ids_and_times(whole)
    assert set(streamed.data["timing"]) == set(whole["timing"])


def test_events_come_as_they_happen(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Delta("a"), Wait(0.15), Delta("b"), Finished(("stop",), USAGE)))
    stamps = {}
    with gateway.streaming("plain") as response:
        for event in events_of(response):
            stamps[event.data.get("text", event.name) if event.name != ":" else ":"] = (
                time.monotonic()
            )
    assert stamps["b"] - stamps["a"] > 0.1


def test_silence_is_filled_with_comments(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only(
        "plain",
        (
            Wait(0.35),
            *text("x"),
        ),
    )
    names = [event.name for event in gateway.stream("plain")]
    assert names[:3] == ["created", ":", ":"] and names[-2:] == ["delta", "finished"]
    assert 2 <= names.count(":") <= 4


def test_a_failure_is_the_last_event(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", ())
    *_, last = gateway.stream("plain")
    assert last.name == "error" and last.id == 2
    assert last.data["error"]["code"] == "provider_protocol_violation"
    status, error = gateway.error("plain")
    assert status == 502
    same = ("type", "code", "message", "param", "retry_after_seconds", "doc_url")
    assert {k: error[k] for k in same} == {k: last.data["error"][k] for k in same}


def test_money_is_on_disk_before_the_last_byte(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("plain", usage=USAGE)
    answer = gateway.answer("plain")
    (row,) = gateway.rows(answer["id"])
    assert row["status"] == "succeeded" and row["route"] == "generate" and not row["streamed"]
    assert row["cost_pico_usd"] == int(Decimal(answer["cost"]["total_usd"]).scaleb(12))


def text(said: str) -> tuple[Delta, Finished]:
    return Delta(said), Finished(("stop",), USAGE)
