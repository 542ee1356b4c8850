from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.ledger.rows import AttemptRow
from gateway.telemetry import Metrics
from gateway.telemetry.definitions import BY_NAME, DEFINITIONS
from tests.ledger.samples import NOON_US, begun, estimated, finished, idle_charge, priced, unpriced

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


# -- OpenTelemetry's names --------------------------------------------------------------------

GEN_AI = {
    "gen_ai_operation_name": "generate_content",
    "gen_ai_provider_name": "local",
    "gen_ai_request_model": "smollm2",
}


def test_the_conventions_of_a_streamed_answer() -> None:
    row = finished(begun(1, streamed=True, route="chat.completions", operation_at_us=NOON_US))
    later = replace(row, begun_at_us=NOON_US + 2_000_000, completed_at_us=NOON_US + 2_950_000)
    found = samples(later)
    labels = {**GEN_AI, "gen_ai_operation_name": "chat"}
    each = (0.95 - 0.71) / 39
    assert found["gen_ai_client_operation_duration_seconds_sum"] == [
        ({**labels, "error_type": ""}, 0.95)
    ]
    assert found["gen_ai_client_operation_time_to_first_chunk_seconds_sum"] == [(labels, 0.71)]
    assert found["gen_ai_server_request_duration_seconds_sum"] == [(labels, 2.95)]
    assert found["gen_ai_server_time_to_first_token_seconds_sum"] == [(labels, 2.71)]
    ((_, seconds),) = found["gen_ai_server_time_per_output_token_seconds_sum"]
    assert seconds == pytest.approx(each)
    tokens = {s["gen_ai_token_type"]: n for s, n in found["gen_ai_client_token_usage_sum"]}
    assert tokens == {"input": 12, "output": 40}


def test_what_came_whole_has_no_first_token_and_estimates_are_no_usage() -> None:
    found = samples(finished(begun(1), output_tokens_source="estimated"))
    assert found["gen_ai_client_operation_duration_seconds_count"] == [
        ({**GEN_AI, "error_type": ""}, 1)
    ]
    assert "gen_ai_client_operation_time_to_first_chunk_seconds_count" not in found
    assert "gen_ai_server_time_to_first_token_seconds_count" not in found
    assert "gen_ai_client_token_usage_count" not in found


def test_what_failed_is_no_answer_to_the_caller() -> None:
    found = samples(
        finished(begun(1), status="failed", error_type="RateLimited"),
        finished(begun(2), status="cancelled"),
    )
    counted = found["gen_ai_client_operation_duration_seconds_count"]
    assert {s["error_type"]: n for s, n in counted} == {"RateLimited": 1, "cancelled": 1}
    assert "gen_ai_server_request_duration_seconds_count" not in found


@pytest.mark.parametrize(
    ("name", "first", "beyond"),
    [
        ("gen_ai_client_token_usage", [1, 4, 16, 64], 67_108_864),
        ("gen_ai_client_operation_duration_seconds", [0.01, 0.02, 0.04, 0.08], 1200),
        ("gen_ai_server_time_to_first_token_seconds", [0.001, 0.005, 0.01, 0.02], 1200),
        ("gen_ai_server_time_per_output_token_seconds", [0.01, 0.025, 0.05, 0.075], 2.5),
    ],
)
def test_their_buckets(name: str, first: list[float], beyond: float) -> None:
    buckets = BY_NAME[name].buckets
    assert list(buckets[:4]) == first and buckets[-1] == beyond
    assert list(buckets) == sorted(set(buckets))


# -- cold starts, errors, charges -------------------------------------------------------------


def test_the_seconds_of_cold_starts_go_by_phase_and_evidence() -> None:
    whole = {"queue_seconds": None, "boot_seconds": None, "evidence": "delay_reported"}
    found = samples(
        finished(begun(1), queue_seconds=0.25),
        finished(begun(2), wait_seconds=700.0, caused_boot=None, **whole),
        finished(begun(3), verdict="warm", queue_seconds=4.0),
    )
    seconds = {(s["phase"], s["evidence"]): n for s, n in found["gateway_cold_start_seconds_sum"]}
    assert seconds == {
        ("queue", "process_started"): 0.25,
        ("boot", "process_started"): 0.62,
        ("wait", "delay_reported"): 700.0,
    }
    assert BY_NAME["gateway_cold_start_seconds"].buckets[-1] == 1200


def test_errors_of_providers_are_not_the_gateways_own() -> None:
    found = samples(
        *(
            finished(begun(n), status="failed", error_type=name)
            for n, name in enumerate(["RateLimited", "AcmeIsBusy", "BudgetRanOut", "Draining"])
        ),
        finished(begun(9), status="cancelled"),
    )
    errors = {s["error_type"]: n for s, n in found["gateway_provider_errors_total"]}
    assert errors == {"RateLimited": 1, "AcmeIsBusy": 1}


def test_charges_are_counted_apart_and_adjustments_are_not() -> None:
    metrics = Metrics()
    for charge in (
        idle_charge(1),
        idle_charge(2, status="unknown", cost_pico_usd=None),
        idle_charge(3, kind="adjustment", cost_pico_usd=-5),
    ):
        metrics.observe_charge(asdict(charge))
    text = metrics.exposition().decode()
    told = [
        line
        for line in text.splitlines()
        if line.startswith(("gateway_charges", "gateway_unpriced_ch"))
    ]
    labels = 'deployment="local-smollm2",kind="idle",provider="local"'
    assert [line for line in told if "_created" not in line] == [
        f'gateway_charges_usd_total{{{labels},status="measured"}} 0.006',
        f"gateway_unpriced_charges_total{{{labels}}} 1.0",
    ]


def test_every_metric_of_the_journal_is_told_before_anything_happened() -> None:
    text = Metrics().exposition().decode()
    there = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert there == {known.name for known in DEFINITIONS if known.source == "journal"}
