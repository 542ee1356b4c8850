"""Who comes while two deployments boot for another's request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.gateway_app.gateways import (
    Gateway,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)
from tests.gateway_app.test_dual_boot import NEVER, TOKENS, Boots, asleep, deployment


def tree(**limits: int) -> dict[str, Any]:
    return {
        "deployments": {f"m-{x}": {**deployment(f"m-{x}", TOKENS), "limits": limits} for x in "ab"},
        "models": {"m": {"deployments": ["m-a", "m-b"]}},
    }


def booting(gateway: Gateway) -> Boots:
    """Both are off, and boot until ``is_up`` says otherwise."""
    boots = asleep(gateway, "m", NEVER, NEVER)
    boots.says_at_once = True
    return boots


def queued(gateway: Gateway, name: str) -> int:
    (found,) = [x for x in gateway.get("/v1/deployments")["data"] if x["name"] == name]
    return int(found["queued"])


def told(gateway: Gateway, operation_id: str) -> dict[str, str | None]:
    """What an operation that runs says of its candidates, whether it has asked any or waits."""
    candidates = gateway.operation(operation_id)["candidates"]
    assert all(x["expected_usd"] and x["expected_wait_seconds"] > 0 for x in candidates)
    return {x["deployment"]: x.get("dual_boot") for x in candidates}


def test_it_is_served_by_the_first_that_is_up(tmp_path: Path) -> None:
    """It waits for the one that its order prefers, and goes where the other is up sooner."""
    with running_gateway(tree(), tmp_path, Boots()) as gateway, ThreadPoolExecutor(4) as callers:
        boots = booting(gateway)
        answers = [callers.submit(gateway.answer, "m")]
        eventually(lambda: len(boots.warmed) == 2)
        answers += [callers.submit(gateway.answer, "m") for _ in range(3)]
        eventually(lambda: queued(gateway, "m-a") + queued(gateway, "m-b") == 3)
        assert queued(gateway, "m-a")
        boots.is_up("m-b")
        found = [answer.result() for answer in answers]
        assert {answer["deployment"] for answer in found} == {"m-b"}
        assert len(boots.warmed) == 2 and not boots.calls("m-a")
        for answer in found[1:]:
            (row,) = gateway.rows(answer["id"])
            assert (row["deployment"], row["verdict"], row["caused_boot"]) == ("m-b", "cold", False)


def test_both_say_while_they_run_what_was_to_be_expected(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path, Boots()) as gateway:
        boots = booting(gateway)
        with gateway.streaming("m") as first:
            woke = events_of(first)
            wait_for_event(woke, "booting")
            with gateway.streaming("m") as second:
                waits = events_of(second)
                held = wait_for_event(waits, "created").data["id"]
                eventually(lambda: queued(gateway, "m-a") == 1)
                (listed,) = gateway.get("/v1/operations", status="running")["data"]
                assert told(gateway, listed["id"]) == {
                    "m-a": "booted beside m-b",
                    "m-b": "booted beside m-a",
                }
                assert told(gateway, held) == {"m-a": None, "m-b": None}
                boots.is_up("m-b")
                assert wait_for_event(waits, "finished").data["deployment"] == "m-b"
        assert told(gateway, held)["m-b"] == "up before the one that was waited for"


def test_a_deadline_that_comes_before_anybody_has_told_of_the_boots(tmp_path: Path) -> None:
    """Both are asked how they stand, which takes a while: they boot for it all the same."""
    with running_gateway(tree(), tmp_path, Boots()) as gateway:
        boots = booting(gateway)
        boots.looks_seconds = 0.5
        asked = {"routing": {"deadline_seconds": 0.2}}
        status, error = gateway.error("m", **asked)
        assert (status, error["code"]) == (503, "cold_start_timeout")
        eventually(lambda: len(boots.warmed) == 2)
        boots.is_up("m-b")
        eventually(lambda: not gateway.running())
        assert gateway.answer("m", **asked)["id"] == error["operation_id"]
        assert len(boots.calls("m-b")) == 1 and not boots.calls("m-a")


def test_one_that_may_not_be_served_elsewhere_stays(tmp_path: Path) -> None:
    with running_gateway(tree(), tmp_path, Boots()) as gateway, ThreadPoolExecutor(2) as callers:
        boots = booting(gateway)
        first = callers.submit(gateway.answer, "m")
        eventually(lambda: len(boots.warmed) == 2)
        only = callers.submit(gateway.answer, "m", routing={"only": ["m-a"]})
        eventually(lambda: queued(gateway, "m-a") == 1)
        boots.is_up("m-b")
        assert first.result()["deployment"] == "m-b"
        assert only.result()["deployment"] == "m-a"


def test_those_for_whom_there_is_no_room_stay(tmp_path: Path) -> None:
    with (
        running_gateway(tree(max_queued=1), tmp_path, Boots()) as gateway,
        ThreadPoolExecutor(3) as callers,
    ):
        boots = booting(gateway)
        first = callers.submit(gateway.answer, "m")
        eventually(lambda: len(boots.warmed) == 2)
        at_b = callers.submit(gateway.answer, "m", routing={"only": ["m-b"]})
        at_a = callers.submit(gateway.answer, "m")
        eventually(lambda: queued(gateway, "m-a") == queued(gateway, "m-b") == 1)
        boots.is_up("m-b")
        served = [call.result()["deployment"] for call in (first, at_b, at_a)]
        assert served == ["m-b", "m-b", "m-a"]
