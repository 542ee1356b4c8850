"""Log lines: one shape, and nothing in them that somebody said."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from typing import Any

import orjson

from gateway.telemetry import JsonFormatter, log_line
from providers.contract import CredentialsRejected
from tests.ledger.samples import begun, finished, unpriced


def test_the_log_line_says_what_happened_and_nothing_said() -> None:
    line = log_line(asdict(finished(begun(1), tags={"secret": "prompt"})))
    assert line == {
        "time": "2026-11-22T12:00:00.950001Z",
        "level": "INFO",
        "event": "attempt",
        "request_id": "gen_000001",
        "attempt": "att_000001",
        "trace_id": None,
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


def test_other_log_records_are_json_too() -> None:
    record = logging.LogRecord("gateway.x", logging.WARNING, "f", 1, "took %d", (3,), None)
    line = orjson.loads(JsonFormatter().format(record))
    assert line["level"] == "WARNING" and line["message"] == "took 3"
    assert line["event"] == "log" and line["time"].endswith("Z")


def logged(error: BaseException) -> Any:
    """The line of a record with this failure."""
    try:
        raise error
    except type(error):
        told = ("gateway.x", logging.ERROR, "f", 1, "it failed", (), sys.exc_info())
        return orjson.loads(JsonFormatter().format(logging.LogRecord(*told)))


def test_a_traceback_says_where_and_not_what() -> None:
    strange = ValueError("the prompt was: a secret")
    strange.__cause__ = KeyError("sk-secret-key")
    told = logged(strange)["traceback"]
    assert "ValueError" in told and "KeyError" in told and "test_log.py" in told
    assert "the prompt" not in told and "sk-secret" not in told


def test_words_that_are_made_for_callers_stay() -> None:
    told = logged(CredentialsRejected("A configured key is not valid in HTTP."))["traceback"]
    assert "CredentialsRejected: A configured key is not valid in HTTP." in told


def test_failures_that_name_each_other_come_to_an_end() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert logged(first)["traceback"].count("ValueError") == 1


def test_a_message_that_is_no_text() -> None:
    record = logging.LogRecord("gateway.x", logging.INFO, "f", 1, "\ud800", (), None)
    assert orjson.loads(JsonFormatter().format(record))["event"] == "log"
