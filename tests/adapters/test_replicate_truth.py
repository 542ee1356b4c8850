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
from providers.contract import Booting, GenerateRequest, Queued, Started
from providers.testing.contract_suite import seen
from tests.adapters.asking import Asked, ask, usd
from tests.adapters.replicate_asking import Asking, asking
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import COLD, WARM
from tests.emulators.replicate_world import Deployed, Made, Model, World

CHAT = replace(COLD, execute_seconds=12.0)


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate(World(scale=500.0, boot_seconds=90.0, keep_alive_seconds=120.0))
    app.models["emulated/chat"] = CHAT
    app.url = emulator(app)
    return app


@pytest.fixture
async def account(app: Replicate, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(app, tmp_path, poll_seconds=0.04) as account:
        yield account


def holds(asked: Asked, made: Made) -> AttemptRow:
    """The row, after a look at everything in it that a prediction tells."""
    row = asked.row()
    waited = made.queue_seconds + made.boot_seconds
    assert row.wait_seconds == pytest.approx(waited + made.model.dispatch_seconds, abs=2e-6)
    assert row.queue_seconds is None  # nobody divides a wait, so we do not
    assert row.execute_seconds == pytest.approx(made.execute_seconds, abs=2e-6)
    assert row.cost_status == "measured"
    cost = usd(row.cost_pico_usd)
    assert cost is not None and abs(cost - made.billed_usd) < Decimal("1E-9")
    assert row.upstream_revision is None  # official models hide theirs
    return row


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
async def test_cold_then_warm_then_cold_again(
    account: Asking, app: Replicate, stream: bool
) -> None:
    verdicts, truths = [], []
    for idle_seconds in (0.0, 30.0, 119.0, 121.0):
        app.world.advance(idle_seconds)
        asked = await account.ask("emulated/chat", GenerateRequest("x", stream=stream))
        row = holds(asked, app.last())
        verdicts.append(row.verdict)
        truths.append("cold" if app.last().cold else "warm")
        assert row.evidence == "timestamps_reported"
        assert row.boot_seconds == (0.0 if row.verdict == "warm" else None)
    assert verdicts == truths == ["cold", "warm", "warm", "cold"]


async def test_a_boot_is_told_while_it_lasts(account: Asking, app: Replicate) -> None:
    app.models["emulated/photo"] = Model(output={"x": 1}, execute_seconds=100.0)
    asked = await account.ask("emulated/photo")
    assert asked.kinds == ["Accepted", "Queued", "Booting", "Started", "Output", "Finished"]
    queued, booting, started = asked.events[1:4]
    assert isinstance(queued, Queued) and isinstance(booting, Booting)
    assert isinstance(started, Started) and started.evidence is None
    made = app.last()
    assert started.reported_at == made.started and booting.caused_boot is None
    # Well before the end of the boot, which takes 0.18 s here.
    assert asked.stamps[3] - asked.stamps[2] > 0.03
    app.models["emulated/slow"] = replace(CHAT, boot_seconds=300.0)
    streamed = await account.ask("emulated/slow")
    assert [kind for kind in streamed.kinds if kind != "Started"] == [
        *("Accepted", "Queued", "Booting", "Delta", "Finished")
    ]


async def test_a_long_queue_looks_like_a_boot_and_is_not_called_boot_seconds(
    account: Asking, app: Replicate
) -> None:
    app.world.max_instances = 1
    app.models["emulated/busy"] = replace(CHAT, execute_seconds=60.0)
    await account.ask("emulated/busy")
    first, second = await asyncio.gather(account.ask("emulated/busy"), account.ask("emulated/busy"))
    made = sorted(app.world.made.values(), key=lambda made: made.queue_seconds)[-1]
    queued = next(a for a in (first, second) if a.events[0].job_id == made.id)  # type: ignore[union-attr]
    row = holds(queued, made)
    assert made.queue_seconds > 5.0 and not made.cold
    assert (row.verdict, row.boot_seconds) == ("cold", None)  # the known limit of these stamps
    switched_off = account.bind("emulated/chat", cold_after_seconds=None)
    assert (await ask(switched_off)).row().verdict == "unknown"


async def test_between_warm_and_cold_nothing_is_claimed(account: Asking, app: Replicate) -> None:
    app.models["emulated/quick"] = replace(CHAT, boot_seconds=3.0)
    row = holds(await account.ask("emulated/quick"), app.last())
    assert (row.verdict, row.evidence, row.boot_seconds) == ("unknown", None, None)


async def test_a_worker_whose_clock_is_behind(account: Asking, app: Replicate) -> None:
    app.models["emulated/skewed"] = replace(WARM, skew_seconds=-2.3)
    asked = await account.ask("emulated/skewed")
    row = asked.row()
    assert (row.verdict, row.wait_seconds) == ("warm", 0.0)
    assert row.execute_seconds == pytest.approx(2.0)
    (native,) = asked.finished.native
    assert native["started_at"] < native["created_at"]  # as they said it


async def test_a_deployment_pays_for_its_start(account: Asking, app: Replicate) -> None:
    app.world.deployments["acme/fast"] = Deployed("emulated/chat")
    asked = await account.ask("emulated/chat", options={"deployment": "acme/fast"})
    made = app.last()
    row = asked.row("replicate-deployment-gpu-l40s")
    lines = {line["kind"]: line for line in row.cost_lines}
    assert lines["execute_seconds"]["status"] == "measured"
    assert lines["boot_seconds"]["status"] == "estimated"
    assert (row.cost_status, row.pending) == ("estimated", ["idle"])
    rate = Decimal("0.000975")
    true_usd = (Decimal(str(made.boot_seconds)) + Decimal(12)) * rate
    low, high = usd(row.low_pico_usd), usd(row.high_pico_usd)
    assert low is not None and high is not None and low <= true_usd <= high
    warm = await account.ask("emulated/chat", options={"deployment": "acme/fast"})
    row = warm.row("replicate-deployment-gpu-l40s")
    assert row.cost_status == "measured" and not app.last().cold


async def test_what_a_prediction_that_was_left_costs(account: Asking, app: Replicate) -> None:
    app.models["emulated/long"] = replace(WARM, execute_seconds=1e6)
    deployment = account.bind("emulated/long")
    task = asyncio.create_task(ask(deployment, GenerateRequest({"prompt": "x"})))
    await seen(lambda: app.world.made and app.last().looks > 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    report = await deployment.lookup(app.last().id)  # type: ignore[attr-defined]
    assert report is not None and report.status == "cancelled" and report.phases is not None
    assert report.phases.execute_seconds == pytest.approx(app.last().execute_seconds)
    assert app.last().billed_usd > 0


async def test_images_are_counted_as_reported(account: Asking, app: Replicate) -> None:
    row = (await account.ask("emulated/image", GenerateRequest({"prompt": "x"}))).row()
    assert row.images == 2


async def test_tokens_are_reported_or_estimated(account: Asking, app: Replicate) -> None:
    row = (await account.ask("emulated/warm")).row("replicate-meta-llama-3.1-405b-instruct")
    assert row.input_tokens_source == row.output_tokens_source == "reported"
    assert usd(row.cost_pico_usd) == Decimal("9.5") * (12 + 9) / 1_000_000
    row = (await account.ask("emulated/usage-missing")).row(
        "replicate-meta-llama-3.1-405b-instruct"
    )
    assert row.output_tokens_source == "estimated" and row.cost_status == "estimated"


def test_worlds_are_what_they_say() -> None:
    world, model = World(scale=1.0), Model(output="x", execute_seconds=1.0)
    first = world.make("m", model, {})
    assert first.cold and world.make("m", model, {}).cold  # the first machine is busy
    third = world.make("m", model, {})
    assert not third.cold and third.queue_seconds > 0  # no more than two machines
