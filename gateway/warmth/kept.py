"""One deployment under a keep-warm policy, on a virtual clock: replicas, waits and what they took.

As ``replay.Replay``, with three things more: a policy decides when the first replica is let go and
when it is booted ahead; boots may differ in length; further replicas boot where all places are
taken, and stay for the provider's own window.

Units:  integer microseconds; a replica's time is boot + busy + idle, to the last one.
Shape:  ``advance`` to an instant, ask ``state`` if several deployments are to choose from, then
        ``arrive``. What lies before ``count_from_us`` happens and is not counted.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gateway.warmth.policies.base import Arrived, Idled, Policy
from gateway.warmth.replay import Spent

State: TypeAlias = Literal["off", "booting", "warm"]
Draw: TypeAlias = Callable[[], int]
"""The length of the next boot, in microseconds."""


@dataclass(slots=True)
class Account(Spent):
    """What was counted. ``ahead``: boots that a policy made before anybody came."""

    ahead: int = 0
    waits: array[int] = field(default_factory=lambda: array("q"))
    """Waits in microseconds, of those who waited at all."""


class Replica:
    """One machine."""

    __slots__ = ("busy_until", "ends", "ready_at", "up")

    def __init__(self) -> None:
        self.up = False
        self.ready_at = self.busy_until = 0
        self.ends: list[int] = []

    def begins(self, at_us: int, places: int | None) -> int:
        """When a request of ``at_us`` would begin here, if it is up or booting."""
        start = max(at_us, self.ready_at)
        if places is None:
            return start
        ends = self.ends
        while ends and ends[0] <= start:
            heapq.heappop(ends)
        if len(ends) < places:
            return start
        return heapq.nsmallest(len(ends) - places + 1, ends)[-1]


class Kept:
    """A deployment, its policy and its account."""

    __slots__ = (
        "_count_from",
        "_draw",
        "_first",
        "_idle_told",
        "_more",
        "_places",
        "_policy",
        "_window",
        "account",
    )

    def __init__(
        self,
        policy: Policy,
        draw_boot_us: Draw,
        *,
        replicas: int = 1,
        places: int | None = None,
        window_us: int = 300_000_000,
        count_from_us: int = 0,
    ) -> None:
        self._policy = policy
        self._draw = draw_boot_us
        self._first = Replica()
        self._more = [Replica() for _ in range(replicas - 1)]
        self._places = places
        self._window = window_us
        self._count_from = count_from_us
        self._idle_told = True
        self.account = Account()

    def advance(self, at_us: int) -> None:
        """Let happen what happens before ``at_us``."""
        first, policy = self._first, self._policy
        if first.busy_until < at_us:
            if not self._idle_told:
                self._idle_told = True
                policy.observe(Idled(first.busy_until))
            while (due := policy.next_wakeup()) is not None and due < at_us:
                for action in policy.decide(due):
                    if action == "warm":
                        if not first.up:
                            self._boot(first, due)
                            if due >= self._count_from:
                                self.account.ahead += 1
                    elif first.up:
                        self._release(first, max(due, first.ready_at))
        for replica in self._more:
            if replica.up and replica.busy_until + self._window < at_us:
                self._release(replica, replica.busy_until + self._window)

    def state(self, at_us: int) -> State:
        """Where it stands, after ``advance``."""
        if not self._first.up:
            return "off"
        return "booting" if at_us < self._first.ready_at else "warm"

    @property
    def ready_at_us(self) -> int:
        """When its boot ends, or ended."""
        return self._first.ready_at

    def warm(self, at_us: int) -> int:
        """Boot it if it is off; when it is ready."""
        if not self._first.up:
            self._boot(self._first, at_us)
            self._idle_told = False
        return self._first.ready_at

    def call_off(self, at_us: int) -> None:
        """End the boot that is under way, at an instant before it is ready; so far it counts."""
        first = self._first
        self._add("boot", at_us, first.ready_at, -1)
        first.up = False
        self._idle_told = True

    def arrive(self, at_us: int, execute_us: int) -> int:
        """A request of this instant is served; how long it waited. After ``advance``."""
        counts = at_us >= self._count_from
        self._policy.observe(Arrived(at_us))
        was_up = self._first.up
        replica, start = self._pick(at_us)
        ready = replica.ready_at
        if replica.busy_until < start:
            if replica.busy_until < max(at_us, ready):
                self._add("idle", replica.busy_until, max(at_us, ready))
            replica.busy_until = max(at_us, ready)
        end = start + execute_us
        if end > replica.busy_until:
            self._add("busy", max(replica.busy_until, start), end)
            replica.busy_until = end
        if self._places is not None:
            heapq.heappush(replica.ends, end)
        if replica is self._first:
            self._idle_told = False
        elif was_up and self._idle_told:
            self._idle_told = False  # the first one goes on being idle, and the policy plans anew
        if counts:
            self._count(at_us, start, ready, execute_us)
        return start - at_us

    def close(self, at_us: int) -> Account:
        """The end: what is still up is counted to here."""
        self.advance(at_us)
        for replica in (self._first, *self._more):
            if replica.up:
                self._add("idle", replica.busy_until, max(at_us, replica.busy_until))
                replica.up = False
        return self.account

    def _pick(self, at_us: int) -> tuple[Replica, int]:
        first, places = self._first, self._places
        if not first.up:
            self._boot(first, at_us)
        if not self._more and places is None:
            return first, max(at_us, first.ready_at)
        running = [r for r in (first, *self._more) if r.up]
        best = min(running, key=lambda replica: replica.begins(at_us, places))
        start = best.begins(at_us, places)
        if start > max(at_us, best.ready_at):  # all places are taken
            spare = next((r for r in self._more if not r.up), None)
            if spare is not None:
                self._boot(spare, at_us)
                if spare.ready_at < start:
                    return spare, spare.ready_at
        return best, start

    def _boot(self, replica: Replica, at_us: int) -> None:
        boot_us = self._draw()
        replica.up = True
        replica.ready_at = replica.busy_until = at_us + boot_us
        replica.ends.clear()
        self._add("boot", at_us, at_us + boot_us)
        if at_us >= self._count_from:
            self.account.boots += 1

    def _release(self, replica: Replica, at_us: int) -> None:
        self._add("idle", replica.busy_until, at_us)
        replica.up = False

    def _count(self, at_us: int, start: int, ready: int, execute_us: int) -> None:
        account = self.account
        account.requests += 1
        account.execute_us += execute_us
        if at_us < ready:
            account.cold += 1
            account.queue_us += start - ready
        else:
            account.queue_us += start - at_us
        if start > at_us:
            account.waits.append(start - at_us)

    def _add(
        self, kind: Literal["boot", "busy", "idle"], begin_us: int, end_us: int, sign: int = 1
    ) -> None:
        begin_us = max(begin_us, self._count_from)
        if end_us <= begin_us:
            return
        account, length = self.account, sign * (end_us - begin_us)
        if kind == "boot":
            account.boot_us += length
        elif kind == "busy":
            account.busy_us += length
        else:
            account.idle_us += length
