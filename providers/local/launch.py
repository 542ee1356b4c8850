"""The two ways to start an engine as a child, and to know that it is ready."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from providers.contract import Http, ProviderError, UpstreamFailed
from providers.local.child import Child
from providers.local.ends import Ends
from providers.local.engine import Settings
from providers.local.failures import boot_failure

logger = logging.getLogger(__name__)

HERE = Path(__file__).parent
PORT_ATTEMPTS = 3
POLL_SECONDS = 0.05  # at first; a server that loads for minutes is asked less and less often
SLOWEST_POLL_SECONDS = 0.5
POLL_READ_TIMEOUT_SECONDS = 5.0
# llama.cpp promises to keep a connection and closes it after each stream, uvicorn (vLLM) after five
# idle seconds: the next request would fail, and nobody repeats a POST. A new one costs 0.1 ms here.
ONE_CONNECTION_EACH = {"connection": "close"}


@dataclass(frozen=True, slots=True)
class Instance:
    """One running engine; ``id`` names this start, ``report`` is what it said about its boot."""

    base_url: str
    api_key: str | None = field(repr=False)
    child: Child
    boot_seconds: float
    report: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"local-{secrets.token_hex(8)}")

    @property
    def own_seconds(self) -> float | None:
        """The boot by the child's own clock, its interpreter's start left out; None: not told."""
        if "ready_monotonic" not in self.report:
            return None
        return float(self.report["ready_monotonic"] - self.report["begun_monotonic"])

    @property
    def headers(self) -> dict[str, str]:
        key = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        return {**ONE_CONNECTION_EACH, **key}


class Launch(Protocol):
    """A way to start an engine. Raises: ProviderError; OSError. Cancelled, it leaves no process."""

    async def start(self) -> Instance: ...


@dataclass(frozen=True, slots=True)
class EmbeddedLaunch:
    """Starts the embedded engine. ``find_weights`` gives the model file, checked; it may block."""

    find_weights: Callable[[], Path]
    settings: Settings
    ends: Ends | None = None
    argv: tuple[str, ...] = (sys.executable, "-P", str(HERE / "engine.py"))

    async def start(self) -> Instance:
        begun_monotonic = time.monotonic()
        model_path = await asyncio.to_thread(self.find_weights)
        api_key = secrets.token_urlsafe(32)
        config = {**self.settings, "model_path": str(model_path), "api_key": api_key}
        child = await Child.spawn(
            self.argv, config, None if self.ends is None else self.ends.begin()
        )
        try:
            report = await _final_report(child)
            if not report.get("ready"):
                raise await _boot_failure(child, report)
        except BaseException:
            await child.stop()
            raise
        boot_seconds = time.monotonic() - begun_monotonic
        return Instance(str(report["url"]), api_key, child, boot_seconds, report)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class CommandLaunch:
    """Starts any server that can be told its port; ready when ``ready_path`` answers 200."""

    http: Http
    command: tuple[str, ...]
    model: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ready_path: str = "/health"
    ends: Ends | None = None
    choose_port: Callable[[], int] = free_port
    argv: tuple[str, ...] = (sys.executable, "-P", str(HERE / "guard.py"))

    async def start(self) -> Instance:
        for _ in range(PORT_ATTEMPTS):
            port = self.choose_port()
            instance = None if _is_taken(port) else await self._start_at(port)
            if instance is not None:
                return instance
            logger.info("port %d was taken before the engine could have it; trying another", port)
        raise UpstreamFailed("The local engine found no free port.")

    async def _start_at(self, port: int) -> Instance | None:
        """None: somebody else has taken the port meanwhile."""
        begun_monotonic = time.monotonic()
        api_key = self.api_key or self._new_key()
        known = {"{port}": str(port), "{model}": self.model, "{api_key}": api_key or ""}
        child = await Child.spawn(
            self.argv,
            {
                "command": [_fill_in(text, known) for text in self.command],
                "environment": {k: _fill_in(v, known) for k, v in self.environment.items()},
            },
            None if self.ends is None else self.ends.begin(),
        )
        instance = Instance(f"http://127.0.0.1:{port}", api_key, child, 0.0)
        try:
            if not await self._comes_up(instance):
                if _is_taken(port):
                    await child.stop()
                    return None
                raise await _boot_failure(child, await _final_report(child))
        except BaseException:
            await child.stop()
            raise
        return replace(instance, boot_seconds=time.monotonic() - begun_monotonic)

    def _new_key(self) -> str | None:
        named = any("{api_key}" in text for text in (*self.command, *self.environment.values()))
        return secrets.token_urlsafe(32) if named else None

    async def _comes_up(self, instance: Instance) -> bool:
        """Whether it became ready; False when its process has ended."""
        answer = asyncio.create_task(self._answer(instance))
        try:
            # Whoever else listens at the port may keep a poll waiting.
            await asyncio.wait({answer, instance.child.exit}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
            return not instance.child.exit.done()
        finally:
            answer.cancel()
            await asyncio.wait({answer})

    async def _answer(self, instance: Instance) -> None:
        poll_seconds = POLL_SECONDS
        while not await self._is_ready(instance):
            await asyncio.sleep(poll_seconds)
            poll_seconds = min(poll_seconds * 1.2, SLOWEST_POLL_SECONDS)

    async def _is_ready(self, instance: Instance) -> bool:
        try:
            async with self.http.send(
                "GET",
                instance.base_url + self.ready_path,
                headers=instance.headers,
                read_timeout_seconds=POLL_READ_TIMEOUT_SECONDS,
            ) as response:
                return response.status == 200
        except ProviderError:
            return False  # not listening yet, or listening and not answering yet


async def _final_report(child: Child) -> dict[str, Any]:
    while (report := await child.report()) is not None:
        if "ready" in report or "failed" in report:
            return report
    return {}


async def _boot_failure(child: Child, report: Mapping[str, Any]) -> ProviderError:
    await child.exited(within_seconds=1.0)
    exit_code = await child.stop()
    reason = report.get("failed")
    logger.error(
        "the local engine did not start (%s, exit code %d); its last words:\n%s",
        reason or "no reason given",
        exit_code,
        child.last_words,
    )
    return boot_failure(exit_code, reason)


def _fill_in(text: str, known: Mapping[str, str]) -> str:
    # Not str.format: commands hold braces of their own (JSON arguments, say).
    for placeholder, value in known.items():
        text = text.replace(placeholder, value)
    return text


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False
