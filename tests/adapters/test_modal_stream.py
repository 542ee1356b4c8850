"""Generators: what they say of themselves, and what cannot be done for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from providers.contract import (
    Accepted,
    Booting,
    Delta,
    Event,
    GenerateRequest,
    ModelNotFound,
    ProviderError,
    Started,
    UpstreamFailed,
)
from providers.testing.contract_suite import seen, text_of
from providers.testing.scenarios import ANSWER
from tests.adapters.modal_help import ASKED, ask, deployment
from tests.emulators.modal import Modal, serve_modal


@pytest.fixture(scope="module")
def _modal() -> Iterator[Modal]:
    with serve_modal(speed=200.0) as modal:
        yield modal


@pytest.fixture
def modal(_modal: Modal) -> Modal:
    _modal.forget()
    return _modal


async def test_a_cold_stream_tells_its_boot_and_its_container(modal: Modal) -> None:
    async with deployment(modal, stream_method="warm@stream") as bound:
        got = await ask(bound)
    (truth,) = modal.truths("warm")
    assert [type(e) for e in got.events[:3]] == [Booting, Started, Delta]
    assert isinstance(got.events[1], Started) and got.events[1].instance_id == truth.container_id
    assert text_of(got.events) == ANSWER and got.finished.reasons == ("stop",)
    assert (got.cold.verdict, got.cold.caused_boot) == ("cold", True)
    phases = got.finished.phases
    assert phases is not None and phases.evidence == "delay_reported"
    assert phases.boot_seconds == pytest.approx(truth.boot_seconds, abs=0.5)


async def test_a_stream_without_a_look_is_cold_and_then_warm_by_its_own_word(modal: Modal) -> None:
    async with deployment(modal, stream_method="warm@stream", read_scale=False) as bound:
        cold = await ask(bound)
        await asyncio.sleep(0.02)  # four seconds there
        warm = await ask(bound)
    assert [t.cold for t in modal.truths("warm")] == [True, False]
    assert (cold.cold.verdict, cold.cold.evidence) == ("cold", "delay_reported")
    assert (warm.cold.verdict, warm.cold.evidence) == ("warm", "delay_reported")
    assert warm.timeline.boot_seconds == 0


@pytest.mark.parametrize("read_scale", [False, True])
async def test_who_asks_again_at_once_did_not_wait_for_the_boot(read_scale: bool) -> None:
    with serve_modal(speed=5.0, boot_seconds=1.0, execute_seconds=0.05) as modal:
        async with deployment(modal, stream_method="warm@stream", read_scale=read_scale) as bound:
            got = [await ask(bound) for _ in range(3)]
        truths = modal.truths("warm")
    assert [truth.cold for truth in truths] == [True, False, False]
    assert [one.cold.verdict for one in got] == ["cold", "warm", "warm"]
    assert [one.cold.caused_boot for one in got] == [True, False, False]


async def test_streams_that_wait_for_one_boot_are_all_cold() -> None:
    with serve_modal(speed=20.0, boot_seconds=12.0, max_inputs=8) as modal:
        async with deployment(modal, stream_method="warm@stream", read_scale=False) as bound:
            got = await asyncio.gather(*(ask(bound) for _ in range(4)))
    assert [one.cold.verdict for one in got] == ["cold"] * 4
    assert sum(one.cold.caused_boot is True for one in got) == 1


async def test_a_stream_that_says_nothing_of_itself(modal: Modal) -> None:
    async with deployment(modal, stream_method="plain@stream", read_scale=False) as bound:
        got = await ask(bound)
        assert got.cold.verdict == "unknown" and got.finished.usage is None
        assert got.finished.phases is None and text_of(got.events) == ANSWER
    async with deployment(modal, stream_method="plain@stream") as bound:
        warm = await ask(bound)
    assert (warm.cold.verdict, warm.cold.evidence) == ("warm", "scale_state")
    assert isinstance(warm.events[0], Started)


async def test_both_ways_of_one_class(modal: Modal) -> None:
    async with deployment(
        modal, cls="warm", method="generate", stream_method="stream", allow_pickle=False
    ) as bound:
        streamed = await ask(bound)
        whole = await ask(bound, GenerateRequest("hi", stream=False))
    assert not any(isinstance(e, Accepted) for e in streamed.events)
    assert isinstance(whole.events[0], Accepted)
    assert text_of(streamed.events) == text_of(whole.events) == ANSWER
    assert modal.count("AttemptStart") == 1 and modal.count("FunctionMap") == 1


async def test_without_an_input_plane_it_is_the_same(modal: Modal) -> None:
    modal.input_plane = False
    try:
        async with deployment(modal, stream_method="warm@stream") as bound:
            got = await ask(bound)
    finally:
        modal.input_plane = True
    assert text_of(got.events) == ANSWER and modal.count("FunctionMap") == 1


async def test_what_streams_cannot_be_cancelled_and_says_so(modal: Modal) -> None:
    """The SDK sends nothing when a stream is left: the work goes on, and bills."""
    async with deployment(modal, stream_method="warm@stream") as bound:
        assert not bound.capabilities.cancels
        async with aclosing(bound.generate(ASKED)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    break
        (call,) = modal.calls("warm")
        await seen(lambda: call.result is not None)
    assert modal.stopped("warm") == 0 and call.result is not None and call.result.status == 1


async def test_a_server_that_dies_in_the_midst() -> None:
    got: list[Event] = []
    with serve_modal(speed=200.0) as modal:
        async with deployment(modal, stream_method="stalls@stream") as bound:
            with pytest.raises(ProviderError) as caught:
                async with aclosing(bound.generate(ASKED)) as events:
                    async for event in events:
                        got.append(event)
                        if isinstance(event, Delta):
                            modal.loop.call_soon_threadsafe(modal.stop.set)
    assert type(caught.value) is UpstreamFailed and any(isinstance(e, Delta) for e in got)


@pytest.mark.parametrize(
    "options",
    [{"function": "warm@stream"}, {"stream_method": "warm"}, {"cls": "x", "method": "no"}],
)
async def test_the_wrong_kind_is_refused_before_a_call(
    modal: Modal, options: dict[str, str]
) -> None:
    async with deployment(modal, **options) as bound:
        with pytest.raises(ModelNotFound):
            await ask(bound)
    assert modal.count("FunctionMap") == modal.count("AttemptStart") == 0
