"""The one seam between an adapter and the network.

An adapter never names an HTTP library. ``providers.toolkit.http`` implements this protocol, with
the engine chosen by measurement; tests may implement it in a few lines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class HttpResponse(Protocol):
    """An answer whose body has not been read yet. Header names are lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises ProtocolViolation past ``max_bytes``, UpstreamFailed if cut."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item per read. Raises UpstreamFailed if cut."""
        ...


class Http(Protocol):
    """Sends requests over pooled connections.

    Raises: UpstreamUnreachable when no connection came about (nothing was sent),
            UpstreamTimeout when a named timeout passed, UpstreamFailed when the connection broke.
    Leaving the context closes the answer, and with it the connection of an unread body.
    """

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[HttpResponse]: ...

    async def aclose(self) -> None: ...
