"""The list of predictions: whose they are, where it ends, and where the token does not go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from providers.contract import Findable, JobReport, ProviderError, UpstreamFailed
from tests.adapters.replicate_asking import asking
from tests.emulators.clock import DAY_ONE
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import MODELS
from tests.emulators.replicate_world import Deployed, Made, version_of

LATER = DAY_ONE + timedelta(days=30)


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate()
    app.url = emulator(app)
    app.world.deployments["acme/mine"] = Deployed("emulated/warm")
    for number in range(240):
        name = "emulated/warm" if number % 2 else "emulated/cold"
        deployment = "acme/mine" if number % 4 == 1 else None
        made = app.world.make(name, replace(MODELS["warm"]), {}, deployment=deployment)
        app.world.advance((made.completed - app.world.now).total_seconds() + 60)
        app.world.extend(app.world.now)
    return app


async def found(
    deployment: object, since: datetime = DAY_ONE, until: datetime = LATER
) -> list[JobReport]:
    assert isinstance(deployment, Findable)
    async with aclosing(deployment.find(since, until)) as jobs:
        return [job async for job in jobs]


def ids(made: list[Made]) -> list[str]:
    return [one.id for one in reversed(made)]


async def test_a_deployment_finds_its_own_and_the_account_all(
    app: Replicate, tmp_path: Path
) -> None:
    made = list(app.world.made.values())
    plain = [one for one in made if one.name == "emulated/warm" and one.deployment is None]
    async with asking(app, tmp_path, 0.02) as account:
        assert [job.job_id for job in await found(account.provider)] == ids(made)
        jobs = await found(account.bind("emulated/warm"))
        assert [job.job_id for job in jobs] == ids(plain)
        assert {job.model for job in jobs} == {"emulated/warm"}
        mine = account.bind("emulated/warm", deployment="acme/mine")
        deployed = await found(mine)
        assert {job.deployment for job in deployed} == {"acme/mine"} and len(deployed) == 60
        assert await found(account.bind(f"emulated/warm:{version_of('emulated/warm')}")) == []


async def test_it_reads_no_further_than_it_was_asked(app: Replicate, tmp_path: Path) -> None:
    made = list(app.world.made.values())
    since, until = made[100].created, made[150].created
    async with asking(app, tmp_path, 0.02) as account:
        jobs = await found(account.provider, since - timedelta(seconds=1), until)
    assert [job.job_id for job in jobs] == ids(made[100:150])
    assert len(app.sent("GET", "/predictions")) == 1
    seconds = {round(job.phases.execute_seconds or 0, 3) for job in jobs if job.phases}
    assert seconds == {2.0}


async def test_the_token_goes_to_no_other_address(app: Replicate, tmp_path: Path) -> None:
    async with asking(app, tmp_path, 0.02) as account:
        app.url = "https://elsewhere.example"  # what the links to the next pages say now
        assert len(await found(account.provider)) == 240
    assert len(app.sent("GET", "/predictions")) == 3


async def test_a_refused_page_is_an_error_and_not_the_end(app: Replicate, tmp_path: Path) -> None:
    app.refused_pages = (2,)
    seen = 0
    async with asking(app, tmp_path, 0.02) as account:
        assert isinstance(account.provider, Findable)
        with pytest.raises(ProviderError) as caught:
            async with aclosing(account.provider.find(DAY_ONE, LATER)) as jobs:
                async for _ in jobs:
                    seen += 1
    assert seen == 100 and isinstance(caught.value, UpstreamFailed)
