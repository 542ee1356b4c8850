"""One child process: its lifeline, its reports, its last words and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0  # between the request to end and SIGKILL
DRAIN_SECONDS = 1.0  # for the last words of a child that has ended
REPORT_BYTES = 64 * 1024
TAIL_LINES = 30
LINE_CHARACTERS = 400


class _ExitProtocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells of the end of the process itself.

    ``Process.wait`` also waits for its pipes, which workers that have outlived it hold open.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=REPORT_BYTES, loop=loop)
        self.exited: asyncio.Future[None] = loop.create_future()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set_result(None)


class Child:
    """A process that ends when its stdin closes. It writes reports to stdout, a log to stderr."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        exit: asyncio.Future[None],
        end_file: Path | None,
    ) -> None:
        self._process = process
        self._end_file = end_file
        self.exit = exit
        """Done when the process has ended; awaiting it through ``asyncio.wait`` is safe."""
        self.told_to_end = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._log = asyncio.create_task(self._keep_log())

    @classmethod
    async def spawn(
        cls, argv: Sequence[str], config: Mapping[str, Any], end_file: Path | None = None
    ) -> Child:
        """Start it and send it ``config``: secrets on argv would be seen by every local user.

        ``end_file`` tells of its end where nobody is left to see it (see ``ends``). Raises: OSError
        when the system cannot start a process.
        """
        if end_file is not None:
            config = {**config, "end_file": str(end_file)}
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _ExitProtocol(loop),
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the gateway's: running streams may finish
            )
        except BaseException as error:
            _forget(end_file)  # nothing runs that could hold it
            if isinstance(error, OSError):  # uvloop's does not say what was not found
                raise OSError(error.errno, error.strerror, argv[0]) from error
            raise
        process = asyncio.subprocess.Process(transport, protocol, loop)
        child = cls(process, protocol.exited, end_file)
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(config).encode() + b"\n")
            with contextlib.suppress(ConnectionError):  # it is dead already: its exit code says why
                await process.stdin.drain()
        except BaseException:
            await child.stop()
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def last_words(self) -> str:
        """The end of what it wrote to stderr, for the operator's log only."""
        return "\n".join(self._tail)

    async def report(self) -> dict[str, Any] | None:
        """Its next report; None when it will not make another one."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            return None
        report: dict[str, Any] = json.loads(line)
        return report

    async def exited(self, within_seconds: float | None = None) -> bool:
        """Wait for its end, at most so long; whether it has ended."""
        await asyncio.wait({self.exit}, timeout=within_seconds)
        return self.exit.done()

    async def stop(self) -> int:
        """End it, with all that it started; its exit code (-n: ended by signal n).

        Bounded by the grace and drain times; may be called again, and after its end.
        """
        if self.alive:
            self.told_to_end = True
            assert self._process.stdin is not None
            self._process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self.exited(GRACE_SECONDS)
        self._kill_group()
        await self.exited()
        _forget(self._end_file)
        await asyncio.wait({self._log}, timeout=DRAIN_SECONDS)
        self._log.cancel()
        await asyncio.wait({self._log})
        assert self._process.returncode is not None
        return self._process.returncode

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self.pid, signal.SIGKILL)

    async def _keep_log(self) -> None:
        assert self._process.stderr is not None
        rest = ""
        while piece := await self._process.stderr.read(8192):
            # Progress bars end their lines with \r, and may never end them at all.
            *lines, rest = re.split(r"[\r\n]+", rest + piece.decode(errors="replace"))
            rest = rest[-LINE_CHARACTERS:]
            for line in filter(None, lines):
                self._tail.append(line[:LINE_CHARACTERS])
                logger.debug("engine %d: %s", self.pid, line[:LINE_CHARACTERS])
        if rest:
            self._tail.append(rest)


def _forget(end_file: Path | None) -> None:
    if end_file is not None:
        end_file.unlink(missing_ok=True)
