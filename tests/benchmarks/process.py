"""A server as a process of its own: start it, wait until it answers, watch its CPU and memory."""

from __future__ import annotations

import http.client
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server

import psutil

from tests.benchmarks.prerequisites import Broken

_POLL_SECONDS = 0.005
_STOP_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Footprint:
    """CPU seconds since the start and resident bytes now, of a process and of its descendants."""

    cpu_seconds: float
    children_cpu_seconds: float
    rss_bytes: int
    children_rss_bytes: int

    def as_one(self) -> Footprint:
        """The process and its children as one sum."""
        return Footprint(
            cpu_seconds=self.cpu_seconds + self.children_cpu_seconds,
            children_cpu_seconds=0.0,
            rss_bytes=self.rss_bytes + self.children_rss_bytes,
            children_rss_bytes=0,
        )


@dataclass(frozen=True)
class ServerProcess:
    """A running server. ``ready_seconds``: from its start to its first 200."""

    popen: subprocess.Popen[bytes]
    log: Path
    ready_seconds: float

    @property
    def pid(self) -> int:
        return self.popen.pid

    def last_words(self) -> str:
        """How it ended and the last it said; empty while it runs."""
        if self.popen.poll() is None:
            return ""
        return f"\nits process has ended with {self.popen.returncode}:\n{_tail(self.log)}"

    def footprint(self) -> Footprint:
        """Read now. A child that has ended takes its CPU seconds with it.

        Raises Broken when the process itself has ended.
        """
        try:
            main = psutil.Process(self.pid)
            cpu_seconds, rss_bytes = _read(main)
            children = [_read_child(child) for child in main.children(recursive=True)]
        except psutil.NoSuchProcess as exc:
            raise Broken("the process is no more") from exc
        return Footprint(
            cpu_seconds=cpu_seconds,
            children_cpu_seconds=sum(cpu for cpu, _ in children),
            rss_bytes=rss_bytes,
            children_rss_bytes=sum(rss for _, rss in children),
        )


def _read(process: psutil.Process) -> tuple[float, int]:
    with process.oneshot():
        cpu = process.cpu_times()
        return cpu.user + cpu.system, process.memory_info().rss


def _read_child(child: psutil.Process) -> tuple[float, int]:
    try:
        return _read(child)
    except psutil.NoSuchProcess:
        return 0.0, 0


def free_port() -> int:
    """A port nobody listens on, below the range that systems hand out by themselves.

    A port of that range could go to another program before the server has taken it.
    """
    while True:
        port = random.randint(20_000, 29_999)
        try:
            create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


@contextmanager
def running_server(
    command: Sequence[str],
    *,
    port: int,
    ready_path: str,
    scratch: Path,
    ready_timeout_seconds: float = 30,
    folder: Path | None = None,
) -> Iterator[ServerProcess]:
    """The server while the block runs; SIGTERM after it. Broken when it does not come up or down.

    ``ready_path`` is asked until it answers 200. What the server prints goes to
    ``scratch/server.log``, and its tail into the message when something goes wrong. ``folder``:
    where it runs, if not in ``scratch``.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    log = scratch / "server.log"
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder or scratch
        )
    try:
        ready_at = _wait_until_ready(process, port, ready_path, begun + ready_timeout_seconds, log)
        yield ServerProcess(process, log, ready_seconds=ready_at - begun)
    finally:
        _stop(process, log)


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, path: str, deadline: float, log: Path
) -> float:
    while True:
        if _answers_200(port, path):
            ready_at = time.perf_counter()
            if _listens(process.pid, port):
                return ready_at
        if process.poll() is not None:
            raise Broken(f"{process.args!r} ended with {process.returncode}:\n{_tail(log)}")
        if time.perf_counter() > deadline:
            raise Broken(f"{process.args!r} was not ready in time:\n{_tail(log)}")
        time.sleep(_POLL_SECONDS)


def _listens(pid: int, port: int) -> bool:
    """Whether it was this process that answered, and not another that has the port."""
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    return any(
        sock.status == psutil.CONN_LISTEN and sock.laddr and sock.laddr.port == port
        for sock in sockets
    )


def _answers_200(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as exc:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()
        raise Broken(f"{process.args!r} did not stop on SIGTERM:\n{_tail(log)}") from exc


def _tail(log: Path, characters: int = 2_000) -> str:
    return log.read_text(errors="replace")[-characters:].rstrip()
