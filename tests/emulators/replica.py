"""One machine that scales to zero, as a provider runs it. No I/O and no clock: instants come in.

It knows no policy: it boots where a request or a minimum of one asks for it, and goes so long after
its last work, or at the end of its boot, unless a minimum holds it. Written from what providers say
of themselves, not from the simulator, which is held against it.

Units: integer microseconds. ``bill``: what its provider charges for. ``unseen_us``: the part of it
that no caller can know of: how long a boot went on that was let go, and that nobody joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass
class Bill:
    """Seconds of its life by kind, in microseconds."""

    boot_us: int = 0
    busy_us: int = 0
    idle_us: int = 0

    @property
    def total_us(self) -> int:
        return self.boot_us + self.busy_us + self.idle_us


@dataclass(frozen=True)
class Begin:
    """When a request's work begins; whether it waits for a boot until then, and has caused it."""

    start_us: int
    boots: bool
    causes: bool


class Replica:
    """``draw_boot_us``: how long the next boot takes; ``own_window_us``: how long it stays idle."""

    def __init__(self, draw_boot_us: Callable[[], int], own_window_us: int) -> None:
        self._draw = draw_boot_us
        self._own_window_us = own_window_us
        self._up = False
        self._running = 0
        self._ready_us = 0
        self._idle_since_us = 0
        self._let_go_us = 0
        self._busy_since_us = 0
        self.minimum = 0
        self._worked = False
        self.boots = 0
        self.unseen_us = 0
        self.bill = Bill()

    def arrive(self, now_us: int, execute_us: int = 0) -> Begin:
        """A request comes; how long its work takes is nobody's business here."""
        start_us, causes = self.warm(now_us)
        if not self._running:
            self.bill.idle_us += max(0, start_us - self._idle_since_us)
            self._busy_since_us = start_us
        self._running += 1
        self._worked = True
        return Begin(start_us, now_us < start_us, causes)

    def warm(self, now_us: int) -> tuple[int, bool]:
        """Boot it where it is off: from when on it is up, and whether this has caused its boot."""
        self.settle(now_us)
        causes = not self._up
        if causes:
            self._boot(now_us)
        return max(now_us, self._ready_us), causes

    def state(self, now_us: int) -> Literal["down", "booting", "ready"]:
        """What it is doing."""
        self.settle(now_us)
        if not self._up:
            return "down"
        return "booting" if now_us < self._ready_us else "ready"

    def call_off(self, now_us: int) -> None:
        """Whoever caused the boot wants it no more: it ends, unless somebody else does."""
        self.settle(now_us)
        if self._up and not self._running and not self.minimum and now_us <= self._ready_us:
            self.bill.boot_us -= self._ready_us - now_us
            self._up = False

    def end(self, now_us: int) -> None:
        """A request has ended."""
        self._running -= 1
        if not self._running:
            self._idle_since_us = max(now_us, self._ready_us)
            self.bill.busy_us += max(0, now_us - self._busy_since_us)

    def scale(self, minimum: int, now_us: int) -> None:
        """Hold it, or let it go."""
        self.settle(now_us)
        if minimum and not self._up:
            self._boot(now_us)
        if self.minimum and not minimum:
            self._let_go_us = now_us
        self.minimum = minimum

    def settle(self, now_us: int) -> None:
        """Let happen what has happened before ``now_us``."""
        if not self._up or self._running or self.minimum:
            return
        gone_us = max(self._let_go_us, self._idle_since_us + self._own_window_us)
        if gone_us < now_us:
            self.bill.idle_us += gone_us - self._idle_since_us
            self.unseen_us += 0 if self._worked else gone_us - self._let_go_us
            self._up = False

    def close(self, now_us: int) -> Bill:
        """What it has cost by then."""
        self.settle(now_us)
        if self._up and not self._running:
            self.bill.idle_us += max(0, now_us - self._idle_since_us)
            self._up = False
        return self.bill

    def _boot(self, now_us: int) -> None:
        boot_us = self._draw()
        self._up, self._worked = True, False
        self._ready_us = self._idle_since_us = now_us + boot_us
        self.boots += 1
        self.bill.boot_us += boot_us
