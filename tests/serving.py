"""ASGI apps on real sockets: in-process transports buffer streams and hide hang-ups."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn


@contextlib.contextmanager
def serve(app: Any) -> Iterator[str]:
    """Run ``app`` in a thread on an ephemeral port of loopback; yields its base URL."""
    # The protocol by its name: asyncio turns Nagle's algorithm off only where it reads "TCP".
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_level="critical",
        lifespan="off",
        ws="none",
        loop="asyncio",
        timeout_keep_alive=75,  # longer than clients keep a connection
        timeout_graceful_shutdown=1,
        date_header=False,  # an app with a clock of its own says its own
    )
    server = Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), name="emulator", daemon=True
    )
    thread.start()
    try:
        assert server.ready.wait(10), "the emulator did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True  # requests that are held on purpose must not be waited for
        thread.join(10)
        listener.close()
        assert not thread.is_alive(), "the emulator did not stop"


class Emulators:
    """Many ASGI apps behind one server, each under its own path: starting one costs nothing."""

    def __init__(self) -> None:
        self.base_url = ""
        self._apps: dict[str, Any] = {}

    def add(self, app: Any) -> str:
        """Serve ``app``; gives its base URL."""
        name = str(len(self._apps))
        self._apps[name] = app
        return f"{self.base_url}/{name}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, name, rest = f"{scope['path']}/".split("/", 2)
        path = "/" + rest.removesuffix("/")
        await self._apps[name]({**scope, "path": path, "raw_path": path.encode()}, receive, send)


class Server(uvicorn.Server):
    """One that says when it is ready, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the test runner
