"""What a keep-warm policy is: facts in, actions out, and when to ask again. No I/O, no clock.

The live gateway and the simulator drive the same objects. A driver tells what happened
(``observe``), asks what to do (``decide``), and comes back at ``next_wakeup`` at the latest. A
policy speaks of one replica; who has several keeps the others by the provider's own window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from gateway.warmth.windows import Stakes, Windows, foreseen_usd, gap_usd

Action: TypeAlias = Literal["warm", "release"]
"""``warm``: boot it now, and keep it up; ``release``: let it go off."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request came."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Idled:
    """The last work that ran has ended: from here on it is up for nothing."""

    at_us: int


@dataclass(frozen=True, slots=True)
class WentOff:
    """Nothing runs, and nothing is up: a request asked for nothing but a boot, and left; or it is
    a gateway's start.
    """

    at_us: int


@dataclass(frozen=True, slots=True)
class Booked:
    """Keep-warm money was spent."""

    at_us: int
    pico_usd: int


Fact: TypeAlias = Arrived | Idled | WentOff | Booked


class Policy(Protocol):
    """Decides when one deployment is kept up."""

    def observe(self, fact: Fact) -> None:
        """Take note; facts come in the order of their time."""
        ...

    def decide(self, now_us: int) -> Sequence[Action]:
        """What is due by now, in order; an action is said once."""
        ...

    def next_wakeup(self) -> int | None:
        """When the next action will be due, if nothing happens before; None: never."""
        ...


class WindowPolicy:
    """A policy that plans each idle gap as windows, when the gap begins.

    Subclasses say which (``_plan``) and learn from each gap that has ended (``_learn``).
    """

    __slots__ = ("_arrived_us", "_due", "_idle_since_us", "stakes")

    def __init__(self, stakes: Stakes) -> None:
        self.stakes = stakes
        self._idle_since_us: int | None = None
        self._arrived_us: int | None = None
        self._due: list[tuple[int, Action]] = []  # latest first

    def observe(self, fact: Fact) -> None:
        if isinstance(fact, Arrived):
            since, self._idle_since_us = self._idle_since_us, None
            self._due.clear()
            if since is not None:
                self._learn(fact.at_us, max(0, fact.at_us - since) / 1e6)
            self._arrive(fact.at_us)
        elif isinstance(fact, Idled):
            self._idle_since_us = fact.at_us
            self._schedule(fact.at_us, self._plan(fact.at_us))

    def decide(self, now_us: int) -> Sequence[Action]:
        due = self._due
        if not due or due[-1][0] > now_us:
            return ()
        actions: list[Action] = []
        while due and due[-1][0] <= now_us:
            actions.append(due.pop()[1])
        return actions

    def next_wakeup(self) -> int | None:
        return self._due[-1][0] if self._due else None

    def _schedule(self, since_us: int, windows: Windows) -> None:
        boot_seconds = self.stakes.boot_seconds
        due: list[tuple[int, Action]] = []
        for begin, end in windows:
            if begin > 0:
                due.append((since_us + round((begin - boot_seconds) * 1e6), "warm"))
            if end != float("inf"):
                due.append((since_us + round(end * 1e6), "release"))
        due.reverse()
        self._due = due

    def _plan(self, now_us: int) -> Windows:
        raise NotImplementedError

    def _learn(self, now_us: int, gap_seconds: float) -> None:
        """A gap has ended with this length."""

    def _arrive(self, now_us: int) -> None:
        """A request came, after a gap or into work that runs."""


class Bank:
    """Keeps what a policy spends within twice what who knows each gap would, all gaps together.

    Holding until the break-even never costs a gap more than twice what it costs who knows it, and
    mostly less: what it leaves is credit. Other windows may be used as far as the credit bears the
    worst that they can do. (For each gap by itself only the break-even window keeps to that bound.)
    The bound over n gaps is 2 x clairvoyant + ``allowance``, in USD.
    """

    __slots__ = ("_most_usd", "credit_usd")

    def __init__(self, allowance_usd: float, most_usd: float) -> None:
        self.credit_usd = allowance_usd
        self._most_usd = most_usd

    def book(self, windows: Windows, gap_seconds: float, stakes: Stakes) -> None:
        """A gap has ended."""
        left = 2 * foreseen_usd(gap_seconds, stakes) - gap_usd(windows, gap_seconds, stakes)
        self.credit_usd = min(self._most_usd, self.credit_usd + left)
