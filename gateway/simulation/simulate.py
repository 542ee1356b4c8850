"""Streams of requests under a keep-warm policy, one deployment each. Pure and seeded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from gateway.accounting.prices import PriceRow
from gateway.warmth.arrivals import rank
from gateway.warmth.boots import Part
from gateway.warmth.kept import Account, Draw, Kept
from gateway.warmth.policies.base import Policy

MakePolicy: TypeAlias = Callable[[str], Policy]
"""A policy of its own for each deployment, by name."""


class Requests(Protocol):
    """One deployment's requests, in the order of time."""

    @property
    def name(self) -> str: ...
    @property
    def at_us(self) -> Sequence[int]: ...
    @property
    def execute_us(self) -> Sequence[int]: ...


@dataclass(frozen=True, slots=True)
class Plant:
    """What all deployments have in common; ``boot_sigma``: of a lognormal, 0 for equal boots."""

    boot_seconds: float
    boot_sigma: float = 0.0
    replicas: int = 1
    places: int | None = None
    window_seconds: float = 300.0
    """How long the provider keeps further replicas, which no policy is asked about."""
    own_window_seconds: float = 0.0
    """How long it keeps the first one in any case, which no policy can shorten."""
    seed: int = 1
    boot_parts: tuple[Part, ...] = ()
    """Boots of a mixture, whose mean is then ``boot_seconds``; empty: see ``boot_sigma``."""

    @property
    def is_simple(self) -> bool:
        """Whether it has one replica, of any number of places, and boots of one length."""
        return (
            self.replicas == 1 and self.places is None and not (self.boot_sigma or self.boot_parts)
        )

    def deployment(
        self,
        name: str,
        policy: Policy,
        count_from_us: int = 0,
        dice: random.Random | None = None,
    ) -> Kept:
        """One that behaves so. ``dice``: of those that share their luck with boots."""
        return Kept(
            policy,
            self.draw(name, dice),
            replicas=self.replicas,
            places=self.places,
            window_us=round(self.window_seconds * 1e6),
            own_window_us=round(self.own_window_seconds * 1e6),
            count_from_us=count_from_us,
        )

    def draw(self, name: str, dice: random.Random | None = None) -> Draw:
        """Boots of one deployment: the same ones for each policy."""
        if self.boot_parts:
            return self._draw_of_parts(dice or self.dice(name))
        median_us = round(self.boot_seconds * 1e6)
        if not self.boot_sigma:
            return lambda: median_us
        drawn = dice or self.dice(name)
        return lambda: round(median_us * math.exp(drawn.gauss(0.0, self.boot_sigma)))

    def _draw_of_parts(self, dice: random.Random) -> Draw:
        parts = self.boot_parts
        shares = [part.share for part in parts]

        def draw() -> int:
            (part,) = dice.choices(parts, shares)
            seconds = part.median_seconds * math.exp(dice.gauss(0.0, part.spread))
            return max(1, round(seconds * 1e6))

        return draw

    def dice(self, name: str) -> random.Random:
        """What its boots are drawn with."""
        return random.Random(f"{self.seed}:{name}")  # noqa: S311 (boots, not a secret)


@dataclass(slots=True)
class Outcome:
    """What came of it, over all deployments; each one's account is kept for resampling."""

    accounts: list[Account] = field(default_factory=list)
    rows: list[PriceRow | None] = field(default_factory=list)
    """The price of each account, where they may differ; empty: one is for all."""

    def sum(self, column: str) -> int:
        """One column of all accounts."""
        return sum(getattr(account, column) for account in self.accounts)

    @property
    def requests(self) -> int:
        """Requests that count."""
        return self.sum("requests")

    @property
    def cold_rate(self) -> float | None:
        """The share that waited for a boot; None: there was no request."""
        return self.sum("cold") / self.requests if self.requests else None

    @property
    def replica_us(self) -> int:
        """Booting, busy and idle together."""
        return self.sum("replica_us")

    @property
    def wait_seconds(self) -> dict[str, float | None]:
        """Percentiles and the mean over all requests, those who did not wait included."""
        waits = sorted(wait for account in self.accounts for wait in account.waits)
        zeros = self.requests - len(waits)
        found: dict[str, float | None] = {}
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            at = rank(waits, share, zeros)
            found[name] = None if at is None else at / 1e6
        found["mean"] = sum(waits) / 1e6 / self.requests if self.requests else None
        return found


def simulate(
    streams: Sequence[Requests],
    make: MakePolicy,
    plant: Plant,
    *,
    count_from_us: int,
    end_at_us: int,
) -> Outcome:
    """Each stream at a deployment of its own, from its first request; counted from an instant."""
    found = Outcome()
    for stream in streams:
        kept = plant.deployment(stream.name, make(stream.name), count_from_us)
        advance, arrive = kept.advance, kept.arrive
        for at, execute in zip(stream.at_us, stream.execute_us, strict=True):
            advance(at)
            arrive(at, execute)
        found.accounts.append(kept.close(end_at_us))
    return found
