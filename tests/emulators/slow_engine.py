"""A server that takes a while to come up and then speaks OpenAI's chat dialect; a real program.

It stands for any ``command:`` engine. Standard library only, to start quickly.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OK: dict[str, object] = {"status": "ok"}
LOADING: tuple[int, dict[str, object]] = (
    503,
    {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Engine

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(*((200, OK) if self.server.loaded else LOADING))
        else:
            self._answer(404, {"error": {"message": "no such path", "code": 404}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.server.arguments.api_key
        if key and self.headers["authorization"] != f"Bearer {key}":
            self._answer(401, {"error": {"message": "wrong key", "code": 401}})
        elif not self.server.loaded:
            self._answer(*LOADING)
        elif self.path != "/v1/chat/completions" or not body["stream"]:
            self._answer(404, {"error": {"message": "no such path", "code": 404}})
        else:
            self._stream(body)

    def _stream(self, body: dict[str, object]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        words = self.server.arguments.words
        for n in range(words):
            self._frame(choices=[{"index": 0, "delta": {"content": f"w{n} "}}])
            time.sleep(self.server.arguments.word_seconds)
        self._frame(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self._frame(choices=[], usage={"prompt_tokens": 7, "completion_tokens": words})
        self.wfile.write(b"data: [DONE]\n\n")

    def _frame(self, **frame: object) -> None:
        frame |= {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "slow"}
        self.wfile.write(b"data: " + json.dumps(frame).encode() + b"\n\n")
        self.wfile.flush()

    def _answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Engine(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.begun_monotonic = time.monotonic()
        super().__init__(("127.0.0.1", arguments.port), Handler)

    @property
    def loaded(self) -> bool:
        load_seconds: float = self.arguments.load_seconds
        ready_file: Path | None = self.arguments.ready_file
        if ready_file is not None and not ready_file.exists():
            return False
        return time.monotonic() - self.begun_monotonic >= load_seconds


def _boot_seconds(arguments: argparse.Namespace) -> float:
    boot_seconds: float = arguments.boot_seconds
    if not arguments.boot_sigma:
        return boot_seconds
    starts = len(arguments.starts_file.read_text().splitlines()) if arguments.starts_file else 0
    dice = random.Random(f"{arguments.boot_seed}:{starts}")
    return boot_seconds * math.exp(dice.gauss(0.0, arguments.boot_sigma))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", default=os.environ.get("SLOW_ENGINE_KEY", ""))
    parser.add_argument("--boot-seconds", type=float, default=0.0, help="before it listens")
    parser.add_argument("--boot-sigma", type=float, default=0.0, help="boots are lognormal then")
    parser.add_argument("--boot-seed", default="", help="of these, by the lines of --starts-file")
    parser.add_argument("--load-seconds", type=float, default=0.0, help="while it says 'loading'")
    parser.add_argument("--ready-file", type=Path, help="it says 'loading' until there is one")
    parser.add_argument("--words", type=int, default=3)
    parser.add_argument("--word-seconds", type=float, default=0.0)
    parser.add_argument("--die-of", type=int, help="a signal, instead of booting")
    parser.add_argument("--fail", action="store_true", help="exit with 7, instead of booting")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--worker-pid-file", type=Path, help="start a worker process as well")
    parser.add_argument("--starts-file", type=Path, help="one line for each start")
    arguments = parser.parse_args()
    if arguments.starts_file:
        with arguments.starts_file.open("a") as file:
            file.write(f"{os.getpid()}\n")
    if arguments.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if arguments.worker_pid_file:
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        arguments.worker_pid_file.write_text(str(worker.pid))
    print("slow engine: hello from the log", file=sys.stderr, flush=True)
    if arguments.die_of:
        if arguments.die_of != signal.SIGKILL:  # a shell in the background has it ignored
            signal.signal(arguments.die_of, signal.SIG_DFL)
        os.kill(os.getpid(), arguments.die_of)
    if arguments.fail:
        sys.exit(7)
    time.sleep(_boot_seconds(arguments))
    Engine(arguments).serve_forever()


if __name__ == "__main__":
    main()
