"""One replica that scales to zero, replayed over arrivals on a virtual clock. No I/O.

The replica is off, booting or up. Who comes while it is off starts a boot and waits for it; who
comes while it boots waits for the rest; who comes while it is up begins at once, beside the others
that run, as long as there is a place. So long after its last work it goes off again.

Units:  integer microseconds, so that sums are exact: a replica's time is boot + busy + idle, to
        the last one. Arrivals come in the order of their time.
Shape:  ``arrive`` says what becomes of one request, ``spent`` what the replica has taken so far;
        a driver may stop anywhere. ``seed`` sets the scene with a request that does not count.
Limits: one replica; requests that run together do not slow each other.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Fate: TypeAlias = Literal["boots", "joins_boot", "waits_for_place", "begins"]


@dataclass(frozen=True, slots=True)
class Plant:
    """How a replica behaves."""

    boot_us: int
    """From off to up."""
    window_us: int | None
    """How long it stays up without work; None: for ever."""
    places: int | None = None
    """Requests at once; None: no bound."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one request, and how long it waited."""

    fate: Fate
    wait_us: int


@dataclass(slots=True)
class Spent:
    """What was counted; ``cold`` are those who waited for a boot, whoever caused it."""

    requests: int = 0
    cold: int = 0
    boots: int = 0
    boot_us: int = 0
    """Seconds of booting."""
    busy_us: int = 0
    """Seconds with work, each counted once however many requests ran in it."""
    idle_us: int = 0
    """Seconds up without work."""
    execute_us: int = 0
    """Seconds of work, summed over the requests."""
    queue_us: int = 0
    """Waiting for a place, summed over the requests."""

    @property
    def replica_us(self) -> int:
        """The replica's life: what it was booting or up for."""
        return self.boot_us + self.busy_us + self.idle_us


class Replay:
    """A replica and its account. ``up_since_us``: it is up from there on; None: it is off."""

    __slots__ = ("_busy_until", "_ends", "_plant", "_ready_at", "_up", "spent", "waits")

    def __init__(self, plant: Plant, up_since_us: int | None = None) -> None:
        self._plant = plant
        self._up = up_since_us is not None
        self._ready_at = self._busy_until = up_since_us or 0
        self._ends: list[int] = []  # of those that hold a place; kept only where places are few
        self.spent = Spent()
        self.waits: array[int] = array("q")
        """Waits in microseconds, of those who waited at all."""

    def seed(self, at_us: int, execute_us: int) -> None:
        """A request before those that count; the replica was up for it."""
        self._up = True
        self._ready_at = max(self._ready_at, at_us)
        self._busy_until = max(self._busy_until, at_us + execute_us)
        if self._plant.places is not None:
            heapq.heappush(self._ends, at_us + execute_us)

    def arrive(self, at_us: int, execute_us: int) -> Decision:
        """One request comes, and is served."""
        plant, spent = self._plant, self.spent
        spent.requests += 1
        spent.execute_us += execute_us
        fate: Fate = "begins"
        start = at_us
        if not self._up or (
            plant.window_us is not None and at_us > self._busy_until + plant.window_us
        ):
            if self._up and plant.window_us is not None:
                spent.idle_us += plant.window_us
            fate = "boots"
            start = self._ready_at = self._busy_until = at_us + plant.boot_us
            spent.boots += 1
            spent.boot_us += plant.boot_us
            self._up = True
            self._ends.clear()
        elif at_us < self._ready_at:
            fate, start = "joins_boot", self._ready_at
        elif at_us > self._busy_until:
            spent.idle_us += at_us - self._busy_until
            self._busy_until = at_us
        if fate in ("boots", "joins_boot"):
            spent.cold += 1
        if plant.places is not None:
            begins = self._place(start, plant.places)
            if begins > start:
                spent.queue_us += begins - start
                fate = "waits_for_place" if fate == "begins" else fate
            start = begins
            heapq.heappush(self._ends, start + execute_us)
        if start + execute_us > self._busy_until:
            # It starts no later than the last work ends, so that there is no gap to be idle in.
            spent.busy_us += start + execute_us - self._busy_until
            self._busy_until = start + execute_us
        if start > at_us:
            self.waits.append(start - at_us)
        return Decision(fate, start - at_us)

    def run(self, at_us: Sequence[int], execute_us: Sequence[int]) -> None:
        """Many requests at once; the same as ``arrive`` for each, and nine times as fast."""
        if self._plant.places is not None:  # its account of places is not worth a second copy
            for at, execute in zip(at_us, execute_us, strict=True):
                self.arrive(at, execute)
            return
        boot, window = self._plant.boot_us, self._plant.window_us
        up, ready, until = self._up, self._ready_at, self._busy_until
        boots = cold = busy = idle = 0
        waited = self.waits.append
        for at, execute in zip(at_us, execute_us, strict=True):
            end = at + execute
            if at > until or not up:
                if up and (window is None or at <= until + window):
                    idle += at - until
                    busy += execute
                    until = end
                    continue
                if up and window is not None:
                    idle += window
                up = True
                boots += 1
                cold += 1
                until = ready = at + boot
                if boot:
                    waited(boot)
                end = ready + execute
            elif at < ready:
                cold += 1
                waited(ready - at)
                end = ready + execute
            if end > until:
                busy += end - until
                until = end
        self._up, self._ready_at, self._busy_until = up, ready, until
        spent = self.spent
        spent.requests += len(at_us)
        spent.execute_us += sum(execute_us)
        spent.boots += boots
        spent.boot_us += boots * boot
        spent.cold += cold
        spent.busy_us += busy
        spent.idle_us += idle

    def close(self, at_us: int | None = None) -> Spent:
        """The end: the last window whole, or idle up to ``at_us`` for one that never goes off."""
        if self._up:
            window = self._plant.window_us
            if window is not None:
                self.spent.idle_us += window
            elif at_us is not None:
                self.spent.idle_us += max(0, at_us - self._busy_until)
        self._up = False
        return self.spent

    def _place(self, start: int, places: int) -> int:
        """When one of the places is free, at ``start`` or later."""
        ends = self._ends
        while ends and ends[0] <= start:
            heapq.heappop(ends)
        while len(ends) >= places:
            start = max(start, heapq.heappop(ends))
        return start
