"""``routing.hedge``: a second deployment beside one that shows nothing; one answer, two
rows in the books.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.execution.hedging import UNKNOWN_QUIET_SECONDS
from providers.contract import (
    Booting,
    Delta,
    Queued,
    Started,
    UpstreamFailed,
)
from providers.testing import Wait
from tests.gateway_app.gateways import (
    Gateway,
    events_of,
    wait_for_event,
)
from tests.gateway_app.hedged import (
    COLD,
    END,
    HEDGE,
    NEVER,
    booked,
    freshen,
    racing_gateway,
    told,
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with racing_gateway(tmp_path_factory.mktemp("two")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(two: Gateway) -> None:
    freshen(two)


def test_a_cold_first_is_hedged_at_once_and_the_first_with_output_answers(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    answer = two.answer("two", routing=HEDGE)
    assert (answer["deployment"], answer["output"][0]["text"]) == ("b", "hi")
    assert booked(two, answer) == [("a", "lost_hedge"), ("b", "succeeded")]
    loser, winner = two.rows(answer["id"])[0], two.rows(answer["id"])[1]
    assert {loser["deployment"], winner["deployment"]} == {"a", "b"}
    loser = next(row for row in two.rows(answer["id"]) if row["deployment"] == "a")
    # what it shows is its own: cold by what it said, no output, the seconds of its boot
    assert (loser["verdict"], loser["evidence"]) == ("cold", "phase_reported")
    assert (loser["upstream_id"], loser["error_type"]) == ("job-1", None)
    assert loser["output_tokens"] in (None, 0) and loser["first_output_seconds"] is None
    assert [line["kind"] for line in loser["cost_lines"]][-1] == "boot_seconds"
    assert two.scripts.calls("a")[0].outcome == "cancelled"
    assert (told(answer, "b") or "").startswith("asked after 0.")


def test_one_that_is_warm_is_not_hedged(two: Gateway) -> None:
    two.answer("deployment:calm")
    answer = two.answer("calm", routing=HEDGE)
    assert booked(two, answer) == [("calm", "succeeded")]
    assert told(answer, "fresh") is None and not two.scripts.calls("fresh")


def test_silence_beyond_the_usual_first_output_is_hedged(two: Gateway) -> None:
    for _ in range(8):
        two.answer("deployment:calm")  # its first outputs come within milliseconds
        two.answer("deployment:fresh")
    two.scripts.only("calm", (NEVER, *END))
    answer = two.answer("calm", routing=HEDGE)
    assert booked(two, answer) == [("calm", "lost_hedge"), ("fresh", "succeeded")]
    after = float((told(answer, "fresh") or "").split()[2])
    assert after < UNKNOWN_QUIET_SECONDS  # the time of one of which nothing is known


def test_the_first_wins_where_it_shows_something_before_the_second(two: Gateway) -> None:
    two.scripts.only("a", (Booting("phase_reported"), Wait(0.3), *END))
    two.scripts.only("b", (NEVER,))
    answer = two.answer("two", routing=HEDGE)
    assert booked(two, answer) == [("a", "succeeded"), ("b", "lost_hedge")]
    assert answer["cold_start"]["verdict"] == "cold"
    assert two.scripts.calls("b")[0].outcome == "cancelled"


def test_a_stream_tells_of_both_and_has_the_text_of_one(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", (Queued(), *END))
    events = two.stream("two", routing=HEDGE)
    by_name = {event.name: event.data for event in events}
    assert by_name["booting"]["attempt_id"] != by_name["delta"]["attempt_id"]
    assert [event.data["text"] for event in events if event.name == "delta"] == ["hi"]
    finished = by_name["finished"]
    assert booked(two, finished) == [("a", "lost_hedge"), ("b", "succeeded")]


def test_openais_dialect_has_the_same_wish(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    body = {
        "model": "two",
        "messages": [{"role": "user", "content": "x"}],
        "gateway": {"routing": HEDGE},
    }
    answer = two.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "hi"
    assert booked(two, two.operation(answer.json()["id"])) == [
        ("a", "lost_hedge"),
        ("b", "succeeded"),
    ]


def test_a_failure_of_one_leaves_the_answer_to_the_other(two: Gateway) -> None:
    two.scripts.only("a", (Booting("phase_reported"), Wait(0.3), *END))
    two.scripts.only("b", (UpstreamFailed(),))
    answer = two.answer("two", routing=HEDGE)
    assert booked(two, answer) == [("a", "succeeded"), ("b", "failed")]
    two.scripts.only("a", (Booting("phase_reported"), Wait(0.05), UpstreamFailed()))
    two.scripts.only("b", (Wait(0.15), *END))
    answer = two.answer("two", routing=HEDGE)
    assert booked(two, answer) == [("a", "failed"), ("b", "succeeded")]


def test_when_both_fail_so_does_the_operation(two: Gateway) -> None:
    two.scripts.only("a", (Booting("phase_reported"), Wait(0.05), UpstreamFailed()))
    two.scripts.only("b", (UpstreamFailed(),))
    status, error = two.error("two", routing=HEDGE)
    assert status == 502
    assert booked(two, two.operation(error["operation_id"])) == [("a", "failed"), ("b", "failed")]


def test_the_winner_that_breaks_off_is_the_answer_that_broke_off(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", (Started(), Delta("hi"), UpstreamFailed()))
    status, error = two.error("two", routing=HEDGE)
    assert (status, error["code"]) == (502, "stream_interrupted")
    assert booked(two, two.operation(error["operation_id"])) == [
        ("a", "lost_hedge"),
        ("b", "failed"),
    ]


@pytest.mark.parametrize(
    ("model", "second", "why"),
    [
        ("three", "stubborn", "its provider cannot stop the work of one who loses"),
        ("full", "narrow", "it has no place free"),
    ],
)
def test_why_it_is_not_done_is_told(two: Gateway, model: str, second: str, why: str) -> None:
    two.scripts.only("a", (Booting("phase_reported"), Wait(0.05), *END))
    two.scripts.only("narrow", (Started(), Delta("."), NEVER))
    with two.streaming("deployment:narrow") as response:
        events = events_of(response)  # held: letting it go hangs up
        wait_for_event(events, "delta")
        answer = two.answer(model, routing=HEDGE)
    assert told(answer, second) == f"not asked: {why}"
    assert told(two.operation(answer["id"]), second) == f"not asked: {why}"


def test_a_ceiling_that_has_no_room_for_two(two: Gateway) -> None:
    two.scripts.only("a", (Booting("phase_reported"), Wait(0.3), *END))
    # a is expected to take a second at most, at 0.01 USD; its slice is ten seconds
    answer = two.answer("two", routing={**HEDGE, "max_cost_usd": "0.15"})
    assert booked(two, answer) == [("a", "succeeded")]
    assert "no room" in (told(answer, "b") or "")
    answer = two.answer("two", routing={**HEDGE, "max_cost_usd": "0.5"})
    assert len(booked(two, answer)) == 2


@pytest.mark.parametrize(
    ("model", "routing", "said"),
    [
        ("alone", {}, "two deployments"),
        ("two", {"only": ["a"]}, "two deployments"),
        ("two", {"allow_fallbacks": False}, "allow_fallbacks is false"),
        ("stubborn", {}, "stops work"),
    ],
)
def test_a_wish_that_can_never_be_honoured_is_refused(
    two: Gateway, model: str, routing: Any, said: str
) -> None:
    status, error = two.error(model, routing={**HEDGE, **routing})
    assert (status, error["code"], error["param"]) == (400, "hedge_impossible", "routing.hedge")
    assert said in error["message"] and not two.scripts.calls("a")


def test_what_can_be_stopped_only_whole_is_hedged_only_whole(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    answer = two.answer("whole", routing=HEDGE)
    assert booked(two, answer) == [("a", "lost_hedge"), ("whole", "succeeded")]
    with two.streaming("whole", routing=HEDGE) as response:
        assert response.status_code == 400


def test_a_lost_hedge_is_no_failure(two: Gateway) -> None:
    def learned() -> tuple[int, int]:
        (told,) = two.get("/v1/warmth", deployment="a")["data"]
        return told["evidence"]["cold"], told["boot_seconds"]["observed"]

    two.scripts.only("a", COLD)
    cold, boots = learned()
    for _ in range(6):
        two.answer("two", routing=HEDGE)
    (shown,) = [x for x in two.get("/v1/deployments")["data"] if x["name"] == "a"]
    assert shown["closed"] is None and shown["running"] == 0
    # that it was cold is true, how long a boot takes was not seen
    assert learned() == (cold + 6, boots)
