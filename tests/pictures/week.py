"""A week of traffic in some seconds: a gateway and emulators on real sockets, on one moved clock.

The emulator of Hugging Face spends no time: it moves the clock that the gateway reads as well, so
that a boot of a minute is one for both. What is written down is what a week would have left.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from tests.emulators.huggingface import KEY, NAMESPACE, HuggingFace
from tests.emulators.huggingface_world import Endpoint
from tests.emulators.openai_chat import Receive, Send
from tests.gateway_app.gateways import Gateway, running_gateway
from tests.serving import serve

DAY_SECONDS = 86_400.0
_READ_SECONDS = 0.003  # so that the gateway reads a part before the clock goes on
TEAMS = ("search", "support", "batch")


class MovedClock:
    """Time as it is, and what was spent on top; begins ``span_seconds`` ago."""

    def __init__(self, span_seconds: float) -> None:
        self._moved_seconds = 0.0
        self._begin_us = time.time_ns() // 1000 - round(span_seconds * 1e6)
        self._begin = time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._moved_seconds

    async def spend(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._moved_seconds += seconds

    def wall_us(self) -> int:
        return self._begin_us + round((self.now() - self._begin) * 1e6)

    def passed_seconds(self) -> float:
        return self.now() - self._begin


class Paced:
    """The emulator, with a clock that goes on between the parts of an answer."""

    def __init__(self, app: HuggingFace, clock: MovedClock, dice: random.Random) -> None:
        self._app, self._clock, self._dice = app, clock, dice

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        seconds = self._dice.lognormvariate(math.log(0.25), 0.5)
        works = scope["method"] == "POST"

        async def paced(message: MutableMapping[str, Any]) -> None:
            if works and message.get("body"):
                self._clock.advance(seconds)
            await send(message)
            await asyncio.sleep(_READ_SECONDS)

        await self._app(scope, receive, paced)


@dataclass
class Week:
    """What runs, so that more can be asked of it."""

    gateway: Gateway
    clock: MovedClock
    endpoints: dict[str, Endpoint]


def configuration(app: HuggingFace) -> dict[str, Any]:
    def endpoint(name: str, size: str) -> dict[str, Any]:
        return {
            "provider": "huggingface",
            "model": "warm",
            "via": "endpoint",
            "url": f"{app.url}/e/{name}",
            "endpoint": f"{NAMESPACE}/{name}",
            "scale_up_timeout_seconds": 600,
            "idle_window_seconds": 900,
            "hardware": size,
            "price": f"huggingface-endpoint-aws-{size}-x1",
        }

    router = {"provider": "huggingface", "model": f"{NAMESPACE}/warm:cheapest"}
    per_token = {"usd_per_million_input_tokens": "400", "usd_per_million_output_tokens": "900"}
    return {
        "providers": {
            "huggingface": {"token": KEY, "base_url": app.url, "management_url": f"{app.url}/v2"}
        },
        "deployments": {
            "llama-70b-a100": endpoint("llama-70b-a100", "a100"),
            "llama-8b-t4": endpoint("llama-8b-t4", "t4"),
            "llama-8b-tokens": {**router, "price": per_token},
            "qwen-new": router,
        },
        "models": {
            "chat": {"deployments": ["llama-8b-t4", "llama-70b-a100"], "strategy": "priority"},
            "chat-large": {"deployments": ["llama-70b-a100"]},
            "chat-hosted": {"deployments": ["llama-8b-tokens"]},
            "trial": {"deployments": ["qwen-new"]},
        },
        "budgets": [{"name": "all", "limit_usd": "50", "per": "month", "allow_unpriced": True}],
    }


@contextmanager
def a_week(folder: Path, *, calls: int, days: float = 7.0) -> Iterator[Week]:
    """So many calls over so many days up to now, more by day than by night; and then it runs on."""
    clock = MovedClock(days * DAY_SECONDS)
    app = HuggingFace(clock=clock)
    places = {
        name: app.endpoint(name, idle_seconds=900.0, boot_seconds=60.0)
        for name in ("llama-70b-a100", "llama-8b-t4")
    }
    with (
        serve(Paced(app, clock, random.Random(3))) as app.url,
        running_gateway(
            configuration(app), folder, clock=Clock(clock.now, clock.wall_us)
        ) as gateway,
    ):
        week = Week(gateway, clock, places)
        _live(week, calls, days * DAY_SECONDS)
        yield week


def _live(week: Week, calls: int, span_seconds: float) -> None:
    dice = random.Random(7)
    times = sorted(_instants(dice, calls, span_seconds))
    for at in times:
        week.clock.advance(max(0.0, at - week.clock.passed_seconds()))
        for place in week.endpoints.values():
            place.boot_seconds = round(dice.lognormvariate(math.log(55), 0.45), 3)
        (model,) = dice.choices(("chat", "chat-large", "chat-hosted", "trial"), (9, 3, 6, 1))
        ask(week, model, dice.choices(TEAMS, (5, 3, 2))[0])
    week.clock.advance(max(0.0, span_seconds - week.clock.passed_seconds()))


def ask(week: Week, model: str, team: str) -> str:
    """One call, streamed; its operation's id."""
    events = week.gateway.stream(model, "Why is the sky blue?", tags={"team": team})
    assert events[-1].name == "finished", events[-1]
    found = events[-1].data["id"]
    assert isinstance(found, str)
    return found


def _instants(dice: random.Random, calls: int, span_seconds: float) -> Iterator[float]:
    """By thinning: the hour of the day (UTC) decides, and some calls come in bursts."""
    begin = time.time() - span_seconds
    left = calls
    while left > 0:
        at = dice.random() * span_seconds
        hour = (begin + at) % DAY_SECONDS / 3600
        if dice.random() > 0.08 + 0.92 * max(0.0, math.sin((hour - 6) / 14 * math.pi)) ** 2:
            continue
        for _ in range(min(left, dice.choice((1, 1, 2, 3, 6)))):
            yield at
            at = min(span_seconds, at + dice.expovariate(1 / 90.0))
            left -= 1
