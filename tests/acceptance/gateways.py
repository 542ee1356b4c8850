"""``gateway serve`` as a user runs it, and a standard-library client that calls it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

_SCRIPT = Path(sys.executable).with_name("gateway")
COMMAND = (str(_SCRIPT),) if _SCRIPT.exists() else (sys.executable, "-m", "gateway")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY")}
START_SECONDS = 60.0
QUESTION = "Why is the sky blue?"
_SERVING = re.compile(r"^Serving .* at http://127\.0\.0\.1:(\d+) ", re.MULTILINE)
_READY = re.compile(r"engine (\d+) ready in ([\d.]+) s \(([\d.]+) s by its own clock\)")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass(frozen=True)
class Boot:
    """What the log says about one start of an engine."""

    pid: int
    seconds: float
    own_seconds: float


@dataclass
class Gateway:
    """A running gateway process."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    log: Path
    family: dict[int, psutil.Process] = field(default_factory=dict)
    """All children that were ever seen."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        connection = self.connect()
        try:
            return exchange(connection, method, path, body)
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def generate(self, model: str = "smollm2", **body: Any) -> Any:
        """An answer of /v1/generate that must be one."""
        answer = self.call("POST", "/v1/generate", {"model": model, "input": QUESTION, **body})
        assert answer.status == 200, answer
        return answer.json

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    @contextmanager
    def stream(self, model: str = "smollm2", **body: Any) -> Iterator[Iterator[tuple[str, Any]]]:
        """The events of a streamed /v1/generate; leaving the block hangs up."""
        connection = self.connect()
        try:
            asked = {"model": model, "input": QUESTION, "stream": True, **body}
            connection.request("POST", "/v1/generate", json.dumps(asked), _JSON)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield _events(response)
        finally:
            connection.close()

    def boots(self) -> list[Boot]:
        found = _READY.findall(self.log.read_text())
        return [Boot(int(pid), float(seconds), float(own)) for pid, seconds, own in found]

    def children(self, of: str) -> dict[int, psutil.Process]:
        """Living children by what they run: ``engine.py``, ``gateway.ledger.shipping.shipper``."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            self.family[child.pid] = child
            try:
                if any(of in argument for argument in child.cmdline()):
                    found[child.pid] = child
            except psutil.Error:
                continue
        return found

    def engines(self) -> dict[int, psutil.Process]:
        return self.children("providers/local/engine.py")

    def shippers(self) -> dict[int, psutil.Process]:
        return self.children("gateway.ledger.shipping.shipper")

    def kill(self) -> None:
        """SIGKILL, to the gateway alone."""
        self.children("")
        self.process.kill()
        self.process.wait(10)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self.children("")
        self.process.terminate()

    def left_over(self, within_seconds: float) -> list[psutil.Process]:
        """Children that still live after so long."""
        deadline = time.monotonic() + within_seconds
        while left := [child for child in self.family.values() if _lives(child)]:
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
        return left


_JSON = {"content-type": "application/json"}


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
) -> Answer:
    """One request and its whole answer; ``body``: bytes as they are, anything else as JSON."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, raw, {} if raw is None else _JSON)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def _lives(process: psutil.Process) -> bool:
    """Whether it runs; the dead whom nobody has buried do not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _events(response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    event = ""
    while line := response.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)


def spawn(*arguments: str | Path, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """``gateway`` with these arguments; all that it prints goes to ``log``."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**ENVIRONMENT, **environment},
            cwd=log.parent,
        )


@contextmanager
def serving(config: Path, data_dir: Path, log: Path, **environment: str) -> Iterator[Gateway]:
    """A gateway while the block runs. Nothing of it may be left behind, however it ended."""
    begun = time.monotonic()
    arguments = ("serve", "--config", config, "--port", "0", "--data-dir", data_dir)
    process = spawn(*arguments, log=log, **environment)
    gateway = Gateway(process, 0, data_dir, log)
    try:
        while (found := _SERVING.search(log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() - begun < START_SECONDS, log.read_text()
            time.sleep(0.01)
        gateway.port = int(found[1])
        yield gateway
    finally:
        if process.poll() is None:
            gateway.children("")
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        left_over = gateway.left_over(10)
        for child in left_over:
            child.kill()
        assert not left_over, f"left behind by the gateway: {left_over}"


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str


def run(*arguments: str | Path, **environment: str) -> Ran:
    """``gateway`` with these arguments, to its end."""
    return run_all([arguments], **environment)[0]


def run_all(commands: Sequence[Sequence[str | Path]], **environment: str) -> list[Ran]:
    """Several commands at once: most of each is the start of an interpreter."""
    started = [
        subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**ENVIRONMENT, **environment},
            text=True,
        )
        for arguments in commands
    ]
    said = [process.communicate(timeout=60) for process in started]
    return [Ran(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


def until(condition: Callable[[], object], within_seconds: float = 10.0) -> float:
    """Wait for a condition of other processes; the seconds that it took."""
    begun = time.monotonic()
    while not condition():
        elapsed = time.monotonic() - begun
        assert elapsed < within_seconds, f"still not so after {elapsed:.1f} s"
        time.sleep(0.01)
    return time.monotonic() - begun
