"""nginx twice: as the upstream that gives the fixed answers, and as the yardstick before it.

The yardstick is a plain ``proxy_pass`` with kept-alive connections: the least a relay on this
machine can cost. Each has one worker process, as every other target has.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import answers
from tests.benchmarks.process import ServerProcess, free_port, running_server

COMPLETION_PATH = "/v1/chat/completions"
STREAM_PREFIX = "/stream"
STREAM_PATH = STREAM_PREFIX + COMPLETION_PATH

_UPSTREAM_SERVER = """
    server {{
        listen 127.0.0.1:{port};
        location = /ready {{ return 200 "ready"; }}
        location = /status {{ stub_status; }}
        location = {completion_path} {{
            default_type application/json;
            return 200 '{completion}';
        }}
        # A file answers only GET: the detour by 405 makes the POST one.
        location = {stream_path} {{
            error_page 405 =200 /events.sse;
            return 405;
        }}
        location = /events.sse {{
            internal;
            root "{folder}";
            types {{ }}
            default_type text/event-stream;
        }}
    }}
"""

_PROXY_SERVER = """
    upstream answers {{
        server 127.0.0.1:{upstream_port};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location / {{ proxy_pass http://answers; }}
        location {stream_prefix}/ {{
            proxy_pass http://answers;
            proxy_buffering off;
        }}
    }}
"""


@dataclass(frozen=True)
class Nginx:
    """One running nginx: its master process and where it listens."""

    process: ServerProcess
    url: str
    port: int


class CallCounter:
    """Counts the calls that reached the upstream, by nginx's own count of requests."""

    def __init__(self, upstream: Nginx) -> None:
        self._url = f"{upstream.url}/status"
        self._own_calls = 0

    def __call__(self) -> int:
        self._own_calls += 1
        with urllib.request.urlopen(self._url, timeout=10) as response:
            # The third line reads: accepted connections, handled connections, requests.
            requests = int(response.read().split(b"\n")[2].split()[2])
        return requests - self._own_calls


@contextmanager
def running_upstream(program: str, scratch: Path) -> Iterator[Nginx]:
    """The upstream: both fixed answers, under COMPLETION_PATH and STREAM_PATH."""
    scratch.mkdir(parents=True)
    (scratch / "events.sse").write_text(answers.stream_body())
    port = free_port()
    server = _UPSTREAM_SERVER.format(
        port=port,
        completion_path=COMPLETION_PATH,
        completion=answers.completion_body(),
        stream_path=STREAM_PATH,
        folder=scratch,
    )
    with _running(program, server, port, scratch) as nginx:
        yield nginx


@contextmanager
def running_proxy(program: str, upstream: Nginx, scratch: Path) -> Iterator[Nginx]:
    """The yardstick: every path of the upstream, streams unbuffered."""
    scratch.mkdir(parents=True)
    port = free_port()
    server = _PROXY_SERVER.format(
        port=port, upstream_port=upstream.port, stream_prefix=STREAM_PREFIX
    )
    with _running(program, server, port, scratch) as nginx:
        yield nginx


@contextmanager
def _running(program: str, server: str, port: int, scratch: Path) -> Iterator[Nginx]:
    config = scratch / "nginx.conf"
    config.write_text(_config(program, server, scratch))
    command = [program, "-p", str(scratch), "-c", str(config)]
    with running_server(command, port=port, ready_path="/ready", scratch=scratch) as process:
        yield Nginx(process, url=f"http://127.0.0.1:{port}", port=port)


def _config(program: str, server: str, scratch: Path) -> str:
    top = [
        "daemon off;",
        "worker_processes 1;",
        f'pid "{scratch}/nginx.pid";',
        "error_log stderr error;",
        *_user_line(),
        "events { worker_connections 1024; }",
    ]
    http = [
        "access_log off;",
        "sendfile on;",
        "open_file_cache max=16;",
        "client_body_buffer_size 64k;",
        "keepalive_requests 1000000000;",
        "keepalive_timeout 600s;",
        *_temp_path_lines(program, scratch),
        server,
    ]
    return "\n".join([*top, "http {", *(f"    {line}" for line in http), "}", ""])


def _user_line() -> list[str]:
    """Root's nginx would drop to an account that cannot read the scratch folder."""
    if os.geteuid() != 0:
        return []
    return [f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"]


def _temp_path_lines(program: str, scratch: Path) -> list[str]:
    """Every temporary folder inside ``scratch``: the built-in ones belong to the system's nginx."""
    built = subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stderr
    modules = ["proxy", "fastcgi", "uwsgi", "scgi"]
    names = [name for name in modules if f"--without-http_{name}_module" not in built]
    return [f'{name}_temp_path "{scratch}/{name}";' for name in ["client_body", *names]]
