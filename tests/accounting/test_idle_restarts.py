"""Attempts and charges add up to the machines' lives across stops and deaths of the gateway."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from gateway.accounting.coldstart import Verdict
from gateway.accounting.idle import IdleGap, Machines, idle_line
from gateway.accounting.idle_replay import Use, take_up
from gateway.accounting.lines import Line
from gateway.accounting.metering import NOTHING
from gateway.accounting.pricing import Billable, Cost, Seconds, price
from tests.accounting.test_idle import BOOT, LIFE, RATE, WINDOW

DEADLINE = 200.0
STEPS = (1.0, 7.0, 40.0, 500.0)


@dataclass
class Running:
    number: int
    begun: float
    ends: float
    verdict: Verdict
    boot: float
    born: float


@dataclass
class World:
    """A provider with a machine for each attempt at a time, and the gateways one after another.

    It starts a machine when none is idle and ends it ``WINDOW`` after its last use, or, one in
    ``outlives``, some time later.
    """

    rng: random.Random
    outlives: int = 0
    now: float = 0.0
    lives: float = 0.0
    idle: list[list[float]] = field(default_factory=list)  # born, idle since, until
    running: list[Running] = field(default_factory=list)
    orphans: list[Running] = field(default_factory=list)  # work that goes on after a death
    # The gateway's, and what the ledger keeps.
    machines: Machines = field(default_factory=lambda: Machines(WINDOW, shared=False))
    uses: dict[str, Use] = field(default_factory=dict)
    attempts: dict[str, Cost] = field(default_factory=dict)
    charges: dict[str, Line] = field(default_factory=dict)
    number: int = 0

    def book(self, gap: IdleGap | None) -> None:
        line = None if gap is None else idle_line(LIFE, gap)
        if gap is not None and line is not None:
            self.charges.setdefault(f"{gap.attempt_id}_{gap.part}", line)  # one id counts once

    def tick(self) -> None:
        for gap in self.machines.due(self.now):
            self.book(gap)

    def pass_to(self, then: float, tick: Callable[[], None]) -> None:
        """Everything that happens until then, in its order."""
        while ending := [x for x in (*self.running, *self.orphans) if x.ends <= then]:
            one = min(ending, key=lambda x: x.ends)
            self.now = one.ends
            self.end_idle()
            if one in self.running:
                self.running.remove(one)
                tick()
                self.end(one, self.now)
            else:
                self.orphans.remove(one)
            more = self.rng.random() * 900 if self.rng.randrange(100) < self.outlives else 0.0
            self.idle.append([one.born, self.now, self.now + WINDOW + more])
        self.now = then
        self.end_idle()
        tick()

    def end_idle(self) -> None:
        for machine in [x for x in self.idle if x[2] <= self.now]:
            self.idle.remove(machine)
            self.lives += machine[2] - machine[0]

    def begin(self) -> None:
        boot = 0.0 if self.idle else BOOT
        born = self.idle.pop()[0] if self.idle else self.now
        execute = self.rng.randrange(1, 90_000) / 1000
        verdict: Verdict = "cold" if boot else "warm"
        self.machines.begin(f"a{self.number}")
        ends = self.now + boot + execute
        self.running.append(Running(self.number, self.now, ends, verdict, boot, born))
        self.number += 1

    def end(self, one: Running, at: float) -> None:
        name = f"a{one.number}"
        self.book(self.machines.end(name, one.begun, at, one.verdict, worked=True))
        self.uses[name] = Use(name, one.begun, at, one.verdict, worked=True)
        used = Billable(NOTHING, execute=Seconds(at - one.begun - one.boot), boot=Seconds(one.boot))
        self.attempts[name] = price(LIFE, used)

    def restart(self, down_seconds: float) -> None:
        """The gateway is gone, with or without what it runs, and another one comes."""
        stopped_at = self.now
        cut_off = {}
        for one in self.running:
            name = f"a{one.number}"
            cut_off[name] = Use(name, one.begun, stopped_at, "unknown", worked=True, cut_off=True)
            lived = Seconds(stopped_at - one.begun, 0.0, DEADLINE)
            self.attempts[name] = price(LIFE, Billable(NOTHING, execute=lived))
        self.orphans += self.running
        self.running = []
        self.pass_to(self.now + down_seconds, lambda: None)
        self.machines = Machines(WINDOW, shared=False)
        for gap in take_up(self.machines, [*self.uses.values(), *cut_off.values()], stopped_at):
            self.book(gap)
        self.uses |= {name: replace(use, cut_off=False) for name, use in cut_off.items()}
        self.tick()

    def drain(self) -> None:
        """Until nothing runs."""
        if self.running:
            self.pass_to(max(one.ends for one in self.running), self.tick)

    def close(self) -> None:
        self.pass_to(1e9, self.tick)

    @property
    def truth_usd(self) -> Decimal:
        return (Decimal(round(self.lives * 1e6)) / 1_000_000 * RATE).quantize(Decimal("1E-12"))

    def sums(self) -> tuple[Decimal, Decimal, Decimal]:
        """Low, best guess and high of all that is booked."""
        low = guess = high = Decimal(0)
        lines = [line for cost in self.attempts.values() for line in cost.lines]
        for line in (*lines, *self.charges.values()):
            assert line.usd is not None and line.high_usd is not None
            low, guess, high = low + line.low_usd, guess + line.usd, high + line.high_usd
        return low, guess, high


def played(seed: int, *, kill: bool, outlives: int = 0) -> World:
    world = World(random.Random(seed), outlives)
    for number in range(300):
        step = world.rng.choice(STEPS) * world.rng.randrange(1000) / 1000
        world.pass_to(world.now + step, world.tick)
        if number % 23 == 22:
            if not kill:
                world.drain()
            world.restart(world.rng.choice((1, 30, 400)) * world.rng.randrange(1000) / 1000)
        world.begin()
    world.drain()
    world.close()
    return world


@pytest.mark.parametrize("seed", range(12))
def test_a_stop_loses_and_doubles_nothing(seed: int) -> None:
    world = played(seed, kill=False)
    assert world.sums()[1] == world.truth_usd


@pytest.mark.parametrize("seed", range(12))
def test_a_death_leaves_bounds_that_hold_the_truth(seed: int) -> None:
    world = played(seed, kill=True)
    low, guess, high = world.sums()
    assert low <= world.truth_usd <= high
    assert low < guess < high


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kill", [False, True])
def test_machines_that_outlive_their_window(seed: int, kill: bool) -> None:
    """Found warm after all, the rest is booked, before or after a restart; others are not known."""
    world = played(seed, kill=kill, outlives=30)
    low, guess, _ = world.sums()
    assert any(charge.endswith("_1") for charge in world.charges)
    assert low <= world.truth_usd and (kill or guess <= world.truth_usd)


def at_rest(*ends: float) -> list[Use]:
    """One use each of as many machines, all begun before the first ended."""
    return [Use(f"a{n}", n / 100, end, "cold", worked=True) for n, end in enumerate(ends)]


def test_every_idle_machine_is_taken_up() -> None:
    machines = Machines(WINDOW, shared=False)
    assert take_up(machines, at_rest(10, 20, 30), stopped_at=40) == []
    assert [gap.attempt_id for gap in machines.due(1000)] == ["a0", "a1", "a2"]


def test_a_machine_that_outlives_its_window_across_a_restart_is_paid_for_the_rest() -> None:
    machines = Machines(WINDOW, shared=False)
    # Its window was over, and booked, before the stop.
    assert take_up(machines, at_rest(10), stopped_at=10 + WINDOW + 60) == []
    assert machines.due(10 + WINDOW + 90) == []
    machines.begin("b")
    gap = machines.end("b", 500, 510, "warm", worked=True)
    assert gap is not None and (gap.attempt_id, gap.part) == ("a0", 1)
    assert gap.seconds == Seconds(490 - WINDOW)


def test_what_was_over_when_it_died_is_booked_now() -> None:
    machines = Machines(WINDOW, shared=False)
    (gap,) = take_up(machines, at_rest(10), stopped_at=10 + WINDOW + 0.5)
    assert (gap.attempt_id, gap.part, gap.seconds) == ("a0", 0, Seconds(WINDOW, 0.0, WINDOW))
    assert machines.due(1e6) == []
    machines.begin("b")
    rest = machines.end("b", 10 + WINDOW + 9, 400, "warm", worked=True)
    assert rest is not None and (rest.part, rest.seconds) == (1, Seconds(9))


@pytest.mark.parametrize(
    ("window", "ended_by", "seconds"),
    [
        (WINDOW, 41.0, Seconds(30, 0.0, 31)),
        (WINDOW, 9999.0, Seconds(30, 0.0, WINDOW)),
        (None, 41.0, Seconds(30, 0.0, 31)),
        (20.0, 41.0, None),  # its time was over before that, and is told as such
    ],
)
def test_machines_that_end_with_their_gateway(
    window: float | None, ended_by: float, seconds: Seconds | None
) -> None:
    machines = Machines(window, shared=False)
    take_up(machines, at_rest(10), stopped_at=40)
    gaps = machines.end_all(40.0, ended_by)
    assert [gap.seconds for gap in gaps] == ([] if seconds is None else [seconds])
    assert machines.due(1e6) == []
    machines.begin("b")  # it cannot have met the old one
    assert machines.end("b", 50, 60, "warm", worked=True) is None


def test_the_gap_before_an_attempt_that_was_cut_off() -> None:
    uses = [*at_rest(10, 20), Use("b", 60, 70, "unknown", worked=True, cut_off=True)]
    for window, seconds in ((WINDOW, Seconds(40, 0.0, 40)), (None, None)):
        machines = Machines(window, shared=False)
        (gap,) = take_up(machines, uses, stopped_at=70)
        assert (gap.attempt_id, gap.seconds, gap.high_seconds) == ("a1", seconds, 40)
        machines.begin("c")  # it takes what b left; a0 is still there for another
        machines.begin("d")
        taken = machines.end("d", 90, 95, "warm", worked=True)
        assert taken is not None and (taken.attempt_id, taken.seconds) == ("a0", Seconds(80))


def test_refusals_and_instants_without_length() -> None:
    uses = [
        *at_rest(10),
        Use("refused", 20, 20, "unknown", worked=False),
        Use("b", 30, 30, "warm", worked=True),
        Use("c", 30, 40, "warm", worked=True),  # it takes what b gives back at that instant
    ]
    machines = Machines(WINDOW, shared=False)
    assert take_up(machines, uses, stopped_at=50) == []
    assert [gap.attempt_id for gap in machines.due(1000)] == ["c"]


def test_a_shared_machine_is_idle_after_the_last_of_all() -> None:
    machines = Machines(WINDOW, shared=True)
    assert take_up(machines, at_rest(10, 30, 20), stopped_at=40) == []
    assert [(gap.attempt_id, gap.since_seconds) for gap in machines.due(1000)] == [("a1", 30)]


BEFORE = Use("a", -10, 0, "warm", worked=True)
AHEAD = Use("b", 500, 600, "warm", worked=True)  # it joined a boot ahead, until 530


@pytest.mark.parametrize(
    ("uses", "stays", "paid_until"),
    [
        ([BEFORE], [(WINDOW, 3 * WINDOW)], 3 * WINDOW),
        ([BEFORE], [(WINDOW, 3 * WINDOW), (3 * WINDOW, 4 * WINDOW)], 4 * WINDOW),
        ([BEFORE, AHEAD], [(480.0, 500.0), (500.0, 530.0)], 600 + WINDOW),
    ],
)
def test_what_a_policy_has_paid_for_is_not_idle_too_after_a_restart(
    uses: list[Use], stays: list[tuple[float, float]], paid_until: float
) -> None:
    machines = Machines(WINDOW, shared=False)
    take_up(machines, uses, stopped_at=1000, stays=stays)
    machines.begin("next")
    gap = machines.end("next", 1500, 1510, "warm", worked=True)
    assert gap is not None and (gap.attempt_id, gap.part) == (uses[-1].attempt_id, 1)
    assert (gap.since_seconds, gap.seconds) == (paid_until, Seconds(1500 - paid_until))
