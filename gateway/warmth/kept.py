"""One deployment under a keep-warm policy, on a virtual clock: replicas, waits and what they took.

As ``replay.Replay``, with four things more: a policy decides when the first replica is let go and
when it is booted ahead; boots may differ in length, and be called off; further replicas boot where
all places are taken, and stay for the provider's own window; while one request wakes it the others
are held back, as a gateway does. A replica that is let go stays up until its boot is over, and for
the provider's own window after its last work: no policy can end it sooner. The first is whichever
the policy keeps: where it has been idle for its window while another is up it goes, and the other
takes its part.

Units:  integer microseconds; a replica's time is boot + busy + idle, to the last one.
Shape:  ``advance`` to an instant, ask ``state`` if several deployments are to choose from, then
        ``arrive``. What lies before ``count_from_us`` happens and is not counted. Of what happens
        at one instant, a request comes first and finds the replica up.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

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


class Served(NamedTuple):
    """One request: begin and end of its work, and its machine's boot where it waited for one.

    ``caused_boot``: it was the one that began that boot. ``sent_us``: until then a gateway held it
    back, for another one woke the deployment.
    """

    start_us: int
    end_us: int
    ready_us: int | None
    caused_boot: bool
    sent_us: int


class Replica:
    """One machine. ``off_at``: when it goes, if nothing comes before; None: it is kept."""

    __slots__ = ("busy_until", "ends", "off_at", "ready_at", "up")

    def __init__(self) -> None:
        self.up = False
        self.off_at: int | None = None
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
        "_called_off_at",
        "_count_from",
        "_draw",
        "_first",
        "_held_since",
        "_idle_told",
        "_more",
        "_own_window",
        "_places",
        "_policy",
        "_window",
        "_worked_until",
        "_works_at",
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
        own_window_us: int = 0,
        count_from_us: int = 0,
    ) -> None:
        self._policy = policy
        self._draw = draw_boot_us
        self._first = Replica()
        self._more = [Replica() for _ in range(replicas - 1)]
        self._places = places
        self._window = window_us
        self._own_window = own_window_us
        self._count_from = count_from_us
        self._idle_told = True
        self._held_since: tuple[int, bool] | None = None
        self._worked_until = 0
        self._works_at = 0  # until then one who has woken it is let in alone
        self._called_off_at: int | None = None
        self.account = Account()

    def advance(self, at_us: int) -> None:
        """Let happen what happens before ``at_us``."""
        while (due := self.next_wakeup(at_us)) is not None:
            for action in self._policy.decide(due):
                self._expire(due)
                if action == "warm":
                    self._warm(due)
                else:
                    first, self._held_since = self._first, None
                    kept_until = max(due, first.ready_at, first.busy_until + self._own_window)
                    first.off_at = kept_until
        self._expire(at_us)

    def next_wakeup(self, at_us: int) -> int | None:
        """When its policy wants to be asked next, if that is before ``at_us``."""
        if self._worked_until >= at_us:
            return None
        if not self._idle_told:
            self._idle_told = True
            self._policy.observe(Idled(self._worked_until))
            self._held_since = self._held_since or (self._worked_until, False)
        due = self._policy.next_wakeup()
        return due if due is not None and due < at_us else None

    def state(self, at_us: int) -> State:
        """Where it stands, after ``advance``."""
        up = [replica for replica in (self._first, *self._more) if replica.up]
        if not up:
            return "off"
        return "booting" if at_us < min(replica.ready_at for replica in up) else "warm"

    @property
    def held_since_us(self) -> tuple[int, bool] | None:
        """Since when its policy holds it, and whether it booted for that; None: it does not."""
        return self._held_since

    @property
    def ready_at_us(self) -> int:
        """When its boot ends, or ended."""
        return self._first.ready_at

    def come(self, at_us: int) -> int:
        """A request comes that may be served elsewhere: boot it if it is off; when it is ready."""
        self._policy.observe(Arrived(at_us))
        first = self._promoted()
        if not first.up:
            self._boot(first, at_us)
        return first.ready_at

    def go_elsewhere(self, at_us: int, *, calls_off: bool) -> None:
        """That request will be served elsewhere from ``at_us`` on, after ``come``.

        The boot is called off then, or goes on for nobody; the policy, if it does not keep it up,
        is asked nothing.
        """
        if self._held_since is not None:  # the policy keeps it up, and begins anew
            self._worked_until, self._idle_told = at_us, False
        elif calls_off:
            self._called_off_at = at_us
        else:
            stays = max(self._window, self._own_window)
            self._first.off_at = self._first.busy_until + stays

    def hear(self, at_us: int) -> None:
        """A request comes that is served elsewhere, and might have been served here."""
        self._policy.observe(Arrived(at_us))

    def arrive(self, at_us: int, execute_us: int, *, has_come: bool = False) -> Served:
        """A request of this instant is served. After ``advance``; ``has_come``: and ``come``."""
        counts = at_us >= self._count_from
        if not has_come:
            self._policy.observe(Arrived(at_us))
        self._idle_told, self._called_off_at = False, None
        sent = max(at_us, self._works_at)
        cold = self.state(at_us) != "warm"
        replica, start, booted = self._pick(sent)
        self._first.off_at = None
        ready = replica.ready_at
        if cold and sent == at_us:
            self._works_at = start
        if replica.busy_until < start:
            if replica.busy_until < max(at_us, ready):
                self._add("idle", replica.busy_until, max(at_us, ready))
            replica.busy_until = max(at_us, ready)
        end = start + execute_us
        if end > replica.busy_until:
            self._add("busy", max(replica.busy_until, start), end)
            replica.busy_until = end
        if end > self._worked_until:
            self._worked_until = end
        if self._places is not None:
            heapq.heappush(replica.ends, end)
        if counts:
            self._count(at_us, start, ready, execute_us)
        return Served(start, end, ready if at_us < ready else None, booted, sent)

    def close(self, at_us: int) -> Account:
        """The end: what is still up is counted to here."""
        self.advance(at_us)
        for replica in (self._first, *self._more):
            if replica.up:
                self._add("idle", replica.busy_until, max(at_us, replica.busy_until))
                replica.up = False
        return self.account

    def _pick(self, at_us: int) -> tuple[Replica, int, bool]:
        """Which machine, when the work begins there, and whether its boot begins now."""
        booted, places = False, self._places
        first = self._promoted()
        if not first.up:
            self._boot(first, at_us)
            booted = True
        if not self._more and places is None:
            return first, max(at_us, first.ready_at), booted
        running = [r for r in (first, *self._more) if r.up]
        best = min(running, key=lambda replica: (replica.begins(at_us, places), replica.ready_at))
        start = best.begins(at_us, places)
        if start > max(at_us, best.ready_at):  # all places are taken
            spare = next((r for r in self._more if not r.up), None)
            if spare is not None:
                self._boot(spare, at_us)
                if spare.ready_at < start:
                    return spare, spare.ready_at, True
        return best, start, booted

    def _promoted(self) -> Replica:
        """The first; if it is off, one that is there is the one that is kept from now on."""
        if not self._first.up:
            for number, other in enumerate(self._more):
                if other.up:
                    self._first, self._more[number] = other, self._first
                    break
        return self._first

    def _warm(self, at_us: int) -> None:
        first = self._promoted()
        first.off_at, self._called_off_at = None, None
        self._held_since = self._held_since or (at_us, not first.up)
        if not first.up:
            self._boot(first, at_us)
            if at_us >= self._count_from:
                self.account.ahead += 1

    def _boot(self, replica: Replica, at_us: int) -> None:
        boot_us = self._draw()
        replica.up, replica.off_at = True, None
        replica.ready_at = replica.busy_until = at_us + boot_us
        replica.ends.clear()
        self._add("boot", at_us, at_us + boot_us)
        if at_us >= self._count_from:
            self.account.boots += 1

    def _expire(self, at_us: int) -> None:
        """End what was let go, or has outlived its window, before an instant."""
        first = self._first
        if self._called_off_at is not None and self._called_off_at < at_us:
            self._add("boot", self._called_off_at, first.ready_at, -1)
            first.up, self._called_off_at = False, None
        if not self._more:
            if first.up and first.off_at is not None and first.off_at < at_us:
                self._release(first, first.off_at)
            return
        while (due := min(self._ends(), key=lambda end: end[0], default=None)) is not None:
            end_us, replica = due
            if end_us >= at_us:
                return
            kept = replica.off_at is None
            self._release(replica, end_us)
            if replica is self._first and kept:
                self._promoted()

    def _ends(self) -> Iterator[tuple[int, Replica]]:
        """Which replicas go, and when, if nothing happens before."""
        first = self._first
        for replica in self._more:
            if replica.up:
                yield replica.busy_until + self._window, replica
        if not first.up:
            return
        if first.off_at is not None:
            yield first.off_at, first
        elif any(replica.up for replica in self._more):
            yield first.busy_until + max(self._window, self._own_window), first

    def _release(self, replica: Replica, at_us: int) -> None:
        self._add("idle", replica.busy_until, at_us)
        replica.up, replica.off_at = False, None

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
