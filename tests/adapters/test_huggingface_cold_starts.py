"""Dedicated endpoints: every verdict, second and cent held against what the emulator knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.accounting.metering import TokenEstimator
from gateway.accounting.prices import PriceBook, built_in_rows
from gateway.accounting.settle import Observed, settle
from gateway.app import create_app
from gateway.ledger.rows import AttemptRow
from gateway.settings import Settings
from providers.contract import Booting, GenerateRequest, Http, Started
from providers.huggingface.state import Boots, EndpointState
from providers.testing.scenarios import ANSWER
from tests.adapters.huggingface_runs import Ran, World, attempt
from tests.emulators.huggingface import NAMESPACE, HuggingFace
from tests.emulators.huggingface_world import Endpoint
from tests.gateways import post, running
from tests.ledger.samples import PICO, begun

UNSTREAMED = GenerateRequest("hi", stream=False)
PAUSE_SECONDS = 1.0


@pytest.fixture
def world(emulator: Callable[[Any], str], http: Http) -> World:
    return World(emulator, http)


def calls(world: World, part: str) -> list[Any]:
    return [seen for seen in world.app.received if seen.path.startswith(part)]


def held_against_truth(ran: Ran, endpoint: Endpoint) -> None:
    """The verdict, whose boot it was and its seconds are the emulator's own."""
    first = endpoint.seen[0]
    assert ran.cold.verdict == ("warm" if first.state == "running" else "cold")
    assert ran.cold.evidence == "scale_state"
    assert ran.cold.caused_boot is first.caused_boot
    if ran.cold.verdict == "cold":
        waited = endpoint.ups[-1].ready_at - first.at
        assert ran.timeline.boot_seconds is not None
        assert waited <= ran.timeline.boot_seconds <= waited + PAUSE_SECONDS


# -- cold and warm ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [503, 502])
async def test_asleep_refused_and_waited_for(world: World, stream: bool, status: int) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=42.5, work_seconds=3.0)
    endpoint.status_while_starting = status
    ran = await attempt(world.bind_endpoint("e"), world.clock, GenerateRequest("hi", stream=stream))
    assert ran.text == ANSWER
    held_against_truth(ran, endpoint)
    assert len(endpoint.ups) == 1
    assert ran.timeline.execute_seconds == pytest.approx(3.0)
    assert {refusal.evidence for refusal in ran.refusals} == {"scale_state"}
    assert "x-scale-up-timeout" not in world.last.headers


async def test_asleep_and_held_by_the_proxy(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=42.5)
    deployment = world.bind_endpoint("e", scale_up_timeout_seconds=600)
    ran = await attempt(deployment, world.clock)
    held_against_truth(ran, endpoint)
    assert not ran.refusals and len(endpoint.seen) == 1
    assert world.last.headers["x-scale-up-timeout"] == "600"
    assert [type(e) for e in ran.events[:2]] == [Booting, Started]
    assert ran.events[0] == Booting("scale_state", True, "scaledToZero")


async def test_held_for_too_short_a_time_is_asked_again(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=42.5)
    deployment = world.bind_endpoint("e", scale_up_timeout_seconds=20)
    ran = await attempt(deployment, world.clock)
    held_against_truth(ran, endpoint)
    assert len(ran.refusals) == 2


async def test_only_streams_are_held(world: World) -> None:
    """The head of an unstreamed answer comes after the work: boot and work would be one."""
    endpoint = world.app.endpoint("e", boot_seconds=10, work_seconds=30)
    deployment = world.bind_endpoint("e", scale_up_timeout_seconds=600)
    ran = await attempt(deployment, world.clock, UNSTREAMED)
    held_against_truth(ran, endpoint)
    assert not any(seen.held for seen in endpoint.seen)
    assert ran.timeline.execute_seconds == pytest.approx(30)


@pytest.mark.parametrize("hold", [None, 600])
async def test_running_is_warm(world: World, hold: int | None) -> None:
    endpoint = world.app.endpoint("e", work_seconds=2).running()
    options: dict[str, Any] = {} if hold is None else {"scale_up_timeout_seconds": hold}
    for request in (GenerateRequest("hi"), UNSTREAMED):
        ran = await attempt(world.bind_endpoint("e", **options), world.clock, request)
        held_against_truth(ran, endpoint)
        assert ran.timeline.execute_seconds == pytest.approx(2)
        assert ran.finished.phases is not None
        assert ran.finished.phases.revision == endpoint.revision
    assert "x-scale-up-timeout" not in world.last.headers


async def test_a_boot_under_way_is_somebody_elses(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=30)
    endpoint.wake()
    world.clock.advance(10)
    ran = await attempt(world.bind_endpoint("e"), world.clock)
    held_against_truth(ran, endpoint)
    assert ran.cold.caused_boot is False


async def test_nine_who_wait_are_nine_cold_verdicts_and_one_boot(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20, api_lag_seconds=2)
    deployment = world.bind_endpoint("e")
    runs = await asyncio.gather(*(attempt(deployment, world.clock) for _ in range(9)))
    assert [ran.cold.verdict for ran in runs] == ["cold"] * 9
    assert sum(ran.cold.caused_boot is True for ran in runs) == 1
    assert len(endpoint.ups) == 1 == sum(seen.caused_boot for seen in endpoint.seen)


async def test_the_next_boot_has_a_cause_again(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20, idle_seconds=900)
    deployment = world.bind_endpoint("e")
    for _ in range(3):
        ran = await attempt(deployment, world.clock)
        assert ran.cold.caused_boot is True
        assert (await attempt(deployment, world.clock)).cold.verdict == "warm"
        world.clock.advance(1000)
    assert len(endpoint.ups) == 3


async def test_state_read_only_after_a_refusal(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=20)
    deployment = world.bind_endpoint("e", read_state_first=False)
    ran = await attempt(deployment, world.clock)
    assert (ran.cold.verdict, ran.cold.evidence) == ("cold", "scale_state")
    assert ran.cold.caused_boot is None  # initializing by then: perhaps because of this call
    assert len(calls(world, "/v2")) == len(ran.refusals)
    waited = endpoint.ups[-1].ready_at - endpoint.seen[0].at
    assert waited <= (ran.timeline.boot_seconds or 0) <= waited + PAUSE_SECONDS
    warm = await attempt(deployment, world.clock)
    assert warm.cold.verdict == "unknown"  # nobody was asked


def test_whose_boot() -> None:
    asleep, starting = EndpointState("scaledToZero"), EndpointState("initializing")
    boots = Boots()
    assert boots.found(asleep) is True
    assert boots.found(asleep) is False  # the API lags
    assert boots.found(starting) is False
    assert boots.found(asleep) is True  # it never came up, and this is another boot
    boots.over()
    assert boots.found(starting, before_call=False) is None
    assert boots.found(EndpointState("running")) is None
    assert boots.found(starting) is False
    assert boots.found(EndpointState("somethingNew")) is None


# -- what it costs ------------------------------------------------------------------------------

USD_PER_HOUR = Decimal("0.5")
PRICE = "huggingface-endpoint-aws-t4-x1"


def booked(ran: Ran) -> AttemptRow:
    """The attempt as the gateway books it at the built-in price."""
    tariff = PriceBook(built_in_rows()).find(PRICE)
    assert tariff is not None
    row = begun()
    settle(row, Observed(ran.timeline, complete=True), tariff.rows[0], TokenEstimator())
    assert row.cost_pico_usd is not None and row.pending == ["idle"]
    return row


async def test_the_cost_of_a_cold_call_is_what_is_billed_until_then(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=180, work_seconds=12, idle_seconds=900)
    row = booked(await attempt(world.bind_endpoint("e"), world.clock))
    cost = Decimal(row.cost_pico_usd or 0) / PICO
    per_second = USD_PER_HOUR / 3600
    billed = Decimal(endpoint.billed_seconds()) * per_second
    assert abs(cost - billed) <= Decimal(PAUSE_SECONDS) * per_second
    world.clock.advance(10_000)  # the idle tail comes later, and the bill is by the minute
    idle = Decimal(endpoint.idle_seconds) * per_second
    assert 0 <= endpoint.bill_usd(USD_PER_HOUR) - (billed + idle) <= 60 * per_second


async def test_one_boot_is_paid_once_however_many_wait_for_it(world: World) -> None:
    endpoint = world.app.endpoint("e", boot_seconds=60)
    deployment = world.bind_endpoint("e")
    runs = await asyncio.gather(*(attempt(deployment, world.clock) for _ in range(5)))
    lines = [line for ran in runs for line in booked(ran).cost_lines]
    (boot,) = [line for line in lines if line["kind"] == "boot_seconds"]
    # The clock is shared: a pause of one can pass while another's question is on its way.
    slack_seconds = len(runs) * PAUSE_SECONDS
    assert abs(float(boot["quantity"]) - endpoint.boot_seconds) <= slack_seconds
    assert all((ran.timeline.boot_seconds or 0) > 0 for ran in runs)  # but all have waited


def test_a_cold_endpoint_through_the_whole_gateway(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = HuggingFace()
    app.url = emulator(app)
    endpoint = app.endpoint("warm", boot_seconds=0.3)
    block = {"base_url": app.url, "management_url": f"{app.url}/v2", "token": app.key}
    deployment = {
        "provider": "huggingface",
        "model": "warm",
        "via": "endpoint",
        "url": f"{app.url}/e/warm",
        "endpoint": f"{NAMESPACE}/warm",
        "price": PRICE,
    }
    tree = {
        "server": {"data_dir": tmp_path / "data"},
        "providers": {"huggingface": block},
        "deployments": {"e": deployment},
        "models": {"m": {"deployments": ["e"]}},
    }
    settings = Settings.model_validate(tree)
    with running(create_app(settings, log_attempts=False)) as url:
        cold, warm = (post(f"{url}/v1/generate", {"model": "m", "input": "hi"}) for _ in "12")
    assert cold["output"] == [{"type": "text", "text": ANSWER}] == warm["output"]
    verdict = cold["cold_start"]
    assert (verdict["verdict"], verdict["evidence"]) == ("cold", "scale_state")
    assert verdict["caused_boot"] is True and len(endpoint.ups) == 1
    # A busy machine hears late that a boot has begun, and later still that it is over.
    assert 0 < verdict["boot_seconds"] <= cold["timing"]["total_seconds"]
    assert cold["timing"]["total_seconds"] >= 0.3
    assert len(cold["attempts"]) == 1
    assert {line["kind"] for line in cold["cost"]["lines"]} == {"boot_seconds", "execute_seconds"}
    assert cold["cost"]["pending"] == ["idle"]
    verdict = warm["cold_start"]
    assert (verdict["verdict"], verdict["evidence"]) == ("warm", "scale_state")
