"""The part of the contract suite about waits: what a provider tells of queues, boots and time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from providers.contract import Booting, Event, Finished, Output, Phases, Queued
from providers.testing import scenarios
from providers.testing.contract_base import Bound, Upstream, text_of

_SPANS = ("queue_seconds", "boot_seconds", "wait_seconds", "execute_seconds")


@pytest.mark.anyio
class WaitingContract(Bound):
    """``cold``, ``queued``, ``unknown-status`` and ``clock-skew``: all are answered in the end."""

    async def test_boot_is_told(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("cold")
        events = await self._events("cold", upstream, tmp_path)
        assert any(isinstance(event, Booting) for event in events)
        assert_answered(events)

    async def test_queue_is_told(self, upstream: Upstream, tmp_path: Path) -> None:
        """While it lasts or in seconds afterwards, streamed or not: some tell it in one form."""
        self._skip("queued")
        told = []
        for stream in (True, False):
            events = await self._events("queued", upstream, tmp_path, stream=stream)
            assert_answered(events)
            phases = phases_of(events)
            waits = (phases.queue_seconds, phases.wait_seconds)
            told += [isinstance(event, Queued) for event in events]
            told += [seconds is not None and seconds > 0 for seconds in waits]
        assert any(told)

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
    async def test_an_unknown_status_is_no_end(
        self, upstream: Upstream, tmp_path: Path, stream: bool
    ) -> None:
        self._skip("unknown-status")
        events = await self._events("unknown-status", upstream, tmp_path, stream=stream)
        assert_answered(events)

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
    async def test_time_that_runs_backwards(
        self, upstream: Upstream, tmp_path: Path, stream: bool
    ) -> None:
        """A span that would be negative is 0 or unknown; the answer is as good as any."""
        self._skip("clock-skew")
        events = await self._events("clock-skew", upstream, tmp_path, stream=stream)
        assert_answered(events)
        phases = phases_of(events)
        for name in _SPANS:
            seconds = getattr(phases, name)
            assert seconds is None or (seconds >= 0 and math.isfinite(seconds)), name


def assert_answered(events: list[Event]) -> None:
    """The whole answer, and nothing beside it."""
    assert text_of(events) == scenarios.ANSWER
    assert not any(isinstance(event, Output) and event.kind != "text" for event in events)


def phases_of(events: list[Event]) -> Phases:
    """What the end of an answer says about its time."""
    finished = events[-1]
    assert isinstance(finished, Finished)
    return finished.phases or Phases()
