from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from providers.contract import (
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    ModelNotFound,
    Probeable,
    RateLimited,
    Usage,
)
from providers.testing import ScriptedOptions, ScriptedProvider, Until, Wait

REQUEST = GenerateRequest("hi")


async def collect(provider: ScriptedProvider, model: str) -> list[Event]:
    async with aclosing(provider.bind(model, ScriptedOptions()).generate(REQUEST)) as events:
        return [event async for event in events]


async def test_scripts_in_their_order_and_the_last_again() -> None:
    provider = ScriptedProvider()
    provider.play_text("m", "one", usage=Usage(1, 2))
    provider.play("m", Delta("two"), RateLimited(retry_after_seconds=3.0))
    assert await collect(provider, "m") == [Delta("one"), Finished(("stop",), Usage(1, 2))]
    errors = []
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            await collect(provider, "m")
        assert caught.value.retry_after_seconds == 3.0
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert [call.outcome for call in provider.history] == ["finished", "failed", "failed"]
    assert provider.history[0].request is REQUEST
    assert provider.history[1].yielded == [Delta("two")]


async def test_time_is_the_tests_own() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    provider = ScriptedProvider(sleep=sleep)
    provider.play("m", Booting("phase_reported"), Wait(60.0), Finished())
    await collect(provider, "m")
    assert slept == [60.0]


async def test_closed_and_cancelled_are_told_apart() -> None:
    provider, never = ScriptedProvider(), asyncio.Event()
    provider.play("m", Delta("a"), Until(never), Finished())
    deployment = provider.bind("m", ScriptedOptions())
    async with aclosing(deployment.generate(REQUEST)) as events:
        await anext(events)
    task = asyncio.create_task(collect(provider, "m"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [call.outcome for call in provider.history] == ["closed", "cancelled"]


async def test_an_unknown_model() -> None:
    with pytest.raises(ModelNotFound):
        await collect(ScriptedProvider(), "m")


async def test_it_comes_in_by_the_same_door() -> None:
    provider = ScriptedProvider()
    provider.states["m"] = "ready"
    plugin = provider.plugin()
    options = plugin.options.model_validate({"dialect": "openai_chat", "keep_alive_seconds": 5})
    deployment = plugin.build(plugin.settings(), None).bind("m", options)  # type: ignore[arg-type]
    assert deployment.capabilities.dialect == "openai_chat"
    assert deployment.capabilities.keep_alive_seconds == 5
    assert isinstance(deployment, Probeable) and await deployment.probe() == "ready"
    await provider.aclose()
    assert provider.closed
