"""What a provider says of its use and its seconds is not believed without limits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from providers.contract import Booting, Delta, Finished, ModelLoading, Phases, Usage
from providers.testing.scripted import Wait
from tests.gateway_app.gateways import Gateway, Scripts

FINE = Usage(3, 2)
HUGE = 2**64 - 1


@pytest.mark.parametrize(
    ("usage", "source"),
    [
        (Usage(HUGE, 2), "estimated"),
        (Usage(10**40, 2), "estimated"),
        (Usage(-5, 2), "estimated"),
        (Usage(3, 2, cost_usd=Decimal("1e300")), "reported"),
        (Usage(3, 2, cost_usd=Decimal("-3")), "reported"),
        (Usage(3, 2, cost_usd=Decimal("NaN")), "reported"),
    ],
)
def test_impossible_usage_is_not_known(
    gateway: Gateway, scripts: Scripts, usage: Usage, source: str
) -> None:
    scripts.says("plain", usage=usage)
    answer = gateway.answer("plain")
    assert 0 < answer["usage"]["input_tokens"] < 10
    assert answer["usage"]["sources"]["input_tokens"] == source
    assert [line["kind"] for line in answer["cost"]["lines"]] == ["input_tokens", "output_tokens"]
    assert gateway.operation(answer["id"])["cost"] == answer["cost"]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e200])
def test_seconds_that_cannot_be_computed_with_leave_the_cost_unknown(
    gateway: Gateway, scripts: Scripts, seconds: float
) -> None:
    scripts.only(
        "seconds",
        (Delta("a"), Finished(("stop",), FINE, Phases(execute_seconds=seconds))),
    )
    answer = gateway.answer("seconds")
    assert answer["output"] == [{"type": "text", "text": "a"}]
    assert (answer["cost"]["status"], answer["cost"]["total_usd"]) == ("unknown", None)
    assert gateway.operation(answer["id"])["cost"] == answer["cost"]


def test_seconds_below_zero_earn_nothing(gateway: Gateway, scripts: Scripts) -> None:
    phases = Phases(boot_seconds=-3.0, execute_seconds=-2.0, evidence="delay_reported")
    scripts.only("seconds", (Delta("a"), Finished(("stop",), FINE, phases)))
    answer = gateway.answer("seconds")
    assert answer["timing"]["execute_seconds"] == answer["timing"]["boot_seconds"] == 0
    assert answer["cost"]["total_usd"] == "0"


def test_words_that_cannot_be_written_down_cost_no_row(gateway: Gateway, scripts: Scripts) -> None:
    reasons: Any = (b"stop",)
    scripts.only("plain", (Delta("a"), Finished(reasons, FINE)))
    answer = gateway.answer("plain")
    assert (answer["status"], answer["finish_reason"]) == ("succeeded", None)
    assert answer["cost"]["status"] == "unknown"
    assert gateway.operation(answer["id"])["status"] == "succeeded"


def test_a_machine_s_time_after_loading_is_charged(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only(
        "shared", (ModelLoading(),), (Wait(0.05), Delta("a"), Wait(0.03), Finished(("stop",), FINE))
    )
    answer = gateway.answer("shared")
    execute = next(x for x in answer["cost"]["lines"] if x["kind"] == "execute_seconds")
    assert float(execute["quantity"]) >= 0.075
    assert float(execute["quantity"]) == pytest.approx(
        answer["timing"]["execute_seconds"], abs=2e-3
    )


def test_a_machine_s_time_counts_from_the_first_output_where_nothing_else_marks_it(
    gateway: Gateway, scripts: Scripts
) -> None:
    boot = Booting("phase_reported", caused_boot=True)
    scripts.only("shared", (boot, Wait(0.02), Delta("a"), Wait(0.04), Finished(("stop",), FINE)))
    lines = gateway.answer("shared")["cost"]["lines"]
    seconds = {line["kind"]: float(line["quantity"]) for line in lines}
    assert seconds["execute_seconds"] >= 0.035 and seconds["boot_seconds"] >= 0.015


@pytest.mark.parametrize("large", ["max_tokens", "max_completion_tokens"])
def test_a_limit_holds_by_either_name(gateway: Gateway, scripts: Scripts, large: str) -> None:
    scripts.says("short")
    body = {
        "model": "short",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
        "max_completion_tokens": 1,
        large: 101,
    }
    response = gateway.http.post("/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, large)
