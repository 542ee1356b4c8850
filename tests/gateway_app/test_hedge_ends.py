"""Every way in which a race can end, and what the books say then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.execution.racing import LOSER_SECONDS
from providers.contract import (
    Delta,
    Finished,
    Started,
)
from providers.testing import Wait
from tests.gateway_app.gateways import (
    Gateway,
    events_of,
    eventually,
    running_gateway,
)
from tests.gateway_app.hedged import (
    COLD,
    END,
    HEDGE,
    NEVER,
    Clinging,
    booked,
    deployment,
    freshen,
    racing_gateway,
)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with racing_gateway(tmp_path_factory.mktemp("two")) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(two: Gateway) -> None:
    freshen(two)


def test_hanging_up_stops_both(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", COLD)
    with two.streaming("two", routing=HEDGE) as response:
        eventually(lambda: len(two.scripts.calls("b")) == 1)
        assert response.status_code == 200
    eventually(lambda: not two.running())
    assert [row["status"] for row in two.last_rows("two")] == ["cancelled"] * 2
    assert {call.outcome for name in "ab" for call in two.scripts.calls(name)} == {"cancelled"}


def test_a_loser_whose_job_has_no_id_yet_has_it_in_its_books(two: Gateway) -> None:
    """So its provider can be asked what it has cost."""
    two.scripts.only("b", (*COLD[:2], Wait(0.05), *END))
    answer = two.answer("orders", routing=HEDGE)
    eventually(lambda: not two.running())
    loser, winner = sorted(two.rows(answer["id"]), key=lambda row: str(row["status"]))
    assert (loser["status"], loser["upstream_id"]) == ("lost_hedge", "job-9")
    assert (winner["status"], winner["deployment"]) == ("succeeded", "b")


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
    kept = two.operation(operation_id).get("output")
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
        eventually(lambda: after.operation(operation_id)["status"] == "interrupted")
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
    """One that works makes it late for both."""
    two.scripts.only("a", COLD)
    two.scripts.only("b", (Started(), NEVER))
    status, error = two.error("two", routing={**HEDGE, "deadline_seconds": 0.3})
    assert (status, error["code"]) == (503, "cold_start_timeout")
    found = booked(two, two.operation(error["operation_id"]))
    assert sorted(found) == [("a", "failed"), ("b", "failed")]


def test_a_deadline_while_both_boot_ends_the_waiting_alone(two: Gateway) -> None:
    two.scripts.only("a", COLD)
    two.scripts.only("b", COLD)
    status, error = two.error("two", routing={**HEDGE, "deadline_seconds": 0.3})
    assert (status, error["code"]) == (503, "cold_start_timeout")
    place = f"/v1/operations/{error['operation_id']}"
    assert two.get(place)["status"] == "running"
    assert two.http.delete(place).status_code in (202, 204)
    eventually(lambda: not two.running())
    assert [row["status"] for row in two.last_rows("two")] == ["cancelled"] * 2


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
    eventually(lambda: len(two.rows(answer["id"])) == 2, 5)
    rows = {row["deployment"]: row for row in two.rows(answer["id"])}
    assert rows["clings"]["status"] == "lost_hedge" and rows["clings"]["known_pico_usd"] > 0
    operation = two.operation(answer["id"])
    assert operation["cost"]["status"] == "estimated" and operation["status"] == "succeeded"


@pytest.mark.parametrize("how", ["cancelled", "hung up"])
def test_a_whole_answer_is_kept_while_the_loser_ends(two: Gateway, how: str) -> None:
    """It is paid for; who repeats the call gets it."""
    body = {"model": "clings", "input": "Hi", "stream": True, "routing": HEDGE}
    key = {"idempotency-key": f"whole, {how}"}
    with two.http.stream("POST", "/v1/generate", json=body, headers=key) as response:
        operation_id = response.headers["x-request-id"]
        eventually(lambda: two.rows(operation_id) != [])
        if how == "cancelled":
            two.http.post(f"/v1/operations/{operation_id}/cancel").raise_for_status()
            assert [event.name for event in events_of(response)][-1] == "finished"
    eventually(lambda: not two.running())
    assert two.operation(operation_id)["status"] == "succeeded"
    again = two.http.post("/v1/generate", json=body, headers=key)
    assert "event: finished" in again.text and len(two.scripts.calls("b")) == 1
    eventually(lambda: len(two.rows(operation_id)) == 2)


def test_an_adapter_that_swallows_its_end_has_lost_all_the_same(two: Gateway) -> None:
    two.scripts.only("b", (Wait(0.05), *END))
    assert booked(two, two.answer("fades", routing=HEDGE)) == [
        ("fades", "lost_hedge"),
        ("b", "succeeded"),
    ]


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
