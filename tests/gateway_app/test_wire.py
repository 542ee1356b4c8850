"""Connections that never come to a request hold neither memory nor a place for long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any, cast

import pytest

from gateway import wire
from providers.contract import Delta, Finished
from providers.testing.scripted import Wait
from tests.gateway_app.gateways import Gateway, Scripts

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def dial(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=5)


MORE_THAN_FITS = 64 << 20
"""Bytes; what both sockets hold while the gateway has not looked is less than a quarter of it."""


def read_all(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("begun", [HEAD, b"GET /", HEAD + b"\r\n" + HEAD])
def test_a_head_without_an_end_is_cut(gateway: Gateway, begun: bytes) -> None:
    with dial(gateway) as connection:
        connection.sendall(begun)
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < MORE_THAN_FITS:
                sent += connection.send(b"x" * 16384)
        assert sent < MORE_THAN_FITS


def test_a_head_too_long_is_431(gateway: Gateway) -> None:
    with dial(gateway) as connection:
        connection.sendall(HEAD)
        for _ in range(5):
            connection.sendall(b"x: " + b"a" * 16000 + b"\r\n")
            time.sleep(0.01)
        assert read_all(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begun", [b"", HEAD])
def test_a_head_that_does_not_come_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.1)
    began = time.monotonic()
    with dial(gateway) as connection:
        connection.sendall(begun)
        assert read_all(connection) == b""
    assert time.monotonic() - began < 3


def test_bytes_after_a_request_do_not_end_its_answer(
    gateway: Gateway, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.05)
    scripts.only("plain", (Wait(0.2), Delta("late"), Finished(("stop",))))
    body = b'{"model":"plain","input":"Hi"}'
    with dial(gateway) as connection:
        connection.sendall(
            b"POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        time.sleep(0.03)
        connection.sendall(b"\r\n")  # some old clients do so
        said = connection.recv(65536)
    assert said.startswith(b"HTTP/1.1 200 ") and b'"late"' in said


def test_a_connection_serves_many_requests(gateway: Gateway) -> None:
    with dial(gateway) as connection:
        for _ in range(20):
            connection.sendall(HEAD + b"x: " + b"a" * 10000 + b"\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


class Told:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.said: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def close(self) -> None:
        self.said.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.said


async def test_an_answers_head_is_written_with_its_body() -> None:
    raw, head, large = Told(), b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (1 << 20)
    transport = wire.JoiningTransport(cast(Any, raw), asyncio.get_running_loop())
    transport.write(head)
    transport.write(b"{}")
    transport.write(b"more")
    assert raw.said == [head + b"{}", b"more"]
    transport.write(head)
    transport.write(large)  # is not copied
    assert raw.said[2:] == [head, large]
    transport.write(head)
    assert len(raw.said) == 4
    await asyncio.sleep(0)  # a stream that has nothing to say yet
    assert raw.said[4:] == [head]
    transport.write(head)
    assert not transport.is_closing()
    transport.close()
    assert raw.said[5:] == [head, b"closed"] and transport.is_closing()
