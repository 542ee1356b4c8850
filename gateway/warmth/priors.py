"""What is believed of a deployment before it was seen to do anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from gateway.accounting.prices import Billed
from gateway.warmth.facts import fact_of

PriorSource: TypeAlias = Literal["configured", "provider", "price", "guess"]

_SURE_SPREAD = 0.25  # of the logarithm of the time: a figure that was configured
_TOLD_SPREAD = 0.7  # a default of the provider's, which somebody may have changed
_GUESS_SPREAD = 1.5
_GUESS_KEEP_ALIVE_SECONDS = 300.0
GUESS_BOOT_SECONDS = 20.0
"""How long a boot takes where nothing at all is known: a guess, and told as one."""


@dataclass(frozen=True, slots=True)
class Prior:
    """``keep_alive_seconds``: the median; ``spread``: of its logarithm.

    ``floor`` is the chance to be up after any time: others' requests, or machines that stand.
    ``boot_seconds``: the shortest and the longest that is known of; None: nothing is.
    """

    keep_alive_seconds: float
    spread: float
    source: PriorSource
    floor: float = 0.0
    boot_seconds: tuple[float, float] | None = None

    def survival(self, idle_seconds: float) -> float:
        """The chance to be up after so long without work."""
        if idle_seconds <= 0:
            return 1.0
        far = math.log(idle_seconds / self.keep_alive_seconds) / self.spread
        return self.floor + (1.0 - self.floor) * 0.5 * math.erfc(far / math.sqrt(2.0))


@lru_cache(maxsize=256)  # deployments of one kind share theirs
def prior_of(
    names: tuple[str, ...],
    *,
    idle_window_seconds: float | None = None,
    keep_alive_seconds: float | None = None,
    bills: frozenset[Billed] | None = None,
    per_second: bool = False,
) -> Prior:
    """The prior of a deployment.

    ``names``: of its price row and its plugin, the first with a known fact counts.
    ``idle_window_seconds`` was configured, ``keep_alive_seconds`` the plugin knows. ``bills`` None:
    no price; ``per_second``: the price has one for seconds.
    """
    fact = next((found for name in names if (found := fact_of(name)) is not None), None)
    boots = None if fact is None else fact.boot_seconds
    if bills is not None and "standing" in bills:
        return Prior(30 * 86_400.0, _SURE_SPREAD, "price", 0.95, boots)
    sure = idle_window_seconds if idle_window_seconds is not None else keep_alive_seconds
    if sure is not None and sure > 0:
        return Prior(sure, _SURE_SPREAD, "configured", 0.0, boots)
    if fact is not None and fact.keep_alive_seconds is not None:
        return Prior(fact.keep_alive_seconds, _TOLD_SPREAD, "provider", 0.0, boots)
    if fact is not None and fact.shared_pool:
        return Prior(_GUESS_KEEP_ALIVE_SECONDS, _GUESS_SPREAD, "provider", 0.5, boots)
    if bills is not None and not per_second:
        # Who sells tokens has machines that run for everybody.
        return Prior(_GUESS_KEEP_ALIVE_SECONDS, _GUESS_SPREAD, "price", 0.9, boots)
    return Prior(_GUESS_KEEP_ALIVE_SECONDS, _GUESS_SPREAD, "guess", 0.0, boots)
