"""What a deployment's machines cost between attempts. Sans-I/O: instants in, idle gaps out.

A provider that bills a machine's life bills the time after an attempt too, until the next one
comes or the machine is ended. That gap belongs to no attempt; it becomes a charge on the attempt
that ended last before it, so that attempts and charges add up to the machine's life times its rate.

Units:   seconds of one monotonic clock, the gateway's.
Model:   a machine runs one attempt at a time, or, where a price says ``shared``, all of them. The
         one that was used last is used next; who waits in the provider's queue gets the one that
         comes free. After ``keep_alive_seconds`` it is gone.
Truth:   whether the machine was really there is known when the next attempt has a verdict: warm
         measures the gap, cold bounds it, and an attempt that did no work says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.accounting.coldstart import Verdict
from gateway.accounting.lines import Line
from gateway.accounting.prices import PriceRow
from gateway.accounting.pricing import Seconds, second_line, unknown_seconds

_MOST_EXPIRED = 64
_TOLD_LATE_SECONDS = 1.0  # of a machine that goes from one attempt to the next, the end comes later
LONGEST_IDLE_SECONDS: Final = 2 * 86_400.0
"""No provider is known to keep an idle machine up for longer: whoever waits for the next attempt to
say how long one was there waits no longer than this."""


@dataclass(frozen=True, slots=True)
class IdleGap:
    """Idle time after an attempt.

    ``seconds`` None: nobody knows, but at most its upper bound. ``part`` counts the gaps after one
    attempt: a machine that turns out to have outlived its time gives a second one.
    """

    attempt_id: str
    since_seconds: float
    part: int
    seconds: Seconds | None
    high_seconds: float

    @property
    def charge_id(self) -> str:
        """Of the charge that it becomes."""
        return f"idle_{self.attempt_id}_{self.part}"


@dataclass(slots=True)
class _Machine:
    """One that is idle: after which attempt, since when, and how much of that is told already."""

    attempt_id: str
    idle_since: float
    told_seconds: float = 0.0
    part: int = 0
    kept: tuple[float, float] | None = None
    """A policy held it, and pays for it: from the begin of the first such stay to the end of the
    last."""


class Machines:
    """Those of one deployment. ``keep_alive_seconds`` None: nobody says how long they stay up."""

    def __init__(self, keep_alive_seconds: float | None, *, shared: bool) -> None:
        self._keep_alive_seconds = keep_alive_seconds
        self.shared = shared
        self._running = 0
        self._idle: list[_Machine] = []  # the one used last stands last
        self._expired: list[_Machine] = []
        self._taken: dict[str, _Machine | None] = {}
        self._begun: dict[
            str, float
        ] = {}  # works, on a machine whose last work is not told as over

    def begin(self, attempt_id: str) -> None:
        """An attempt is dispatched: it takes the machine that was used last, if one is idle."""
        alone = not (self.shared and self._running)
        self._running += 1
        if alone and self._idle:
            self._taken[attempt_id] = self._idle.pop()
        elif alone and self._expired:
            self._taken[attempt_id] = self._expired.pop()
        else:
            self._taken[attempt_id] = None

    def works(self, attempt_id: str, at: float) -> None:
        """It waited for somebody else's machine, and begins to work on the one that came free.

        So the one that it was taken to have from its dispatch on was not there for it.
        """
        if self.shared:
            return
        taken = self._taken.get(attempt_id)
        came_free = self._idle.pop() if self._idle else None
        if taken is not None:
            (self._expired if taken.part else self._idle).append(taken)
        self._taken[attempt_id] = came_free
        if came_free is None:
            self._begun[attempt_id] = at

    def end(
        self, attempt_id: str, begun_at: float, at: float, verdict: Verdict, *, worked: bool
    ) -> IdleGap | None:
        """It has ended; gives the gap before it. ``worked``: it may have used a machine.

        ``at``: from then on the machine idles, which may lie ahead, where it still boots.
        """
        self._running -= 1
        machine = self._taken.pop(attempt_id)
        self._begun.pop(attempt_id, None)
        if not worked:
            if machine is not None:
                (self._expired if machine.part else self._idle).append(machine)
            return None
        if verdict == "cold":  # a machine that was up then would have served it
            self._expired = [x for x in self._expired if x.idle_since >= begun_at]
        if not (self.shared and self._running):
            self._free(_Machine(attempt_id, at))
        return None if machine is None else self._gap(machine, begun_at, verdict)

    def _free(self, machine: _Machine) -> None:
        """It idles from now on, unless somebody works on it already."""
        for attempt_id, at in self._begun.items():
            if machine.idle_since - at <= _TOLD_LATE_SECONDS:
                del self._begun[attempt_id]
                self._taken[attempt_id] = machine
                return
        self._idle.append(machine)

    def keep(self, since: float, until: float) -> None:
        """The machine that was used last was held by a policy: this time is booked, and no gap."""
        taken = (machine for machine in self._taken.values() if machine is not None)
        known = [*self._expired, *self._idle, *taken]
        machine = max(known, key=lambda machine: machine.idle_since, default=None)
        if machine is not None:
            first = since if machine.kept is None else machine.kept[0]
            machine.kept = (first, until)

    def due(self, at: float) -> list[IdleGap]:
        """Gaps of machines whose time is over.

        Where nobody says how long they stay up it is over after ``LONGEST_IDLE_SECONDS``, and not
        known.
        """
        known = self._keep_alive_seconds
        most = LONGEST_IDLE_SECONDS if known is None else known
        told = None if known is None else Seconds(known, 0.0, known)
        over = [x for x in self._idle if at - x.idle_since >= most]
        gaps = []
        for machine in over:
            self._idle.remove(machine)
            gaps.append(IdleGap(machine.attempt_id, machine.idle_since, machine.part, told, most))
            machine.told_seconds, machine.part = most, machine.part + 1
            self._expired = [*self._expired, machine][-_MOST_EXPIRED:]
        return gaps

    def end_all(self, at_least: float, at_most: float) -> list[IdleGap]:
        """They ended with the gateway that had them: after ``at_least``, by ``at_most``."""
        gaps = []
        for machine in self._idle:
            lasted, most = at_least - machine.idle_since, at_most - machine.idle_since
            if self._keep_alive_seconds is not None:
                most = min(most, self._keep_alive_seconds)
            most = max(0.0, most)
            told = Seconds(min(max(0.0, lasted), most), 0.0, most)
            gaps.append(IdleGap(machine.attempt_id, machine.idle_since, 0, told, most))
        self._idle, self._expired = [], []
        return gaps

    def _gap(self, machine: _Machine, until: float, verdict: Verdict) -> IdleGap | None:
        kept_since, kept_until = machine.kept or (until, machine.idle_since)
        gap = max(0.0, until - machine.idle_since)
        if machine.part:  # its time was over and is told; only a warm start says that it went on
            since = max(machine.idle_since + machine.told_seconds, kept_until)
            rest = until - since
            if verdict != "warm" or rest <= 0:
                return None
            return IdleGap(machine.attempt_id, since, machine.part, Seconds(rest), rest)
        if machine.kept is not None:
            gap = max(0.0, kept_since - machine.idle_since)
            if self._keep_alive_seconds is not None:
                gap = min(gap, self._keep_alive_seconds)
            return IdleGap(machine.attempt_id, machine.idle_since, 0, Seconds(gap), gap)
        seconds: Seconds | None = Seconds(gap)
        if verdict != "warm":
            kept = self._keep_alive_seconds
            seconds = None if kept is None else Seconds(min(gap, kept), 0.0, gap)
        return IdleGap(machine.attempt_id, machine.idle_since, 0, seconds, gap)


def idle_line(row: PriceRow, gap: IdleGap) -> Line | None:
    """What a gap costs under a price; None where idle time is free."""
    if "idle" not in row.bills or row.usd_per_second is None:
        return None
    if gap.seconds is None:
        return unknown_seconds(row, "idle_seconds", row.usd_per_second, gap.high_seconds)
    return second_line(row, "idle", row.usd_per_second, gap.seconds)


def standing_line(row: PriceRow, seconds: float, machines: int) -> Line | None:
    """What machines that stand whether they work or not cost; None where the price is no such."""
    if "standing" not in row.bills or row.usd_per_second is None:
        return None
    return second_line(row, "standing", row.usd_per_second * Decimal(machines), Seconds(seconds))
