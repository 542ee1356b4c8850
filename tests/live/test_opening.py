"""Live tests run only where they are asked for, and dial nothing but their own service."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import ROOT, codes
from tests.emulators.openai_chat import OpenAIChat
from tests.live.services import SERVICES
from tests.network import Guard

ADDRESSES = {
    "api.example.com": "192.0.2.1",
    "files.example.org": "192.0.2.2",
    "example.net": "192.0.2.3",
}


def test_only_the_services_own_names_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ADDRESSES[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    guard = Guard(("api.example.com", "*.example.org"))
    guard.install(monkeypatch)
    assert not guard.allows_address("192.0.2.1")  # nobody has looked it up
    for host in ADDRESSES:
        socket.getaddrinfo(host, 443)
    assert [guard.allows_address(address) for address in ADDRESSES.values()] == [True, True, False]
    for host in ("example.com", "example.org", "api.example.com.example.net", "xexample.org"):
        assert not guard.allows_host(host)
    closed = Guard()
    closed.install(monkeypatch)
    socket.getaddrinfo("api.example.com", 443)
    assert not closed.allows_address("192.0.2.1") and closed.allows_address("127.0.0.1")


def test_every_variable_is_explained() -> None:
    told = codes(ROOT / "CONTRIBUTING.md")
    servers = ("SGLANG", "TGI", "NIM", "LLAMACPP", "OLLAMA")
    for service in SERVICES:
        for variable in service.needs:
            server = variable.split("_")[1]
            assert variable in told or (server in servers and server in told), variable


@pytest.mark.parametrize("asked", [True, False], ids=["asked for", "by chance"])
def test_a_key_alone_spends_nothing(asked: bool, emulator: Callable[[Any], str]) -> None:
    app = OpenAIChat()
    known = {
        "LIVE_OPENAI_CHAT_URL": emulator(app),
        "LIVE_OPENAI_CHAT_KEY": app.key,
        "LIVE_OPENAI_CHAT_MODEL": "warm",
    }
    chosen = ["tests/live/test_live.py", "-k", "openai_chat and not cancelled", "-q"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *chosen]
        + (["-m", "live"] if asked else []),
        cwd=ROOT,
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout
    assert len(app.received) == (3 if asked else 0)
    if asked:
        assert "3 passed" in ran.stdout
        assert "whole" in ran.stdout and "unknown (None); reported; 0.000021 USD" in ran.stdout
        assert app.key not in ran.stdout
    else:
        assert "3 skipped" in ran.stdout and "only with -m live" in ran.stdout
