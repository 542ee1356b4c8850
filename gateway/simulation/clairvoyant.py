"""What could have been done by somebody who knows every request before it comes. Bounds, no policy.

Of a deployment with one replica, any number of places, and boots of equal length. Exact: the best
of all ways to hold is found by going through the requests in their order, with what each way has
cost so far (dynamic programming). A way is held or not held in each gap; a boot that is waited for
moves the work after it, so what a gap costs depends on the one before.

``keep_cold``: at a given cost, the fewest who wait if it is held through some gaps and never booted
ahead: whoever does not know the future cannot have fewer by holding alone. Between two ways both
are mixed, as one would by using each for a part of the time. ``prewarm_us``: nobody waits, and each
gap costs its idle seconds or a boot, whichever is less: nobody can do that for less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from gateway.simulation.simulate import Requests


class Way(NamedTuple):
    """What a way to hold comes to: the replica's time, and who waited, for how long together."""

    replica_us: int
    cold: int
    wait_us: int

    def worth(self, cold_us: float, wait_us: float) -> float:
        """In microseconds of a replica, where each who waits is worth so many, and each of wait."""
        return self.replica_us + cold_us * self.cold + wait_us * self.wait_us


_State: TypeAlias = tuple[int, int, float, int, int, int]
"""A way so far: when the boot is over (0: before the latest request), and the work; what it is
worth, and as a ``Way``. A tuple: there are millions.
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of streams, each at a deployment of its own; counted from an instant."""

    streams: Sequence[Requests]
    boot_us: int
    count_from_us: int
    prewarm_us: int
    """The least that a replica's time can be if nobody waits."""

    def best(self, cold_us: float = 0.0, wait_us: float = 0.0) -> Way:
        """The best way to hold, where a cold start is worth so many microseconds of a replica, and
        a microsecond of waiting so many.
        """
        ways = [
            _best(stream, self.boot_us, self.count_from_us, cold_us, wait_us)
            for stream in self.streams
        ]
        return Way(*(sum(column) for column in zip(*ways, strict=True))) if ways else Way(0, 0, 0)

    def keep_cold(self, replica_us: int) -> float:
        """The fewest who wait if so much is spent, and nothing is booted ahead."""
        thrifty, lavish = self.best(cold_us=1e-6), self.best(cold_us=1e15)
        if replica_us >= lavish.replica_us:
            return float(lavish.cold)
        if replica_us <= thrifty.replica_us:
            return float(thrifty.cold)
        while True:  # to the two neighbours on the frontier between which that cost lies
            slope = (lavish.replica_us - thrifty.replica_us) / (thrifty.cold - lavish.cold)
            found = self.best(cold_us=slope)
            if found.worth(slope, 0.0) >= thrifty.worth(slope, 0.0) - 0.5:
                return thrifty.cold - (replica_us - thrifty.replica_us) / slope
            if found.replica_us > replica_us:
                lavish = found
            else:
                thrifty = found


def bounds(streams: Sequence[Requests], boot_seconds: float, count_from_us: int) -> Bounds:
    """The bounds of streams."""
    boot_us = round(boot_seconds * 1e6)
    prewarm_us = sum(_prewarmed(stream, boot_us, count_from_us) for stream in streams)
    return Bounds(streams, boot_us, count_from_us, prewarm_us)


def _prewarmed(stream: Requests, boot_us: int, count_from_us: int) -> int:
    spent, until = 0, None
    for at, execute in zip(stream.at_us, stream.execute_us, strict=True):
        end = at + execute
        if at >= count_from_us:
            gap = boot_us if until is None else at - max(until, count_from_us)
            spent += min(max(0, gap), boot_us) + max(0, end - max(at, until or 0))
        until = end if until is None else max(until, end)
    return spent


def _best(
    stream: Requests, boot_us: int, count_from_us: int, cold_us: float, wait_us: float
) -> Way:
    """The best way to hold one deployment through its requests, by what waiting is worth."""
    states: list[_State] = []
    at_us, execute_us = stream.at_us, stream.execute_us
    for number, at in enumerate(at_us):
        execute, counts = execute_us[number], at >= count_from_us
        found: list[_State] = []
        boots_from: _State | None = None
        for state in states:
            ready, until, worth, spent, cold, waited = state
            if at > until and (boots_from is None or worth < boots_from[2]):
                boots_from = state
            start = ready if ready > at else at
            end = start + execute
            end = end if end > until else until
            up = end - (until if until > count_from_us else count_from_us)
            up = up if up > 0 else 0
            if counts and start > at:
                wait = start - at
                worth += cold_us + wait_us * wait
                cold, waited = cold + 1, waited + wait
            found.append((ready if ready > at else 0, end, worth + up, spent + up, cold, waited))
        if boots_from is not None or not states:
            _, _, worth, spent, cold, waited = boots_from or (0, 0, 0.0, 0, 0, 0)
            ready = at + boot_us
            end = ready + execute
            up = end - (at if counts else count_from_us)
            up = up if up > 0 else 0
            if counts:
                worth += cold_us + wait_us * boot_us
                cold, waited = cold + 1, waited + boot_us
            found.append((ready, end, worth + up, spent + up, cold, waited))
        if len(found) > 1:
            found = _left(found, at_us[number + 1] if number + 1 < len(at_us) else None)
        states = found
    return Way(*min(states, key=lambda state: state[2])[3:]) if states else Way(0, 0, 0)


def _left(states: list[_State], next_us: int | None) -> list[_State]:
    """Those that may come to be the best.

    Who is up sooner can hold until the other's work is over, and has then what the other has; who
    is up later, and makes nobody wait from here on, has that time already.
    """
    left: list[_State] = []
    for state in sorted(states, key=lambda state: (state[1], state[0], state[2])):
        ready, until, worth = state[:3]
        if any(x[0] <= ready and x[2] + (until - x[1]) <= worth for x in left):
            continue
        if next_us is None or next_us >= ready:
            left = [x for x in left if x[2] < worth]
        left.append(state)
    return left
