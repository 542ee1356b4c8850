"""What becomes of work whose caller has left: stopped, finished unread, or finished and kept."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from providers.contract import Delta, Finished, Output, Started, Usage
from providers.testing import Wait
from tests.gateway_app.conftest import KEYS, configuration, scripted
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)
from tests.gateway_app.test_leaving import opened

USAGE = Usage(input_tokens=10, output_tokens=40)
SLOWLY = (Started(), Delta("one "), Wait(0.15), Delta("two"), Finished(("stop",), USAGE))


def leave_in_mid_stream(gateway: Gateway, **fields: Any) -> str:
    """Hang up after the first delta; gives the operation's id."""
    with gateway.streaming("plain", **fields) as response:
        events = events_of(response)
        operation_id = str(wait_for_event(events, "created").data["id"])
        wait_for_event(events, "delta")
    eventually(lambda: not gateway.running())
    return operation_id


def test_drained_work_is_finished_and_its_bill_is_the_whole(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("plain", SLOWLY)
    operation_id = leave_in_mid_stream(gateway, on_disconnect="drain")
    told = gateway.operation(operation_id)
    assert (told["status"], told["cost"]["status"]) == ("succeeded", "measured")
    assert told["usage"]["output_tokens"] == 40
    assert "output" not in told  # drained, not kept
    assert scripts.calls("plain")[0].outcome == "finished"


def test_cancelled_work_is_stopped_and_its_bill_is_bounded(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("plain", SLOWLY)
    told = gateway.operation(leave_in_mid_stream(gateway, on_disconnect="cancel"))
    assert (told["status"], told["cost"]["status"]) == ("cancelled", "estimated")
    assert scripts.calls("plain")[0].outcome in ("cancelled", "closed")


def test_a_parked_answer_is_fetched_and_erased(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Started(), Delta("said nowhere else, "), Wait(0.15), *SLOWLY[1:]))
    operation_id = leave_in_mid_stream(gateway, on_disconnect="park", tags={"team": "park"})
    told = gateway.operation(operation_id)
    assert (told["status"], told["cost"]["status"]) == ("succeeded", "measured")
    assert told["output"] == [{"type": "text", "text": "said nowhere else, one two"}]
    assert gateway.http.delete(f"/v1/operations/{operation_id}").status_code == 204
    assert "output" not in gateway.operation(operation_id)  # what it cost stays
    assert gateway.http.delete(f"/v1/operations/{operation_id}").status_code == 204
    for file in gateway.data_dir.glob("results.sqlite3*"):
        assert b"said nowhere else" not in file.read_bytes(), file.name


def test_an_unstreamed_caller_who_leaves_can_fetch_it_too(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("plain", SLOWLY)
    body = {"model": "plain", "input": "x", "on_disconnect": "park"}
    connection = opened(gateway, "/v1/generate", body)
    eventually(lambda: bool(scripts.calls("plain")))
    connection.close()
    eventually(lambda: not gateway.running())
    (row,) = gateway.last_rows("plain")
    assert gateway.operation(row["operation_id"])["output"][0]["text"] == "one two"


def test_a_parked_file_comes_back_whole(gateway: Gateway, scripts: Scripts) -> None:
    picture = bytes(range(256)) * 40
    made = Output("image", data=picture, media_type="image/png")
    scripts.only("plain", (Started(), made, Finished(("stop",))))
    answer = gateway.answer("plain", on_disconnect="park")
    assert gateway.operation(answer["id"])["output"] == answer["output"]


def test_a_parked_failure_says_what_went_wrong(gateway: Gateway) -> None:
    response = gateway.generate("job-fails", on_disconnect="park")
    error = response.json()["error"]
    told = gateway.operation(error["operation_id"])
    assert told["status"] == "failed"
    assert told["error"]["code"] == error["code"] and told["error"]["cost"] == error["cost"]


def test_chat_takes_the_policy_as_well(gateway: Gateway) -> None:
    body = {"model": "warm", "messages": [{"role": "user", "content": "hi"}]}
    answer = gateway.http.post(
        "/v1/chat/completions", json={**body, "gateway": {"on_disconnect": "park"}}
    ).json()
    told = gateway.operation(answer["id"])
    assert told["output"][0]["text"] == answer["choices"][0]["message"]["content"]


def test_one_who_leaves_before_the_stream_begins_holds_nothing_up(
    gateway: Gateway, scripts: Scripts
) -> None:
    """More than the log holds for a slow reader: nobody reads, so nobody is waited for."""
    parts = [Delta("x" * (1 << 20)) for _ in range(12)]
    scripts.only("plain", (Started(), Wait(0.2), *parts, Finished(("stop",), USAGE)))
    body = {
        "model": "plain",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "gateway": {"on_disconnect": "drain"},
    }
    connection = opened(gateway, "/v1/chat/completions", body)
    eventually(lambda: len(scripts.calls("plain")) == 1)
    connection.close()
    eventually(lambda: not gateway.running())
    assert scripts.calls("plain")[0].outcome == "finished"


def test_deleting_what_runs_stops_it(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Started(), Delta("a"), Wait(30), Finished()))
    with gateway.streaming("plain", on_disconnect="park") as response:
        events = events_of(response)
        operation_id = wait_for_event(events, "created").data["id"]
        wait_for_event(events, "delta")
        assert gateway.http.delete(f"/v1/operations/{operation_id}").status_code == 204
    told = gateway.operation(operation_id)
    assert told["status"] == "cancelled" and "output" not in told and "error" not in told
    assert gateway.http.delete("/v1/operations/gen_nothing").status_code == 404


def test_a_parked_answer_outlives_a_restart_and_not_its_time(tmp_path: Path) -> None:
    tree = configuration("http://127.0.0.1:9")
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.says("plain", "kept words")
        operation_id = gateway.answer("plain", on_disconnect="park")["id"]
    with running_gateway(tree, tmp_path) as gateway:
        assert gateway.operation(operation_id)["output"][0]["text"] == "kept words"
    tree["server"]["keep_answers_seconds"] = 0.001
    with running_gateway(tree, tmp_path) as gateway:
        assert "output" not in gateway.operation(operation_id)
        rows = "SELECT count(*) FROM results"
        with sqlite3.connect(tmp_path / "results.sqlite3") as database:
            eventually(lambda: database.execute(rows).fetchone() == (0,))
        database.close()


def test_outputs_are_for_those_who_asked(locked: Gateway) -> None:
    def headers(name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {KEYS[name][0]}"}

    locked.scripts.says("plain", "for app alone")
    body = {"model": "plain", "input": "x", "on_disconnect": "park"}
    operation_id = locked.http.post("/v1/generate", json=body, headers=headers("app")).json()["id"]
    path = f"/v1/operations/{operation_id}"
    eventually(lambda: locked.http.get(path, headers=headers("app")).status_code == 200)
    assert "output" in locked.http.get(path, headers=headers("app")).json()
    assert "output" in locked.http.get(path, headers=headers("operator")).json()
    # reports see what was spent and not what was said
    assert "output" not in locked.http.get(path, headers=headers("finance")).json()
    assert locked.http.get(path, headers=headers("other")).status_code == 404
    assert locked.http.delete(path, headers=headers("other")).status_code == 404
    assert locked.http.delete(path, headers=headers("finance")).status_code == 403
    assert locked.http.delete(path, headers=headers("both")).status_code == 403
    assert locked.http.delete(path, headers=headers("app")).status_code == 204


@pytest.mark.parametrize("damage", ["a folder", "no database"])
def test_a_store_that_fails_costs_no_answer(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "results.sqlite3"
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"this is no database at all, and long enough to be looked at\n" * 20)
    tree = {
        "deployments": {"plain": scripted("plain")},
        "models": {"plain": {"deployments": ["plain"]}},
    }
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.says("plain")
        assert gateway.answer("plain", on_disconnect="park")["status"] == "succeeded"
        # with a key nobody could tell whether it has run before: nothing is spent
        response = gateway.http.post(
            "/v1/generate",
            json={"model": "plain", "input": "x"},
            headers={"idempotency-key": "k"},
        )
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "results_unavailable"
        assert len(gateway.scripts.calls("plain")) == 1


def test_answers_that_cannot_be_written_down_wait_in_memory(tmp_path: Path) -> None:
    """As on a full volume: what was paid for is not paid for twice, and is written later."""
    tree = {
        "deployments": {"plain": scripted("plain")},
        "models": {"plain": {"deployments": ["plain"]}},
    }
    key = {"idempotency-key": "k"}
    body = {"model": "plain", "input": "x"}
    with running_gateway(tree, tmp_path) as gateway:
        gateway.scripts.says("plain", "paid once")
        gateway.answer("plain", on_disconnect="park")
        database = sqlite3.connect(tmp_path / "results.sqlite3", isolation_level=None)
        database.execute("BEGIN IMMEDIATE")  # it can be read, and takes no writes
        first = gateway.http.post("/v1/generate", json=body, headers=key).json()
        parked = gateway.answer("plain", on_disconnect="park")["id"]
        calls = len(gateway.scripts.calls("plain"))
        again = gateway.http.post("/v1/generate", json=body, headers=key).json()
        assert again["replayed_from"] == first["id"]
        assert gateway.operation(parked)["output"][0]["text"] == "paid once"
        assert len(gateway.scripts.calls("plain")) == calls
        database.execute("ROLLBACK")
        gateway.answer("plain", on_disconnect="park")  # takes along what waits
        found = database.execute("SELECT operation_id FROM results").fetchall()
        assert {(first["id"],), (parked,)} < set(found) and len(found) == 4
        database.close()
