"""Modal as its SDK sees it: a gRPC control plane and a blob store on real sockets of loopback.

    with serve_modal(boot_seconds=12.0) as modal:
        ...                             # modal.url, modal.token, modal.world, modal.truths("warm")

The unmodified SDK (modal 1.6.4) accepts it with ``server_url`` alone. The scenario is the name of
the function (``providers.testing.scenarios``): ``warm`` is a function, ``warm@stream`` a generator,
and ``warm`` as a class has the methods ``generate`` and ``stream``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from aiohttp import web
from grpclib.server import Server
from modal._utils.grpc_utils import custom_detail_codec

from tests.emulators.modal_rpc import ControlPlane
from tests.emulators.modal_world import Call, Truth, scenario_of

TOKEN = ("ak-emulated-51c0", "as-emulated-9b7e2d4a")
T = TypeVar("T")


class Modal(ControlPlane):
    """The running service; an ``Upstream`` of the contract suite."""

    key = TOKEN[1]

    def __init__(self, **world: Any) -> None:
        super().__init__(TOKEN, **world)
        self.loop: asyncio.AbstractEventLoop
        self.stop: asyncio.Event

    def began(self, scenario: str) -> int:
        return len(self.calls(scenario))

    def stopped(self, scenario: str) -> int:
        return self.stopped_calls.count(scenario)

    def calls(self, scenario: str) -> list[Call]:
        """The calls of one function, however it was reached, in order."""
        return [c for c in list(self.world.calls.values()) if scenario_of(c.function) == scenario]

    def truths(self, scenario: str) -> list[Truth]:
        """What really happened to those calls that have started."""
        return [self.world.truth(c) for c in self.calls(scenario) if c.started_at is not None]

    def kill(self) -> None:
        """End the whole service, whatever it is doing."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self.loop.call_soon_threadsafe(self.stop.set)

    def forget(self) -> None:
        """A new workspace: no calls, no containers; the clock goes on."""

        def clear() -> None:
            self.world.forget()
            self.stopped_calls.clear()
            self.received.clear()

        self.do(clear)

    def do(self, work: Callable[[], T]) -> T:
        """Run something in the world's own thread."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(5)

    def count(self, rpc: str) -> int:
        """How often an RPC was called."""
        return sum(received.rpc == rpc for received in list(self.received))


@contextlib.contextmanager
def serve_modal(**world: Any) -> Iterator[Modal]:
    """Run the service in a thread, on ephemeral ports; the arguments are the world's."""
    modal = Modal(**world)
    ready = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(modal, ready)), name="modal", daemon=True
    )
    thread.start()
    try:
        assert ready.wait(10), "the emulator did not start"
        yield modal
    finally:
        modal.kill()
        thread.join(10)
        assert not thread.is_alive(), "the emulator did not stop"


async def _serve(modal: Modal, ready: threading.Event) -> None:
    modal.loop, modal.stop = asyncio.get_running_loop(), asyncio.Event()
    server = _Server([modal.servicer()], status_details_codec=custom_detail_codec)
    blobs = web.AppRunner(_blob_store(modal), access_log=None)
    await blobs.setup()
    with _listener() as rpc_socket, _listener() as blob_socket:
        await server.start(sock=rpc_socket)
        await web.SockSite(blobs, blob_socket).start()
        modal.url = f"http://127.0.0.1:{rpc_socket.getsockname()[1]}"
        modal.blob_url = f"http://127.0.0.1:{blob_socket.getsockname()[1]}"
        ready.set()
        await modal.stop.wait()
        modal.world.stop()
        server.close()
        for transport in server.transports:
            transport.abort()
        await server.wait_closed()
        await blobs.cleanup()


class _Server(Server):
    """Remembers its connections: its own ``close`` leaves them open."""

    def __init__(self, *args: Any, **keys: Any) -> None:
        super().__init__(*args, **keys)
        self.transports: list[asyncio.Transport] = []

    def _protocol_factory(self) -> Any:
        protocol: Any = super()._protocol_factory()
        connection_made = protocol.connection_made

        def remember(transport: asyncio.Transport) -> None:
            self.transports.append(transport)
            connection_made(transport)

        protocol.connection_made = remember
        return protocol


def _listener() -> socket.socket:
    # Without the protocol's name asyncio does not set TCP_NODELAY, and every frame waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _blob_store(modal: Modal) -> web.Application:
    async def put(request: web.Request) -> web.Response:
        data = modal.blobs[request.match_info["id"]] = await request.read()
        return web.Response(headers={"ETag": f'"{hashlib.md5(data).hexdigest()}"'})

    async def get(request: web.Request) -> web.Response:
        return web.Response(body=modal.blobs[request.match_info["id"]])

    app = web.Application(client_max_size=64 << 20)
    app.router.add_put("/{id}", put)
    app.router.add_get("/{id}", get)
    return app
