"""What the contract suite stands on: the emulated provider, and a deployment bound to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest

from providers.contract import (
    Delta,
    Deployment,
    Event,
    GenerateRequest,
    Host,
    Output,
    Parameters,
    ProviderPlugin,
)
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


class Bound:
    """Binds the plugin to the emulator, and asks it for one scenario."""

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
