"""Policies held against a fixed window at its cost: how many fewer cold starts, and how surely.

The first part of the trace trains, the rest is scored. The interval is a bootstrap over
deployments, seeded: whole deployments are drawn with replacement.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.simulation.clairvoyant import Bounds, bounds
from gateway.simulation.families import AtCost, Family, Scene, at_cost
from gateway.simulation.simulate import Outcome
from gateway.warmth.windows import Stakes

_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Held:
    """One policy beside the fixed window. Shares are of the fixed window's cold starts."""

    family: Family
    at: AtCost
    change: float | None
    """-0.2: a fifth fewer; None: the fixed window had none."""
    interval: tuple[float, float] | None
    gap_closed: float | None
    """Of what holding alone could at most do at that cost; above 1 by booting ahead."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A fixed window, what could be known of it, and the policies.

    ``keep_cold``: who knows every gap, at the same cost; None: no bound is known, as boots differ
    in length or a deployment may have several replicas.
    """

    fixed: Outcome
    bounds: Bounds
    keep_cold: float | None
    held: tuple[Held, ...]


def compare_policies(
    scene: Scene, stakes: Stakes, families: Sequence[Family], seed: int = 1
) -> Comparison:
    """Each policy at the cost of the fixed window."""
    fixed = scene.play("fixed", stakes)
    known = bounds(scene.streams, scene.plant.boot_seconds, scene.count_from_us)
    spent, cold = fixed.replica_us, fixed.sum("cold")
    best = known.keep_cold(spent) if scene.plant.is_simple else None
    held = []
    for family in families:
        at = at_cost(scene, family, stakes, spent)
        change = None if not cold else at.cold / cold - 1
        closed = None if best is None or cold <= best else (cold - at.cold) / (cold - best)
        held.append(Held(family, at, change, _interval(fixed, at, seed), closed))
    return Comparison(fixed, known, best, tuple(held))


def _interval(fixed: Outcome, at: AtCost, seed: int) -> tuple[float, float] | None:
    """2.5 % to 97.5 % of the change, over deployments."""
    first, second = (outcome.accounts for outcome in at.outcomes)
    pairs = [
        (account.cold, a.cold * (1 - at.share) + b.cold * at.share)
        for account, a, b in zip(fixed.accounts, first, second, strict=True)
    ]
    if len(pairs) < 2 or not any(cold for cold, _ in pairs):
        return None
    dice = random.Random(seed)  # noqa: S311 (resampling, not a secret)
    changes = []
    for _ in range(_DRAWS):
        drawn = dice.choices(pairs, k=len(pairs))
        base = sum(cold for cold, _ in drawn)
        if base:
            changes.append(sum(other for _, other in drawn) / base - 1)
    changes.sort()
    return changes[int(len(changes) * 0.025)], changes[int(len(changes) * 0.975)]
