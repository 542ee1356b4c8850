"""A failed attempt is followed by another before the first output, and never after it."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from providers.contract import (
    CapacityUnavailable,
    ContentRefused,
    ContextTooLong,
    CredentialsRejected,
    Delta,
    Event,
    Finished,
    ModelNotFound,
    Output,
    ProviderError,
    ProviderRetired,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    Started,
    StreamInterrupted,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
    Usage,
)
from providers.testing import Wait
from tests.gateway_app.gateways import Gateway, Scripts

USAGE = Usage(input_tokens=10, output_tokens=20)


@pytest.fixture(autouse=True)
def mended(gateway: Gateway) -> None:
    """After so many failures in a row a deployment is left alone; one success ends that."""
    for name in ("first", "second", "plain"):
        gateway.scripts.says(name)
        gateway.answer(f"deployment:{name}")


END: tuple[Event, ...] = (Delta("hi"), Finished(("stop",), USAGE))


@pytest.mark.parametrize(
    "error", [RateLimited(), CapacityUnavailable(), UpstreamFailed(), UpstreamUnreachable()]
)
def test_another_attempt_at_the_same_deployment(
    gateway: Gateway, scripts: Scripts, error: ProviderError
) -> None:
    scripts.only("plain", (error,), END)
    answer = gateway.answer("plain")
    assert [attempt["status"] for attempt in answer["attempts"]] == ["failed", "succeeded"]
    first, second = gateway.rows(answer["id"])
    assert (first["ordinal"], second["ordinal"]) == (0, 1)
    assert first["error_type"] == type(error).__name__ and second["error_type"] is None
    assert first["attempt_id"] != second["attempt_id"]


def test_a_job_that_may_have_run_is_not_asked_for_again(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("seconds", (UpstreamTimeout(may_have_run=True),), END)
    status, error = gateway.error("seconds")
    assert (status, error["code"]) == (504, "provider_timeout")
    assert len(scripts.calls("seconds")) == 1
    # it may have cost nothing, or all that the deployment's total time allows
    cost = error["cost"]
    assert cost["status"] == "estimated" and cost["range_usd"] == {"low": "0", "high": "0.09"}


def test_a_job_that_may_have_run_can_be_done_elsewhere(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("first", (UpstreamFailed(may_have_run=True),))
    scripts.only("second", END)
    answer = gateway.answer("both")
    assert [attempt["deployment"] for attempt in answer["attempts"]] == ["first", "second"]


def test_the_attempts_of_an_operation_add_up(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Started(), UpstreamFailed(usage=Usage(10, 3))), END)
    answer = gateway.answer("plain")
    cost = answer["cost"]
    parts = [Decimal(attempt["cost_usd"]) for attempt in answer["attempts"]]
    assert len(parts) == 2 and all(parts)
    assert sum(parts) == Decimal(cost["total_usd"])
    assert sum(Decimal(line["usd"]) for line in cost["lines"]) == Decimal(cost["total_usd"])
    rows = gateway.rows(answer["id"])
    assert sum(row["cost_pico_usd"] for row in rows) == Decimal(cost["total_usd"]).scaleb(12)
    # what the caller waited for is the whole operation, what it used the attempt that answered
    assert answer["usage"]["output_tokens"] == 20
    assert answer["timing"]["total_seconds"] >= rows[0]["total_seconds"] + rows[1]["total_seconds"]
    assert gateway.operation(answer["id"])["cost"] == cost


def test_it_gives_up_after_the_configured_attempts(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (UpstreamFailed(),))
    status, error = gateway.error("plain")
    assert (status, error["code"]) == (502, "provider_failed")
    assert len(scripts.calls("plain")) == 2
    rows = gateway.rows(error["operation_id"])
    assert [row["status"] for row in rows] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("failure", "tries", "status", "code"),
    [
        (RateLimited(retry_after_seconds=0.05), 2, 429, "provider_rate_limited"),
        (RateLimited(retry_after_seconds=7.2), 1, 429, "provider_rate_limited"),
        (CapacityUnavailable(retry_after_seconds=30), 1, 503, "provider_capacity_unavailable"),
        (QuotaExhausted(), 1, 503, "provider_quota_exhausted"),
        (CredentialsRejected(), 1, 502, "provider_credentials_rejected"),
        (RequestRejected(param="seed"), 1, 422, "request_rejected"),
        (ModelNotFound(), 1, 404, "model_not_found"),
        (ContextTooLong(), 1, 400, "context_length_exceeded"),
        (ContentRefused(), 1, 400, "content_refused"),
        (ProviderRetired(), 1, 502, "provider_retired"),
    ],
)
def test_how_often_each_failure_is_tried(
    gateway: Gateway, scripts: Scripts, failure: ProviderError, tries: int, status: int, code: str
) -> None:
    scripts.only("plain", (failure,))
    began = time.monotonic()
    response = gateway.generate("plain")
    assert time.monotonic() - began < 5
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert len(scripts.calls("plain")) == tries
    assert error["retry_after_seconds"] == failure.retry_after_seconds
    if failure.retry_after_seconds is not None:
        rounded_up = {0.05: "1", 7.2: "8", 30: "30"}[failure.retry_after_seconds]
        assert response.headers["retry-after"] == rounded_up
    else:
        assert "retry-after" not in response.headers
    assert error["param"] == failure.param
    rows = gateway.rows(error["operation_id"])
    assert [row["error_type"] for row in rows] == [type(failure).__name__] * tries
    # refused before any work: that costs nothing, and it is known
    assert error["cost"]["total_usd"] == "0" and error["cost"]["status"] == "measured"


def test_a_wait_that_was_asked_for_is_kept(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (RateLimited(retry_after_seconds=0.15),), END)
    began = time.monotonic()
    gateway.answer("plain")
    assert time.monotonic() - began >= 0.15


@pytest.mark.parametrize(
    ("failure", "calls_first"),
    [
        (CredentialsRejected(), 1),
        (QuotaExhausted(), 1),
        (ProviderRetired(), 1),
        (RateLimited(retry_after_seconds=60), 1),
        (UpstreamFailed(), 2),
    ],
)
def test_the_next_deployment_takes_over(
    gateway: Gateway, scripts: Scripts, failure: ProviderError, calls_first: int
) -> None:
    scripts.only("first", (failure,))
    scripts.only("second", END)
    answer = gateway.answer("both")
    assert (answer["deployment"], answer["status"]) == ("second", "succeeded")
    assert len(scripts.calls("first")) == calls_first and len(scripts.calls("second")) == 1
    rows = gateway.rows(answer["id"])
    assert [row["deployment"] for row in rows] == ["first"] * calls_first + ["second"]
    assert {row["model"] for row in rows} == {"both"}


@pytest.mark.parametrize("failure", [RequestRejected(), ContextTooLong(), ContentRefused()])
def test_the_callers_mistake_is_one_everywhere(
    gateway: Gateway, scripts: Scripts, failure: ProviderError
) -> None:
    scripts.only("first", (failure,))
    scripts.only("second", END)
    status, _ = gateway.error("both")
    assert 400 <= status < 500
    assert len(scripts.calls("first")) == 1 and not scripts.calls("second")


def test_the_last_failure_is_told(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("first", (CredentialsRejected(),))
    scripts.only("second", (RateLimited(retry_after_seconds=60),))
    status, error = gateway.error("both")
    assert (status, error["code"]) == (429, "provider_rate_limited")
    assert len(gateway.rows(error["operation_id"])) == 2


@pytest.mark.parametrize(
    "failure", [UpstreamFailed(), RateLimited(), StreamInterrupted(), ModelNotFound()]
)
def test_after_the_first_output_nothing_is_tried_again(
    gateway: Gateway, scripts: Scripts, failure: ProviderError
) -> None:
    scripts.only("first", (Delta("Once upon"), Delta(" a time"), failure))
    scripts.only("second", END)
    events = gateway.stream("both")
    assert [event.name for event in events] == ["created", "delta", "delta", "error"]
    error = events[-1].data["error"]
    assert (error["type"], error["code"]) == ("api_error", "stream_interrupted")
    assert len(scripts.calls("first")) == 1 and not scripts.calls("second")
    (row,) = gateway.rows(error["operation_id"])
    assert (row["status"], row["error_type"]) == ("failed", "StreamInterrupted")
    # what came was made, and costs: an estimate that says so
    assert row["output_tokens"] > 0 and row["output_tokens_source"] == "estimated"
    assert row["cost_status"] == "estimated" and row["cost_pico_usd"] > 0
    assert row["high_pico_usd"] is None  # nobody said how much may have been made
    assert error["cost"]["total_usd"] is not None


def test_usage_on_a_failure_is_what_it_cost(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("plain", (Delta("a"), UpstreamFailed(usage=Usage(1000, 2000))))
    status, error = gateway.error("plain")
    assert (status, error["code"]) == (502, "stream_interrupted")
    assert error["cost"]["status"] == "measured" and error["cost"]["total_usd"] == "0.00019"


def test_a_fault_in_an_adapter_is_ours_and_is_booked(gateway: Gateway, scripts: Scripts) -> None:
    broken: Any = (Delta("a"), Started(), *END)  # a phase never comes back
    scripts.only("plain", broken)
    status, error = gateway.error("plain")
    assert (status, error["code"]) == (502, "stream_interrupted")
    nonsense: Any = (object(),)
    scripts.only("plain", nonsense)
    status, error = gateway.error("plain")
    assert (status, error["code"]) == (502, "provider_protocol_violation")
    (row,) = gateway.rows(error["operation_id"])
    assert row["error_type"] == "ProtocolViolation"


def test_the_end_of_one_attempts_answer_is_not_the_next_ones(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("first", (Finished(("stop",), USAGE), Delta("after its end")))
    scripts.only("second", (Delta("no end"),))
    status, error = gateway.error("both")
    assert (status, error["code"]) == (502, "stream_interrupted")
    rows = gateway.last_rows("both")
    assert [row["status"] for row in rows] == ["failed", "failed"]
    assert [row["output_tokens_source"] for row in rows] == ["reported", "estimated"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "nonsense", [Delta("\ud800"), Output("text", value="\udfff"), Output("json", value={1j})]
)
def test_what_an_adapter_says_must_be_json(
    gateway: Gateway, scripts: Scripts, nonsense: Event, stream: bool
) -> None:
    scripts.only("plain", (nonsense, *END))
    if stream:
        last = gateway.stream("plain")[-1]
        assert last.name == "error"
        error = last.data["error"]
    else:
        _, error = gateway.error("plain")
    assert error["code"] == "stream_interrupted"
    (row,) = gateway.rows(error["operation_id"])
    assert row["status"] == "failed" and row["cost_lines"]


def test_no_attempt_begins_after_the_total_deadline(gateway: Gateway, scripts: Scripts) -> None:
    late = (Wait(0.16), RateLimited(retry_after_seconds=0.18))
    scripts.only("brief", late)
    status, error = gateway.error("brief")
    assert (status, error["code"]) == (504, "deadline_exceeded")
    assert len(scripts.calls("brief")) == len(gateway.rows(error["operation_id"])) == 1
