"""Several machines of one deployment, as a provider's autoscaler runs them. No I/O and no clock.

A request gets the place that comes free first, of machines that are up or boot; where it would have
to wait for somebody else's work, one more machine is booted, and it gets that one's place if it is
ready sooner. (A queue that is served in its order comes to the same; the work's length is told here
so that it need not be played.) A machine goes so long after its last work; a minimum of one keeps
the last that is up. Of places that come free at once, the one of the machine that is up longest.

Written from what providers say of themselves, not from the simulator, which is held against it.
Units: integer microseconds.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.emulators.replica import Begin, Bill


class _Machine:
    def __init__(self, now_us: int, boot_us: int) -> None:
        self.ready_us = self.free_us = now_us + boot_us
        self.ends: list[int] = []

    def begins(self, now_us: int, places: int) -> int:
        """When a request would begin here."""
        at = max(now_us, self.ready_us)
        taken = sorted(end for end in self.ends if end > at)
        return at if len(taken) < places else taken[len(taken) - places]


class Fleet:
    """``machines`` at most, each of so many ``places``; the rest as of a ``Replica``."""

    def __init__(
        self, draw_boot_us: Callable[[], int], own_window_us: int, machines: int, places: int
    ) -> None:
        self._draw = draw_boot_us
        self._own_window_us = own_window_us
        self._most = machines
        self._places = places
        self._up: list[_Machine] = []
        self._let_go_us = 0
        self.minimum = 0
        self.boots = 0
        self.bill = Bill()

    def arrive(self, now_us: int, execute_us: int) -> Begin:
        """A request comes, and takes so long."""
        self.settle(now_us)
        if not self._up:
            self._boot(now_us)
            causes = True
        else:
            causes = False
        chosen = min(self._up, key=lambda m: (m.begins(now_us, self._places), m.ready_us))
        start_us = chosen.begins(now_us, self._places)
        if start_us > max(now_us, chosen.ready_us) and len(self._up) < self._most:
            further = self._boot(now_us)
            if further.ready_us < start_us:
                chosen, start_us, causes = further, further.ready_us, True
        end_us = start_us + execute_us
        self.bill.idle_us += max(0, start_us - chosen.free_us)
        self.bill.busy_us += max(0, end_us - max(start_us, chosen.free_us))
        chosen.free_us = max(chosen.free_us, end_us)
        chosen.ends.append(end_us)
        return Begin(start_us, now_us < chosen.ready_us, causes)

    def end(self, now_us: int) -> None:
        """A request has ended: known before."""

    def scale(self, minimum: int, now_us: int) -> None:
        """Hold one, or none."""
        self.settle(now_us)
        if minimum and not self._up:
            self._boot(now_us)
        if self.minimum and not minimum:
            self._let_go_us = now_us
        self.minimum = minimum

    def settle(self, now_us: int) -> None:
        """Let happen what has happened before ``now_us``."""
        while len(self._up) > self.minimum:
            machine = min(self._up, key=lambda m: m.free_us)
            gone_us = max(self._let_go_us, machine.free_us + self._own_window_us)
            if len(self._up) > 1:
                gone_us = machine.free_us + self._own_window_us
            if gone_us >= now_us:
                return
            self._end(machine, gone_us)

    def close(self, now_us: int) -> Bill:
        """What it has cost by then."""
        self.settle(now_us)
        for machine in list(self._up):
            self._end(machine, max(now_us, machine.free_us))
        return self.bill

    def _end(self, machine: _Machine, at_us: int) -> None:
        self.bill.idle_us += at_us - machine.free_us
        self._up.remove(machine)

    def _boot(self, now_us: int) -> _Machine:
        boot_us = self._draw()
        machine = _Machine(now_us, boot_us)
        self._up.append(machine)
        self.boots += 1
        self.bill.boot_us += boot_us
        return machine
