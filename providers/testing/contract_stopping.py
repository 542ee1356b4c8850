"""The part of the contract suite in which the caller leaves, and the work with them.

``Upstream.stopped`` tells that it reached the provider, where the deployment says that it cancels;
everywhere, no task may be left behind.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from providers.contract import Booting, Delta, Deployment, Event, ModelLoading, Output
from providers.testing.contract_base import Bound, Upstream, seen


@pytest.mark.anyio
class StoppingContract(Bound):
    """``stalls``, ``never-answers``, ``never-boots`` and ``slow-create``."""

    async def test_closing_the_generator_stops_the_work(
        self, upstream: Upstream, tmp_path: Path
    ) -> None:
        self._skip("stalls")
        async with self._deployment("stalls", upstream, tmp_path) as deployment:
            async with aclosing(deployment.generate(self.request())) as events:
                async for event in events:
                    if isinstance(event, Delta | Output):
                        break
            if deployment.capabilities.cancels:
                await seen(lambda: upstream.stopped("stalls") == 1)
        assert upstream.began("stalls") == 1

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
    async def test_cancelling_the_task_stops_the_work(
        self, upstream: Upstream, tmp_path: Path, stream: bool
    ) -> None:
        self._skip("never-answers")
        async with self._deployment("never-answers", upstream, tmp_path) as deployment:
            task = asyncio.create_task(self._consume(deployment, [], stream=stream))
            await seen(lambda: upstream.began("never-answers") == 1)
            await self._leave(task, deployment, upstream, "never-answers")

    async def test_a_boot_without_end(self, upstream: Upstream, tmp_path: Path) -> None:
        """It is told and can be left, or each question is refused: bounds are the gateway's."""
        self._skip("never-boots")
        told: list[Event] = []
        async with self._deployment("never-boots", upstream, tmp_path) as deployment:
            task = asyncio.create_task(self._consume(deployment, told))
            await seen(
                lambda: (
                    task.done()
                    or (told and isinstance(told[-1], Booting) and upstream.began("never-boots"))
                )
            )
            if task.done():
                with pytest.raises(ModelLoading):
                    await task
                with pytest.raises(ModelLoading):  # and nothing is held for whoever asks again
                    await self._consume(deployment, told)
            else:
                await self._leave(task, deployment, upstream, "never-boots")
                assert upstream.began("never-boots") == 1
        assert not any(isinstance(event, Delta | Output) for event in told)

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
    async def test_leaving_while_the_work_is_being_created(
        self, upstream: Upstream, tmp_path: Path, stream: bool
    ) -> None:
        """What was sent cannot be taken back: the reply is waited for, and its job cancelled."""
        self._skip("slow-create")
        async with self._deployment("slow-create", upstream, tmp_path) as deployment:
            task = asyncio.create_task(self._consume(deployment, [], stream=stream))
            await seen(lambda: upstream.began("slow-create") == 1)
            await self._leave(task, deployment, upstream, "slow-create")
        assert upstream.began("slow-create") == 1

    async def _consume(
        self, deployment: Deployment, told: list[Event], *, stream: bool = True
    ) -> None:
        async with aclosing(deployment.generate(self.request(stream=stream))) as events:
            async for event in events:
                told.append(event)

    @staticmethod
    async def _leave(
        task: asyncio.Task[None], deployment: Deployment, upstream: Upstream, scenario: str
    ) -> None:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        if deployment.capabilities.cancels:
            await seen(lambda: upstream.stopped(scenario) == 1)
