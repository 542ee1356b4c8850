"""A provider that plays scripts: for tests of whatever stands above the contract.

    provider = ScriptedProvider()
    provider.play("m", Booting("phase_reported"), Wait(2.0), Delta("hi"), Finished())
    provider.play("m", RateLimited(retry_after_seconds=1.0))
    deployment = provider.bind("m", ScriptedOptions())

Each call of a model takes its next script; the last one is repeated. Time passes only through
``sleep``, which a test may replace by a clock of its own.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import anyio
from pydantic import Field

from providers.contract import (
    Capabilities,
    Delta,
    DeploymentOptions,
    Event,
    Finished,
    GenerateRequest,
    ModelNotFound,
    ProbeState,
    ProviderError,
    ProviderPlugin,
    ProviderSettings,
    Task,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass, by the provider's ``sleep``."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Until:
    """Go on when the test sets the event."""

    event: asyncio.Event


Step: TypeAlias = Event | ProviderError | Wait | Until
Outcome: TypeAlias = Literal["running", "finished", "failed", "closed", "cancelled"]


@dataclass(slots=True)
class Call:
    """One call that was made. ``closed``: the generator was closed; ``cancelled``: its task was."""

    model: str
    request: GenerateRequest
    outcome: Outcome = "running"
    yielded: list[Event] = field(default_factory=list)


class ScriptedSettings(ProviderSettings):
    """A provider block of a scripted provider; it has no keys of its own."""


class ScriptedOptions(DeploymentOptions):
    """What a scripted deployment says of itself."""

    tasks: frozenset[Task] = frozenset({"generate"})
    """Tasks it takes."""
    dialect: str | None = None
    """Dialect it passes through."""
    cancels: bool = True
    """Whether closing ends the work."""
    cancels_whole: bool = False
    """Whether it does so where no stream was asked for."""
    reports_seconds: bool = False
    """Whether it bills by seconds of its own account."""
    keep_alive_seconds: float | None = Field(default=None, ge=0)
    """How long it stays up when idle."""


class ScriptedProvider:
    """Plays scripts and remembers, in ``history``, what it was asked and how each call ended."""

    def __init__(self, *, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        self.history: list[Call] = []
        self.closed = False
        self.states: dict[str, ProbeState] = {}
        self.sleep = sleep
        self._scripts: dict[str, deque[tuple[Step, ...]]] = {}

    def play(self, model: str, *steps: Step) -> None:
        """Add a script for ``model``; an error ends a script."""
        self._scripts.setdefault(model, deque()).append(steps)

    def play_text(self, model: str, text: str, *, usage: Usage | None = None) -> None:
        """Add a script that answers ``text`` in one piece."""
        self.play(model, Delta(text), Finished(("stop",), usage))

    def bind(self, model: str, options: ScriptedOptions) -> ScriptedDeployment:
        return ScriptedDeployment(self, model, options)

    async def aclose(self) -> None:
        self.closed = True

    def plugin(self, name: str = "scripted") -> ProviderPlugin:
        """A plugin whose every provider is this one."""
        return ProviderPlugin(
            name=name,
            settings=ScriptedSettings,
            options=ScriptedOptions,
            build=lambda settings, host: self,
            summary="plays scripts, for tests",
            status="emulator only",
        )

    def next_script(self, model: str) -> tuple[Step, ...]:
        scripts = self._scripts.get(model)
        if not scripts:
            return (ModelNotFound(),)
        return scripts.popleft() if len(scripts) > 1 else scripts[0]


class ScriptedDeployment:
    """One model of a scripted provider; it can be probed."""

    def __init__(self, provider: ScriptedProvider, model: str, options: ScriptedOptions) -> None:
        self._provider = provider
        self._model = model
        self._capabilities = Capabilities(
            tasks=options.tasks,
            dialect=options.dialect,
            cancels=options.cancels,
            cancels_whole=options.cancels_whole,
            reports_seconds=options.reports_seconds,
            keep_alive_seconds=options.keep_alive_seconds,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def probe(self) -> ProbeState:
        return self._provider.states.get(self._model, "unknown")

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        call = Call(self._model, request)
        self._provider.history.append(call)
        try:
            for step in self._provider.next_script(self._model):
                if isinstance(step, Wait):
                    await self._provider.sleep(step.seconds)
                elif isinstance(step, Until):
                    await step.event.wait()
                elif isinstance(step, ProviderError):
                    call.outcome = "failed"
                    raise copy.copy(step)  # a script may be played again
                else:
                    call.yielded.append(step)
                    if isinstance(step, Finished):
                        call.outcome = "finished"
                    yield step
        except GeneratorExit:
            call.outcome = "finished" if call.outcome == "finished" else "closed"
            raise
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
