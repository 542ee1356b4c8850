"""Requests and tokens a minute: buckets that fill evenly and hold one minute's worth.

A request takes one from the bucket of requests, and what it is estimated to use from the bucket
of tokens; when it has ended, the difference to what it used is taken or given back. ``Buckets``
is the seam for a store that several processes share; ``MemoryBuckets`` serves one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Kind: TypeAlias = Literal["requests", "tokens"]

# Of an answer that has no bound, so much is taken beforehand.
UNBOUNDED_OUTPUT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Draw:
    """``amount`` to be taken from a bucket that gets ``per_minute`` and holds no more than that."""

    bucket: str
    kind: Kind
    per_minute: int
    amount: int


@dataclass(frozen=True, slots=True)
class Level:
    """What is in a bucket after a draw; below 0: more was used than had been taken."""

    draw: Draw
    left: float

    @property
    def full_in_seconds(self) -> float:
        """Until it is full again, if nobody takes more."""
        return max(0.0, (self.draw.per_minute - self.left) * 60.0 / self.draw.per_minute)


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of a draw; ``wait_seconds`` 0: all of it was taken, else nothing was."""

    wait_seconds: float
    levels: tuple[Level, ...]


class Buckets(Protocol):
    """Many buckets by name. Each call is atomic; ``put`` need not be done when it returns."""

    async def take(self, draws: Sequence[Draw]) -> Taken:
        """Take from all of them or from none."""

    def put(self, draw: Draw, amount: int) -> None:
        """Give back; a minus takes, even below 0."""


class MemoryBuckets:
    """Buckets of one process; nothing in it waits. ``monotonic`` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._held: dict[str, tuple[float, float]] = {}  # what was in it, and when

    async def take(self, draws: Sequence[Draw]) -> Taken:
        """See ``Buckets``."""
        now = self._monotonic()
        found = [self._level(draw, now) for draw in draws]
        wait_seconds = max(
            (
                (draw.amount - left) * 60.0 / draw.per_minute
                for draw, left in zip(draws, found, strict=True)
                if left < draw.amount
            ),
            default=0.0,
        )
        levels = []
        for draw, left in zip(draws, found, strict=True):
            left -= 0 if wait_seconds else draw.amount
            self._held[draw.bucket] = (left, now)
            levels.append(Level(draw, left))
        return Taken(wait_seconds, tuple(levels))

    def put(self, draw: Draw, amount: int) -> None:
        """See ``Buckets``."""
        now = self._monotonic()
        left = self._level(draw, now) + amount
        self._held[draw.bucket] = (min(left, draw.per_minute), now)

    def _level(self, draw: Draw, now: float) -> float:
        held = self._held.get(draw.bucket)
        if held is None:
            return draw.per_minute
        left, at = held
        return min(draw.per_minute, left + (now - at) * draw.per_minute / 60.0)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a minute, of one key or (``whose`` empty) of all callers together."""

    whose: str
    kind: Kind
    per_minute: int


def draws_for(rates: Sequence[Rate], tokens: int) -> list[Draw]:
    """What one request takes. One that is larger than a bucket takes a full one."""
    return [
        Draw(
            f"{rate.kind}:{rate.whose}",
            rate.kind,
            rate.per_minute,
            1 if rate.kind == "requests" else min(tokens, rate.per_minute),
        )
        for rate in rates
    ]
