from __future__ import annotations

from typing import Any

import pytest

from gateway.ledger.reports import views
from gateway.ledger.rows import AttemptRow
from tests.ledger.samples import NOON_US, begun, estimated, finished, priced, unpriced


@pytest.mark.parametrize(
    ("pico_usd", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (93_000_000, "0.000093"),
        (10**12, "1"),
        (1_500_000_000_000, "1.5"),
        (9_223_372_036_854_775_807, "9223372.036854775807"),
        (-250_000_000_000, "-0.25"),
    ],
)
def test_money_is_exact(pico_usd: int, text: str) -> None:
    assert views.usd(pico_usd) == text


def test_the_answer_of_the_design() -> None:
    operation = views.operation_json([finished(begun(1))])
    assert operation == {
        "id": "gen_000001",
        "model": "smollm2",
        "provider": "local",
        "deployment": "local-smollm2",
        "created_at": "2026-11-22T12:00:00.000001Z",
        "status": "succeeded",
        "finish_reason": "stop",
        "usage": {
            "input_tokens": 12,
            "output_tokens": 40,
            "cached_input_tokens": None,
            "source": "reported",
            "sources": {"input_tokens": "reported", "output_tokens": "reported"},
        },
        "cost": {
            "total_usd": "0.000093",
            "known_usd": "0.000093",
            "status": "measured",
            "range_usd": None,
            "pending": ["idle"],
            "lines": [
                {
                    "kind": "execute_seconds",
                    "quantity": "0.31",
                    "unit_price_usd": "0.0001",
                    "usd": "0.000031",
                    "price_id": "local-cpu@2026-11-01",
                    "status": "measured",
                },
                {
                    "kind": "boot_seconds",
                    "quantity": "0.62",
                    "unit_price_usd": "0.0001",
                    "usd": "0.000062",
                    "price_id": "local-cpu@2026-11-01",
                    "status": "measured",
                },
            ],
        },
        "timing": {
            "queue_seconds": None,
            "boot_seconds": 0.62,
            "wait_seconds": 0.62,
            "first_output_seconds": 0.71,
            "execute_seconds": 0.31,
            "gateway_seconds": 0.001,
            "total_seconds": 0.95,
        },
        "cold_start": {
            "verdict": "cold",
            "evidence": "process_started",
            "caused_boot": True,
            "boot_seconds": 0.62,
            "idle_before_seconds": None,
        },
        "attempts": [
            {
                "id": "att_000001",
                "deployment": "local-smollm2",
                "status": "succeeded",
                "upstream_id": None,
                "cost_usd": "0.000093",
                "verdict": "cold",
            }
        ],
        "tags": {"team": "search"},
    }


MEASURED = priced(begun(1), "0.5")
ESTIMATED = estimated(begun(2, ordinal=1), "0.1", "0.2", "0.4")
UNBOUNDED = estimated(begun(3, ordinal=1), "0.1", "0.2", None)
UNKNOWN = unpriced(begun(4, ordinal=1), known="0.25")


@pytest.mark.parametrize(
    ("rows", "total", "known", "status", "range_usd"),
    [
        ([MEASURED], "0.5", "0.5", "measured", None),
        ([MEASURED, MEASURED], "1", "1", "measured", None),
        ([MEASURED, ESTIMATED], "0.7", "0.7", "estimated", {"low": "0.6", "high": "0.9"}),
        ([MEASURED, UNBOUNDED], "0.7", "0.7", "estimated", {"low": "0.6", "high": None}),
        ([MEASURED, UNKNOWN], None, "0.75", "unknown", {"low": "0.75", "high": None}),
        ([UNKNOWN, ESTIMATED], None, "0.45", "unknown", {"low": "0.35", "high": None}),
        ([begun(5)], None, "0", "unknown", {"low": "0", "high": None}),
        ([], None, "0", "unknown", {"low": "0", "high": None}),
    ],
)
def test_an_operation_costs_what_its_attempts_cost(
    rows: list[AttemptRow], total: str | None, known: str, status: str, range_usd: Any
) -> None:
    cost = views.operation_cost_json(rows)
    assert (cost["total_usd"], cost["known_usd"], cost["status"]) == (total, known, status)
    assert cost["range_usd"] == range_usd
    assert len(cost["lines"]) == sum(len(row.cost_lines) for row in rows)


def test_sources_that_differ_are_mixed() -> None:
    usage = views.usage_json(finished(begun(1), output_tokens_source="estimated"))
    assert usage["source"] == "mixed"
    assert usage["sources"] == {"input_tokens": "reported", "output_tokens": "estimated"}


def test_unknown_usage_is_null_and_zero_is_zero() -> None:
    usage = views.usage_json(
        finished(
            begun(1),
            input_tokens=None,
            input_tokens_source=None,
            output_tokens=0,
            images=2,
            reasoning_tokens=0,
        )
    )
    assert usage["input_tokens"] is None and usage["output_tokens"] == 0
    assert usage["sources"] == {"output_tokens": "reported"} and usage["source"] == "reported"
    assert usage["images"] == 2 and usage["reasoning_tokens"] == 0


def attempt(number: int, status: Any, **changes: Any) -> AttemptRow:
    row = begun(number, operation_id="gen_1", ordinal=number, at_us=NOON_US + number * 1_000_000)
    row.operation_at_us = NOON_US
    return finished(row, status=status, deployment=f"d{number}", **changes)


@pytest.mark.parametrize(
    ("statuses", "deployment", "status"),
    [
        (["failed", "succeeded"], "d1", "succeeded"),
        (["succeeded", "lost_hedge"], "d0", "succeeded"),
        (["failed", "running"], "d1", "running"),
        (["failed", "failed"], "d1", "failed"),
        (["cancelled", "lost_hedge"], "d0", "cancelled"),
        (["interrupted"], "d0", "interrupted"),
        (["lost_hedge"], "d0", "cancelled"),
    ],
)
def test_the_attempt_that_answered_speaks_for_the_operation(
    statuses: list[str], deployment: str, status: str
) -> None:
    rows = [attempt(number, status) for number, status in enumerate(statuses)]
    operation = views.operation_json(rows[::-1])
    assert (operation["deployment"], operation["status"]) == (deployment, status)
    assert [row["deployment"] for row in operation["attempts"]] == ["d0", "d1"][: len(rows)]


def test_the_caller_waited_for_all_attempts() -> None:
    operation = views.operation_json([attempt(0, "failed"), attempt(1, "succeeded")])
    assert operation["timing"]["total_seconds"] == pytest.approx(1.95)
    assert operation["created_at"] == "2026-11-22T12:00:00.000000Z"
