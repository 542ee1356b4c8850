"""What RunPod does besides answering: its scale, a look that wakes nothing, warmth, jobs by id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    CredentialsRejected,
    GenerateRequest,
    Hardware,
    RequestRejected,
    Usage,
    Warmable,
)
from providers.testing.contract_suite import seen
from providers.testing.scenarios import INPUT_TOKENS, OUTPUT_TOKENS
from tests.adapters.runpod_asking import STREAMED, Asking, asking
from tests.emulators.runpod import RunPod, cold
from tests.emulators.runpod_wire import WARM
from tests.emulators.runpod_world import RATE_USD


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> RunPod:
    app = RunPod()
    app.url = emulator(app)
    return app


@pytest.fixture
async def account(app: RunPod, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(app, tmp_path, poll_seconds=0.02) as account:
        yield account


async def test_the_scale_is_set_and_the_rest_stays(account: Asking, app: RunPod) -> None:
    place = app.endpoint("a", cold(WARM), maximum=3, idle_timeout=17)
    deployment = account.bind("a")
    await deployment.scale(1)
    assert (place.minimum, place.maximum, place.idle_timeout) == (1, 3, 17)
    assert app.sent("PATCH", "/a")[0].body == {"workers": {"min": 1, "max": 3, "idleTimeout": 17}}
    await deployment.scale(0, 5)
    assert (place.minimum, place.maximum) == (0, 5)
    with pytest.raises(RequestRejected, match="allows 5 workers"):
        await deployment.scale(6)
    app.may_manage = False
    with pytest.raises(CredentialsRejected):
        await deployment.scale(1)


async def test_a_probe_wakes_nothing(account: Asking, app: RunPod) -> None:
    place = app.endpoint("a", cold(WARM, boot_seconds=1e6))
    deployment = account.bind("a", **STREAMED)
    assert await deployment.probe() == "down"
    app.may_manage = False
    assert await deployment.probe() == "unknown"  # three "idle" ones may be scaled down or not
    place.maximum = 0
    assert await deployment.probe() == "down"
    app.may_manage, place.maximum = True, 1
    await deployment.scale(1)
    assert await deployment.probe() == "booting"
    app.may_manage = False
    assert await deployment.probe() == "booting"
    app.may_manage = True
    app.world.advance(2e6)
    assert await deployment.probe() == "ready"
    assert await account.bind("no-such-model").probe() == "unknown"
    assert not app.world.made


async def test_it_is_kept_warm_by_its_scale(account: Asking, app: RunPod) -> None:
    app.endpoint("a", cold(WARM, boot_seconds=30.0))
    deployment = account.bind("a", **STREAMED)
    await deployment.scale(1)
    app.world.advance(3600.0)
    asked = await account.ask("a", **STREAMED)
    assert asked.row("runpod-l40s").verdict == "warm" and not app.last().cold
    await deployment.scale(0)
    app.world.advance(6.0)
    assert await deployment.probe() == "down"
    app.world.stop_all("a")
    assert 3600 * RATE_USD < app.world.billed_usd("a") < 3620 * RATE_USD


async def test_booting_without_work_needs_an_input_for_it(account: Asking, app: RunPod) -> None:
    app.endpoint("a", cold(WARM, boot_seconds=1e6))
    assert not isinstance(account.bind("a"), Warmable)
    deployment = account.bind("a", warm_input={"ping": True})
    assert isinstance(deployment, Warmable)
    await deployment.warm()
    assert app.last().input == {"ping": True} and await deployment.probe() == "booting"


async def test_what_it_runs_on(account: Asking, app: RunPod) -> None:
    assert await account.bind("warm").hardware() == Hardware((("ADA_48_PRO", 1),))


async def test_looking_a_job_up(account: Asking, app: RunPod) -> None:
    deployment = account.bind("warm", **STREAMED)
    assert await deployment.lookup("nobody") is None
    async for _ in deployment.generate(GenerateRequest("x")):
        pass
    report = await deployment.lookup(app.last().id)
    assert report is not None and report.status == "succeeded" and report.failure is None
    assert report.usage == Usage(INPUT_TOKENS, OUTPUT_TOKENS)
    assert report.phases is not None and report.phases.execute_seconds == pytest.approx(2.0)
    app.world.advance(1801.0)
    assert await deployment.lookup(app.last().id) is None  # results are kept for half an hour
    task = asyncio.ensure_future(account.ask("stalls", **STREAMED))
    await seen(lambda: app.last().place == "stalls")
    report = await account.bind("stalls").lookup(app.last().id)
    assert report is not None and report.status == "running"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
