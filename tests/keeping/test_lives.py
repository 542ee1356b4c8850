"""What keeping warm costs is booked by the hour, and a death of the gateway takes none of it along.

In virtual time; of the death of a real process: ``tests/acceptance/test_keeping_survives.py``.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.keeping.starting import policy_of, remember
from gateway.ledger.care.inspect import verify
from gateway.ledger.layout import journal_dir, journal_names
from gateway.ledger.shipping.shipper import Shipper
from gateway.ledger.stay_rules import GOES_ON, UNUSED, USED
from gateway.ledger.writing.imports import ImportJournal
from gateway.warmth.arrivals import Arrivals, Stretch, Traffic
from tests.keeping.lives import (
    AGAIN_US,
    DIED_US,
    HOUR_US,
    IDLE_US,
    MINUTE_US,
    OWN_US,
    PAID_US,
    RATE_PICO,
    TEN_US,
    Held,
    Pinged,
    charges,
    cost,
    died,
    idles,
    life,
    periods,
    settings_of,
    sums,
)
from tests.ledger.samples import begun, finished
from tests.simulation.virtual_time import VirtualLoop, run


def test_a_long_stay_is_in_the_ledger_while_it_lasts(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path) as one:
            await idles(one)
            await one.until(TEN_US + 190 * MINUTE_US)
            cuts = [TEN_US + hours * HOUR_US for hours in (1, 2, 3)]
            assert periods(tmp_path) == list(zip([PAID_US, *cuts], cuts, strict=False))
            (open_,) = sums(tmp_path).values()
            assert (open_.rule, open_.stays) == (GOES_ON, 1)
            assert open_.cost_pico_usd == cost(cuts[-1] - PAID_US)
            assert one.keeper.spent_pico_usd == open_.cost_pico_usd
            used_us = loop.now_us
            await one.request()
            (used,) = sums(tmp_path).values()
            assert (used.rule, used.stays) == (USED, 1)
            assert used.cost_pico_usd == cost(used_us - PAID_US)
            # Of the second hour alone: what it cost counts, the stay does not.
            (hour,) = sums(tmp_path, cuts[0], cuts[1]).values()
            assert (hour.rule, hour.stays, hour.cost_pico_usd) == (USED, 0, cost(HOUR_US))

    run(main, TEN_US)


def test_a_stay_that_ends_at_the_full_hour_says_what_became_of_it(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path) as one:
            await idles(one)
            await one.until(TEN_US + 2 * HOUR_US + 1)
            assert [row["rule"] for row in charges(tmp_path)] == [GOES_ON, GOES_ON]
            loop.now_us -= 1  # the request is of the very instant of the cut
            await one.request()
            (used,) = sums(tmp_path).values()
            assert (used.rule, used.stays) == (USED, 1)
            assert used.cost_pico_usd == cost(TEN_US + 2 * HOUR_US - PAID_US)
            assert len({row["charge_id"] for row in charges(tmp_path)}) == 3

    run(main, TEN_US)


@pytest.mark.parametrize(
    ("kind", "likely_us", "most_us"),
    [
        (Held, AGAIN_US, AGAIN_US),  # its provider held it until the next gateway came
        (Pinged, DIED_US + round(0.6 * OWN_US), DIED_US + OWN_US),
    ],
)
def test_a_death_loses_nothing_of_a_stay(
    tmp_path: Path, kind: type[Held | Pinged], likely_us: int, most_us: int
) -> None:
    async def main(loop: VirtualLoop) -> None:
        await died(loop, tmp_path, kind)
        before = sums(tmp_path)
        assert list(before) == [GOES_ON]
        loop.now_us = AGAIN_US
        for _ in range(3):  # nothing twice
            async with life(loop, tmp_path, kind=kind, dies=True, last_seen_us=DIED_US) as one:
                assert one.deployment.asked == ([0] if kind is Held else [])
                (wasted,) = sums(tmp_path).values()
                assert (wasted.rule, wasted.stays) == (UNUSED, 1)
                assert wasted.cost_pico_usd == cost(likely_us - PAID_US)
                assert one.keeper.spent_pico_usd == wasted.cost_pico_usd  # a budget knows of it
            loop.now_us += MINUTE_US
        rows = charges(tmp_path)
        assert {row["status"] for row in rows} == {"estimated"}
        assert {row["low_pico_usd"] for row in rows} == {0}
        assert sum(row["high_pico_usd"] for row in rows) == cost(most_us - PAID_US)
        assert (rows[0]["period_start_at_us"], rows[-1]["period_end_at_us"]) == (PAID_US, likely_us)
        ends = [row["period_end_at_us"] for row in rows]
        assert ends[:-1] == [row["period_start_at_us"] for row in rows[1:]]

    run(main, TEN_US)


def test_a_death_before_it_costs_is_paid_for_from_when_it_does(tmp_path: Path) -> None:
    """Its provider was told to hold it, and did."""

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, dies=True) as one:
            await idles(one)
            await one.until(IDLE_US + MINUTE_US)
            assert one.deployment.asked == [0, 1]
        loop.now_us = PAID_US + MINUTE_US
        async with life(loop, tmp_path, dies=True, last_seen_us=IDLE_US + MINUTE_US):
            assert periods(tmp_path)[0] == (PAID_US, PAID_US + MINUTE_US)
            (wasted,) = sums(tmp_path).values()
            assert (wasted.rule, wasted.cost_pico_usd) == (UNUSED, cost(MINUTE_US))

    run(main, TEN_US)


@pytest.mark.parametrize("end", ["used", "used early", "let go", "stopped", "booked"])
def test_a_stay_that_had_ended_is_booked_to_its_end(tmp_path: Path, end: str) -> None:
    async def main(loop: VirtualLoop) -> None:
        settings = settings_of(window_seconds=3600) if end == "let go" else None
        async with life(loop, tmp_path, dies=end != "stopped", settings=settings) as one:
            await idles(one)
            if end == "used early":
                await one.until(PAID_US - 1)
                await one.request()
                await one.until(PAID_US + 1_000_000)
            else:
                await one.until(IDLE_US + HOUR_US + 1)
            if end == "used":
                one.write_begin()  # and death comes before its stay is booked
            elif end == "booked":
                one.begins()
        booked, ended_us = len(charges(tmp_path)), loop.now_us
        loop.now_us = AGAIN_US
        async with life(loop, tmp_path, dies=True, last_seen_us=ended_us):
            told = sums(tmp_path)
        if end == "used early":  # another stay has begun, and will cost from later on
            idle_us = PAID_US - 1 + 1_000_000
            assert told[UNUSED].cost_pico_usd == cost(AGAIN_US - idle_us - OWN_US)
            assert len(told) == 1
            return
        if end in ("used", "booked"):  # its provider held it on after what was at work then
            held_on = told.pop(UNUSED)
            assert held_on.cost_pico_usd == cost(AGAIN_US - ended_us - OWN_US)
            assert held_on.stays == 1
        (row,) = told.values()
        assert row.rule == (USED if end in ("used", "booked") else UNUSED)
        paid_us = ended_us - PAID_US - (1 if end == "let go" else 0)
        assert row.cost_pico_usd == paid_us * RATE_PICO // 1_000_000
        assert (len(charges(tmp_path)) > booked) == (end in ("used", "booked"))

    run(main, TEN_US)


def test_a_clock_that_was_set_back_costs_no_stay(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path) as one:
            await idles(one)
            await one.until(TEN_US + 3 * HOUR_US)
            one.begins()
            loop.now_us -= 3 * HOUR_US  # in the middle of the work
            one.keeper.ended(None)
            begin_us = loop.now_us + OWN_US
            await one.until(begin_us + 10 * MINUTE_US)
            await one.request()
            assert periods(tmp_path)[-1] == (begin_us, begin_us + 10 * MINUTE_US)

    run(main, TEN_US)


def test_a_months_budget_holds_across_a_death(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        settings = settings_of(monthly_budget_usd="9")  # two and a half hours
        async with life(loop, tmp_path, dies=True, settings=settings) as one:
            await idles(one)
            await one.until(PAID_US + 100 * MINUTE_US)
        async with life(loop, tmp_path, settings=settings, last_seen_us=loop.now_us) as one:
            assert one.keeper.spent_pico_usd == cost(100 * MINUTE_US)
            await one.request()
            again_us = loop.now_us + OWN_US
            await one.until(again_us + 120 * MINUTE_US)
            assert one.deployment.asked == [0, 1, 0]
            assert periods(tmp_path)[-1][1] == again_us + 50 * MINUTE_US
        assert sum(row.cost_pico_usd for row in sums(tmp_path).values()) == 9 * 10**12

    run(main, TEN_US)


def test_a_stay_over_the_turn_of_the_month(tmp_path: Path) -> None:
    turn_us = 498_912 * HOUR_US  # 2026-12-01T00:00:00Z

    async def main(loop: VirtualLoop) -> None:
        settings = settings_of(monthly_budget_usd="100")
        async with life(loop, tmp_path, settings=settings) as one:
            await one.request()
            begin_us = loop.now_us + OWN_US
            await one.until(turn_us + 3 * HOUR_US + 1)
            assert one.keeper.spent_pico_usd == cost(3 * HOUR_US)  # of the new month alone
            end_us = loop.now_us
            await one.request()
        november, december = sums(tmp_path, 0, turn_us), sums(tmp_path, turn_us)
        assert november[USED].stays == 0 and december[USED].stays == 1
        assert november[USED].cost_pico_usd == cost(turn_us - begin_us)
        assert december[USED].cost_pico_usd == cost(end_us - turn_us)

    run(main, turn_us - 5 * HOUR_US)


def tidied(data_dir: Path) -> list[str]:
    """The journal files that are left when all is shipped, and what is done is deleted."""
    shipper = Shipper(data_dir)
    try:
        while shipper.ship():
            pass
        shipper.tidy(now=True)
    finally:
        shipper.close()
    return journal_names(journal_dir(data_dir))


def test_a_file_that_knows_of_an_open_stay_is_not_deleted(tmp_path: Path) -> None:
    """Others may write the journal between a death and the next start, and a shipper may run."""

    async def main(loop: VirtualLoop) -> None:
        await died(loop, tmp_path, Held)
        (dead,) = journal_names(journal_dir(tmp_path))
        with ImportJournal(tmp_path) as journal:
            journal.write([finished(begun(999))])
        assert dead in tidied(tmp_path)
        loop.now_us = AGAIN_US
        async with life(loop, tmp_path, last_seen_us=DIED_US):
            assert list(sums(tmp_path)) == [UNUSED]
        assert dead not in tidied(tmp_path)

    run(main, TEN_US)


def test_a_journal_that_rotates_takes_an_open_stay_along(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        await died(loop, tmp_path, Held, rotate_bytes=1)
        assert len(journal_names(journal_dir(tmp_path))) > 4 and len(tidied(tmp_path)) == 1
        loop.now_us = AGAIN_US
        async with life(loop, tmp_path, last_seen_us=DIED_US):
            (row,) = sums(tmp_path).values()
            assert (row.rule, row.cost_pico_usd) == (UNUSED, cost(AGAIN_US - PAID_US))

    run(main, TEN_US)


def test_a_stay_that_was_told_in_parts_is_paid_once_however_the_journal_rotates(
    tmp_path: Path,
) -> None:
    """Its provider does not let go of it, neither at a stop nor for the next gateway."""

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path) as one:
            await idles(one)
            await one.until(IDLE_US + 20 * MINUTE_US)
            one.deployment.refuses = True
        stopped_us = loop.now_us
        async with life(
            loop, tmp_path, dies=True, last_seen_us=stopped_us, refuses=True, rotate_bytes=1
        ) as one:
            await one.until(DIED_US)
            one.journal.end(finished(begun(999)))  # in a new file, after all that was booked
        assert len(tidied(tmp_path)) == 1
        loop.now_us = AGAIN_US
        async with life(loop, tmp_path, last_seen_us=DIED_US):
            (row,) = sums(tmp_path).values()
            assert (row.rule, row.cost_pico_usd) == (UNUSED, cost(AGAIN_US - PAID_US))
        assert verify(tmp_path) == []

    run(main, TEN_US)


def test_hours_have_it_booted_whatever_was_before(tmp_path: Path) -> None:
    """A request whose boot was called off has left it off; so has an earlier gateway's end."""
    settings = settings_of(
        window_seconds=0, schedules=[{"begin": "11:30", "end": "12:00", "time_zone": "UTC"}]
    )

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, settings=settings, dies=True) as one:
            one.begins()
            await one.until(TEN_US + MINUTE_US)
            one.keeper.called_off()
            await one.until(TEN_US + 50 * MINUTE_US)
            assert one.deployment.asked == [0, 1]
            given = settings.deployments["own"].keep_warm
            assert given is not None
            policy = policy_of(one.target, given, loop.now_us, random.Random(1))
        before = Arrivals()
        before.add(TEN_US, execute_us=MINUTE_US)
        stretches = [Stretch(TEN_US, loop.now_us, before)]
        remember(policy, Traffic("live", TEN_US, loop.now_us, stretches, 1), loop.now_us)
        assert policy.decide(loop.now_us) == ("warm",)

    run(main, TEN_US)


def test_hours_cost_nothing_while_one_works_who_has_waited_for_another(tmp_path: Path) -> None:
    settings = settings_of(schedules=[{"begin": "11:30", "end": "15:00", "time_zone": "UTC"}])

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, settings=settings, dies=True) as one:
            one.begins()
            one.keeper.arrived()  # waits
            await one.until(TEN_US + 50 * MINUTE_US)
            one.keeper.called_off()
            one.write_begin()
            one.keeper.begun()
            await one.until(TEN_US + 150 * MINUTE_US)
            assert one.deployment.asked == [0] and not charges(tmp_path)
            one.keeper.ended(None)
            await one.until(TEN_US + 160 * MINUTE_US)
            assert one.deployment.asked == [0, 1]

    run(main, TEN_US)
