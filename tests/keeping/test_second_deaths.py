"""A gateway that dies while it books what an earlier one had kept, after any line of its journal:
the next start loses nothing and books nothing twice. In virtual time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.layout import journal_dir, journal_names
from tests.keeping.lives import (
    AGAIN_US,
    DIED_US,
    MINUTE_US,
    TEN_US,
    Held,
    Pinged,
    charges,
    idles,
    life,
)
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
