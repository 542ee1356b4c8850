"""Verdict, seconds and cost, as the ledger would have them, against what really happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.rows import AttemptRow
from providers.contract import Booting, GenerateRequest, Started
from providers.testing.contract_suite import seen
from tests.adapters.asking import Asked, ask, usd
from tests.adapters.runpod_asking import STREAMED, Asking, asking
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_wire import COLD
from tests.emulators.runpod_world import RATE_USD, Handler, Made, World

L40S = "runpod-l40s"
CHAT = replace(COLD, boot_seconds=41.5, execute_seconds=12.0, boots_until_seen=0)
# The REST API shows whole seconds, cut, and so does the date of an answer.
CUT_SECONDS = 1.0


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> RunPod:
    app = RunPod(World(scale=500.0))
    app.endpoint("chat", CHAT)
    app.url = emulator(app)
    return app


@pytest.fixture
async def account(app: RunPod, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(app, tmp_path, poll_seconds=0.02) as account:
        yield account


def holds(asked: Asked, made: Made) -> AttemptRow:
    """The row, after a look at everything in it that RunPod tells in milliseconds."""
    row = asked.row(L40S)
    assert row.wait_seconds == pytest.approx(made.wait_seconds, abs=0.0006)
    assert row.execute_seconds == pytest.approx(made.execute_seconds, abs=0.0006)
    assert row.instance_id == made.worker.id
    assert row.verdict == ("cold" if made.cold else "warm")
    return row


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
async def test_cold_then_warm_then_cold_again(account: Asking, app: RunPod, stream: bool) -> None:
    deployment = account.bind("chat", **STREAMED)
    verdicts, money = [], Decimal(0)
    for idle_seconds in (0.0, 3.0, 1.5, 6.0):
        app.world.advance(idle_seconds)
        asked = await ask(deployment, GenerateRequest("x", stream=stream))
        made = app.last()
        row = holds(asked, made)
        verdicts.append(row.verdict)
        assert row.cost_status == "measured" and row.pending == ["idle"]
        if made.cold:
            assert row.caused_boot is True and row.boot_seconds is not None
            assert row.queue_seconds == pytest.approx(made.queue_seconds, abs=CUT_SECONDS)
            assert row.boot_seconds == pytest.approx(made.boot_seconds, abs=CUT_SECONDS + 0.1)
        else:
            assert (row.evidence, row.boot_seconds) == ("delay_reported", 0.0)
        paid = usd(row.cost_pico_usd)
        assert paid is not None
        money += paid + Decimal("4.5") * RATE_USD * (idle_seconds in (3.0, 1.5))
    assert verdicts == ["cold", "warm", "warm", "cold"]
    # Two lives of a worker, with 5 s at the end of each, and 4.5 s between the calls of the first.
    app.world.stop_all("chat")
    idle = (Decimal(10) + Decimal("4.5") - 9) * RATE_USD
    billed = app.world.billed_usd("chat")
    assert abs(money + idle - billed) <= RATE_USD * 4  # 4 cut or rounded seconds at the most


async def test_a_boot_is_told_while_it_lasts(account: Asking, app: RunPod) -> None:
    app.endpoint("slow", COLD)
    asked = await account.ask("slow", **STREAMED)
    assert asked.kinds == ["Accepted", "Queued", "Booting", "Started", "Delta", "Finished"]
    booting, started = asked.events[2:4]
    assert isinstance(booting, Booting) and isinstance(started, Started)
    assert (booting.evidence, booting.detail) == ("scale_state", "initializing")
    assert started.evidence is None
    row = holds(asked, app.last())
    assert (row.evidence, row.caused_boot) == ("scale_state", True)
    # As long as it lasts, lists are read ever more seldom.
    assert 1 <= len(app.sent("GET", "/workers")) <= 4


async def test_a_long_queue_is_no_boot(account: Asking, app: RunPod) -> None:
    """One worker at most: whoever waits for another's job is warm, and its wait is a queue."""
    app.endpoint("busy", replace(CHAT, execute_seconds=600.0), maximum=1)
    await account.ask("busy", **STREAMED)
    made = app.last()
    deployment = account.bind("busy", **STREAMED)
    first = asyncio.create_task(ask(deployment))
    await seen(lambda: app.last() is not made)
    asked = await ask(deployment)
    await first
    row = holds(asked, app.last())
    assert app.last().queue_seconds > 60.0 and not app.last().cold
    assert (row.verdict, row.evidence) == ("warm", "scale_state")
    assert row.boot_seconds == 0.0 and row.queue_seconds == row.wait_seconds
    assert row.cost_status == "measured"


async def test_two_who_wait_for_one_boot_pay_it_once(account: Asking, app: RunPod) -> None:
    app.endpoint("one", replace(COLD, boots_until_seen=2), maximum=1)
    deployment = account.bind("one", **STREAMED)
    rows = [asked.row(L40S) for asked in await asyncio.gather(ask(deployment), ask(deployment))]
    assert [row.verdict for row in rows] == ["cold", "cold"]
    assert sorted(bool(row.caused_boot) for row in rows) == [False, True]
    boots = [line for row in rows for line in row.cost_lines if line["kind"] == "boot_seconds"]
    assert len(boots) == 1
    assert Decimal(boots[0]["usd"]) == pytest.approx(Decimal(300) * RATE_USD, abs=RATE_USD * 2)


async def test_waiting_for_a_boot_of_somebody_else(account: Asking, app: RunPod) -> None:
    """A worker that the endpoint's scale started before the job came."""
    place = app.endpoint("kept", COLD)
    deployment = account.bind("kept", **STREAMED)
    await deployment.scale(1)
    app.world.advance(10.0)  # it is placed and has begun to boot
    assert await deployment.probe() == "booting"
    row = holds(await ask(deployment), app.last())
    assert len(place.workers) == 1
    assert (row.verdict, row.evidence, row.caused_boot) == ("cold", "scale_state", False)
    kinds = {line["kind"] for line in row.cost_lines}
    assert "boot_seconds" not in kinds  # it is the keeper's to pay


async def test_without_the_workers_a_long_wait_is_unknown(account: Asking, app: RunPod) -> None:
    app.may_manage = False
    for read_workers in (False, True):
        asked = await account.ask("chat", **STREAMED, read_workers=read_workers)
        row = asked.row(L40S)
        assert (row.verdict, row.evidence, row.boot_seconds) == ("unknown", None, None)
        assert row.cost_status == "estimated"
        low, high = usd(row.low_pico_usd), usd(row.high_pico_usd)
        made = app.last()
        true = (Decimal(str(made.boot_seconds)) + Decimal(12)) * RATE_USD
        assert low is not None and high is not None and low <= true <= high
        app.world.stop_all("chat")
    app.may_manage = True
    warm = await account.ask("warm", **STREAMED, read_workers=False)
    assert warm.row(L40S).verdict == "warm"  # a short wait needs no list


async def test_no_list_is_asked_for_where_the_wait_was_short(account: Asking, app: RunPod) -> None:
    assert (await account.ask("warm", **STREAMED)).row(L40S).verdict == "warm"
    assert app.sent("GET", "/workers") == []


async def test_what_a_job_that_was_left_costs(account: Asking, app: RunPod) -> None:
    deployment = account.bind("stalls", **STREAMED)
    task = asyncio.create_task(ask(deployment))
    await seen(lambda: app.world.made and app.last().told)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    made = app.last()
    assert made.status == "CANCELLED" and app.stopped("stalls") == 1
    report = await deployment.lookup(made.id)
    assert report is not None and report.status == "cancelled" and report.phases is not None
    assert report.phases.execute_seconds == pytest.approx(made.execute_seconds, abs=0.0006)


async def test_a_job_that_is_left_in_the_queue(account: Asking, app: RunPod) -> None:
    """It is taken out; the worker that boots for it boots, idles, and is billed all the same."""
    deployment = account.bind("never-boots", **STREAMED)
    task = asyncio.create_task(ask(deployment))
    await seen(lambda: app.world.made and app.last().looks > 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = await deployment.lookup(app.last().id)
    assert report is not None and report.status == "cancelled" and report.phases is not None
    assert report.phases.execute_seconds is None  # nothing was said: it does not become 0


async def test_a_clock_that_runs_backwards(account: Asking, app: RunPod) -> None:
    row = (await account.ask("clock-skew", **STREAMED)).row(L40S)
    assert (row.verdict, row.wait_seconds) == ("warm", 0.0)


async def test_a_handler_that_reports_progress_has_not_answered(
    account: Asking, app: RunPod
) -> None:
    app.endpoint("steps", Handler(output="done", progress="Update 1/3", execute_seconds=40.0))
    asked = await account.ask("steps")
    assert asked.text == "done"
