"""The gateway's side of the shipper: keeps the child process alive and knows how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.telemetry_settings import TelemetrySettings

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 10.0
_KNOWN_FILES = 256


class ShipperProcess:
    """The child process ``python -m gateway.ledger.shipper``, restarted when it dies.

    Nothing here touches the database: the child says on its standard output how far it is.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        log: bool = True,
        rollup_tags: Sequence[str] = (),
        keep_days: int | None = None,
        telemetry: TelemetrySettings | None = None,
        python: str = sys.executable,
    ) -> None:
        # -P: a folder "gateway" in the working directory must not pass for this package.
        module = "gateway.ledger.shipping.shipper"
        self.command = [python, "-P", "-m", module, "--data-dir", str(data_dir)]
        if not log:
            self.command.append("--no-log")
        for name in rollup_tags:
            self.command.append(f"--rollup-tag={name}")
        if keep_days is not None:
            self.command.append(f"--keep-days={keep_days}")
        if telemetry is not None and telemetry.exports:
            if telemetry.otlp_endpoint is not None:
                self.command += ["--otlp-endpoint", telemetry.otlp_endpoint]
            if telemetry.otlp_metrics_endpoint is not None:
                self.command += ["--otlp-metrics-endpoint", telemetry.otlp_metrics_endpoint]
            self.command += ["--service-name", telemetry.service_name]
        self._changed: Callable[[int], None] = lambda number: None
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._offsets: dict[str, int] = {}
        self._shipped_at_us = 0
        self._advanced = asyncio.Event()
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """Of the child that runs now; None between two lives."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child lives at this moment."""
        return self._process is not None and self._process.returncode is None

    @property
    def shipped_at_us(self) -> int:
        """When rows last came into the database, by what the child has said; 0: it has not."""
        return self._shipped_at_us

    @property
    def offsets(self) -> Mapping[str, int]:
        """How far each file of the journal is in the database, by what the child has said."""
        return self._offsets

    async def start(self, changed: Callable[[int], None] | None = None) -> None:
        """Start the child, and look after it from now on.

        ``changed`` is told the last number of ``spend_changes`` whenever there is a new one, and by
        each child when it begins: what one has not said before it died, the next one says.
        """
        if changed is not None:
            self._changed = changed
        self._keeper = asyncio.create_task(self._keep())

    def nudge(self) -> None:
        """Ask it to ship now instead of within 0.2 s."""
        if self._process is None or self._process.stdin is None:
            return
        pipe = self._process.stdin
        # One unread byte says as much as many.
        if not pipe.is_closing() and not pipe.transport.get_write_buffer_size():
            pipe.write(b"\n")

    async def wait_for(self, position: tuple[str, int], timeout_seconds: float = 1.0) -> bool:
        """Whether the database holds the journal up to ``Journal.position()``, or does in time."""
        name, offset = position
        if offset == 0 or self._offsets.get(name, -1) >= offset:
            return True
        self.nudge()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._offsets.get(name, -1) < offset:
                    await self._advanced.wait()
        return self._offsets.get(name, -1) >= offset

    async def aclose(self, patience_seconds: float = 5.0) -> None:
        """Let it ship what is there and end; kill it when that takes longer than the patience.

        What is not shipped then stays in the journal for the next start.
        """
        self._closing.set()
        if self._keeper is None:
            return
        self._let_go()
        done, _ = await asyncio.wait([self._keeper], timeout=patience_seconds)
        if not done and self._process is not None:
            logger.warning("shipper: did not end in %g s and is killed", patience_seconds)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._keeper

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _keep(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                status: int | str = await self._live()
            except OSError as error:
                status = str(error)
            if self._closing.is_set():
                return
            if loop.time() - began > 60:
                pause_seconds = _FIRST_PAUSE_SECONDS
            logger.error("shipper: ended (%s); again in %g s", status, pause_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._closing.wait()
                    return
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 2)
            self.restarts += 1

    async def _live(self) -> int:
        """One life of the child: returns its exit status."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,  # a Ctrl-C is the gateway's: what it still books is shipped
        )
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        try:
            if self._closing.is_set():
                self._let_go()
            async for said in process.stdout:
                self._note(said)
            return await process.wait()
        finally:
            self._let_go()
            self._process = None

    def _note(self, said: bytes) -> None:
        try:
            name, *figures = said.decode().split()
            if name == "changed":
                (number,) = figures
                self._changed(int(number))
                return
            reached, at_us = map(int, figures)
        except ValueError:
            logger.error("shipper: cannot understand what it says")
            return
        self._offsets.pop(name, None)
        self._offsets[name] = reached
        self._shipped_at_us = max(self._shipped_at_us, at_us)
        if len(self._offsets) > _KNOWN_FILES:
            self._offsets.pop(next(iter(self._offsets)))
        self._advanced.set()
        self._advanced = asyncio.Event()
