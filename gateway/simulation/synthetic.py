"""Made-up streams of requests, by a seed: for tests, for trying out, and where no trace is at hand.

``gpu`` is a twin of GPU image generation as it was seen over 23 days at 50 models (Alibaba's
cluster-trace-v2026-GenAI): sessions of people by day, gaps of which a tenth is under 10 s, half
under 61 s and a tenth over 1,422 s, requests of some 20 s. It is fitted to these figures alone.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

DAY_US: Final = 86_400_000_000


@dataclass(slots=True)
class Made:
    """One made-up stream."""

    name: str
    at_us: array[int] = field(default_factory=lambda: array("q"))
    execute_us: array[int] = field(default_factory=lambda: array("q"))


def made(kind: str, count: int, days: float, seed: int = 1) -> list[Made]:
    """So many streams over so many days. Raises KeyError for a kind that is not in ``KINDS``."""
    found = []
    for number in range(count):
        dice = random.Random(f"{kind}:{seed}:{number}")  # noqa: S311 (traffic, not a secret)
        execute_seconds, instants = KINDS[kind](dice, days * 86_400)
        stream = Made(f"{kind}-{number}")
        for at in sorted(instants):
            if 0 <= at < days * 86_400:
                stream.at_us.append(int(at * 1e6))
                spread = dice.lognormvariate(0.0, 0.3)
                stream.execute_us.append(max(1, int(execute_seconds * spread * 1e6)))
        if stream.at_us:
            found.append(stream)
    return found


def _periodic(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """A timer every one to sixty minutes, late by up to a minute, that misses one in fifty."""
    period = dice.choice((60, 120, 300, 300, 600, 900, 1800, 3600))
    begin = dice.random() * period
    instants = (
        begin + number * period + dice.random() * min(60.0, period / 2)
        for number in range(int(lasting_seconds / period) + 1)
        if dice.random() > 0.02
    )
    return 1.0, instants


def _daylight(at_seconds: float, peak_hour: float) -> float:
    """How busy people are, from 0.1 to 1."""
    hour = at_seconds / 3600 % 24
    return 0.1 + 0.9 * (0.5 + 0.5 * math.cos((hour - peak_hour) / 24 * 2 * math.pi)) ** 2


def _diurnal(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """People by day, each request independent of the others."""
    busiest_per_second = math.exp(dice.uniform(math.log(5), math.log(120))) / 3600
    peak = dice.uniform(11, 18)

    def instants() -> Iterator[float]:
        at = 0.0
        while (at := at + dice.expovariate(busiest_per_second)) < lasting_seconds:
            if dice.random() < _daylight(at, peak):
                yield at

    return 3.0, instants()


def _sessions(
    dice: random.Random,
    lasting_seconds: float,
    per_day: float,
    size: float,
    gap: tuple[float, float],
    execute_seconds: float,
) -> Iterator[float]:
    peak = dice.uniform(12, 20)
    at = 0.0
    while (at := at + dice.expovariate(2.2 * per_day / 86_400)) < lasting_seconds:
        if dice.random() >= _daylight(at, peak):
            continue
        moment = at
        while True:
            yield moment
            if dice.random() < 1 / size:
                break
            moment += execute_seconds + dice.lognormvariate(math.log(gap[0]), gap[1])


def _bursty(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """Sessions of some ten requests, seconds apart, and hours between."""
    per_day = math.exp(dice.uniform(math.log(3), math.log(60)))
    return 2.0, _sessions(dice, lasting_seconds, per_day, 10.0, (20.0, 1.0), 2.0)


def _gpu(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """Sessions of some four images; models differ in how many by a factor of a hundred."""
    per_day = math.exp(dice.gauss(math.log(3.0), 1.3))
    return 20.0, _sessions(dice, lasting_seconds, per_day, 4.0, (55.0, 1.35), 20.0)


def _batch(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """Jobs that people start by day and a timer by night, each of some hundred requests, one after
    the other with little between; none at week-ends.
    """
    execute_seconds = math.exp(dice.uniform(math.log(5.0), math.log(60.0)))
    size = math.exp(dice.uniform(math.log(20), math.log(400)))
    nightly, jobs_per_day = dice.uniform(0, 6) * 3600, dice.choice((0.5, 1.0, 3.0))

    def job(at: float) -> Iterator[float]:
        for _ in range(1 + int(dice.expovariate(1 / size))):
            yield at
            at += execute_seconds * dice.lognormvariate(0.0, 0.3) + dice.expovariate(1 / 4.0)

    def instants() -> Iterator[float]:
        for day in range(int(lasting_seconds / 86_400) + 1):
            if day % 7 >= 5:
                continue
            yield from job(day * 86_400 + nightly + dice.expovariate(1 / 120.0))
            at = day * 86_400 + 9 * 3600.0
            while (at := at + dice.expovariate(jobs_per_day / 32_400)) < day * 86_400 + 64_800:
                yield from job(at)

    return execute_seconds, instants()


def _rare(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """A burst every few days, of a few dozen requests within minutes, at any hour."""
    apart = dice.uniform(1.0, 4.0) * 86_400

    def instants() -> Iterator[float]:
        at = 0.0
        while (at := at + dice.expovariate(1 / apart)) < lasting_seconds:
            moment = at
            for _ in range(1 + int(dice.expovariate(1 / 30.0))):
                yield moment
                moment += dice.expovariate(1 / dice.choice((5.0, 30.0, 200.0)))

    return 8.0, instants()


def _on_off(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """Hours of steady requests, minutes apart, and hours of none; each lasts as it happens to."""
    apart = math.exp(dice.uniform(math.log(20), math.log(600)))

    def instants() -> Iterator[float]:
        at = 0.0
        while at < lasting_seconds:
            until = at + dice.expovariate(1 / 7200.0)
            while (at := at + dice.expovariate(1 / apart)) < until:
                yield at
            at = until + dice.expovariate(1 / 21_600.0)

    return 4.0, instants()


def _heavy(dice: random.Random, lasting_seconds: float) -> tuple[float, Iterator[float]]:
    """Gaps without a scale (Pareto): many of seconds, some of days."""
    least, slope = math.exp(dice.uniform(math.log(5), math.log(60))), dice.uniform(0.5, 1.1)

    def instants() -> Iterator[float]:
        at = 0.0
        while (at := at + min(least * dice.paretovariate(slope), 3 * 86_400.0)) < lasting_seconds:
            yield at

    return 3.0, instants()


Kind = Callable[[random.Random, float], tuple[float, Iterator[float]]]
KINDS: Final[dict[str, Kind]] = {
    "periodic": _periodic,
    "diurnal": _diurnal,
    "bursty": _bursty,
    "gpu": _gpu,
    "batch": _batch,
    "rare": _rare,
    "on_off": _on_off,
    "heavy": _heavy,
}
