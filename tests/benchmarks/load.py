"""The load generator: wrk with a script of ours, and its result as a value.

wrk is a closed loop: each connection sends its next request when the last one is answered. So a
latency here is the latency at the highest rate the target can take, not at a comfortable one.
"""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.prerequisites import Broken

_SCRIPT = Path(__file__).with_name("load.lua")
_ANSWER_TIMEOUT_SECONDS = 30


class WrongStatus(Broken):
    """A target answered with another status than 200."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        super().__init__(f"POST {url} answered {status}: {body[:500]!r}")
        self.status = status


@dataclass(frozen=True)
class Call:
    """One request, sent again and again; ``check`` raises when an answer's body is wrong."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    check: Callable[[bytes], None]


@dataclass(frozen=True)
class LoadResult:
    """What one run of wrk saw. ``requests`` are answers that came back whole, of any status."""

    requests: int
    duration_seconds: float
    received_bytes: int
    p50_seconds: float
    p99_seconds: float
    max_seconds: float
    bad_statuses: int
    socket_errors: int

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.duration_seconds


def send_once(call: Call) -> bytes:
    """Send the request once, check its answer and give its body back."""
    url = urlsplit(call.url)
    assert url.hostname is not None
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=_ANSWER_TIMEOUT_SECONDS)
    try:
        connection.request("POST", url.path, body=call.body, headers=dict(call.headers))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise WrongStatus(call.url, response.status, body)
    call.check(body)
    return body


def put_under_load(
    wrk: str, call: Call, *, connections: int, duration_seconds: int, scratch: Path
) -> LoadResult:
    """Run wrk against one target. Broken when an answer was not 2xx, was cut or never came."""
    body_file = scratch / "request.json"
    body_file.write_bytes(call.body)
    headers = [f"{name}: {value}" for name, value in call.headers.items()]
    command = [
        *(wrk, "--latency", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{duration_seconds}s", "--timeout", f"{_ANSWER_TIMEOUT_SECONDS}s"),
        *("--script", str(_SCRIPT), call.url, "--", str(body_file), *headers),
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=duration_seconds + 60, check=False
    )
    lines = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    if run.returncode != 0 or len(lines) != 1:
        raise Broken(f"wrk failed ({run.returncode}):\n{run.stdout}{run.stderr}")
    result = _parse(lines[0].removeprefix("RESULT "))
    if result.bad_statuses or result.socket_errors:
        raise Broken(
            f"{call.url}: {result.requests} answers, {result.bad_statuses} not 2xx, "
            f"{result.socket_errors} lost to socket errors or timeouts"
        )
    return result


def _parse(line: str) -> LoadResult:
    fields = json.loads(line)
    losses = ("connect_errors", "read_errors", "write_errors", "timeouts")
    return LoadResult(
        requests=fields["requests"],
        duration_seconds=fields["duration_us"] / 1e6,
        received_bytes=fields["body_and_head_bytes"],
        p50_seconds=fields["p50_us"] / 1e6,
        p99_seconds=fields["p99_us"] / 1e6,
        max_seconds=fields["max_us"] / 1e6,
        bad_statuses=fields["bad_statuses"],
        socket_errors=sum(fields[name] for name in losses),
    )
