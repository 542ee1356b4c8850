"""The truth behind the emulated Hugging Face: time, endpoints that sleep, models that load.

Sources: https://huggingface.co/docs/inference-endpoints/guides/autoscaling and .../pricing
(2026-08-20), huggingface_hub 2.4.0 ``_inference_endpoints.py`` (states), and the classic API's
loading as api-inference-community issues 137 and 141 record it. It is no evidence of the service.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol


class Clock(Protocol):
    """The world's time, in seconds."""

    def now(self) -> float: ...

    async def spend(self, seconds: float) -> None: ...


class RealClock:
    """Time as it is, for demonstrations; ``advance`` lets idle time pass."""

    def __init__(self) -> None:
        self._advanced_seconds = 0.0

    def now(self) -> float:
        return time.monotonic() + self._advanced_seconds

    def advance(self, seconds: float) -> None:
        self._advanced_seconds += seconds

    async def spend(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class FakeClock:
    """Time that passes when somebody spends it; shared by a test and the emulator's thread."""

    def __init__(self) -> None:
        self._now = 1000.0

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds

    async def spend(self, seconds: float) -> None:
        self.advance(seconds)


@dataclass(slots=True)
class Up:
    """A time in which a replica existed; all of it is billed."""

    woken_at: float
    ready_at: float
    ended_at: float | None = None


@dataclass(slots=True)
class Seen:
    """One request at the endpoint's door: when it came, how it found the endpoint."""

    at: float
    state: str
    caused_boot: bool
    held: bool


@dataclass(slots=True)
class Endpoint:
    """A dedicated endpoint. ``api_lag_seconds``: how old the state is that the API tells."""

    name: str
    clock: Clock
    boot_seconds: float = 180.0
    idle_seconds: float = 3600.0
    work_seconds: float = 0.0
    engine: str = "vllm"
    status_while_starting: int = 503
    api_lag_seconds: float = 0.0
    revision: str = "0a1b2c3d"
    forced: str | None = None  # the state, whatever happens
    lies: list[str] = field(default_factory=list)  # what the API tells first, one at a time
    minimum: int = 0
    maximum: int = 1
    seen: list[Seen] = field(default_factory=list)
    ups: list[Up] = field(default_factory=list)
    served_seconds: list[float] = field(default_factory=list)  # of work, for each call served
    _last_used_at: float = 0.0
    _paused: bool = False

    def running(self) -> Endpoint:
        """Up since long ago."""
        now = self.clock.now()
        self.ups.append(Up(now - 1000, now - 900))
        self._last_used_at = now
        return self

    def state(self, at: float | None = None) -> str:
        """The truth at a moment (now), in the API's words."""
        if self.forced is not None:
            return self.forced
        if self._paused:
            return "paused"
        now = self.clock.now() if at is None else at
        self._fall_asleep()
        up = next((up for up in reversed(self.ups) if up.woken_at <= now), None)
        if up is None or (up.ended_at is not None and up.ended_at <= now):
            return "scaledToZero"
        return "running" if up.ready_at <= now else "initializing"

    def told(self) -> str:
        """What the API says."""
        if self.lies:
            return self.lies.pop(0)
        return self.state(self.clock.now() - self.api_lag_seconds)

    def arrive(self, *, held: bool) -> Seen:
        """A request comes; it wakes a sleeping endpoint."""
        state = self.state()
        caused = state == "scaledToZero"
        if caused:
            self.wake()
        if state == "running":
            self._last_used_at = self.clock.now()
        seen = Seen(self.clock.now(), state, caused, held)
        self.seen.append(seen)
        return seen

    def wake(self) -> None:
        now = self.clock.now()
        self.ups.append(Up(now, now + self.boot_seconds))
        self._last_used_at = now + self.boot_seconds

    async def work(self) -> None:
        """Serve one request."""
        if self.work_seconds:
            await self.clock.spend(self.work_seconds)
        self._last_used_at = self.clock.now()

    def pause(self) -> None:
        self._end(self.clock.now())
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self.state() == "scaledToZero":
            self.wake()

    def scale_to_zero(self) -> None:
        self._end(self.clock.now())

    def scale(self, minimum: int | None, maximum: int | None) -> None:
        self.minimum = self.minimum if minimum is None else minimum
        self.maximum = self.maximum if maximum is None else maximum
        if self.minimum and self.state() == "scaledToZero":
            self.wake()

    def billed_seconds(self) -> float:
        """Seconds in which a replica was initializing or running, until now."""
        self._fall_asleep()
        now = self.clock.now()
        return sum((now if up.ended_at is None else up.ended_at) - up.woken_at for up in self.ups)

    def bill_usd(self, usd_per_hour: Decimal) -> Decimal:
        """As Hugging Face writes it: by the begun minute."""
        return usd_per_hour * math.ceil(self.billed_seconds() / 60) / 60

    def _fall_asleep(self) -> None:
        now = self.clock.now()
        if self.minimum == 0 and now - self._last_used_at > self.idle_seconds:
            self._end(self._last_used_at + self.idle_seconds)

    def _end(self, at: float) -> None:
        for up in self.ups:
            if up.ended_at is None:
                up.ended_at = at


@dataclass(slots=True)
class ClassicModel:
    """A model of the classic API: loadable, loading, loaded, evicted."""

    clock: Clock
    load_seconds: float = 40.0
    idle_seconds: float = 900.0
    estimated_seconds: float = 20.0  # the guess that is repeated unchanged
    loading_since: float | None = None
    last_used_at: float | None = None

    def ready_at(self) -> float:
        """When it will answer; asking begins the loading."""
        now = self.clock.now()
        if self.last_used_at is not None and now - self.last_used_at > self.idle_seconds:
            self.loading_since = self.last_used_at = None
        if self.loading_since is None:
            self.loading_since = now
        return self.loading_since + self.load_seconds

    def state(self) -> str:
        """As ``GET /status/{id}`` has it (huggingface_hub 0.27.1)."""
        if self.loading_since is None or self.clock.now() < self.ready_at():
            return "Loadable"
        return "Loaded"
