"""What is expected of a deployment, in the words that routing, waiting and keep-warm share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Evidence: TypeAlias = Literal["kept", "supervised"]
State: TypeAlias = Literal["off", "booting", "warm", "unknown"]


@dataclass(slots=True)  # not frozen: that makes each of them three times as dear to make
class Outlook:
    """What a call that is sent now can expect. Seconds of one monotonic clock, the gateway's.

    ``p_warm``: the chance that it waits for no boot. ``boot_seconds``: how long a boot takes on
    average, if it needs one. ``booting_left_seconds``: what is left of the boot that runs; None
    where none does. Made for each candidate of each decision, and never changed.
    """

    state: State
    p_warm: float
    boot_seconds: float
    booting_left_seconds: float | None = None
    evidence: Evidence | None = None

    @property
    def wait_seconds(self) -> float:
        """The expected wait before work begins."""
        if self.booting_left_seconds is not None:
            return self.booting_left_seconds
        return (1.0 - self.p_warm) * self.boot_seconds


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The chance to be up still after so long without work: an estimate with its 95 % interval.

    ``observed`` is how much of it was seen: the weight of the outcomes near there; 0: all prior.
    """

    idle_seconds: float
    p_warm: float
    low: float
    high: float
    observed: float
