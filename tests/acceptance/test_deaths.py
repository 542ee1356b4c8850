"""SIGKILL and SIGTERM: nothing is left running, and nothing that was spent is forgotten."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal

import psutil

from tests.acceptance.conftest import LONG, SHORT, Past
from tests.acceptance.gateways import Gateway, until

USD_PER_SECOND = Decimal("0.0000131")


def test_a_killed_gateway_takes_its_children_along(past: Past) -> None:
    assert past.survivors == []


def test_what_it_was_doing_is_known_to_the_next_one(past: Past) -> None:
    operation = past.afterwards
    assert operation["id"] == past.broken_off
    assert operation["status"] == "interrupted"
    cost = operation["cost"]
    assert cost["status"] == "estimated"
    low, high = (Decimal(cost["range_usd"][end]) for end in ("low", "high"))
    assert 0 <= low <= Decimal(cost["total_usd"]) <= high
    # Its engine ended with its gateway, and said when: that bounds it, long before its deadline.
    assert 0 < high <= 60 * USD_PER_SECOND
    assert operation["usage"]["sources"]["input_tokens"] == "estimated"


def test_a_gateway_that_is_told_to_stop_finishes_its_work(past: Past) -> None:
    event, operation = past.last_events[-1]
    assert event == "finished"
    assert operation["usage"]["output_tokens"] == 12
    assert past.exit_code == 0
    assert past.orphans == []


def test_all_rows_are_in_the_database_when_it_has_ended(past: Past) -> None:
    database = sqlite3.connect(past.data_dir / "ledger.sqlite3")
    rows = dict(
        database.execute("select operation_id, status from attempts where status != 'failed'")
    )
    failed = database.execute("select count(*) from attempts where status = 'failed'").fetchone()
    database.close()
    succeeded = [answer["id"] for answer in past.answers] + [past.last_events[-1][1]["id"]]
    assert rows == {**dict.fromkeys(succeeded, "succeeded"), past.broken_off: "interrupted"}
    assert failed == (2,)  # one operation, tried twice
    journal = sorted((past.data_dir / "journal").glob("*.ndjson"))
    kinds = [json.loads(line)["kind"] for line in journal[-1].read_bytes().splitlines()]
    assert kinds.count("begin") + 1 == kinds.count("end")  # the end of what the other one began


def test_an_engine_that_is_killed_ends_the_stream_with_an_error(
    gateway: Gateway, steady: psutil.Process
) -> None:
    until(lambda: gateway.engines().keys() <= {steady.pid})
    known = {boot.pid for boot in gateway.boots()}
    with gateway.stream(**LONG) as events:
        seen = [next(events)]
        while [name for name, _ in seen].count("delta") < 3:
            seen.append(next(events))
        (pid,) = {boot.pid for boot in gateway.boots()} - known
        psutil.Process(pid).kill()
        seen += events
    event, failure = seen[-1]
    assert event == "error"
    assert failure["error"]["code"] == "stream_interrupted"
    operation_id = seen[0][1]["id"]
    assert failure["error"]["operation_id"] == operation_id
    operation = gateway.get(f"/v1/operations/{operation_id}")
    assert operation["status"] == "failed"
    assert operation["cost"]["status"] == "measured"
    assert Decimal(operation["cost"]["total_usd"]) > 0
    assert Decimal(failure["error"]["cost"]["total_usd"]) == Decimal(operation["cost"]["total_usd"])
    assert attempt_error(gateway, operation_id) == "StreamInterrupted"

    answer = gateway.generate(**SHORT)
    assert answer["cold_start"]["verdict"] == "cold"
    assert answer["cold_start"]["caused_boot"] is True


def attempt_error(gateway: Gateway, operation_id: str) -> str:
    """The error's class, from the log line of the operation's only attempt."""
    until(lambda: operation_id in gateway.log.read_text())
    lines = [line for line in gateway.log.read_text().splitlines() if operation_id in line]
    error_type: str = json.loads(lines[-1])["error_type"]
    return error_type
