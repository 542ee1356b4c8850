"""A gateway that dies while it books what an earlier one had kept, after any line of its journal:
the next start loses nothing and books nothing twice. In virtual time.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.keeping.booking import book_slice
from gateway.keeping.starting import keepers
from gateway.keeping.stays import Slice
from gateway.ledger.layout import database_path, journal_dir, journal_names
from gateway.ledger.reading.unshipped import Unshipped
from gateway.ledger.reports.reports import Reports
from gateway.ledger.stay_rules import REST, UNUSED
from gateway.registry import Registry
from providers.toolkit.http import open_http
from tests.keeping.lives import (
    AGAIN_US,
    DIED_US,
    HOUR_US,
    MINUTE_US,
    TEN_US,
    Held,
    Pinged,
    Provider,
    charges,
    idles,
    life,
    settings_of,
)
from tests.ledger.databases import ship
from tests.simulation.virtual_time import VirtualLoop, run


async def leave(loop: VirtualLoop, data_dir: Path, kind: type[Held | Pinged], how: str) -> int:
    """A gateway that dies; gives how many lines its journal had before an attempt came, if any."""
    async with life(loop, data_dir, kind=kind, dies=True, ships=False) as one:
        await idles(one)
        await one.until(DIED_US if how != "used early" else loop.now_us + MINUTE_US)
        before = len(newest(data_dir).read_bytes().splitlines())
        if how == "works":
            one.begins()
        elif how != "idle":
            one.write_begin()  # and death comes before its keeper hears of it
    return before


def newest(data_dir: Path) -> Path:
    """The file that the last gateway wrote."""
    return journal_dir(data_dir) / journal_names(journal_dir(data_dir))[-1]


def deaths(data_dir: Path, since: int = 0) -> Iterator[Path]:
    """What is left where it came after each line of the newest file, from a number of lines on."""
    path = newest(data_dir)
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(since, len(lines) + 1):
        left = data_dir.with_name(f"{data_dir.name}-{count}")
        shutil.copytree(journal_dir(data_dir), journal_dir(left))
        (journal_dir(left) / path.name).write_bytes(b"".join(lines[:count]))
        yield left


async def booked(
    loop: VirtualLoop, data_dir: Path, kind: type[Held | Pinged], last_seen_us: int
) -> list[Any]:
    """All charges, once there was another start."""
    loop.now_us = AGAIN_US
    async with life(loop, data_dir, kind=kind, dies=True, last_seen_us=last_seen_us, ships=False):
        pass
    return sorted(charges(data_dir), key=lambda charge: str(charge["charge_id"]))


@pytest.mark.parametrize("how", ["idle", "used early", "used", "works"])
@pytest.mark.parametrize("kind", [Held, Pinged])
def test_a_start_that_dies_loses_and_doubles_nothing(
    tmp_path: Path, kind: type[Held | Pinged], how: str
) -> None:
    async def main(loop: VirtualLoop) -> None:
        first = tmp_path / "gateway"
        await leave(loop, first, kind, how)
        died_us = loop.now_us
        await booked(loop, first, kind, died_us)
        found = [await booked(loop, left, kind, died_us) for left in deaths(first)]
        assert len(found) > 1 and all(one == found[-1] for one in found)
        assert found[-1] or (kind is Pinged and how == "used early")

    run(main, TEN_US)


@pytest.mark.parametrize("kind", [Held, Pinged])
def test_a_death_between_an_attempt_and_the_booking_of_what_it_ended(
    tmp_path: Path, kind: type[Held | Pinged]
) -> None:
    async def main(loop: VirtualLoop) -> None:
        first = tmp_path / "gateway"
        before = await leave(loop, first, kind, "works")
        died_us = loop.now_us
        found = [await booked(loop, left, kind, died_us) for left in deaths(first, before + 1)]
        assert len(found) > 1 and all(one == found[-1] for one in found)

    run(main, TEN_US)


def test_a_wait_for_a_boot_ahead_that_is_booked_ends_no_work(tmp_path: Path) -> None:
    """One has waited and ended, another goes on when death comes: it is held on."""

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, dies=True, ships=False) as one:
            await idles(one)
            await one.until(DIED_US)
            one.begins()
            rest = Slice(DIED_US, DIED_US + 1_000_000, REST, DIED_US)
            book_slice(one.charging, one.target, rest)
        *_, last = await booked(loop, tmp_path, Held, DIED_US)
        assert (last["rule"], last["period_end_at_us"]) == (UNUSED, AGAIN_US)

    run(main, TEN_US)


def test_what_a_month_has_cost_is_known_however_far_the_database_is(tmp_path: Path) -> None:
    settings = settings_of(monthly_budget_usd="9")
    registry = Registry(settings, open_http, {"scripted": Provider(Held).plugin()})
    registry.build()

    async def main(loop: VirtualLoop) -> None:
        async with life(loop, tmp_path, dies=True, ships=False) as one:
            await idles(one)
            for is_shipped in (False, True):
                await one.until(loop.now_us + 2 * HOUR_US)
                if is_shipped:
                    ship(tmp_path)
                    await one.until(loop.now_us + HOUR_US)
                told = Unshipped()
                told.read_from(journal_dir(tmp_path), one.journal.name)
                (keeper,) = await keepers(
                    settings,
                    registry,
                    one.charging,
                    lambda: Reports(database_path(tmp_path)),
                    lambda deployment: random.Random(1),
                    {},
                    told,
                )
                assert keeper.spent_pico_usd == one.keeper.spent_pico_usd > 0

    run(main, TEN_US)
