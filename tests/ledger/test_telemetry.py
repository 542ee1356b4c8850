from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.ledger.rows import AttemptRow
from gateway.telemetry import JsonFormatter, Metrics, log_line
from tests.ledger.samples import begun, estimated, finished, priced, unpriced

WHERE = {"provider": "local", "deployment": "local-smollm2"}
WHICH = {**WHERE, "model": "smollm2"}


def samples(*rows: AttemptRow) -> dict[str, list[tuple[dict[str, str], float]]]:
    metrics = Metrics()
    for row in rows:
        metrics.observe(asdict(row))
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_the_log_line_says_what_happened_and_nothing_said() -> None:
    line = log_line(asdict(finished(begun(1), tags={"secret": "prompt"})))
    assert line == {
        "time": "2026-11-22T12:00:00.950001Z",
        "level": "INFO",
        "event": "attempt",
        "request_id": "gen_000001",
        "attempt": "att_000001",
        "provider": "local",
        "deployment": "local-smollm2",
        "model": "smollm2",
        "status": "succeeded",
        "error_type": None,
        "verdict": "cold",
        "evidence": "process_started",
        "queue_seconds": None,
        "boot_seconds": 0.62,
        "first_output_seconds": 0.71,
        "total_seconds": 0.95,
        "input_tokens": 12,
        "output_tokens": 40,
        "token_source": "reported",
        "cost_usd": "0.000093",
        "cost_status": "measured",
        "price_source": "the operator",
    }


def test_an_unknown_cost_is_null_in_the_log() -> None:
    line = log_line(asdict(unpriced(begun(1), known="0.25", price=None)))
    assert line["cost_usd"] is None and line["cost_status"] == "unknown"
    assert line["price_source"] is None


def test_unknown_costs_are_counted_and_never_added() -> None:
    found = samples(
        priced(begun(1), "0.5"),
        priced(begun(2), "0.25"),
        estimated(begun(3), "0", "0.125", None),
        unpriced(begun(4), known="0.25"),
    )
    assert found["gateway_cost_usd_total"] == [
        ({**WHICH, "status": "measured"}, 0.75),
        ({**WHICH, "status": "estimated"}, 0.125),
    ]
    assert found["gateway_unpriced_attempts_total"] == [(WHICH, 1)]
    (attempts,) = found["gateway_attempts_total"]
    assert attempts == ({**WHICH, "status": "succeeded", "error_type": ""}, 4)


def test_tokens_go_by_direction_and_source() -> None:
    found = samples(
        finished(begun(1)),
        finished(begun(2), output_tokens=5, output_tokens_source="estimated"),
        finished(begun(3), input_tokens=None, output_tokens=None),
    )
    tokens = {(s["direction"], s["source"]): n for s, n in found["gateway_tokens_total"]}
    expected = {("input", "reported"): 24, ("output", "reported"): 40, ("output", "estimated"): 5}
    assert tokens == expected


def test_nine_who_waited_for_one_boot_are_nine_cold_and_one_boot() -> None:
    waited = [finished(begun(n), caused_boot=False) for n in range(8)]
    found = samples(
        finished(begun(9)), *waited, finished(begun(10), verdict="warm", caused_boot=None)
    )
    verdicts = {labels["verdict"]: n for labels, n in found["gateway_cold_starts_total"]}
    assert verdicts == {"cold": 9, "warm": 1}
    assert found["gateway_boots_total"] == [(WHERE, 1)]
    assert found["gateway_boot_seconds_count"] == [(WHERE, 1)]
    assert found["gateway_boot_seconds_sum"] == [(WHERE, 0.62)]


@pytest.mark.parametrize("name", ["first_output", "total", "overhead"])
def test_unknown_seconds_are_not_observed(name: str) -> None:
    unknown: dict[str, Any] = {
        "first_output_seconds": None,
        "total_seconds": None,
        "gateway_seconds": None,
    }
    found = samples(finished(begun(1)), finished(begun(2), **unknown))
    assert found[f"gateway_{name}_seconds_count"] == [(WHERE, 1)]


def test_boot_buckets_reach_from_half_a_second_to_twenty_minutes() -> None:
    found = samples(finished(begun(1)))
    bounds = [float(labels["le"]) for labels, _ in found["gateway_boot_seconds_bucket"]]
    expected = [0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, float("inf")]
    assert bounds == expected


def test_labels_stay_within_bounds() -> None:
    strange = finished(begun(1), status="failed", error_type="it failed: <html>")
    many = [finished(begun(n), model=f"m{n}") for n in range(600)]
    found = samples(strange, *many)
    labels = [labels for labels, _ in found["gateway_attempts_total"]]
    assert labels[0]["error_type"] == "other"
    assert len({label["model"] for label in labels}) == 501
    assert ({**WHICH, "model": "other", "status": "succeeded", "error_type": ""}, 101) in found[
        "gateway_attempts_total"
    ]


def test_other_log_records_are_json_too() -> None:
    record = logging.LogRecord("gateway.x", logging.WARNING, "f", 1, "took %d", (3,), None)
    line = orjson.loads(JsonFormatter().format(record))
    assert line["level"] == "WARNING" and line["message"] == "took 3"
    assert line["event"] == "log" and line["time"].endswith("Z")
