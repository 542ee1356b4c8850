"""``routing.hedge``: a second deployment beside one that shows nothing; one answer, two
rows in the books.

A ``Wait`` of an hour stands for one that shows nothing: it is over when the attempt is cancelled.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.hedging import UNKNOWN_QUIET_SECONDS
from gateway.racing import LOSER_SECONDS
from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Queued,
    Started,
    UpstreamFailed,
    Usage,
)
from providers.testing import Wait
from providers.testing.scripted import ScriptedDeployment, ScriptedOptions
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)

NEVER = Wait(3600)
END = (Started(evidence="scale_state"), Delta("hi"), Finished(("stop",), Usage(10, 20)))
COLD = (Accepted("job-1"), Booting("phase_reported", caused_boot=True), NEVER)
TOKENS = {"usd_per_million_input_tokens": "1", "usd_per_million_output_tokens": "1"}
SECONDS = {"usd_per_second": "0.01", "bills": ["execute", "boot"]}
HEDGE = {"hedge": True}


class Clings(ScriptedDeployment):
    """Its provider takes its time to hang up, and then says once more that it works."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        try:
            yield Accepted("job-2")
            yield Booting("phase_reported")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(LOSER_SECONDS * 1.3)
            yield Delta("too late")
            yield Finished(("stop",))


class Clinging(Scripts):
    """Scripts, of which one model clings."""

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        return (Clings if model == "clings" else ScriptedDeployment)(self, model, options)


def deployment(name: str, price: Any = TOKENS, **more: Any) -> dict[str, Any]:
    return {"provider": "scripted", "model": name, "price": price, **more}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tree = {
        "server": {"disconnect_grace_seconds": 0.1},
        "retries": {"attempts_per_deployment": 1},
        "deployments": {
            "a": deployment("a", SECONDS),
            "b": deployment("b", SECONDS),
            "calm": deployment("calm", keep_alive_seconds=300),
            "fresh": deployment("fresh", keep_alive_seconds=300),
            "tokens": deployment("tokens"),
            "slow": deployment("slow"),
            "clings": deployment("clings", SECONDS),
            "stubborn": deployment("stubborn", cancels=False),
            "whole": deployment("whole", cancels=False, cancels_whole=True),
            "narrow": deployment("narrow", limits={"max_concurrency": 1}),
        },
        "models": {
            "two": {"deployments": ["a", "b"], "strategy": "priority"},
            "calm": {"deployments": ["calm", "fresh"], "strategy": "priority"},
            "clings": {"deployments": ["clings", "b"], "strategy": "priority"},
            "alone": {"deployments": ["a"]},
            "stubborn": {"deployments": ["a", "stubborn"], "strategy": "priority"},
            "whole": {"deployments": ["a", "whole"], "strategy": "priority"},
            "full": {"deployments": ["a", "narrow"], "strategy": "priority"},
            "three": {"deployments": ["a", "stubborn", "b"], "strategy": "priority"},
            "tokens": {"deployments": ["slow", "tokens"], "strategy": "priority"},
        },
    }
    with running_gateway(tree, tmp_path_factory.mktemp("two"), Clinging()) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(two: Gateway) -> None:
    for name in ("a", "b", "calm", "fresh", "tokens", "stubborn", "whole", "narrow"):
        two.scripts.only(name, END)


def told(answer: Any, deployment: str) -> str | None:
    found = [x for x in answer["candidates"] if x["deployment"] == deployment]
    hedge = found[0].get("hedge")
    assert hedge is None or isinstance(hedge, str)
    return hedge


def booked(gateway: Gateway, answer: Any) -> list[tuple[str, str]]:
    """Deployments and statuses of its attempts, all ended; their costs add up."""
    operation = gateway.operation(answer["id"])
    rows = sorted(gateway.rows(answer["id"]), key=lambda row: row["ordinal"])
    assert len(rows) == len(operation["attempts"])
    assert operation["cost"] == answer["cost"]
    known = sum(row["known_pico_usd"] for row in rows)
    assert Decimal(answer["cost"]["known_usd"]) == Decimal(known) / 10**12
    assert [row["ordinal"] for row in rows] == list(range(len(rows)))
    return [(row["deployment"], row["status"]) for row in rows]


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


def test_hanging_up_stops_both(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", COLD)
    with two.streaming("two", routing=HEDGE) as response:
        eventually(lambda: len(two.scripts.calls("b")) == 1)
        assert response.status_code == 200
    eventually(lambda: not two.running())
    assert [row["status"] for row in two.last_rows("two")] == ["cancelled"] * 2
    assert {call.outcome for name in "ab" for call in two.scripts.calls(name)} == {"cancelled"}


@pytest.mark.parametrize("policy", ["drain", "park"])
def test_what_goes_on_without_its_caller_is_decided_all_the_same(two: Gateway, policy: str) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", (Wait(0.1), *END))
    with two.streaming("two", routing=HEDGE, on_disconnect=policy) as response:
        operation_id = response.headers["x-request-id"]
        eventually(lambda: len(two.scripts.calls("b")) == 1)
    eventually(lambda: not two.running())
    rows = {row["deployment"]: row["status"] for row in two.rows(operation_id)}
    assert rows == {"a": "lost_hedge", "b": "succeeded"}
    kept = two.http.get(f"/v1/operations/{operation_id}").json().get("output")
    assert (kept is not None) is (policy == "park")


def test_a_gateway_that_dies_in_a_race_books_both_afterwards(two: Gateway, tmp_path: Path) -> None:
    """What its death leaves is the journal as it stands: copied while both run."""
    two.scripts.only("a", COLD)
    two.scripts.only("b", COLD)
    with two.streaming("two", routing=HEDGE) as response:
        operation_id = response.headers["x-request-id"]
        eventually(lambda: len(two.scripts.calls("b")) == 1)
        eventually(lambda: "job-1" in str(two.journal()[-2:]))
        shutil.copytree(two.data_dir / "journal", tmp_path / "journal")
    tree = {"deployments": {"b": deployment("b")}, "models": {"two": {"deployments": ["b"]}}}
    with running_gateway(tree, tmp_path) as after:
        told = after.operation(operation_id)
        statuses = [(x["deployment"], x["status"]) for x in told["attempts"]]
        assert statuses == [("a", "interrupted"), ("b", "interrupted")]
        rows = after.rows(operation_id)
        assert (
            sum(row["known_pico_usd"] for row in rows)
            == Decimal(told["cost"]["known_usd"]) * 10**12
        )
        assert told["cost"]["status"] == "estimated" and told["status"] == "interrupted"


def test_the_deadline_ends_both(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", COLD)
    status, error = two.error("two", routing={**HEDGE, "deadline_seconds": 0.2})
    assert (status, error["code"]) == (504, "deadline_exceeded")
    found = booked(two, two.operation(error["operation_id"]))
    assert sorted(found) == [("a", "failed"), ("b", "failed")]


def test_a_budget_that_runs_out_ends_the_one_it_pays_for(two: Gateway) -> None:
    """Both hold money of one ceiling; the text of the one that answers uses it up."""
    two.scripts.only("slow", COLD)
    two.scripts.only(
        "tokens", (Started(), *(Delta("word " * 200) for _ in range(2000)), Finished(("stop",)))
    )
    status, error = two.error("tokens", routing={**HEDGE, "max_cost_usd": "0.01"})
    assert (status, error["code"]) == (402, "budget_exceeded")
    operation = two.operation(error["operation_id"])
    assert booked(two, operation) == [("slow", "lost_hedge"), ("tokens", "failed")]
    assert float(operation["cost"]["known_usd"]) <= 0.01


def test_a_replay_costs_nothing_and_is_the_winners_answer(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    body = {"model": "two", "input": "Hi", "routing": HEDGE}
    first, again = (
        two.http.post("/v1/generate", json=body, headers={"idempotency-key": "hedged"}).json()
        for _ in range(2)
    )
    assert again["replayed_from"] == first["id"] and again["output"] == first["output"]
    assert len(two.scripts.calls("a")) == len(two.scripts.calls("b")) == 1


def test_an_answer_does_not_wait_for_ever_for_the_loser(two: Gateway) -> None:
    """It is told as running, and what it says after it has lost is no part of anything."""
    answer = two.answer("clings", routing={**HEDGE, "max_cost_usd": "1"})
    assert answer["output"] == [{"type": "text", "text": "hi"}]
    statuses = {x["deployment"]: x["status"] for x in answer["attempts"]}
    assert statuses == {"clings": "running", "b": "succeeded"}
    assert (answer["cost"]["total_usd"], answer["cost"]["status"]) == (None, "unknown")
    assert answer["timing"]["total_seconds"] < LOSER_SECONDS
    eventually(lambda: len(two.rows(answer["id"])) == 2)
    rows = {row["deployment"]: row for row in two.rows(answer["id"])}
    assert rows["clings"]["status"] == "lost_hedge" and rows["clings"]["known_pico_usd"] > 0
    operation = two.operation(answer["id"])
    assert operation["cost"]["status"] == "estimated" and operation["status"] == "succeeded"


def test_a_gateway_that_stops_books_the_loser_too(tmp_path: Path) -> None:
    tree = {
        "server": {"drain_seconds": 5},
        "deployments": {"clings": deployment("clings"), "b": deployment("b")},
        "models": {"clings": {"deployments": ["clings", "b"], "strategy": "priority"}},
    }
    with running_gateway(tree, tmp_path, Clinging()) as gateway:
        gateway.scripts.only("b", END)
        answer = gateway.answer("clings", routing=HEDGE)
    assert [row["status"] for row in gateway.rows(answer["id"])] == ["succeeded", "lost_hedge"]


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
