"""Calls that return: what goes out, what is told, what it cost, and how it ends early."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from providers.contract import (
    Accepted,
    Booting,
    ContextTooLong,
    CredentialsRejected,
    Delta,
    Event,
    GenerateRequest,
    Hardware,
    ModelNotFound,
    Output,
    Parameters,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    Started,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.testing.contract_suite import seen
from providers.testing.scenarios import ANSWER
from tests.adapters.modal_help import ASKED, ask, deployment, usd
from tests.emulators.modal import Modal, serve_modal
from tests.emulators.modal_plays import CBOR, PICKLE, SECRET_WORDS, STATUSES, Hostile

STEP = 0.002  # ids hold milliseconds


@pytest.fixture(scope="module")
def _modal() -> Iterator[Modal]:
    with serve_modal(speed=200.0) as modal:
        yield modal


@pytest.fixture
def modal(_modal: Modal) -> Modal:
    _modal.forget()
    return _modal


async def test_a_cold_call_is_told_as_it_was(modal: Modal) -> None:
    async with deployment(modal, function="warm") as bound:
        got = await ask(bound)
    (truth,) = modal.truths("warm")
    kinds = [type(event) for event in got.events]
    assert kinds[:3] == [Accepted, Booting, Started] and truth.cold and truth.caused_boot
    assert (got.cold.verdict, got.cold.evidence, got.cold.caused_boot) == (
        "cold",
        "scale_state",
        True,
    )
    phases = got.finished.phases
    assert phases is not None and phases.instance_id == truth.container_id
    assert phases.boot_seconds == pytest.approx(truth.boot_seconds, abs=STEP)
    assert phases.queue_seconds == pytest.approx(truth.queue_seconds, abs=STEP)
    assert phases.wait_seconds == pytest.approx(truth.wait_seconds, abs=STEP)
    assert phases.execute_seconds == pytest.approx(truth.execute_seconds, abs=STEP)
    cost = got.cost()
    assert cost.total_usd is not None and cost.pending == ("idle",)
    due = usd(truth.boot_seconds) + usd(truth.execute_seconds)
    assert abs(cost.total_usd - due) < usd(2 * STEP)
    billed = modal.world.billed_seconds("warm")  # Modal's bill has the idle time since, too
    assert billed >= truth.boot_seconds + truth.execute_seconds - STEP


async def test_the_next_call_is_warm(modal: Modal) -> None:
    async with deployment(modal, function="warm") as bound:
        await ask(bound)
        got = await ask(bound)
    _, truth = modal.truths("warm")
    assert not truth.cold
    assert (got.cold.verdict, got.cold.evidence) == ("warm", "timestamps_reported")
    assert got.timeline.boot_seconds == 0
    assert abs((got.cost().total_usd or 0) - usd(truth.execute_seconds)) < usd(STEP)


async def test_a_first_look_at_a_container_that_idles_is_warm_by_scale(modal: Modal) -> None:
    async with deployment(modal, function="plain") as bound:
        await ask(bound)
    async with deployment(modal, function="plain") as another:  # it has met no container yet
        got = await ask(another)
    assert (got.cold.verdict, got.cold.evidence) == ("warm", "scale_state")
    async with deployment(modal, function="plain", read_scale=False) as blind:
        got = await ask(blind)
    assert got.cold.verdict == "unknown"  # made before the call, and perhaps still booting then
    assert got.timeline.wait_seconds is not None and got.timeline.wait_seconds < 1


async def test_without_a_look_the_stamps_prove_it(modal: Modal) -> None:
    async with deployment(modal, function="plain", read_scale=False) as bound:
        cold = await ask(bound)
        warm = await ask(bound)
    assert modal.count("FunctionGetCurrentStats") == 0
    (first, _) = modal.truths("plain")
    assert (cold.cold.verdict, cold.cold.evidence) == ("cold", "timestamps_reported")
    assert cold.timeline.boot_seconds == pytest.approx(first.boot_seconds, abs=STEP)
    assert (warm.cold.verdict, warm.cold.evidence) == ("warm", "timestamps_reported")


async def test_one_boot_for_many_is_paid_once() -> None:
    with serve_modal(speed=100.0, max_inputs=8) as modal:
        async with deployment(modal, function="plain") as bound:
            got = await asyncio.gather(*(ask(bound) for _ in range(5)))
        truths = modal.truths("plain")
    assert sum(truth.caused_boot for truth in truths) == 1 and all(t.cold for t in truths)
    assert [one.cold.verdict for one in got] == ["cold"] * 5
    assert sum(one.cold.caused_boot is True for one in got) == 1
    boots = [line for one in got for line in one.cost().lines if line.kind == "boot_seconds"]
    assert len(boots) == 1


async def test_somebody_elses_boot_is_waited_for_and_not_paid() -> None:
    with serve_modal(speed=200.0, boot_seconds=60.0) as modal:
        async with deployment(modal, function="plain") as bound:
            await bound.scale(1)
            await asyncio.sleep(0.01)  # two seconds there
            got = await ask(bound)
        (truth,) = modal.truths("plain")
    assert truth.cold and not truth.caused_boot
    assert (got.cold.verdict, got.cold.caused_boot) == ("cold", False)
    assert got.timeline.boot_seconds == pytest.approx(truth.wait_seconds, abs=STEP)
    assert abs((got.cost().total_usd or 0) - usd(truth.execute_seconds)) < usd(STEP)


async def test_ids_without_stamps_prove_nothing_and_count_nothing_twice() -> None:
    with serve_modal(speed=100.0, ulids=False) as modal:
        async with deployment(modal, function="warm", read_scale=False) as bound:
            unsaid = await ask(bound)
        async with deployment(modal, function="plain") as bound:
            looked = await ask(bound)
        (truth,) = modal.truths("warm")
    # The function's own word is left: it was 12 s old when it began, and 12 s in booting.
    assert (unsaid.cold.verdict, unsaid.cold.evidence) == ("cold", "delay_reported")
    assert unsaid.timeline.boot_seconds == pytest.approx(truth.boot_seconds, abs=0.5)
    assert looked.cold.verdict == "cold" and looked.finished.phases is not None
    assert looked.finished.phases.execute_seconds is None
    took = looked.timeline.total_seconds or 0
    said = (looked.timeline.boot_seconds or 0) + (looked.timeline.execute_seconds or 0)
    assert said <= took


async def test_no_scale_is_no_failure(modal: Modal) -> None:
    modal.stats_fail = True
    try:
        async with deployment(modal, function="plain") as bound:
            got = await ask(bound)
            assert await bound.probe() == "unknown"
    finally:
        modal.stats_fail = False
    assert got.cold.evidence == "timestamps_reported"


@pytest.mark.parametrize(
    ("rule", "request_", "arguments"),
    [
        ("kwargs", GenerateRequest("hi"), {"prompt": "hi"}),
        ("kwargs", GenerateRequest({"a": [1, None]}), {"a": [1, None]}),
        ("payload", GenerateRequest({"a": 1}), {"a": 1}),
        (
            "messages",
            GenerateRequest("hi", Parameters(max_output_tokens=5, stop=("x",))),
            {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "stop": ["x"]},
        ),
        (
            {"prompt": "text", "max_output_tokens": "n"},
            GenerateRequest("hi", Parameters(max_output_tokens=5)),
            {"text": "hi", "n": 5},
        ),
    ],
)
async def test_the_arguments(
    modal: Modal, rule: Any, request_: GenerateRequest, arguments: Any
) -> None:
    async with deployment(modal, function="echo", input=rule) as bound:
        got = await ask(bound, request_)
    (call,) = modal.calls("echo")
    assert call.arguments == arguments and call.data_format == CBOR
    assert [e.value for e in got.events if isinstance(e, Output)] == [arguments]


async def test_a_request_that_cannot_be_said_calls_nothing(modal: Modal) -> None:
    async with deployment(modal, function="echo") as bound:
        for wrong in (
            GenerateRequest("hi", Parameters(seed=1)),
            GenerateRequest("hi", extra={"logprobs": True}),
            GenerateRequest("hi", task="embed"),
        ):
            with pytest.raises(RequestRejected):
                await ask(bound, wrong)
    assert modal.received == []


async def test_a_large_input_goes_through_the_blob_store(modal: Modal) -> None:
    async with deployment(modal, function="echo") as bound:
        await ask(bound, GenerateRequest("x" * 20_000))
    (call,) = modal.calls("echo")
    assert call.arguments == {"prompt": "x" * 20_000} and modal.count("BlobCreate") == 1


@pytest.mark.parametrize(
    ("function", "kinds"),
    [("plain", [Delta]), ("bytes", [Output]), ("nothing", []), ("warm", [Delta])],
)
async def test_what_comes_back(modal: Modal, function: str, kinds: list[type]) -> None:
    async with deployment(modal, function=function) as bound:
        got = await ask(bound)
    assert [type(e) for e in got.events if isinstance(e, Delta | Output)] == kinds


async def test_a_value_that_is_no_json_is_not_passed_on(modal: Modal) -> None:
    async with deployment(modal, function="not-json") as bound:
        with pytest.raises(ProtocolViolation):
            await ask(bound)


async def test_pickles_are_refused_before_the_call_unless_allowed(modal: Modal) -> None:
    async with deployment(modal, function="pickle-only") as bound:
        with pytest.raises(ModelNotFound, match="allow_pickle"):
            await ask(bound)
    assert modal.calls("pickle-only") == []
    async with deployment(modal, function="pickle-only", allow_pickle=True) as bound:
        got = await ask(bound)
    assert modal.calls("pickle-only")[0].data_format == PICKLE
    assert Delta(ANSWER) in got.events


@pytest.mark.parametrize(
    ("function", "error"),
    [("hostile-crash", UpstreamFailed), ("hostile-answer", ProtocolViolation)],
)
async def test_no_code_of_theirs_runs_here(
    modal: Modal, function: str, error: type[ProviderError]
) -> None:
    async with deployment(modal, function=function) as bound:
        with pytest.raises(error):
            await ask(bound)
    assert Hostile.hits == 0


@pytest.mark.parametrize("function", sorted(set(STATUSES) - {"error-frame-mid-stream"}))
async def test_every_way_a_call_can_end(
    modal: Modal, function: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with deployment(modal, function=function) as bound:
        with pytest.raises(ProviderError) as caught:
            await ask(bound)
    error = caught.value
    assert type(error) is (UpstreamTimeout if function == "times-out" else UpstreamFailed)
    assert error.job_id == modal.calls(function)[0].id
    (truth,) = modal.truths(function)
    assert error.phases is not None  # failures cost money too
    assert error.phases.execute_seconds == pytest.approx(truth.execute_seconds, abs=STEP)
    assert SECRET_WORDS not in f"{error} {error.detail} {error.__cause__!r} {caplog.text}"


@pytest.mark.parametrize("read_scale", [True, False])
async def test_what_the_function_refuses_was_worked_for(modal: Modal, read_scale: bool) -> None:
    seen_events: list[Event] = []
    async with deployment(modal, function="context-too-long", read_scale=read_scale) as bound:
        with pytest.raises(ContextTooLong) as caught:
            async with aclosing(bound.generate(ASKED)) as events:
                async for event in events:
                    seen_events.append(event)
    assert isinstance(seen_events[-1], Started)  # so that the gateway does not call it free
    phases = caught.value.phases
    assert phases is not None and phases.execute_seconds is not None and phases.execute_seconds > 0
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("permission-denied", CredentialsRejected),
        ("failed-precondition", UpstreamFailed),
        ("invalid-argument", RequestRejected),
        ("unimplemented", ProtocolViolation),
    ],
)
async def test_refused_calls(modal: Modal, function: str, error: type[ProviderError]) -> None:
    async with deployment(modal, function=function) as bound:
        with pytest.raises(error) as caught:
            await ask(bound)
    assert type(caught.value) is error and modal.key not in repr(caught.value.__cause__)


async def test_who_leaves_ends_the_call_within_a_second(modal: Modal) -> None:
    async with deployment(modal, function="never-answers") as bound:
        assert bound.capabilities.cancels
        async with aclosing(bound.generate(ASKED)) as events:
            async for event in events:
                assert isinstance(event, Accepted)
                break
        left_at = time.monotonic()
        await seen(lambda: modal.stopped("never-answers") == 1)
        assert time.monotonic() - left_at < 1
        report = await bound.lookup(modal.calls("never-answers")[0].id)
    assert report is not None and report.status == "cancelled"


async def test_who_leaves_while_the_call_is_made_ends_it_too(modal: Modal) -> None:
    modal.slow_create_seconds = 0.05
    try:
        async with deployment(modal, function="never-answers") as bound:
            task = asyncio.create_task(ask(bound))
            await seen(lambda: modal.count("FunctionMap") == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    finally:
        modal.slow_create_seconds = 0.0
    assert modal.began("never-answers") == 1 and modal.stopped("never-answers") == 1


async def test_a_call_can_be_looked_up_by_its_id(modal: Modal) -> None:
    async with deployment(modal, function="plain") as bound:
        events: list[Event] = []
        async with aclosing(bound.generate(ASKED)) as stream:
            async for event in stream:
                events.append(event)
                if isinstance(event, Accepted):
                    running = await bound.lookup(event.job_id)
        accepted = events[0]
        assert isinstance(accepted, Accepted) and running is not None
        assert running.status == "running"
        report = await bound.lookup(accepted.job_id)
        assert await bound.lookup("fc-unknown") is None
    (truth,) = modal.truths("plain")
    assert report is not None and report.status == "succeeded" and report.phases is not None
    assert report.phases.execute_seconds == pytest.approx(truth.execute_seconds, abs=STEP)
    assert report.created_at is not None and report.completed_at is not None
    assert report.created_at < report.completed_at


async def test_a_function_that_moved_is_looked_up_anew(modal: Modal) -> None:
    async with deployment(modal, function="plain", read_scale=False) as bound:
        await ask(bound)
        await ask(bound)
        assert modal.count("FunctionGet") == 1
        modal.hidden.add("plain")
        try:
            with pytest.raises(ModelNotFound):
                await ask(bound)
        finally:
            modal.hidden.clear()
        await ask(bound)
    assert modal.count("FunctionGet") == 2


async def test_scale_probe_and_hardware(modal: Modal) -> None:
    async with deployment(modal, function="plain") as bound:
        assert await bound.hardware() == Hardware((("H100", 1),), 4, 16384)
        assert await bound.probe() == "down"
        asking = asyncio.create_task(ask(bound))
        await seen(lambda: modal.began("plain") == 1)
        assert await bound.probe() == "booting"
        await asking
        assert await bound.probe() == "ready"
        await bound.scale(2, 5)
    assert (modal.world.pool("plain").minimum, modal.world.pool("plain").maximum) == (2, 5)
    assert len(modal.world.pool("plain").up) == 2


async def test_parameters_of_a_class(modal: Modal) -> None:
    async with deployment(
        modal, cls="plain", method="generate", parameters={"size": "large"}
    ) as bound:
        got = await ask(bound)
    assert Delta(ANSWER) in got.events
    assert b"large" in next(
        r.message.serialized_params for r in modal.received if r.rpc == "FunctionBindParams"
    )
