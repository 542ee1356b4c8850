"""When an engine ended whose gateway was killed: it says so itself, nobody has to guess."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from providers.contract import EndsWithGateway, Host, Http
from providers.local import plugin
from providers.local.ends import STILL_ENDING, Ends
from providers.local.launch import HERE, free_port
from providers.local.options import LocalOptions, LocalSettings
from providers.local.provider import LocalProvider
from tests.local.engines import (
    SLOW_ENGINE,
    killed_parent,
    slow_launch,
    supervised,
    survivors,
    until,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    return Ends(tmp_path / "engines")


def test_where_no_engine_was_up_nothing_outlived_its_gateway(ends: Ends) -> None:
    assert ends.ended_by(NOW) == NOW


@pytest.mark.parametrize("argv", [("/nowhere/python",), None], ids=["no-process", "called-off"])
async def test_a_boot_that_came_to_nothing_leaves_no_doubt(
    http: Http, ends: Ends, tmp_path: Path, argv: tuple[str, ...] | None
) -> None:
    changes: dict[str, Any] = {} if argv is None else {"argv": argv}
    async with supervised(http, "--load-seconds", 60, ends=ends, **changes) as supervisor:
        booting = asyncio.create_task(supervisor.boot())
        if argv is None:
            await until(lambda: any((tmp_path / "engines").glob("*")))
            booting.cancel()
        await asyncio.gather(booting, return_exceptions=True)
        assert list((tmp_path / "engines").iterdir()) == []


def test_an_orphan_says_when_it_has_ended(ends: Ends) -> None:
    """The real guard, a real program, and a parent that gets SIGKILL."""
    end_file = ends.begin()
    began = datetime.now(UTC) - timedelta(seconds=1)
    command = [sys.executable, str(SLOW_ENGINE), "--port", str(free_port())]
    family = killed_parent(
        [sys.executable, "-P", str(HERE / "guard.py")],
        {"command": command, "environment": {}, "end_file": str(end_file)},
        until=lambda _: is_held(end_file),
    )
    assert survivors(family) == []
    ended_by = Ends(end_file.parent).ended_by(NOW)
    assert ended_by is not None and began < ended_by < datetime.now(UTC) + timedelta(seconds=1)


def is_held(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_one_that_has_not_ended_yet_will_soon(ends: Ends) -> None:
    holder = os.open(ends.begin(), os.O_WRONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    ended = ends.begin()
    ended.write_text("ended")
    assert ends.ended_by(NOW) == NOW + STILL_ENDING
    os.close(holder)


def test_one_that_was_killed_as_well_has_not_said_when(ends: Ends) -> None:
    ends.begin().write_text("ended")
    ends.begin()
    assert ends.ended_by(NOW) is None


def test_the_last_end_of_several_counts(ends: Ends) -> None:
    for at in (1_000_000.0, 3_000_000.0, 2_000_000.0):
        path = ends.begin()
        path.write_text("ended")
        os.utime(path, (at, at))
    assert ends.ended_by(NOW) == datetime.fromtimestamp(3_000_000, UTC)


def test_the_first_new_engine_clears_away_what_was_told(ends: Ends, tmp_path: Path) -> None:
    told = ends.begin()
    told.write_text("ended")
    again = Ends(tmp_path / "engines")
    first, second = again.begin(), again.begin()
    assert not told.exists() and first.exists() and second.exists()


async def test_an_engine_whose_end_was_seen_leaves_nothing(
    ends: Ends, tmp_path: Path, http: Http
) -> None:
    instance = await slow_launch(http, ends=ends).start()
    (path,) = (tmp_path / "engines").iterdir()
    assert is_held(path)
    await instance.child.stop()
    assert list((tmp_path / "engines").iterdir()) == []


async def test_a_deployment_with_an_engine_of_its_own_can_say_it(
    tmp_path: Path, http: Http
) -> None:
    provider = plugin.build(LocalSettings(), Host(http, tmp_path))
    assert isinstance(provider, LocalProvider)
    own = provider.bind("m", LocalOptions(command=(sys.executable, str(SLOW_ENGINE))))
    elsewhere = provider.bind("m", LocalOptions(url="http://127.0.0.1:9"))
    assert isinstance(own, EndsWithGateway) and own.ended_by(NOW) == NOW
    assert not isinstance(elsewhere, EndsWithGateway)
    await provider.aclose()
