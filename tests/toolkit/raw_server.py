"""A server that answers with the bytes it is told to, and notes when the client hangs up."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawServer:
    """``heads``: the request heads that came; ``hung_up_at``: monotonic times of hang-ups."""

    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up_at: list[float] = field(default_factory=list)

    async def until_hung_up(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass
        self.hung_up_at.append(time.monotonic())


@asynccontextmanager
async def raw_server(
    play: Callable[[RawServer], Play], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """``play(server)`` answers one request; returning closes nothing, raising closes."""
    state = RawServer()
    answer = play(state)
    open_connections: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        state.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                state.heads.append(head)
                lengths = [x for x in head.lower().split("\r\n") if x.startswith("content-length")]
                length = int(lengths[0].partition(":")[2]) if lengths else 0
                state.bodies.append(await reader.readexactly(length))
                await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            open_connections.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        for task in open_connections:
            task.cancel()
        await asyncio.gather(*open_connections, return_exceptions=True)


def fixed(*pieces: bytes, close: bool = False) -> Callable[[RawServer], Play]:
    """Always the same bytes; ``close`` drops the connection after them."""

    def play(state: RawServer) -> Play:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if close:
                raise ConnectionAbortedError

        return answer

    return play


def held(*pieces: bytes) -> Callable[[RawServer], Play]:
    """Sends the pieces, then waits for the client to leave."""

    def play(state: RawServer) -> Play:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            await state.until_hung_up(reader)
            raise ConnectionAbortedError

        return answer

    return play
