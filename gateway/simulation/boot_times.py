"""How long boots take at a price, as far as anybody knows, and how sure that is. Pure.

Best is what a deployment's own boots have shown, at the price that it has; next what deployments at
that price have shown together; then what is known of the provider; then a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from gateway.simulation.simulate import Plant
from gateway.warmth.boots import Part, mixture, quantile
from gateway.warmth.facts import fact_of
from gateway.warmth.priors import GUESS_BOOT_SECONDS

BootSource: TypeAlias = Literal["given", "learned", "provider", "guess"]
FEWEST_BOOTS: Final = 5
TENTH_SIGMAS: Final = 1.2816
_SURE_SIGMAS = 1.96


@dataclass(frozen=True, slots=True)
class BootTimes:
    """Boots in seconds, as a mixture of lognormal parts.

    ``range_seconds``: between which their median lies (95 % where it was learned; of a provider,
    the shortest and the longest that is known of); None: nobody knows. ``seen``: how many.
    """

    parts: tuple[Part, ...]
    source: BootSource
    range_seconds: tuple[float, float] | None = None
    seen: int = 0

    @property
    def mean_seconds(self) -> float:
        """Of all boots."""
        return sum(
            part.share * part.median_seconds * math.exp(part.spread**2 / 2) for part in self.parts
        )

    def quantile(self, share: float) -> float:
        """So many take no longer."""
        found = quantile(self.parts, share)
        assert found is not None
        return found

    def at_median(self, seconds: float) -> BootTimes:
        """The same, all longer or shorter, with this median."""
        factor = seconds / self.quantile(0.5)
        parts = [replace(part, median_seconds=part.median_seconds * factor) for part in self.parts]
        return replace(self, parts=tuple(parts))

    def plant(self, otherwise: Plant) -> Plant:
        """Deployments that boot so."""
        return replace(
            otherwise, boot_seconds=self.mean_seconds, boot_sigma=0.0, boot_parts=self.parts
        )


def lognormal(median_seconds: float, sigma: float) -> tuple[Part, ...]:
    """Boots of one part."""
    return (Part(1.0, median_seconds, max(sigma, 1e-6)),)


def between(shortest: float, longest: float) -> tuple[Part, ...]:
    """The shortest and the longest boot known of, taken for the 10th and the 90th percentile."""
    sigma = math.log(longest / shortest) / (2 * TENTH_SIGMAS)
    return lognormal(math.sqrt(shortest * longest), sigma)


@dataclass(frozen=True, slots=True)
class BootBook:
    """What is known of boots. ``seen``: seconds by deployment, and ``prices``: what each costs.

    Of a deployment whose price is not known, ``today`` is taken for it. ``given``: median and
    sigma, which somebody said for all.
    """

    seen: Mapping[str, Sequence[float]] = field(default_factory=dict)
    prices: Mapping[str, str] = field(default_factory=dict)
    today: str = ""
    given: tuple[float, float] | None = None
    sigma: float = 0.8
    """Of boots of which nothing is known."""

    def at(self, price: str, deployment: str | None = None) -> BootTimes:
        """Boots at a price; of one deployment, if it was seen there."""
        if self.given is not None:
            return BootTimes(lognormal(*self.given), "given")
        here = [name for name in self.seen if self.prices.get(name, self.today) == price]
        for names in ([deployment] if deployment in here else [], here):
            seconds = sorted(x for name in names for x in self.seen[name] if x > 0)
            if len(seconds) >= FEWEST_BOOTS:
                return _learned(seconds)
        fact = fact_of(price)
        if fact is not None and fact.boot_seconds is not None:
            return BootTimes(between(*fact.boot_seconds), "provider", fact.boot_seconds)
        return BootTimes(lognormal(GUESS_BOOT_SECONDS, self.sigma), "guess")


def _learned(seconds: Sequence[float]) -> BootTimes:
    """``seconds`` rises."""
    logs, count = [math.log(x) for x in seconds], len(seconds)
    mean = sum(logs) / count
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / (count - 1))
    parts = mixture(seconds)
    found = BootTimes(parts, "learned", None, count)
    factor = math.exp(_SURE_SIGMAS * spread / math.sqrt(count))
    median = found.quantile(0.5)
    return replace(found, range_seconds=(median / factor, median * factor))
