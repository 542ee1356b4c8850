"""What every test stands on: asyncio, no way out of this machine, and servers on real sockets."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import providers.toolkit.http
from tests.serving import Emulators, serve


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", type=int, default=5, help="how often acceptance tests kill a busy gateway"
    )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class NetworkUsed(RuntimeError):
    """A test dialled something other than this machine."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def network_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only loopback may be dialled, by Python's sockets and through the HTTP seam."""

    def guarded(method: str) -> Callable[..., Any]:
        original = getattr(socket.socket, method)

        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
                raise NetworkUsed(f"{address[0]} is not this machine")
            return original(self, address)

        return connect

    monkeypatch.setattr(socket.socket, "connect", guarded("connect"))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded("connect_ex"))
    monkeypatch.setattr(providers.toolkit.http, "allow_host", is_loopback)


@pytest.fixture(scope="session")
def _emulators() -> Iterator[Emulators]:
    apps = Emulators()
    with serve(apps) as apps.base_url:
        yield apps


@pytest.fixture
def emulator(_emulators: Emulators) -> Callable[[Any], str]:
    """``url = emulator(app)``: serves an ASGI app on a real socket, under a path of its own."""
    return _emulators.add
