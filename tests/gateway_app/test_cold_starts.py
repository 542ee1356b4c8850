"""Verdicts with their evidence, models that load, and the deadline of each phase."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    Booting,
    Delta,
    Event,
    Finished,
    ModelLoading,
    Phases,
    Queued,
    Started,
    Usage,
)
from providers.testing import Wait
from providers.testing.scripted import Step
from tests.emulators.openai_chat import OpenAIChat
from tests.gateway_app.conftest import configuration, scripted
from tests.gateway_app.gateways import Gateway, Scripts, running_gateway

END = (Delta("hi"), Finished(("stop",), Usage(1, 2)))


def ending(phases: Phases) -> tuple[Event, ...]:
    return Delta("hi"), Finished(("stop",), Usage(1, 2), phases)


@pytest.mark.parametrize(
    ("script", "verdict", "evidence", "caused_boot"),
    [
        (END, "unknown", None, None),
        ((Booting("process_started", True), Started(), *END), "cold", "process_started", True),
        ((Booting("scale_state", False), Started(), *END), "cold", "scale_state", False),
        ((Booting("latency_only"), *END), "unknown", "latency_only", None),
        ((Started("i-1", "scale_state"), *END), "warm", "scale_state", False),
        ((Started("i-1"), *END), "unknown", None, None),
        ((Queued(), Started(), *END), "unknown", None, None),
        (
            ending(Phases(boot_seconds=12.5, evidence="delay_reported", caused_boot=True)),
            *("cold", "delay_reported", True),
        ),
        (
            ending(Phases(boot_seconds=0, evidence="timestamps_reported")),
            *("warm", "timestamps_reported", False),
        ),
    ],
)
def test_verdicts_rest_on_evidence(
    gateway: Gateway,
    scripts: Scripts,
    script: tuple[Step, ...],
    verdict: str,
    evidence: str | None,
    caused_boot: bool | None,
) -> None:
    scripts.only("plain", script)
    answer = gateway.answer("plain")
    cold = answer["cold_start"]
    assert (cold["verdict"], cold["evidence"], cold["caused_boot"]) == (
        *(verdict, evidence, caused_boot),
    )
    assert answer["attempts"][0]["verdict"] == verdict
    (row,) = gateway.rows(answer["id"])
    assert (row["verdict"], row["evidence"]) == (verdict, evidence)


def test_the_seconds_of_each_phase(gateway: Gateway, scripts: Scripts) -> None:
    script: tuple[Step, ...] = (
        *(Queued(), Wait(0.02), Booting("phase_reported"), Wait(0.04), Started("i-7")),
        *(Wait(0.03), *END),
    )
    scripts.only("plain", script)
    answer = gateway.answer("plain")
    timing = answer["timing"]
    least = {"queue_seconds": 0.019, "boot_seconds": 0.039, "execute_seconds": 0.029}
    assert all(timing[phase] >= seconds for phase, seconds in least.items())
    assert sum(timing[phase] for phase in least) <= timing["total_seconds"] + 1e-5
    assert timing["wait_seconds"] >= timing["queue_seconds"] + timing["boot_seconds"] - 1e-5
    assert timing["first_output_seconds"] >= timing["wait_seconds"] + 0.029
    assert answer["cold_start"]["boot_seconds"] == timing["boot_seconds"]
    assert gateway.rows(answer["id"])[0]["instance_id"] == "i-7"


def test_the_providers_own_account_wins(gateway: Gateway, scripts: Scripts) -> None:
    phases = Phases(3.5, 42.0, 45.5, 1.25, "delay_reported", True, "i-1", "rev-2")
    scripts.only("seconds", ending(phases))
    answer = gateway.answer("seconds")
    timing = answer["timing"]
    assert (timing["queue_seconds"], timing["boot_seconds"]) == (3.5, 42.0)
    assert (timing["wait_seconds"], timing["execute_seconds"]) == (45.5, 1.25)
    assert answer["cost"]["total_usd"] == "0.004325"
    (row,) = gateway.rows(answer["id"])
    assert (row["instance_id"], row["upstream_revision"]) == ("i-1", "rev-2")


def test_somebody_elses_boot_is_not_paid_for(gateway: Gateway, scripts: Scripts) -> None:
    script = (Booting("process_started", False), Wait(0.03), Started(), *END)
    scripts.only("seconds", script)
    answer = gateway.answer("seconds")
    assert answer["cold_start"]["verdict"] == "cold"
    assert [line["kind"] for line in answer["cost"]["lines"]] == ["execute_seconds"]


def test_idle_seconds_before_an_attempt(gateway: Gateway, scripts: Scripts) -> None:
    scripts.says("plain")
    gateway.answer("plain")
    time.sleep(0.03)
    idle = gateway.answer("plain")["cold_start"]["idle_before_seconds"]
    assert 0.03 <= idle < 5


def test_a_model_that_loads_is_waited_for_in_one_attempt(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("plain", (ModelLoading(),), (ModelLoading(),), END)
    events = gateway.stream("plain")
    names = [event.name for event in events if event.name != ":"]
    assert names == ["created", "booting", "started", "delta", "finished"]
    answer = events[-1].data
    assert len(answer["attempts"]) == 1 and len(scripts.calls("plain")) == 3
    cold = answer["cold_start"]
    assert (cold["verdict"], cold["evidence"]) == ("cold", "loading_reported")
    # two pauses of 0.05 s; the boot is over when the question that was answered is asked
    timing = answer["timing"]
    assert 0.09 <= timing["boot_seconds"]
    assert timing["boot_seconds"] + timing["execute_seconds"] <= timing["total_seconds"] + 1e-5
    assert len(gateway.rows(answer["id"])) == 1


def test_a_boot_that_goes_on_when_asked_again(gateway: Gateway, scripts: Scripts) -> None:
    booting = Booting("scale_state", True)
    scripts.only("plain", (booting, ModelLoading()), (booting, Wait(0.2), Started(), *END))
    events = gateway.stream("plain")
    names = [event.name for event in events if event.name != ":"]
    assert names == ["created", "booting", "started", "delta", "finished"]
    # the pause before the second question, and what it then waited for
    timing = events[-1].data["timing"]
    assert 0.24 <= timing["boot_seconds"] <= timing["total_seconds"]


def test_an_engine_that_loads(gateway: Gateway, chat_emulator: OpenAIChat) -> None:
    answer = gateway.answer("loading-2")
    assert chat_emulator.began("loading:2") == 3
    assert answer["cold_start"]["evidence"] == "loading_reported"
    assert len(answer["attempts"]) == 1


def test_a_load_that_outlives_the_boot_budget(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("impatient", (ModelLoading(),))
    began = time.monotonic()
    response = gateway.generate("impatient")
    took_seconds = time.monotonic() - began
    assert response.status_code == 503 and "retry-after" in response.headers
    assert response.json()["error"]["code"] == "cold_start_timeout"
    (row,) = gateway.last_rows("impatient")
    assert (row["status"], row["error_type"]) == ("failed", "BootTimeout")
    assert (row["verdict"], row["evidence"]) == ("cold", "loading_reported")
    assert 0.28 < row["boot_seconds"] <= took_seconds < 5


DEADLINES: list[tuple[str, tuple[Step, ...], int, str, str]] = [
    ("queue", (Queued(), Wait(9)), 504, "provider_timeout", "UpstreamTimeout"),
    ("boot", (Booting("phase_reported"), Wait(9)), 503, "cold_start_timeout", "BootTimeout"),
    ("first_output", (Started(), Wait(9)), 504, "provider_timeout", "UpstreamTimeout"),
    ("stall", (Delta("a"), Wait(9)), 502, "stream_interrupted", "StreamInterrupted"),
]


@pytest.mark.parametrize(("phase", "script", "status", "code", "error_type"), DEADLINES)
def test_the_deadline_of_a_phase(
    gateway: Gateway,
    scripts: Scripts,
    phase: str,
    script: tuple[Step, ...],
    status: int,
    code: str,
    error_type: str,
) -> None:
    scripts.only("impatient", script)
    got, error = gateway.error("impatient")
    rows = gateway.last_rows("impatient")
    assert (got, error["code"]) == (status, code)
    for row in rows:
        assert (row["status"], row["error_type"]) == ("failed", error_type)
        assert 0.13 < row["total_seconds"] < 5
    # Money may have been spent on a boot or on output: those are not tried again.
    assert len(rows) == (1 if phase in ("boot", "stall") else 2)
    assert [call.outcome for call in scripts.calls("impatient")] == ["cancelled"] * len(rows)
    assert error["operation_id"] == rows[0]["operation_id"]
    assert error["cost"]["status"] == "estimated"


def test_a_models_own_output_may_come_late_and_in_one_piece(
    gateway: Gateway, scripts: Scripts
) -> None:
    scripts.only("impatient", (Started(), Wait(0.4), *END))  # its first output may take 0.2 s
    native = {"prompt": "a film"}
    assert gateway.answer("impatient", native)["status"] == "succeeded"
    assert gateway.stream("impatient", native)[-1].name == "error"


def test_news_of_a_boot_do_not_prolong_it(gateway: Gateway, scripts: Scripts) -> None:
    loading: Any = (ModelLoading(retry_after_seconds=0.01),)
    scripts.only("impatient", *([loading] * 50))
    _, error = gateway.error("impatient")
    assert error["code"] == "cold_start_timeout"
    assert len(scripts.calls("impatient")) < 50


def test_a_boot_that_is_given_up_says_when_to_come_back(tmp_path: Path) -> None:
    """By the boots that were seen, as old as this one is; and no later than SDKs heed."""
    tree = configuration("http://127.0.0.1:9")
    for name in ("plain", "first", "second", "short"):
        tree["deployments"][name] = scripted(name, timeouts={"boot_seconds": 0.3})
    forever = (Booting("process_started", True), Wait(60))
    with running_gateway(tree, tmp_path) as gateway:

        def asked_back(name: str, boot_seconds: float | None) -> int:
            phases = Phases(boot_seconds=boot_seconds, evidence="delay_reported", caused_boot=True)
            seen = [] if boot_seconds is None else [ending(phases)] * 6
            gateway.scripts.only(name, *seen, forever)
            for _ in seen:
                gateway.answer(name)
            told = gateway.generate(name)
            error = told.json()["error"]
            assert (told.status_code, error["code"]) == (503, "cold_start_timeout")
            assert error["retry_after_seconds"] == int(told.headers["retry-after"])
            return int(told.headers["retry-after"])

        assert asked_back("plain", None) == 1  # nothing is known but that it took 0.3 s
        assert asked_back("first", 5.0) in (4, 5)
        assert asked_back("second", 30.0) in (29, 30, 31)
        assert asked_back("short", 3000.0) == 60


def test_each_output_begins_the_stall_anew(gateway: Gateway, scripts: Scripts) -> None:
    pieces = [step for _ in range(5) for step in (Wait(0.1), Delta("a"))]
    scripts.only("impatient", (*pieces, Finished(("stop",), Usage(1, 5))))
    answer = gateway.answer("impatient")
    assert answer["output"][0]["text"] == "aaaaa" and answer["timing"]["total_seconds"] > 0.45


@pytest.mark.parametrize(
    ("script", "told", "booked"),
    [
        ((Wait(9),), (504, "deadline_exceeded"), "DeadlineExceeded"),
        ((Booting("phase_reported"), Wait(9)), (503, "cold_start_timeout"), "ColdStartTimeout"),
    ],
)
def test_the_total_deadline(
    gateway: Gateway, scripts: Scripts, script: Any, told: tuple[int, str], booked: str
) -> None:
    scripts.only("brief", script)
    began = time.monotonic()
    status, error = gateway.error("brief")
    assert 0.28 < time.monotonic() - began < 5
    assert (status, error["code"]) == told
    assert (error["retry_after_seconds"] is None) == (status == 504)
    (row,) = gateway.last_rows("brief")
    assert (row["status"], row["error_type"]) == ("failed", booked)


def test_a_deadline_in_a_stream_is_an_error_event(gateway: Gateway, scripts: Scripts) -> None:
    scripts.only("impatient", (Delta("a"), Delta("b"), Wait(9)))
    events = [event for event in gateway.stream("impatient") if event.name != ":"]
    assert [event.name for event in events] == ["created", "delta", "delta", "error"]
    error = events[-1].data["error"]
    assert error["code"] == "stream_interrupted" and error["cost"]["status"] == "estimated"
