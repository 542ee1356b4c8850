"""``/v1/operations``, ``/v1/costs``, ``/v1/cold-starts`` after traffic of known cost."""

from __future__ import annotations

import asyncio
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.contract import Booting, Delta, Finished, Started, UpstreamFailed, Usage
from providers.testing import Until, Wait
from tests.gateway_app.gateways import (
    Gateway,
    Scripts,
    events_of,
    eventually,
    running_gateway,
    wait_for_event,
)
from tests.gateway_app.limited import DOLLAR, deployment, tree

END = (Delta("hi"), Finished(("stop",), Usage(1000, 2000)))
USD = Decimal("0.00019")  # 1000 x 0.05 + 2000 x 0.07, per million
_runs = itertools.count()


@pytest.fixture
def mark() -> dict[str, str]:
    """A tag of this test's own: the ledger is shared."""
    return {"mark": f"run-{next(_runs)}"}


def row_of(report: Any, **group: Any) -> Any:
    (found,) = [row for row in report["data"] if row["group"] == group]
    return found


def test_tags_come_back_in_costs(gateway: Gateway, scripts: Scripts, mark: dict[str, str]) -> None:
    scripts.only("plain", END)
    for team, count in (("search", 2), ("ads", 1)):
        for _ in range(count):
            gateway.answer("plain", tags={**mark, "team": team})
    gateway.answer("plain", tags=mark)
    report = gateway.get("/v1/costs", group_by="tag:team", **{"tag:mark": mark["mark"]})
    expected: dict[str | None, int] = {"search": 2, "ads": 1, None: 1}
    for name, count in expected.items():
        row = row_of(report, **{"tag:team": name})
        assert row["attempts"] == count
        assert Decimal(row["known_usd"]) == Decimal(row["measured_usd"]) == USD * count
        assert row["estimated_usd"] == "0" and row["unknown_attempts"] == 0
        assert sum(Decimal(line["usd"]) for line in row["lines"]) == USD * count
    assert len(report["data"]) == 3 and report["next_cursor"] is None


def test_what_is_unknown_is_counted_and_not_summed(
    gateway: Gateway, scripts: Scripts, mark: dict[str, str]
) -> None:
    scripts.only("unpriced", END)
    scripts.only("plain", (UpstreamFailed(),), END)
    gateway.answer("unpriced", tags=mark)
    answer = gateway.answer("plain", tags=mark)
    report = gateway.get("/v1/costs", group_by="deployment", **{"tag:mark": mark["mark"]})
    unknown, known = row_of(report, deployment="unpriced"), row_of(report, deployment="plain")
    assert unknown["unknown_attempts"] == 1 and unknown["known_usd"] == "0"
    assert unknown["range_usd"]["high"] is None
    assert known["attempts"] == 2
    assert Decimal(known["known_usd"]) == Decimal(answer["cost"]["total_usd"])
    assert Decimal(known["measured_usd"]) == USD


def test_operations_newest_first_and_page_by_page(
    gateway: Gateway, scripts: Scripts, mark: dict[str, str]
) -> None:
    scripts.only("plain", END)
    ids = [gateway.answer("plain", tags=mark)["id"] for _ in range(5)]
    asked: dict[str, Any] = {"tag:mark": mark["mark"], "limit": 2}
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = gateway.get("/v1/operations", **asked, **cursor)
        pages.append([operation["id"] for operation in page["data"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [i for page in pages for i in page] == ids[::-1]


def test_an_operation_that_ended_says_what_its_answer_said(
    gateway: Gateway, scripts: Scripts, mark: dict[str, str]
) -> None:
    scripts.only("seconds", (Booting("process_started", True), Wait(0.02), Started("i"), *END))
    answer = gateway.answer("seconds", tags=mark)
    kept = gateway.operation(answer["id"])
    assert "output" not in kept  # outputs are not stored
    assert kept == {name: value for name, value in answer.items() if name != "output"}


@pytest.mark.parametrize("model", ["seconds", "plain", "unpriced"])
def test_what_one_that_runs_has_cost_so_far(gateway: Gateway, scripts: Scripts, model: str) -> None:
    assert gateway.loop is not None
    goes_on = asyncio.Event()
    told = (Booting("process_started", True), Wait(0.02), Started("i"), Delta("a" * 400))
    scripts.only(model, (*told, Until(goes_on), *END))
    with gateway.streaming(model) as response:
        events = events_of(response)
        operation_id = wait_for_event(events, "created").data["id"]
        wait_for_event(events, "delta")
        first, later = (gateway.operation(operation_id)["so_far"] for _ in range(2))
        gateway.loop.call_soon_threadsafe(goes_on.set)
        finished = wait_for_event(events, "finished").data
    assert first["cold_start"]["verdict"] == finished["cold_start"]["verdict"] == "cold"
    assert 0.02 <= first["seconds"] < later["seconds"]
    costs = [one["cost"]["total_usd"] for one in (first, later)]
    if model == "unpriced":
        assert costs == [None, None] and first["cost"]["status"] == "unknown"
        return
    # What was worked so far would be billed as it is; tokens that nobody has counted, by a guess.
    assert first["cost"]["status"] == ("measured" if model == "seconds" else "estimated")
    assert (first["cost"]["range_usd"] is None) == (model == "seconds")
    assert finished["cost"]["status"] == "measured"  # looking has changed nothing
    so_far, then, at_last = map(Decimal, (*costs, finished["cost"]["total_usd"]))
    if model == "seconds":
        assert 0 < so_far < then < at_last
    else:
        assert 0 < so_far == then != at_last  # tokens were counted by the letters


def test_an_operation_that_runs(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Delta("a"), Wait(30), *END))
    with gateway.streaming("plain") as response:
        events = events_of(response)
        created = wait_for_event(events, "created").data
        wait_for_event(events, "delta")
        told = gateway.operation(created["id"])
        assert told["created_at"].endswith("Z")
        assert {**told, "created_at": None, "so_far": None} == {
            "id": created["id"],
            "model": "plain",
            "status": "running",
            "created_at": None,
            "so_far": None,
        }
        listed = gateway.get("/v1/operations", status="running")["data"]
        assert created["id"] in [operation["id"] for operation in listed]


def test_how_cold_it_was(gateway: Gateway, scripts: Scripts, mark: dict[str, str]) -> None:
    cold = (Booting("process_started", True), Wait(0.02), Started(), *END)
    waited = (Booting("process_started", False), Wait(0.02), Started(), *END)
    warm = (Started("i", "scale_state"), *END)
    for script in (cold, waited, warm, warm, END):
        scripts.only("plain", script)
        gateway.answer("plain", tags=mark)
    report = gateway.get("/v1/cold-starts", group_by="deployment", **{"tag:mark": mark["mark"]})
    row = row_of(report, deployment="plain")
    counts = ("attempts", "cold", "warm", "unknown", "boots", "cold_rate")
    assert [row[name] for name in counts] == [5, 2, 2, 1, 1, 0.5]
    assert row["evidence"] == {"process_started": 2, "scale_state": 2}
    assert row["boot_seconds"]["count"] == 1 and row["boot_seconds"]["p50"] >= 0.019
    assert row["wait_seconds"]["count"] == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("foo", "1"), ("teams", "search"), ("tag:", "x"), ("tag:a\nb", "x")),
        *(("group_by", value) for value in ("", "colour", "tag:", "tags", "operation_id")),
        *(("start_time", value) for value in ("yesterday", "", "2026-13-01", "1e9")),
        *(("start_time", value) for value in ("0001-01-01T00:00:00+14:00", "2999-01-01")),
        *(("end_time", value) for value in ("now", "1969-01-01", "0001-01-01", "9999-99-99")),
        *(("bucket_width", value) for value in ("1m", "", "day")),
        *(("time_zone", value) for value in ("Mars/Base", "", "../../etc/passwd", "/etc/passwd")),
        ("time_zone", "x" * 5000),
        *(("limit", value) for value in ("0", "-1", "1001", "ten", "1.5", "²", "9" * 5000, "")),
        *(("cursor", value) for value in ("x", "", "bnVsbA==", "WzEsMl0=", "W10=", "é" * 9)),
        ("cursor", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE1LCJ4Il0="),  # [2**64 - 1, "x"]
    ],
)
@pytest.mark.parametrize("path", ["/v1/operations", "/v1/costs", "/v1/cold-starts"])
def test_bad_questions(gateway: Gateway, path: str, name: str, value: str) -> None:
    response = gateway.http.get(path, params={name: value})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    assert error["param"] == name or (name, error["param"]) == ("start_time", "end_time")
    assert len(response.content) < 6000


def test_the_same_dimension_twice(gateway: Gateway) -> None:
    response = gateway.http.get("/v1/costs", params={"group_by": ["model", "model"]})
    assert response.status_code == 400 and response.json()["error"]["param"] == "group_by"


def attempts(gateway: Gateway) -> list[int]:
    return [row["attempts"] for row in gateway.get("/v1/costs")["data"]]


def test_a_report_that_would_read_too_many_attempts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.app.MOST_ROWS_READ", 0)
    with running_gateway(tree({"plain": deployment("plain", DOLLAR)}), tmp_path) as alone:
        alone.scripts.only("plain", END)
        alone.answer("plain", tags={"team": "ads"})
        eventually(lambda: attempts(alone) == [1])
        response = alone.http.get("/v1/costs", params={"group_by": "tag:team"})
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, "group_by")
        assert "ledger.rollup_tags" in error["message"]


@pytest.mark.parametrize("width", ["1h", "1d", "all"])
def test_buckets_in_a_time_zone(gateway: Gateway, scripts: Scripts, width: str) -> None:
    scripts.only("plain", END)
    gateway.answer("plain")
    report = gateway.get("/v1/costs", bucket_width=width, time_zone="Asia/Kathmandu")
    assert report["data"] and all(row["start_time"] < row["end_time"] for row in report["data"])


@pytest.mark.parametrize("operation_id", ["gen_0", "x", "%00", "..%2f..", "é", "x" * 3000])
def test_operations_that_are_not_there(gateway: Gateway, operation_id: str) -> None:
    response: httpx.Response = gateway.http.get(f"/v1/operations/{operation_id}")
    assert response.status_code == 404, response.text
    assert response.json()["error"]["code"] in ("operation_not_found", "route_not_found")
