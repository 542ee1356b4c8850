"""A policy with hours at which the deployment is up in any case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from gateway.warmth.policies.base import Action, Arrived, Fact, Idled, Policy, WentOff

Hours: TypeAlias = Callable[[int], tuple[bool, int | None]]
"""From an instant: whether it lies in the hours, and when that changes; None: never."""


class Scheduled:
    """What the policy says, except for letting go during the hours; at their begin it is booted."""

    __slots__ = ("_changes_us", "_hours", "_policy", "_up", "_wishes_up", "_working")

    def __init__(self, policy: Policy, hours: Hours) -> None:
        self._policy = policy
        self._hours = hours
        self._changes_us: int | None = 0
        self._wishes_up = self._up = self._working = False

    def observe(self, fact: Fact) -> None:
        if isinstance(fact, Arrived):
            self._up = self._wishes_up = self._working = True
        elif isinstance(fact, Idled):
            self._working = False
        elif isinstance(fact, WentOff):  # hours that have begun, or begin, have it booted
            self._up = self._wishes_up = self._working = False
        self._policy.observe(fact)

    def decide(self, now_us: int) -> Sequence[Action]:
        for action in self._policy.decide(now_us):
            self._wishes_up = action == "warm"
        inside, self._changes_us = self._hours(now_us)
        wanted = self._wishes_up or inside or self._working
        if wanted == self._up:
            return ()
        self._up = wanted
        return ("warm",) if wanted else ("release",)

    def next_wakeup(self) -> int | None:
        times = [t for t in (self._policy.next_wakeup(), self._changes_us) if t is not None]
        return min(times, default=None)
