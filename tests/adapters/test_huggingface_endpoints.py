"""Dedicated endpoints: what does not wake, what breaks, and the powers beyond generating."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from providers.contract import (
    CapacityUnavailable,
    CredentialsRejected,
    GenerateRequest,
    Http,
    ModelLoading,
    Parameters,
    Probeable,
    ProviderError,
    ProviderRetired,
    RequestRejected,
    Scalable,
    UpstreamFailed,
    Warmable,
)
from providers.testing.scenarios import ANSWER
from tests.adapters.huggingface_runs import World, ask, attempt

UNSTREAMED = GenerateRequest("hi", stream=False)


@pytest.fixture
def world(emulator: Callable[[Any], str], http: Http) -> World:
    return World(emulator, http)


def calls(world: World, part: str) -> list[Any]:
    return [seen for seen in world.app.received if seen.path.startswith(part)]


# -- paused, failed, broken ---------------------------------------------------------------------


@pytest.mark.parametrize("reads_first", [True, False])
@pytest.mark.parametrize(("state", "words"), [("paused", "resume it"), ("failed", "its log")])
async def test_what_does_not_wake_is_the_operators(
    world: World, state: str, words: str, reads_first: bool
) -> None:
    endpoint = world.app.endpoint("e")
    endpoint.forced = state
    deployment = world.bind_endpoint("e", read_state_first=reads_first)
    with pytest.raises(ProviderRetired, match=words) as caught:
        await ask(deployment)
    assert not caught.value.retryable
    assert len(endpoint.seen) == (0 if reads_first else 1)
    with pytest.raises(ProviderRetired):
        await deployment.warm()


async def test_a_failed_update_matters_only_once_it_refuses(world: World) -> None:
    endpoint = world.app.endpoint("e").running()
    deployment = world.bind_endpoint("e")
    endpoint.lies = ["updateFailed"]
    assert (await ask(deployment)).text == ANSWER  # the replica of before still serves
    endpoint.forced = "updateFailed"
    with pytest.raises(ProviderRetired, match="update failed"):
        await ask(deployment)


@pytest.mark.parametrize("state", ["updating", "somethingNew"])
async def test_other_states_prove_nothing(world: World, state: str) -> None:
    endpoint = world.app.endpoint("e").running()
    deployment = world.bind_endpoint("e")
    endpoint.lies = [state]
    ran = await ask(deployment)
    assert ran.text == ANSWER and ran.cold.verdict == "unknown"


@pytest.mark.parametrize(
    ("model", "expected"),
    [("no-capacity", CapacityUnavailable), ("job-fails", UpstreamFailed)],
)
async def test_an_outage_of_a_running_endpoint_is_no_cold_start(
    world: World, model: str, expected: type[ProviderError]
) -> None:
    world.app.endpoint(model).running()
    with pytest.raises(ProviderError) as caught:
        await ask(world.bind_endpoint(model))
    assert type(caught.value) is expected


async def test_asleep_between_the_look_and_the_call(world: World) -> None:
    """A new attempt then begins with what is true; this one has said that nothing boots."""
    endpoint = world.app.endpoint("e", boot_seconds=20)
    endpoint.lies = ["running"]
    deployment = world.bind_endpoint("e")
    with pytest.raises(CapacityUnavailable):
        await ask(deployment)
    ran = await attempt(deployment, world.clock)
    assert ran.cold.verdict == "cold" and ran.cold.caused_boot is False  # booting by now


async def test_without_its_state_a_refusal_is_waited_out_and_proves_nothing(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20)
    deployment = world.bind_endpoint("e", managed=False)
    ran = await attempt(deployment, world.clock)
    assert ran.text == ANSWER and ran.refusals
    assert (ran.cold.verdict, ran.cold.evidence) == ("unknown", "latency_only")
    assert not calls(world, "/v2") and len(endpoint.ups) == 1
    endpoint.pause()
    with pytest.raises(ProviderRetired):
        await ask(deployment)


async def test_a_state_that_cannot_be_read_fails_no_call(
    emulator: Callable[[Any], str], http: Http
) -> None:
    world = World(emulator, http)
    world.app.endpoint("e", boot_seconds=5)
    for options in ({}, {"scale_up_timeout_seconds": 60}):
        deployment = world.bind("e", **_options(world, "org/nobody"), **options)
        ran = await attempt(deployment, world.clock)
        assert ran.text == ANSWER and ran.cold.verdict == "unknown"
        assert await deployment.probe() == "unknown"  # type: ignore[attr-defined]
        world.clock.advance(10_000)


def _options(world: World, endpoint: str) -> dict[str, Any]:
    return {"via": "endpoint", "url": f"{world.app.url}/e/e", "endpoint": endpoint}


async def test_an_engines_own_error_needs_no_look_at_the_state(world: World) -> None:
    world.app.endpoint("incomplete", engine="tgi").running()
    deployment = world.bind_endpoint("incomplete", api="text-generation", read_state_first=False)
    with pytest.raises(UpstreamFailed):
        await ask(deployment, UNSTREAMED)
    assert not calls(world, "/v2")


async def test_a_request_that_cannot_be_said_wakes_nothing(world: World) -> None:
    endpoint = world.app.endpoint("e", engine="tei")
    deployment = world.bind_endpoint("e", api="feature-extraction")
    with pytest.raises(RequestRejected):
        await ask(deployment, GenerateRequest("hi", Parameters(8), task="embed"))
    assert not world.app.received and not endpoint.ups


# -- engines ------------------------------------------------------------------------------------


async def test_engines_behind_an_endpoint(world: World) -> None:
    for engine in ("tgi", "tei", "toolkit"):
        world.app.endpoint(engine, engine=engine).running()
    text = await ask(world.bind_endpoint("tgi", api="text-generation"), UNSTREAMED)
    assert text.text == ANSWER and world.last.path == "/e/tgi/"
    other = world.bind_endpoint("tgi", api="text-generation", path="/generate")
    assert (await ask(other, UNSTREAMED)).text == ANSWER  # an object there, a list above
    chat = await ask(world.bind_endpoint("tgi", api="chat"), UNSTREAMED)
    assert chat.finished.phases is not None and chat.finished.phases.queue_seconds == 0.007
    embedded = world.bind_endpoint("tei", api="feature-extraction")
    vectors = await ask(embedded, GenerateRequest("hi", task="embed"))
    assert vectors.outputs[0].kind == "embedding"
    native = await ask(world.bind_endpoint("toolkit", api="native"), GenerateRequest({"inputs": 1}))
    assert native.outputs[0].kind == "json"


# -- the further powers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("pending", "booting"),
        ("initializing", "booting"),
        ("running", "ready"),
        ("scaledToZero", "down"),
        ("paused", "down"),
        ("failed", "down"),
        ("updating", "unknown"),
        ("updateFailed", "unknown"),
        ("somethingNew", "unknown"),
    ],
)
async def test_probing_wakes_nothing(world: World, state: str, expected: str) -> None:
    endpoint = world.app.endpoint("e")
    endpoint.forced = state
    assert await world.bind_endpoint("e").probe() == expected
    assert not endpoint.seen and not endpoint.ups


async def test_warming_boots_without_work_and_its_boot_is_nobody_elses(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20)
    deployment = world.bind_endpoint("e")
    await deployment.warm()
    assert endpoint.state() == "initializing" and world.app.began("e") == 0
    endpoint.lies = ["scaledToZero"]  # the API may lag
    ran = await attempt(deployment, world.clock)
    assert ran.cold.caused_boot is False  # the policy that warmed it pays


async def test_warming_what_boots_already_asks_nothing(world: World) -> None:
    world.app.endpoint("e", boot_seconds=20)
    deployment = world.bind_endpoint("e")
    for _ in range(3):
        await deployment.warm()
    assert len(calls(world, "/e/")) == 1


async def test_warming_by_address_alone(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20)
    deployment = world.bind_endpoint("e", managed=False)
    await deployment.warm()
    assert endpoint.state() == "initializing"
    world.clock.advance(20)
    await deployment.warm()
    endpoint.pause()
    with pytest.raises(ProviderRetired):
        await deployment.warm()


async def test_scaling(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20)
    deployment = world.bind_endpoint("e")
    await deployment.scale(1, 3)
    assert (endpoint.minimum, endpoint.maximum) == (1, 3)
    assert world.last.body == {"compute": {"scaling": {"minReplica": 1, "maxReplica": 3}}}
    await deployment.scale(0)
    assert (endpoint.minimum, endpoint.maximum) == (0, 3)
    for minimum, maximum in ((-1, None), (2, 1), (0, 0)):
        with pytest.raises(ValueError, match="replicas"):
            await deployment.scale(minimum, maximum)


async def test_scaling_with_a_token_that_may_not(
    emulator: Callable[[Any], str], http: Http
) -> None:
    world = World(emulator, http, token="hf_other")
    deployment = world.bind_endpoint("e")
    with pytest.raises(CredentialsRejected):
        await deployment.scale(1)


async def test_powers_are_what_they_say(world: World) -> None:
    managed, bare = world.bind_endpoint("e"), world.bind_endpoint("e", managed=False)
    shared = world.bind("org/warm")
    powers = (Probeable, Scalable, Warmable)
    assert [isinstance(managed, power) for power in powers] == [True, True, True]
    assert [isinstance(bare, power) for power in powers] == [False, False, True]
    assert [isinstance(shared, power) for power in powers] == [False, False, False]


async def test_never_up(world: World) -> None:
    world.app.endpoint("e", boot_seconds=1e9)
    deployment = world.bind_endpoint("e")
    for _ in range(3):
        with pytest.raises(ModelLoading):
            await ask(deployment)
