"""Which addresses a test may dial: this machine, and for a live test the names of its service."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

import providers.toolkit.http


class NetworkUsed(RuntimeError):
    """A test dialled something that is not open to it."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def asked_for_live(config: pytest.Config) -> bool:
    """Whether live tests were selected by their marker: they are never run by chance."""
    expression = str(config.getoption("markexpr"))
    return re.search(r"\blive\b", expression) is not None and "not live" not in expression


class Guard:
    """Python's sockets and the HTTP seam, bounded. ``hosts``: names, ``*.example.com`` for below.

    An address outside of this machine is open only where one of the names led to it.
    """

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        self._hosts = hosts
        self._addresses: set[str] = set()

    def allows_host(self, host: str) -> bool:
        return is_loopback(host) or any(
            host == name or (name.startswith("*.") and host.endswith(name[1:]))
            for name in self._hosts
        )

    def allows_address(self, address: str) -> bool:
        return is_loopback(address) or address in self._addresses or address in self._hosts

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def guarded(method: str) -> Callable[..., Any]:
            original = getattr(socket.socket, method)

            def connect(sock: socket.socket, address: Any) -> Any:
                internet = sock.family in (socket.AF_INET, socket.AF_INET6)
                if internet and not self.allows_address(address[0]):
                    raise NetworkUsed(f"{address[0]} is not this machine")
                return original(sock, address)

            return connect

        look_up = socket.getaddrinfo

        def looked_up(host: Any, *rest: Any, **named: Any) -> Any:
            found = look_up(host, *rest, **named)
            name = host.decode() if isinstance(host, bytes) else host
            if self._hosts and name is not None and self.allows_host(name):
                self._addresses |= {str(row[4][0]) for row in found}
            return found

        monkeypatch.setattr(socket.socket, "connect", guarded("connect"))
        monkeypatch.setattr(socket.socket, "connect_ex", guarded("connect_ex"))
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        monkeypatch.setattr(providers.toolkit.http, "allow_host", self.allows_host)
