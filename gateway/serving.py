"""``gateway serve``: a socket, a banner, and uvicorn."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from pydantic import ValidationError

from gateway.app import Gateway, create_app
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.layout import keys_path
from gateway.limits.keystore import KeyStore, new_key
from gateway.presence import announce, url_of
from gateway.settings import ConfigError, KeySettings, Settings
from gateway.telemetry import JsonFormatter
from gateway.wire import KEEP_ALIVE_SECONDS, BoundedProtocol

_SAY_SECONDS = 3  # for the last words to callers whose operations were cancelled
_LOOK_SECONDS = 0.1  # as often as uvicorn looks whether a second Ctrl-C has come


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until a signal. ``say`` prints one line to the person who started it."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        settings, new_key = with_first_key(settings)
    except OSError as error:
        raise _unusable(settings.server.data_dir, error) from error
    app = create_app(settings)
    listener = _listen(settings.server.host, settings.server.port)
    port = listener.getsockname()[1]
    url = url_of(settings.server.host, port)

    def announced() -> None:
        announce(settings.server.data_dir, url)
        banner(settings, url, new_key, say)

    server = GatewayServer(app, settings, announced)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


class GatewayServer(uvicorn.Server):
    """uvicorn, which says why it cannot start, and that it is there only once it is.

    It runs the application's lifespan itself: uvicorn's own way prints a trace of a failed start
    and exits. ``run`` raises ConfigError instead.
    """

    def __init__(self, app: Gateway, settings: Settings, announce: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                loop="auto",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=math.ceil(settings.server.drain_seconds) + _SAY_SECONDS,
            )
        )
        self._app = app
        self._life = app.router.lifespan_context(app)
        self._drain_seconds = settings.server.drain_seconds
        self._data_dir = settings.server.data_dir
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then announce."""
        try:
            await self._life.__aenter__()
        except (OSError, LedgerUnavailable) as error:
            raise _unusable(self._data_dir, error) from error
        await super().startup(sockets)
        # What lives now lives for ever: a full collection that walks it at each growth spurt
        # was most of the 99th percentile (p99 60 ms with, 22 ms without, at 10 connections).
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let operations end, whether somebody is connected or not, then the application.

        Those that do not end in time are cancelled while their callers can still be told so.
        """
        executor = self._app.state.gateway.executor
        draining = asyncio.create_task(executor.drain(self._drain_seconds))
        await super().shutdown(sockets)
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=_LOOK_SECONDS)
        if not self.force_exit:
            await self._life.__aexit__(None, None, None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second Ctrl-C does not wait.

        Unlike uvicorn's, it does not raise the signal again in the end: a stop that was asked for
        and has been done is a success, exit status 0.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def _unusable(data_dir: Path, error: Exception) -> ConfigError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ConfigError(f"server.data_dir: {data_dir} cannot be used ({why})")


def banner(settings: Settings, url: str, new_key: str | None, say: Callable[[str], None]) -> None:
    """Where the gateway is, and a line to paste."""
    models = ", ".join(settings.models) or "no model"
    say(f"Serving {models} at {url}  (dashboard: {url}/dashboard)")
    if new_key is not None:
        say(f"Your key, shown only now: {new_key}")
    model = next(iter(settings.models), None)
    if model is None:
        return
    key = ""
    if settings.needs_keys:
        key = f" -H 'authorization: Bearer {new_key or '<key>'}'"
    body = json.dumps({"model": model, "input": "Why is the sky blue?"})
    say("Try:")
    say(f"  curl {url}/v1/generate -H 'content-type: application/json'{key} -d '{body}'")


def with_first_key(settings: Settings) -> tuple[Settings, str | None]:
    """The settings with a key, where keys are needed and none is configured.

    The first start makes one and keeps its hash in the data folder; the key itself is returned
    once and kept nowhere.
    """
    if not settings.needs_keys or settings.auth.keys:
        return settings, None
    data_dir = settings.server.data_dir
    kept = data_dir / "first-key.json"
    key = None
    if not kept.exists() and any(
        k.revoked_at_us is None for k in KeyStore(keys_path(data_dir)).keys()
    ):
        return settings, None
    if kept.exists():
        try:
            entry = KeySettings.model_validate_json(kept.read_bytes())
        except ValidationError as error:
            raise ConfigError(f"{kept}: it is spoilt; delete it for a new first key") from error
    else:
        key, entry = make_key("first", frozenset({"admin"}))
        _keep(kept, entry)
    auth = settings.auth.model_copy(update={"keys": (entry,)})
    return settings.model_copy(update={"auth": auth}), key


def make_key(name: str, scopes: frozenset[str]) -> tuple[str, KeySettings]:
    """A new random key and what the configuration keeps of it."""
    key, digest = new_key()
    entry = KeySettings.model_validate({"name": name, "sha256": digest, "scopes": scopes})
    return key, entry


def _keep(path: Path, entry: KeySettings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".new")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    half.write_text(entry.model_dump_json())
    half.replace(path)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its name: without uvloop, asyncio turns delays off only where the protocol says "TCP".
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"server.port: cannot listen on {host}:{port} ({error.strerror})"
        ) from error
    listener.listen(2048)
    listener.set_inheritable(False)
    return listener
