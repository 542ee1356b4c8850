"""Replicate's words and numbers, one by one: refusals, stamps, schemas, webhooks, settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from providers.contract import (
    CapacityUnavailable,
    CredentialsRejected,
    GenerateRequest,
    ModelNotFound,
    Parameters,
    Phases,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    Usage,
)
from providers.replicate import (
    ReplicateOptions,
    ReplicateSettings,
)
from providers.replicate.api import Api
from providers.replicate.errors import FAILURES, refusal
from providers.replicate.history import report
from providers.replicate.options import reference
from providers.replicate.prediction import Prediction, StartRule, moment
from providers.replicate.schema import input_names
from tests.adapters.replicate_asking import asking
from tests.emulators.replicate import Replicate
from tests.toolkit.canned import Canned

RULE = StartRule(warm_below_seconds=1.0, cold_after_seconds=5.0)


# -- refusals -------------------------------------------------------------------------------------

INVALID_KEY = {
    "detail": "- version is required\n- Additional property model is not allowed\n",
    "invalid_fields": [
        {"type": "required", "field": "", "description": "version is required"},
        {"type": "additional_property_not_allowed", "field": ""},
    ],
    "title": "Input validation failed",
}


@pytest.mark.parametrize(
    ("status", "body", "error", "wait", "param"),
    [
        (401, {"title": "Unauthenticated"}, CredentialsRejected, None, None),
        (402, {"title": "Insufficient credit"}, QuotaExhausted, None, None),
        (404, {"detail": "not found"}, ModelNotFound, None, None),
        (422, {"title": "Invalid version or not permitted"}, ModelNotFound, None, None),
        (422, {"invalid_fields": [{"field": "input"}]}, RequestRejected, None, "input"),
        (422, {"invalid_fields": [{"field": "<b>"}]}, RequestRejected, None, None),
        (422, INVALID_KEY, RequestRejected, None, None),
        (429, {"detail": "resets in ~9s.", "retry_after": 9}, RateLimited, 9.0, None),
        (429, {"detail": "Your rate limit resets in ~30s."}, RateLimited, 30.0, None),
        (429, {"detail": "Expected available in 1 second."}, RateLimited, 1.0, None),
        (429, {"detail": "Expected available in 12 seconds."}, RateLimited, 12.0, None),
        (429, {"detail": ["odd"], "retry_after": "soon"}, RateLimited, None, None),
        (503, {}, CapacityUnavailable, None, None),
        (500, [1, 2], UpstreamFailed, None, None),
        (502, "<html>", UpstreamFailed, None, None),
    ],
)
def test_refusals(
    status: int, body: Any, error: type[ProviderError], wait: float | None, param: str | None
) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    refused = refusal(status, {}, raw)
    assert type(refused) is error and refused.upstream_status == status
    assert (refused.retry_after_seconds, refused.param) == (wait, param)


def test_a_header_speaks_where_the_body_does_not() -> None:
    assert refusal(429, {"retry-after": "4"}, b"{}").retry_after_seconds == 4.0
    body = b'{"retry_after": 9}'
    assert refusal(429, {"retry-after": "4"}, body).retry_after_seconds == 9.0


async def test_no_money_is_not_asked_for_twice(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = Replicate()
    app.url = emulator(app)
    async with asking(app, tmp_path, 0.02) as account:
        asked = await account.ask("emulated/out-of-quota", GenerateRequest({"prompt": "x"}))
    assert isinstance(asked.error, QuotaExhausted) and not asked.error.retryable
    assert len(app.received) == 1


def test_the_table_of_failures_is_sourced() -> None:
    for row in FAILURES:
        assert row.source and row.checked and row.contains == row.contains.lower()
        assert row.detail.endswith(".")


# -- stamps ---------------------------------------------------------------------------------------


def prediction(**said: Any) -> Prediction:
    return Prediction.model_validate({"id": "p", "status": "succeeded", **said})


def spans(created: str, started: str | None, completed: str | None, **more: Any) -> Prediction:
    day = "2025-07-12T"
    return prediction(
        created_at=f"{day}{created}",
        started_at=None if started is None else f"{day}{started}",
        completed_at=None if completed is None else f"{day}{completed}",
        **more,
    )


PREDICT = {"predict_time": 2.5}


@pytest.mark.parametrize(
    ("seen", "phases"),
    [
        (  # a warm one, with nanoseconds; the version is kept
            spans("10:00:00.5Z", "10:00:00.513742407Z", "10:00:03Z", metrics=PREDICT, version="ab"),
            Phases(
                boot_seconds=0.0,
                wait_seconds=0.013742,
                execute_seconds=2.5,
                evidence="timestamps_reported",
                revision="ab",
            ),
        ),
        (  # its worker's clock is behind: clamped, and warm
            spans("10:00:02.3Z", "10:00:00Z", "10:00:03Z", metrics=PREDICT, version="hidden"),
            Phases(
                boot_seconds=0.0,
                wait_seconds=0.0,
                execute_seconds=2.5,
                evidence="timestamps_reported",
            ),
        ),
        (  # nobody can tell
            spans("10:00:00Z", "10:00:03Z", "10:00:05Z", metrics=None),
            Phases(wait_seconds=3.0, execute_seconds=2.0),
        ),
        (  # cold: queue and boot are one
            spans("10:00:00Z", "10:01:42.7Z", "10:01:45Z", metrics=PREDICT),
            Phases(
                wait_seconds=102.7,
                execute_seconds=2.5,
                evidence="timestamps_reported",
                waited_for_boot=True,
            ),
        ),
        (  # stamps are missing, as in six of the recorded predictions
            spans("10:00:00Z", None, "10:01:00Z", metrics=None),
            Phases(),
        ),
        (  # it cannot have begun after it had ended
            spans("10:00:00Z", "11:00:00Z", "10:01:00Z", metrics={"total_time": 60.0}),
            Phases(),
        ),
        (  # aborted before it began: it cost nothing
            spans("10:00:00Z", None, "10:00:30Z", status="aborted"),
            Phases(
                wait_seconds=30.0,
                execute_seconds=0.0,
                evidence="timestamps_reported",
                waited_for_boot=True,
            ),
        ),
        (  # cancelled at once: it was not warm, it never began
            spans("10:00:00Z", None, "10:00:00.2Z", status="canceled"),
            Phases(wait_seconds=0.2, execute_seconds=0.0),
        ),
        (spans("nonsense", "10:00:00Z", "10:00:01Z", metrics=[1]), Phases(execute_seconds=1.0)),
    ],
)
def test_phases(seen: Prediction, phases: Phases) -> None:
    said = RULE.phases(seen)
    for name in Phases.__slots__:
        expected = getattr(phases, name)
        if isinstance(expected, float):
            expected = pytest.approx(expected, abs=1e-6)
        assert getattr(said, name) == expected, name


def test_no_start_is_called_cold_where_that_is_switched_off() -> None:
    cold = spans("10:00:00Z", "10:30:00Z", "10:30:05Z")
    assert StartRule(1.0, None).phases(cold).evidence is None


@pytest.mark.parametrize(
    ("metrics", "usage"),
    [
        ({"input_token_count": 39, "output_token_count": 0}, Usage(39, 0)),
        ({"image_count": 2}, Usage(images=2)),
        ({"input_token_count": True, "output_token_count": "9", "image_count": -1}, None),
        ({"predict_time": 1.0}, None),
        (None, None),
        ("odd", None),
    ],
)
def test_usage(metrics: Any, usage: Usage | None) -> None:
    assert prediction(metrics=metrics).usage == usage


@pytest.mark.parametrize(
    ("status", "reported"),
    [
        ("starting", "running"),
        ("processing", "running"),
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("canceled", "cancelled"),
        ("aborted", "cancelled"),
        ("hibernating", "unknown"),
    ],
)
def test_reports(status: str, reported: str) -> None:
    said = report(spans("10:00:00Z", "10:00:01Z", None, status=status), RULE)
    assert said.status == reported
    assert (said.phases is None) == (reported in ("running", "unknown"))


def test_instants() -> None:
    assert moment("2024-10-31T09:13:02.113742407Z") == datetime(
        2024, 10, 31, 9, 13, 2, 113742, tzinfo=UTC
    )
    assert moment("2024-10-31T09:13:02") == datetime(2024, 10, 31, 9, 13, 2, tzinfo=UTC)
    assert moment("") is None and moment(None) is None and moment(3) is None


# -- what a model takes ---------------------------------------------------------------------------


def test_stops_with_a_comma_cannot_be_joined() -> None:
    properties = {"prompt": {"type": "string"}, "stop": {"type": "array"}}
    shown = {"openapi_schema": {"components": {"schemas": {"Input": {"properties": properties}}}}}
    stops = GenerateRequest("x", Parameters(stop=("a,b",)))
    names = input_names(shown)
    assert names is not None and names.input_for(stops) == {"prompt": "x", "stop": ["a,b"]}
    properties["stop"] = {"type": "string"}
    names = input_names({"latest_version": shown})
    assert names is not None
    with pytest.raises(RequestRejected) as refused:
        names.input_for(stops)
    assert refused.value.param == "parameters.stop"


@pytest.mark.parametrize("shown", [{}, {"latest_version": None}, {"openapi_schema": {"info": 1}}])
def test_a_model_without_a_schema(shown: dict[str, Any]) -> None:
    assert input_names(shown) is None


def test_what_is_called() -> None:
    version = "ab" * 32
    assert reference("a/b", None).schema_path == "/models/a/b"
    assert reference(f"a/b:{version}", None).schema_path == f"/models/a/b/versions/{version}"
    assert reference(f"a/b:{version}", "me/x").create_path == "/deployments/me/x/predictions"
    assert reference(f"a/b:{version}", "me/x").version is None
    assert reference(version, None).schema_path is None


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"api_token": "r8_x", "base_url": "api.replicate.com/v1"},
        {"api_token": "r8_x", "poll_seconds": 0},
        {"api_token": "r8_x", "api_key": "r8_x"},
    ],
)
def test_settings_that_cannot_work(block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReplicateSettings.model_validate(block)


@pytest.mark.parametrize(
    "options",
    [
        {"deployment": "fast"},
        {"deployment": "acme/../x"},
        {"hold_seconds": 61},
        {"input": {"promt": "text"}},
        {"output": "pictures"},
        {"warm_below_seconds": 6.0},
    ],
)
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReplicateOptions.model_validate(options)


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://stream.replicate.com/v1/files/abc", True),
        ("https://stream-b.svc.rno2.c.replicate.delivery/x", True),
        ("https://api.replicate.com/v1/x", True),
        ("http://stream.replicate.com/v1/files/abc", False),
        ("https://stream.replicate.com:8443/x", False),
        ("https://replicate.com.evil.io/x", False),
        ("https://evilreplicate.com/x", False),
        ("https://user@evil.io/replicate.com", False),
        ("https://[::1", False),
        ("file:///etc/passwd", False),
    ],
)
def test_where_the_token_may_go(url: str, trusted: bool) -> None:
    api = Api(Canned(), ReplicateSettings.model_validate({"api_token": "r8_x"}))
    assert api.trusted(url) is trusted
