"""A provider that does not do what it is told, or of which nobody knows: held, let go and paid for.

In virtual time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.ledger.stay_rules import GOES_ON, UNUSED, USED
from providers.contract import UpstreamTimeout
from tests.keeping.lives import (
    AGAIN_US,
    DIED_US,
    HOUR_US,
    IDLE_US,
    MINUTE_US,
    OWN_US,
    PAID_US,
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
from tests.simulation.virtual_time import VirtualLoop, run


def test_a_provider_that_does_not_let_go_is_asked_again_and_paid_until_it_does(
    tmp_path: Path,
) -> None:
    async def main(loop: VirtualLoop) -> None:
        settings = settings_of(window_seconds=600)
        async with life(loop, tmp_path, settings=settings) as one:
            await idles(one)
            await one.until(IDLE_US + 1)
            one.deployment.refuses = True
            await one.until(IDLE_US + 11 * MINUTE_US - 1)
            assert charges(tmp_path) == [] and one.deployment.asked == [0, 1, 0, 0]
            one.deployment.refuses = False
            await one.until(IDLE_US + 20 * MINUTE_US)
            assert periods(tmp_path) == [(PAID_US, IDLE_US + 11 * MINUTE_US)]

    run(main, TEN_US)


def test_what_is_not_let_go_at_a_stop_is_open_until_the_next_start(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path) as one:
            await idles(one)
            await one.until(IDLE_US + 20 * MINUTE_US)
            one.deployment.refuses = True
        assert list(sums(tmp_path)) == [GOES_ON]
        loop.now_us = AGAIN_US
        async with life(loop, tmp_path, last_seen_us=IDLE_US + 20 * MINUTE_US):
            (row,) = sums(tmp_path).values()
            assert (row.rule, row.cost_pico_usd) == (UNUSED, cost(AGAIN_US - PAID_US))

    run(main, TEN_US)


def test_what_a_starting_gateway_is_not_let_go_of_is_paid_until_it_is(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        await died(loop, tmp_path, Held)
        loop.now_us = AGAIN_US
        for dies in (True, False):  # and another death takes nothing along
            async with life(
                loop, tmp_path, last_seen_us=loop.now_us, refuses=True, dies=dies
            ) as one:
                await one.until(loop.now_us + 90 * MINUTE_US)
                assert set(one.deployment.asked) == {0} and len(one.deployment.asked) >= 180
                assert list(sums(tmp_path)) == [GOES_ON]
        ended_us = loop.now_us
        async with life(loop, tmp_path, last_seen_us=loop.now_us, refuses=True) as one:
            await one.until(ended_us + MINUTE_US - 1)
            one.deployment.refuses = False
            await one.until(ended_us + 2 * MINUTE_US)
            (row,) = sums(tmp_path).values()
            assert (row.rule, row.stays) == (UNUSED, 1)
            assert row.cost_pico_usd == cost(ended_us + MINUTE_US - PAID_US)
            assert len(one.deployment.asked) == 3

    run(main, TEN_US)


@pytest.mark.parametrize("kind", [Held, Pinged])
def test_what_a_provider_refused_to_hold_costs_nothing_until_it_does(
    tmp_path: Path, kind: type[Held | Pinged]
) -> None:
    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, kind=kind, dies=True) as one:
            one.deployment.refuses = True
            await idles(one)
            refused_us = PAID_US + 90 * MINUTE_US
            await one.until(refused_us)
            assert charges(tmp_path) == [] and one.keeper.spent_pico_usd == 0
            assert 10 < len(one.deployment.asked) < 20  # ever later, and each ten minutes at last
            one.deployment.refuses = False
            used_us = refused_us + 20 * MINUTE_US
            await one.until(used_us)
            await one.request()
            (row,) = sums(tmp_path).values()
            assert (row.rule, row.stays) == (USED, 1)
            held_us = periods(tmp_path)[0][0]
            assert refused_us < held_us <= refused_us + 10 * MINUTE_US
            assert row.cost_pico_usd == cost(used_us - held_us)

    run(main, TEN_US)


def test_a_ping_that_was_refused_keeps_nothing_up(tmp_path: Path) -> None:
    """What an earlier one has kept is up for the provider's own window, and paid for until then."""
    again_us = round(0.8 * OWN_US)

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, kind=Pinged, dies=True) as one:
            await idles(one)
            await one.until(IDLE_US + 3 * again_us + 1)
            one.deployment.refuses = True
            await one.until(IDLE_US + 4 * again_us + MINUTE_US)
            assert len(one.deployment.asked) == 5  # and once more, still within the window
            gone_us = IDLE_US + 3 * again_us + OWN_US
            await one.until(gone_us + MINUTE_US)
            (wasted,) = sums(tmp_path).values()
            assert (wasted.rule, wasted.stays) == (UNUSED, 1)
            assert wasted.cost_pico_usd == one.keeper.spent_pico_usd == cost(gone_us - PAID_US)
            await one.until(gone_us + 20 * MINUTE_US)  # boots ahead that are refused as well
            assert len(one.deployment.asked) > 7
        loop.now_us = AGAIN_US
        async with life(loop, tmp_path, kind=Pinged, dies=True, last_seen_us=gone_us + HOUR_US):
            assert sums(tmp_path) == {UNUSED: wasted}

    run(main, TEN_US)


@pytest.mark.parametrize("fault", [UpstreamTimeout(), KeyError("an adapter's own fault")])
def test_what_a_provider_may_hold_is_let_go(tmp_path: Path, fault: Exception) -> None:
    """Nobody knows what came of the call, so both are done: it is paid for, and taken back."""

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, settings=settings_of(window_seconds=600)) as one:
            one.deployment.fails = fault
            await idles(one)
            await one.until(IDLE_US + 45_000_000)
            assert one.deployment.asked == [0, 1, 1]
            one.deployment.fails = None
            await one.until(IDLE_US + 20 * MINUTE_US)
            assert one.deployment.asked == [0, 1, 1, 1, 0]
            assert periods(tmp_path) == [(PAID_US, IDLE_US + 10 * MINUTE_US)]

    run(main, TEN_US)


def test_what_was_let_go_after_its_work_is_not_held_by_a_death(tmp_path: Path) -> None:
    async def main(loop: VirtualLoop) -> None:
        await died(loop, tmp_path, Held)
        loop.now_us = AGAIN_US
        settings, begun_us = settings_of(window_seconds=0), AGAIN_US + MINUTE_US
        async with life(
            loop, tmp_path, dies=True, last_seen_us=DIED_US, settings=settings, refuses=True
        ) as one:
            await one.until(begun_us)
            one.begins()  # it is held on, and works
            one.deployment.refuses = False
            await one.until(begun_us + MINUTE_US)
            one.keeper.ended(None)
            await one.until(begun_us + 2 * MINUTE_US)
            assert one.deployment.asked[-1] == 0
        loop.now_us += HOUR_US
        async with life(loop, tmp_path, dies=True, last_seen_us=begun_us + 2 * MINUTE_US):
            (used,) = sums(tmp_path).values()
            assert (used.rule, used.stays) == (USED, 1)
            assert used.cost_pico_usd == cost(begun_us - PAID_US)

    run(main, TEN_US)


@pytest.mark.parametrize("dies", [True, False])
def test_what_is_not_let_go_of_after_work_is_paid_from_then_on(tmp_path: Path, dies: bool) -> None:
    async def main(loop: VirtualLoop) -> None:
        await died(loop, tmp_path, Held)
        loop.now_us = AGAIN_US
        settings = settings_of(window_seconds=0)
        async with life(loop, tmp_path, dies=dies, settings=settings, refuses=True) as one:
            await one.request()
            idle_us = loop.now_us
            await one.until(idle_us + 2 * MINUTE_US)
        loop.now_us += HOUR_US
        async with life(loop, tmp_path, dies=True, last_seen_us=idle_us + 2 * MINUTE_US):
            wasted = sums(tmp_path)[UNUSED]
            assert (wasted.stays, wasted.cost_pico_usd) == (1, cost(loop.now_us - idle_us - OWN_US))

    run(main, TEN_US)
