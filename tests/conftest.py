"""What every test stands on: asyncio, no way out of this machine, and servers on real sockets."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import NAMES, Browser, find, running_browser
from tests.network import Guard, asked_for_live
from tests.serving import Emulators, serve


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=3, help="how often acceptance tests kill a busy gateway"
    )


def pytest_sessionstart() -> None:
    gc.disable()  # until all tests are collected, which live as long as the session


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def network_guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only loopback may be dialled; by a live test that was asked for, its own service as well."""
    marker = request.node.get_closest_marker("live")
    hosts: tuple[str, ...] = ()
    if marker is not None and asked_for_live(request.config):
        (service,) = marker.args
        if service.missing(os.environ) is None:
            hosts = service.open_hosts(os.environ)
    Guard(hosts).install(monkeypatch)


@pytest.fixture(scope="session")
def _emulators() -> Iterator[Emulators]:
    apps = Emulators()
    with serve(apps) as apps.base_url:
        yield apps


@pytest.fixture
def emulator(_emulators: Emulators) -> Callable[[Any], str]:
    """``url = emulator(app)``: serves an ASGI app on a real socket, under a path of its own."""
    return _emulators.add


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real browser, where one is installed."""
    program = find()
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(NAMES)} is on the path")
    with running_browser(program, tmp_path_factory.mktemp("browser")) as browser:
        yield browser
