"""One connection to a prediction's stream, read in a task of its own.

So silence can be noticed and something else done meanwhile, without ending the connection. A
booting model is silent for minutes.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

import anyio

from providers.contract import ProtocolViolation, ProviderError
from providers.replicate.api import Api
from providers.toolkit.sse import SseEvent, SseParser

_AHEAD = 16  # reads that wait for the consumer before reading pauses


class StreamReader:
    """A context; ``next`` gives what came. ``refused``: there is no such stream (any more)."""

    def __init__(self, api: Api, url: str, last_id: str) -> None:
        self.refused = False
        self.ended = False
        self.retry_seconds: float | None = None
        self._api = api
        self._url = url
        self._last_id = last_id
        self._read: asyncio.Queue[list[SseEvent] | BaseException | None] = asyncio.Queue(_AHEAD)

    async def __aenter__(self) -> StreamReader:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait((self._task,))

    async def next(self, seconds: float) -> list[SseEvent]:
        """The events of one read; empty after ``seconds`` of silence, or when it has ``ended``."""
        if self._read.empty():
            try:
                async with asyncio.timeout(seconds):
                    item = await self._read.get()
            except TimeoutError:
                return []
        else:
            item = self._read.get_nowait()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            self.ended = True
            return []
        return item

    async def _run(self) -> None:
        try:
            await self._connection()
        except ProtocolViolation as error:
            await self._read.put(error)
        except ProviderError:
            pass  # it broke: the consumer looks at the prediction, and may open it again
        except Exception as error:
            await self._read.put(error)
        await self._read.put(None)

    async def _connection(self) -> None:
        async with self._api.stream(self._url, self._last_id) as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if answer.status != 200 or kind != "text/event-stream":
                self.refused = True
                return
            parser = SseParser()
            async for chunk in answer.chunks():
                events = parser.feed(chunk)
                self.retry_seconds = parser.retry_seconds
                if events:
                    await self._read.put(events)
            # An event without its blank line may be cut; the prediction itself has the rest.
