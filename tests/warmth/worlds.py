"""Deployments whose keep-alive and boots are known, for what is to be learned about them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from gateway.warmth.priors import Prior, prior_of
from gateway.warmth.warmth import Warmth

Draw = Callable[[random.Random], float]
GUESS = prior_of(("nobody-knows",))
WORK_SECONDS = 2.0


def lognormal(median: float, spread: float) -> Draw:
    return lambda dice: math.exp(dice.gauss(math.log(median), spread))


def always(seconds: float) -> Draw:
    return lambda dice: seconds


def exponential(mean: float) -> Draw:
    return lambda dice: dice.expovariate(1 / mean)


def two_modes(dice: random.Random) -> float:
    """A third of the boots find their weights in a cache."""
    draw = lognormal(4.0, 0.3) if dice.random() < 0.35 else lognormal(37.0, 0.2)
    return draw(dice)


def lived(
    seed: int,
    attempts: int,
    keep_alive: Draw,
    *,
    prior: Prior = GUESS,
    gap: Draw | None = None,
    boot: Draw = two_modes,
    keep_alive_at: Callable[[float], float] | None = None,
    unknown_share: float = 0.0,
) -> Warmth:
    """A ``Warmth`` after so many attempts, one after the other; ``gap`` None: 200 s or so between.

    ``keep_alive_at`` multiplies the time that it stays up, by the seconds of the epoch at which it
    goes idle. Verdicts are withheld at random, ``unknown_share`` of them.
    """
    gap = gap or lognormal(200.0, 1.5)
    dice, warmth, at, up_until = random.Random(seed), Warmth(prior), 0.0, -1.0
    for number in range(attempts):
        at += gap(dice)
        warm, name = at <= up_until, f"att_{number}"
        seconds = None if warm else boot(dice)
        silent = dice.random() < unknown_share
        warmth.began(name, at)
        if seconds is not None:
            if not silent:
                warmth.booting(at)
            at += seconds
        warmth.ready(at)
        at += WORK_SECONDS
        warmth.ended(
            name,
            at,
            verdict="unknown" if silent else "warm" if warm else "cold",
            caused_boot=None if silent else not warm,
            boot_seconds=None if silent else seconds,
            instance_id=None,
            revision=None,
            worked=True,
        )
        factor = 1.0 if keep_alive_at is None else keep_alive_at(at)
        up_until = at + factor * keep_alive(dice)
    return warmth


def end(warmth: Warmth, name: str, at: float, verdict: Any, **changes: Any) -> None:
    """An attempt of ``began`` is over."""
    usual: dict[str, Any] = {"caused_boot": verdict == "cold", "boot_seconds": None}
    usual |= {"instance_id": None, "revision": None, "worked": True}
    warmth.ended(name, at, verdict=verdict, **(usual | changes))
