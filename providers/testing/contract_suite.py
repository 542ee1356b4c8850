"""The suite every adapter must pass, ours and a stranger's.

    class TestAcme(ProviderContract):
        plugin = acme.plugin
        cannot = {"tools": "acme has none"}

        @pytest.fixture
        def upstream(self, acme_emulator):        # an ``Upstream``: how to reach it, what it saw
            return acme_emulator

The emulator plays the scenario named as the model (``providers.testing.scenarios``). What a
provider cannot show is named in ``cannot`` with its reason, and reported as skipped with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
from pydantic import ValidationError

from providers.contract import (
    Booting,
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Output,
    Parameters,
    ProviderError,
    ProviderPlugin,
)
from providers.testing import scenarios
from providers.toolkit.grammar import GrammarChecker
from providers.toolkit.http import open_http

_SEEN_WITHIN_SECONDS = 5.0  # a busy machine is no failure


class Upstream(Protocol):
    """The emulated provider, as the suite sees it."""

    @property
    def url(self) -> str: ...

    @property
    def key(self) -> str:
        """The only key it accepts."""
        ...

    def began(self, scenario: str) -> int:
        """How many calls of the scenario have reached it."""
        ...

    def stopped(self, scenario: str) -> int:
        """How many of them it saw cancelled, or hung up on, before they were done."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """How to reach one scenario: provider block, model, deployment options."""

    settings: Mapping[str, Any]
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)


@pytest.mark.anyio
class ProviderContract:
    """Subclass it, name the plugin, provide the fixture ``upstream``."""

    plugin: ClassVar[ProviderPlugin]
    cannot: ClassVar[Mapping[str, str]] = {}

    def setup_for(self, scenario: str, upstream: Upstream) -> Setup:
        """Override it where base URL and key have other names."""
        return Setup({"base_url": upstream.url, "api_key": upstream.key}, model=scenario)

    def request(self, *, stream: bool = True) -> GenerateRequest:
        return GenerateRequest("Say something.", Parameters(max_output_tokens=64), stream=stream)

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def upstream(self) -> Upstream:
        raise NotImplementedError("provide the fixture `upstream`: the running emulator")

    # -- what comes out -----------------------------------------------------------------------

    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
    @pytest.mark.parametrize("scenario", ["warm", "split-frames", "slow-first-delta"])
    async def test_answer_and_usage(
        self, upstream: Upstream, tmp_path: Path, scenario: str, stream: bool
    ) -> None:
        self._skip(scenario)
        events = await self._events(scenario, upstream, tmp_path, stream=stream)
        assert text_of(events) == scenarios.ANSWER
        finished = events[-1]
        assert isinstance(finished, Finished) and finished.usage is not None
        assert finished.usage.input_tokens == scenarios.INPUT_TOKENS
        assert finished.usage.output_tokens == scenarios.OUTPUT_TOKENS

    async def test_unsaid_usage_stays_unknown(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("usage-missing")
        events = await self._events("usage-missing", upstream, tmp_path)
        assert text_of(events) == scenarios.ANSWER
        assert isinstance(events[-1], Finished)
        usage = events[-1].usage
        assert usage is None or (usage.input_tokens is None and usage.output_tokens is None)

    async def test_zero_usage_stays_zero(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("usage-zero")
        events = await self._events("usage-zero", upstream, tmp_path)
        assert isinstance(events[-1], Finished) and events[-1].usage is not None
        assert events[-1].usage.output_tokens == 0

    async def test_huge_frame(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("huge-frame")
        assert len(text_of(await self._events("huge-frame", upstream, tmp_path))) >= 10_000_000

    async def test_tool_call(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("tools")
        events = await self._events("tools", upstream, tmp_path)
        assert text_of(events, "tool_call").startswith("{")
        assert isinstance(events[-1], Finished) and events[-1].reasons != ("stop",)

    async def test_boot_is_told(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("cold")
        events = await self._events("cold", upstream, tmp_path)
        assert any(isinstance(event, Booting) for event in events)
        assert text_of(events) == scenarios.ANSWER

    # -- what goes wrong ----------------------------------------------------------------------

    @pytest.mark.parametrize("scenario", list(scenarios.FAILURES))
    async def test_failure(
        self,
        upstream: Upstream,
        tmp_path: Path,
        scenario: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self._skip(scenario)
        failure = scenarios.FAILURES[scenario]
        seen: list[Event] = []
        caplog.set_level(logging.DEBUG)
        with pytest.raises(ProviderError) as caught:
            await self._events(scenario, upstream, tmp_path, into=seen)
        error = caught.value
        assert type(error) in failure.errors
        assert error.retry_after_seconds == failure.retry_after_seconds
        assert failure.after_output == any(isinstance(event, Delta | Output) for event in seen)
        told = "".join((*traceback.format_exception(error), repr(error), error.detail, caplog.text))
        assert upstream.key not in told

    # -- stopping -----------------------------------------------------------------------------

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

            async def consume() -> None:
                async with aclosing(deployment.generate(self.request(stream=stream))) as events:
                    async for _ in events:
                        pass

            task = asyncio.create_task(consume())
            await seen(lambda: upstream.began("never-answers") == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if deployment.capabilities.cancels:
                await seen(lambda: upstream.stopped("never-answers") == 1)

    # -- what it says of itself ---------------------------------------------------------------

    async def test_capabilities_tell_the_truth(self, upstream: Upstream, tmp_path: Path) -> None:
        self._skip("warm")
        async with self._deployment("warm", upstream, tmp_path) as deployment:
            capabilities = deployment.capabilities
            assert capabilities.tasks
            if capabilities.dialect is not None:
                events = await self._events("warm", upstream, tmp_path)
                frames = [f for e in events if isinstance(e, Delta | Finished) for f in e.native]
                assert frames, "a dialect is promised, but no native frame is passed on"

    async def test_secrets_are_not_shown(self, upstream: Upstream, tmp_path: Path) -> None:
        setup = self.setup_for("warm", upstream)
        settings = self.plugin.settings.model_validate(setup.settings)
        http = open_http(settings)
        provider = self.plugin.build(settings, Host(http, tmp_path))
        deployment = provider.bind(setup.model, self.plugin.options.model_validate(setup.options))
        inside = getattr(deployment, "__dict__", {}).values()
        for thing in (settings, http, provider, deployment, *inside):
            assert upstream.key not in repr(thing)
        assert upstream.key not in settings.model_dump_json()
        await provider.aclose()
        await http.aclose()

    def test_unknown_keys_are_refused(self, upstream: Upstream) -> None:
        setup = self.setup_for("warm", upstream)
        for model, block in (
            (self.plugin.settings, setup.settings),
            (self.plugin.options, setup.options),
        ):
            model.model_validate(block)
            with pytest.raises(ValidationError):
                model.model_validate({**block, "no_such_key": 1})

    # -- the means ----------------------------------------------------------------------------

    def _skip(self, scenario: str) -> None:
        if scenario in self.cannot:
            pytest.skip(f"{scenario}: {self.cannot[scenario]}")

    @asynccontextmanager
    async def _deployment(
        self, scenario: str, upstream: Upstream, tmp_path: Path
    ) -> AsyncIterator[Deployment]:
        """A deployment; afterwards no task of its making may be left."""
        before = asyncio.all_tasks()
        setup = self.setup_for(scenario, upstream)
        settings = self.plugin.settings.model_validate(setup.settings)
        http = open_http(settings)
        provider = self.plugin.build(settings, Host(http, tmp_path))
        options = self.plugin.options.model_validate(setup.options)
        try:
            yield provider.bind(setup.model, options)
        finally:
            await provider.aclose()
            await http.aclose()
        await seen(lambda: asyncio.all_tasks() <= before)

    async def _events(
        self,
        scenario: str,
        upstream: Upstream,
        tmp_path: Path,
        *,
        stream: bool = True,
        into: list[Event] | None = None,
    ) -> list[Event]:
        collected = [] if into is None else into
        grammar = GrammarChecker()
        async with self._deployment(scenario, upstream, tmp_path) as deployment:
            async with aclosing(deployment.generate(self.request(stream=stream))) as events:
                async for event in events:
                    grammar.check(event)
                    collected.append(event)
        grammar.end()
        return collected


def text_of(events: list[Event], channel: str = "text") -> str:
    """The text of all Deltas of a channel, and of Outputs that are text."""
    pieces = []
    for event in events:
        if isinstance(event, Delta) and event.channel == channel:
            pieces.append(event.text)
        elif isinstance(event, Output) and event.kind == channel == "text":
            pieces.append(str(event.value))
    return "".join(pieces)


async def seen(condition: Any, within_seconds: float = _SEEN_WITHIN_SECONDS) -> None:
    """Wait until ``condition()`` holds; an AssertionError says that it never did."""
    end = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        await asyncio.sleep(0.005)
