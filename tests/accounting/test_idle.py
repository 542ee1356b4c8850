"""Attempts and charges add up to what the machines' lives cost, to the last digit."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from gateway.accounting.coldstart import Verdict
from gateway.accounting.idle import (
    LONGEST_IDLE_SECONDS,
    IdleGap,
    Machines,
    idle_line,
    standing_line,
)
from gateway.accounting.metering import NOTHING
from gateway.accounting.pricing import Billable, Seconds, price
from tests.accounting.test_pricing import row

RATE = Decimal("0.000694")
LIFE = row(usd_per_second=str(RATE), bills=["execute", "boot", "idle"])
PUBLIC = row(usd_per_second=str(RATE), bills=["execute"])
WINDOW, BOOT = 300.0, 20.0


def usd(gap: IdleGap | None) -> Decimal:
    line = None if gap is None else idle_line(LIFE, gap)
    return Decimal(0) if line is None or line.usd is None else line.usd


def worked(boot_seconds: float, execute_seconds: float) -> Decimal:
    used = Billable(NOTHING, execute=Seconds(execute_seconds), boot=Seconds(boot_seconds))
    total = price(LIFE, used).total_usd
    assert total is not None
    return total


@pytest.mark.parametrize("seed", range(20))
def test_lives_times_rate_with_a_machine_for_each_attempt(seed: int) -> None:
    """Truth: machines that a provider starts when none is idle, and ends after the window."""
    rng = random.Random(seed)
    machines = Machines(WINDOW, shared=False)
    idle: list[list[float]] = []  # the provider's: [born, idle since], used last stands last
    running: list[tuple[float, int, float, float, Verdict, float]] = []  # end, id, begin, born, ...
    lives, paid, now = 0.0, Decimal(0), 0.0
    for number in range(400):
        now += rng.choice((1, 7, 40, 500)) * rng.randrange(1000) / 1000
        for end, of, begun, born, verdict, _ in sorted(x for x in running if x[0] <= now):
            paid += sum(map(usd, machines.due(end)), Decimal(0))
            paid += usd(machines.end(f"a{of}", begun, end, verdict, worked=True))
            idle.append([born, end])
        running = [x for x in running if x[0] > now]
        paid += sum(map(usd, machines.due(now)), Decimal(0))
        for machine in [x for x in idle if now - x[1] >= WINDOW]:
            idle.remove(machine)
            lives += machine[1] + WINDOW - machine[0]
        boot = 0.0 if idle else BOOT
        born = idle.pop()[0] if idle else now
        machines.begin(f"a{number}")
        execute = rng.randrange(1, 90_000) / 1000
        paid += worked(boot, execute)
        end = now + boot + execute
        running.append((end, number, now, born, "cold" if boot else "warm", boot))
    for end, of, begun, born, verdict, _ in sorted(running):
        paid += sum(map(usd, machines.due(end)), Decimal(0))
        paid += usd(machines.end(f"a{of}", begun, end, verdict, worked=True))
        idle.append([born, end])
    paid += sum(map(usd, machines.due(1e9)), Decimal(0))
    lives += sum(idle_since + WINDOW - born for born, idle_since in idle)
    assert paid == (Decimal(round(lives * 1e6)) / 1_000_000 * RATE).quantize(Decimal("1E-12"))


def test_a_shared_machine_is_idle_when_nobody_runs() -> None:
    machines = Machines(WINDOW, shared=True)
    machines.begin("a")
    machines.begin("b")  # while a runs: it takes no other machine
    assert machines.end("a", 0, 10, "cold", worked=True) is None
    assert machines.end("b", 5, 12, "cold", worked=True) is None
    machines.begin("c")
    gap = machines.end("c", 100, 110, "warm", worked=True)
    assert gap is not None and gap.attempt_id == "b"
    assert gap.seconds == Seconds(88)  # measured: it was still there


def test_a_cold_start_bounds_the_gap_before_it() -> None:
    machines = Machines(WINDOW, shared=False)
    machines.begin("a")
    machines.end("a", 0, 10, "cold", worked=True)
    machines.begin("b")
    gap = machines.end("b", 110, 120, "cold", worked=True)
    assert gap is not None and gap.seconds == Seconds(100, 0.0, 100)
    line = idle_line(LIFE, gap)
    assert line is not None and line.status == "estimated" and line.low_usd == 0
    assert line.high_usd == 100 * RATE


def test_a_window_that_nobody_knows_is_not_guessed() -> None:
    machines = Machines(None, shared=False)
    machines.begin("a")
    machines.end("a", 0, 10, "cold", worked=True)
    assert machines.due(10 + LONGEST_IDLE_SECONDS - 1) == []
    machines.begin("b")
    gap = machines.end("b", 110, 120, "unknown", worked=True)
    assert gap is not None and gap.seconds is None
    line = idle_line(LIFE, gap)
    assert line is not None and (line.status, line.usd) == ("unknown", None)
    assert line.high_usd == 100 * RATE


def test_a_machine_that_is_never_used_again_is_not_forgotten() -> None:
    machines = Machines(None, shared=False)
    machines.begin("a")
    machines.end("a", 0, 10, "cold", worked=True)
    (gap,) = machines.due(10 + LONGEST_IDLE_SECONDS)
    line = idle_line(LIFE, gap)
    assert line is not None and (line.status, line.usd) == ("unknown", None)
    assert line.high_usd == Decimal(2 * 86_400) * RATE
    assert machines.due(1e9) == []


def test_a_machine_that_outlives_its_window_is_paid_for_the_rest() -> None:
    machines = Machines(WINDOW, shared=False)
    machines.begin("a")
    machines.end("a", 0, 10, "cold", worked=True)
    (told,) = machines.due(400)
    assert (told.part, told.seconds) == (0, Seconds(WINDOW, 0.0, WINDOW))
    machines.begin("b")
    gap = machines.end("b", 460, 470, "warm", worked=True)
    assert gap is not None and (gap.attempt_id, gap.part) == ("a", 1)
    assert gap.seconds == Seconds(150) and gap.since_seconds == 10 + WINDOW


def test_a_refusal_leaves_the_machine_as_it_was() -> None:
    machines = Machines(WINDOW, shared=False)
    machines.begin("a")
    machines.end("a", 0, 10, "cold", worked=True)
    machines.begin("refused")
    assert machines.end("refused", 50, 51, "unknown", worked=False) is None
    machines.begin("b")
    gap = machines.end("b", 110, 120, "warm", worked=True)
    assert gap is not None and (gap.attempt_id, gap.seconds) == ("a", Seconds(100))


@pytest.mark.parametrize("told_late", [False, True])
def test_who_waits_for_a_machine_gets_the_one_that_comes_free(told_late: bool) -> None:
    """One machine, one attempt after the other: there is no second one to idle."""
    machines = Machines(WINDOW, shared=False)
    machines.begin("a")
    machines.begin("b")  # waits in the provider's queue
    if told_late:
        machines.works("b", 9.99)
    assert machines.end("a", 0.0, 10.0, "cold", worked=True) is None
    if not told_late:
        machines.works("b", 10.0)
    gap = machines.end("b", 2.0, 15.0, "warm", worked=True)
    assert gap is not None and gap.seconds is not None and gap.seconds.value == 0
    assert [gap.attempt_id for gap in machines.due(15.0 + WINDOW)] == ["b"]


def test_a_machine_that_was_not_there_for_one_who_waited_is_gone() -> None:
    machines = Machines(WINDOW, shared=False)
    machines.begin("a")
    machines.end("a", 0.0, 10.0, "warm", worked=True)
    machines.due(10.0 + WINDOW)
    at = 1000.0
    machines.begin("b")  # as far as is known, on the machine of a, whose time is over
    machines.works("b", at + 20)  # but it waited for another's
    assert machines.end("b", at, at + 30, "warm", worked=True) is None


def test_a_boot_shows_that_no_machine_was_up() -> None:
    machines = Machines(WINDOW, shared=False)
    for name, begun_at in (("a", 0.0), ("b", 1.0)):
        machines.begin(name)
        machines.end(name, begun_at, 10.0, "warm", worked=True)
    machines.due(10.0 + WINDOW)
    machines.begin("c")
    machines.end("c", 1000.0, 1010.0, "cold", worked=True)
    machines.begin("d")
    machines.begin("e")
    machines.end("d", 1020.0, 1030.0, "warm", worked=True)
    assert machines.end("e", 1021.0, 1030.0, "warm", worked=True) is None


def test_shared_public_models_bill_no_idle_time() -> None:
    gap = IdleGap("a", 0.0, 0, Seconds(100), 100)
    assert idle_line(PUBLIC, gap) is None


def test_standing_machines_are_billed_whether_they_work_or_not() -> None:
    standing = row(usd_per_second="0.001", bills=["standing"])
    used = Billable(NOTHING, execute=Seconds(5), boot=Seconds(5))
    cost = price(standing, used)
    assert cost.status == "measured" and cost.total_usd == 0
    line = standing_line(standing, 3600, 2)
    assert line is not None and line.usd == Decimal("7.2")
    assert standing_line(LIFE, 3600, 2) is None
    with pytest.raises(ValueError, match="nothing can be billed beside them"):
        row(usd_per_second="0.001", bills=["standing", "execute"])
