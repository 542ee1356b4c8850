"""The watchdog on a clock of the test's own."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.execution.watchdog import Watchdog


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time and timers of an event loop; ``early`` seconds too soon, as a rounding clock rings."""

    def __init__(self, early: float = 0.0) -> None:
        self.now = 0.0
        self.armed = 0
        self._early = early
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, Handle, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        self.armed += 1
        handle = Handle()
        rings_at = max(self.now, when - self._early)
        self._early = 0.0
        heapq.heappush(self._timers, (rings_at, next(self._numbers), handle, callback))
        return handle

    def run_until(self, end: float) -> None:
        while self._timers and self._timers[0][0] <= end:
            when, _, handle, callback = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not handle.cancelled:
                callback()
        self.now = end


def watched(loop: Loop, total: float) -> tuple[Watchdog, list[tuple[float, str]]]:
    rang: list[tuple[float, str]] = []
    watchdog = Watchdog(cast(Any, loop), total, lambda phase: rang.append((loop.now, phase)))
    return watchdog, rang


def test_the_total_time() -> None:
    loop = Loop()
    _, rang = watched(loop, 10)
    loop.run_until(9.9)
    assert not rang
    loop.run_until(100)
    assert rang == [(10, "total")]


def test_a_phase_that_outlives_its_time() -> None:
    loop = Loop()
    watchdog, rang = watched(loop, 100)
    watchdog.arm("boot", 5)
    loop.run_until(200)
    assert rang == [(5, "boot")]  # once, and then no more


def test_the_total_time_holds_on_in_every_phase() -> None:
    loop = Loop()
    watchdog, rang = watched(loop, 10)
    watchdog.arm("boot", 50)
    loop.run_until(60)
    assert rang == [(10, "total")]


def test_a_long_stream_costs_few_timers() -> None:
    loop = Loop()
    watchdog, rang = watched(loop, 1000)
    for _ in range(10_000):
        watchdog.arm("stall", loop.now + 1.0)
        loop.run_until(loop.now + 0.01)
    assert not rang and loop.armed < 110  # about one a second, not one an event
    loop.run_until(200)
    ((rang_at, phase),) = rang
    assert phase == "stall" and rang_at == pytest.approx(100.99)


def test_a_shorter_phase_after_a_longer_one() -> None:
    loop = Loop()
    watchdog, rang = watched(loop, 1000)
    watchdog.arm("boot", 600)
    loop.run_until(3)
    watchdog.arm("first_output", 5)
    loop.run_until(700)
    assert rang == [(5, "first_output")]


def test_a_phase_without_an_end_of_its_own() -> None:
    loop = Loop()
    watchdog, rang = watched(loop, 20)
    watchdog.arm("stall", 5)
    watchdog.arm("total", math.inf)
    loop.run_until(30)
    assert rang == [(20, "total")]


def test_disarmed_it_is_silent() -> None:
    loop = Loop()
    watchdog, rang = watched(loop, 10)
    watchdog.arm("boot", 5)
    watchdog.disarm()
    watchdog.disarm()
    watchdog.arm("stall", 6)
    loop.run_until(50)
    assert not rang


def test_a_clock_that_rings_too_early() -> None:
    """uvloop rounds to milliseconds, and some of its handles do not know when they ring."""
    loop = Loop(early=0.0004)
    watchdog, rang = watched(loop, 5)
    loop.run_until(4.9999)
    assert not rang
    watchdog.arm("stall", 4.99995)
    loop.run_until(6)
    assert len(rang) == 1 and rang[0][0] >= 4.99995
