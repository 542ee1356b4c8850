"""Policies by name, and what they come to at the cost of another one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from gateway.accounting.prices import PriceRow
from gateway.simulation.simulate import MakePolicy, Outcome, Plant, Requests, simulate
from gateway.warmth.policies.base import Policy
from gateway.warmth.policies.fixed import Fixed, SkiRental
from gateway.warmth.policies.histogram import Histogram
from gateway.warmth.policies.learned import Learned, Table
from gateway.warmth.windows import Stakes

Family: TypeAlias = Literal["fixed", "ski_rental", "ski_randomised", "histogram", "learned"]
FAMILIES: Final[tuple[Family, ...]] = (
    "fixed",
    "ski_rental",
    "ski_randomised",
    "histogram",
    "learned",
)
_STEPS = 9
_LEAST_WORTH, _MOST_WORTH = 0.1, 400.0
_CLOSE = 0.002


def stakes_of(row: PriceRow | None, boot_seconds: float, wait_value_usd: Decimal) -> Stakes:
    """What the price row bills; no row: a second of any kind costs one unit."""
    if row is None or row.usd_per_second is None:
        rate, bills = 1.0, frozenset({"boot", "idle"})
    else:
        rate, bills = float(row.usd_per_second), frozenset(row.bills)
    return Stakes(
        boot_seconds,
        rate if "idle" in bills else 0.0,
        rate if "boot" in bills else 0.0,
        float(wait_value_usd),
    )


def maker(
    family: Family,
    stakes: Stakes,
    *,
    window_seconds: float = 300.0,
    table: Table | None = None,
    seed: int = 1,
) -> MakePolicy:
    """Makes a deployment's policy."""

    def make(name: str) -> Policy:
        if family == "fixed":
            return Fixed(stakes, window_seconds)
        if family == "ski_rental":
            return SkiRental(stakes)
        if family == "ski_randomised":
            return SkiRental(stakes, random.Random(f"{seed}:{name}"))  # noqa: S311 (a window)
        if family == "histogram":
            return Histogram(stakes)
        return Learned(stakes, table or Table(), name)

    return make


@dataclass(frozen=True, slots=True)
class Scene:
    """Streams, and the part of their time that counts."""

    streams: Sequence[Requests]
    plant: Plant
    count_from_us: int
    end_at_us: int
    window_seconds: float = 300.0
    table: Table | None = None

    def play(self, family: Family, stakes: Stakes) -> Outcome:
        """The streams under one policy."""
        make = maker(
            family,
            stakes,
            window_seconds=self.window_seconds,
            table=self.table,
            seed=self.plant.seed,
        )
        return simulate(
            self.streams,
            make,
            self.plant,
            count_from_us=self.count_from_us,
            end_at_us=self.end_at_us,
        )


@dataclass(frozen=True, slots=True)
class AtCost:
    """A policy at a given cost: between two of its points that enclose it.

    ``reached`` False: it spends less (or more) than that whatever waiting is worth, and its nearest
    point stands here; what that costs is ``replica_us``.
    """

    wait_value: float
    cold: float
    replica_us: float
    outcomes: tuple[Outcome, Outcome]
    share: float
    """How much of the second of the two outcomes."""
    reached: bool


def at_cost(scene: Scene, family: Family, stakes: Stakes, replica_us: int) -> AtCost:
    """By the worth of a waiting second, sought so that boot, busy and idle come to ``replica_us``.

    The worth is in prices of an idle second. Halving, on a logarithmic scale; between the two
    nearest points both cold starts and cost are mixed, as one would by using each for a part of
    the time.
    """
    unit = stakes.idle_usd_per_second or 1.0
    low, high = _LEAST_WORTH, _MOST_WORTH
    points: list[tuple[float, Outcome]] = []
    for _ in range(_STEPS):
        worth = math.sqrt(low * high)
        outcome = scene.play(family, replace(stakes, wait_value_usd_per_second=worth * unit))
        points.append((worth, outcome))
        if outcome.replica_us > replica_us:
            high = worth
        else:
            low = worth
        if abs(outcome.replica_us / max(1, replica_us) - 1) < _CLOSE:
            break
    ordered = sorted(points, key=lambda point: point[1].replica_us)
    below = [p for p in ordered if p[1].replica_us <= replica_us]
    above = [p for p in ordered if p[1].replica_us > replica_us]
    if not below or not above:
        worth, only = below[-1] if below else above[0]
        close = abs(only.replica_us / max(1, replica_us) - 1) < 2 * _CLOSE
        return AtCost(worth, only.sum("cold"), only.replica_us, (only, only), 0.0, close)
    (worth, first), (_, second) = below[-1], above[0]
    share = (replica_us - first.replica_us) / (second.replica_us - first.replica_us)
    cold = first.sum("cold") * (1 - share) + second.sum("cold") * share
    return AtCost(worth, cold, float(replica_us), (first, second), share, True)
