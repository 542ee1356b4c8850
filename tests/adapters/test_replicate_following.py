"""How a prediction at Replicate is followed: streams that break, looks that fail, every end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    BootTimeout,
    ContentRefused,
    Delta,
    GenerateRequest,
    ProtocolViolation,
    ProviderError,
    StreamInterrupted,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.testing.contract_suite import seen
from providers.testing.scenarios import ANSWER
from tests.adapters.replicate_asking import Asking, asking
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import COLD, INTERRUPTED, WARM
from tests.emulators.replicate_world import FOREVER_SECONDS, Model

SLOW = replace(WARM, execute_seconds=200.0)


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate()
    app.url = emulator(app)
    return app


@pytest.fixture
async def account(app: Replicate, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(app, tmp_path, poll_seconds=0.02) as account:
        yield account


# -- streams that break -----------------------------------------------------------------------


@pytest.mark.parametrize("cut_cleanly", [False, True], ids=["dropped", "closed"])
@pytest.mark.parametrize("reopened", ["resumed", "replayed", "without-ids", "gone"])
async def test_a_stream_that_breaks_is_put_together(
    account: Asking, app: Replicate, reopened: str, cut_cleanly: bool
) -> None:
    app.models["emulated/cut"] = replace(
        SLOW, cuts=(2, 1), reopened=reopened, cut_cleanly=cut_cleanly
    )

    def opened() -> list[str]:
        return [r.headers.get("last-event-id", "") for r in app.received if "/files/" in r.path]

    # It does not end before its stream was opened again, however long that takes here.
    app.world.stop_at(app.world.now + timedelta(seconds=150))
    asking = asyncio.create_task(account.ask("emulated/cut"))
    await seen(lambda: len(opened()) > 1)
    app.world.stop_at(None)
    asked = await asking
    assert asked.error is None and asked.text == ANSWER
    assert opened()[0] == "" and opened()[1].endswith(":1")
    assert len(app.sent("POST", "/predictions")) == 1 and not app.sent("POST", "/cancel")


async def test_no_stream_at_all_is_polled_for_text(account: Asking, app: Replicate) -> None:
    app.models["emulated/none"] = replace(SLOW, frames="none")
    asked = await account.ask("emulated/none")
    assert asked.text == ANSWER
    assert sum(isinstance(event, Delta) for event in asked.events) > 1  # as it came


async def test_looks_grow_rarer(app: Replicate, tmp_path: Path) -> None:
    app.models["emulated/long"] = Model(output="x", always_warm=True, execute_seconds=600.0)
    async with asking(app, tmp_path, poll_seconds=0.16) as account:
        asked = await account.ask("emulated/long", GenerateRequest("x"))
    assert asked.error is None
    # It takes 0.6 s: 30 looks at the first pause; with pauses that grow up to 0.16 s, about 8.
    assert 2 <= app.last().looks <= 10


async def test_a_foreign_stream_address_gets_no_token(account: Asking, app: Replicate) -> None:
    app.models["emulated/far"] = replace(SLOW, stream_url="https://stream.replicate.com.evil.io/x")
    asked = await account.ask("emulated/far")
    assert asked.text == ANSWER and app.last().connections == 0


async def test_what_does_not_fit_together_is_interrupted(account: Asking, app: Replicate) -> None:
    record = {
        "status": "succeeded",
        "output": ["something", "else"],
        "metrics": {},
        "created_at": "2026-01-01T00:00:00.000Z",
        "started_at": "2026-01-01T00:00:00.100Z",
        "completed_at": "2026-01-01T00:03:20.100Z",
    }
    app.models["emulated/other"] = replace(SLOW, cuts=(2, 0, 0, 0), record=record)
    asked = await account.ask("emulated/other")
    assert isinstance(asked.error, StreamInterrupted)
    assert asked.error.phases is not None and asked.error.phases.execute_seconds == 200.0
    assert not app.sent("POST", "/cancel")  # it had ended


@pytest.mark.parametrize("failures", [1, 4])
async def test_looks_that_fail_are_repeated(account: Asking, app: Replicate, failures: int) -> None:
    app.refused_looks = failures
    asked = await account.ask("emulated/image", GenerateRequest({"prompt": "x"}))
    assert asked.error is None and asked.kinds[-2:] == ["Output", "Finished"]


async def test_looks_that_fail_for_good_end_in_a_cancelled_job(
    account: Asking, app: Replicate
) -> None:
    app.refused_looks = 5
    app.models["emulated/slow"] = Model(output="x", execute_seconds=FOREVER_SECONDS)
    asked = await account.ask("emulated/slow", GenerateRequest({"prompt": "x"}))
    assert isinstance(asked.error, UpstreamFailed) and asked.error.upstream_status == 502
    assert app.stopped("slow") == 1


async def test_a_whole_answer_is_kept_when_nobody_says_how_it_went(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/mute"] = replace(WARM, execute_seconds=1.0)
    app.refused_looks = 1000
    asked = await account.ask("emulated/mute")
    assert asked.error is None and asked.text == ANSWER
    assert asked.finished.usage is None and asked.finished.phases is None
    assert not app.sent("POST", "/cancel")


async def test_a_stream_that_is_done_before_its_prediction(account: Asking, app: Replicate) -> None:
    app.models["emulated/late"] = replace(WARM, late_seconds=30.0)
    asked = await account.ask("emulated/late")
    assert asked.text == ANSWER and asked.finished.usage is not None


async def test_line_ends_and_logs(account: Asking, app: Replicate) -> None:
    pieces = ("a\n", "\n", "b\n\nc", "", "\n")
    app.models["emulated/lines"] = replace(WARM, pieces=pieces, logs="loading\nready")
    assert (await account.ask("emulated/lines")).text == "".join(pieces)


# -- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (replace(WARM, error=INTERRUPTED), UpstreamFailed, "interrupted"),
        (replace(WARM, error="Prediction timed out"), UpstreamTimeout, "longer"),
        (replace(COLD, error="it did not start (E6716)"), BootTimeout, "started"),
        (replace(WARM, error="flagged as sensitive. (E005)"), ContentRefused, "content"),
        (replace(WARM, error="your prompt: x y z"), UpstreamFailed, "The model failed."),
        (replace(WARM, error="odd (E9999)"), UpstreamFailed, "(E9999)"),
    ],
)
async def test_failed_predictions(
    account: Asking, app: Replicate, model: Model, error: type[ProviderError], words: str
) -> None:
    app.models["emulated/fails"] = replace(model, pieces=())
    asked = await account.ask("emulated/fails")
    assert type(asked.error) is error and words in asked.error.detail
    assert "x y z" not in asked.error.detail
    assert asked.error.job_id == app.last().id and asked.error.phases is not None
    assert not app.sent("POST", "/cancel")


async def test_deadlines_before_and_after_the_start(account: Asking, app: Replicate) -> None:
    aborted = await account.ask("emulated/cold", GenerateRequest("x", deadline_seconds=30.0))
    assert isinstance(aborted.error, BootTimeout) and aborted.error.phases is not None
    assert aborted.error.phases.execute_seconds == 0.0
    assert aborted.error.phases.wait_seconds == pytest.approx(30.0)
    assert aborted.row().cost_pico_usd == 0 and app.last().billed_usd == 0
    app.models["emulated/long"] = replace(WARM, pieces=(), execute_seconds=600.0)
    canceled = await account.ask("emulated/long", GenerateRequest("x", deadline_seconds=30.0))
    assert isinstance(canceled.error, UpstreamTimeout)
    row = canceled.row()
    assert row.execute_seconds == pytest.approx(app.last().execute_seconds, abs=1e-5)


async def test_cancelled_by_somebody_else(account: Asking, app: Replicate) -> None:
    task = asyncio.create_task(account.ask("emulated/never-answers"))
    await seen(lambda: app.began("never-answers") == 1)
    app.world.cancel(app.last())
    asked = await task
    assert isinstance(asked.error, UpstreamFailed) and asked.error.phases is not None
    assert asked.error.phases.execute_seconds == 0.0


async def test_an_unknown_status_is_waited_out_and_can_be_left(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/odd"] = replace(
        WARM, odd_status="hibernating", execute_seconds=FOREVER_SECONDS, frames="none"
    )
    task = asyncio.create_task(account.ask("emulated/odd"))
    await seen(lambda: bool(app.world.made) and app.last().looks > 3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen(lambda: app.stopped("odd") == 1)


async def test_an_unknown_status_with_an_end_is_waited_for_no_longer(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/odd"] = replace(WARM, odd_end="hibernated", frames="none")
    assert isinstance((await account.ask("emulated/odd")).error, ProtocolViolation)


async def test_a_hang_up_mid_stream_cancels_within_a_second(
    account: Asking, app: Replicate
) -> None:
    async with aclosing(account.bind("emulated/stalls").generate(GenerateRequest("x"))) as events:
        async for event in events:
            if isinstance(event, Delta):
                left_at = time.monotonic()
                break
    assert app.stopped("stalls") == 1 and time.monotonic() - left_at < 1.0
    assert app.world.status_of(app.last()) == "canceled"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "held"])
async def test_leaving_while_it_is_being_made_cancels_it(
    account: Asking, app: Replicate, stream: bool
) -> None:
    app.models["emulated/slowly"] = replace(
        WARM, create_seconds=100.0, execute_seconds=FOREVER_SECONDS, pieces=()
    )
    request = GenerateRequest({"prompt": "x"}, stream=stream)
    task = asyncio.create_task(account.ask("emulated/slowly", request))
    await seen(lambda: app.began("slowly") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert app.stopped("slowly") == 1
    assert len(app.sent("POST", "/predictions")) == 1
