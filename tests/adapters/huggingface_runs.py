"""Deployments of the emulated Hugging Face, and attempts on the emulator's own clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.accounting.coldstart import ColdStart, classify
from gateway.accounting.timeline import Timeline
from providers.contract import (
    Booting,
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    ModelLoading,
    Output,
    Started,
)
from providers.huggingface import HuggingFaceOptions, HuggingFaceProvider, HuggingFaceSettings
from providers.toolkit.grammar import GrammarChecker
from tests.emulators.huggingface import NAMESPACE, HuggingFace
from tests.emulators.huggingface_world import FakeClock


class World:
    """The emulator on a socket, with time of its own, and an account there."""

    def __init__(self, emulator: Callable[[Any], str], http: Http, **settings: Any) -> None:
        self.clock = FakeClock()
        self.app = HuggingFace(clock=self.clock)
        self.app.url = emulator(self.app)
        block = {
            "base_url": self.app.url,
            "management_url": f"{self.app.url}/v2",
            "token": self.app.key,
            **settings,
        }
        self.provider = HuggingFaceProvider(
            HuggingFaceSettings.model_validate(block), Host(http, Path())
        )

    def bind(self, model: str, **options: Any) -> Deployment:
        return self.provider.bind(model, HuggingFaceOptions.model_validate(options))

    def bind_endpoint(self, name: str, *, managed: bool = True, **options: Any) -> Any:
        """``Any``: an endpoint can do more than a deployment must."""
        self.app.endpoint(name)
        if managed:
            options["endpoint"] = f"{NAMESPACE}/{name}"
        return self.bind(name, via="endpoint", url=f"{self.app.url}/e/{name}", **options)

    @property
    def last(self) -> Any:
        """The last request that asked for work."""
        return [seen for seen in self.app.received if seen.body is not None][-1]


@dataclass(slots=True)
class Ran:
    """One attempt: what came of it, folded as the gateway folds it."""

    timeline: Timeline
    events: list[Event] = field(default_factory=list)
    refusals: list[ModelLoading] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))

    @property
    def outputs(self) -> list[Output]:
        return [e for e in self.events if isinstance(e, Output)]

    @property
    def finished(self) -> Finished:
        assert isinstance(self.events[-1], Finished)
        return self.events[-1]

    @property
    def cold(self) -> ColdStart:
        return classify(self.timeline)


async def ask(deployment: Deployment, request: GenerateRequest | str = "Say something.") -> Ran:
    """One call; nothing is repeated."""
    ran = Ran(Timeline(0.0))
    await _consume(deployment, request, ran, lambda: 0.0)
    return ran


async def attempt(
    deployment: Deployment,
    clock: FakeClock,
    request: GenerateRequest | str = "Say something.",
    *,
    pause_seconds: float = 1.0,
    within: int = 1000,
) -> Ran:
    """An attempt as ``gateway.execution.attempt`` makes it, with pauses on the emulator's clock."""
    ran = Ran(Timeline(clock.now()))
    asked_at: float | None = None

    def observe(event: Event) -> None:
        nonlocal asked_at
        if isinstance(event, Booting):
            asked_at = None
        elif asked_at is not None and ran.timeline.waiting:
            ran.timeline.observe(Started(), asked_at)
            asked_at = None
        ran.timeline.observe(event, clock.now())

    for _ in range(within):
        try:
            await _consume(deployment, request, ran, clock.now, observe)
        except ModelLoading as loading:
            ran.refusals.append(loading)
            if ran.timeline.booting is None:
                observe(Booting(loading.evidence))
            clock.advance(max(loading.retry_after_seconds or 0.0, pause_seconds))
            asked_at = clock.now()
        else:
            ran.timeline.end(clock.now())
            return ran
    raise AssertionError("it never came up")


async def _consume(
    deployment: Deployment,
    request: GenerateRequest | str,
    ran: Ran,
    now: Callable[[], float],
    observe: Callable[[Event], None] | None = None,
) -> None:
    if isinstance(request, str):
        request = GenerateRequest(request)
    grammar = GrammarChecker()
    async with aclosing(deployment.generate(request)) as events:
        async for event in events:
            grammar.check(event)
            ran.events.append(event)
            if observe is None:
                ran.timeline.observe(event, now())
            else:
                observe(event)
    grammar.end()
