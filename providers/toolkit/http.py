"""The one implementation of the ``Http`` seam, and the only module that names an HTTP engine.

The engine is aiohttp. Measured here (32 connections, a small JSON POST, nginx on loopback, uvloop):
httpx 0.28 needs 2,800 µs of CPU a request, aiohttp 3.14 64 to 98, pyreqwest 0.15 39 to 71. The last
is out all the same: a task cancelled while it waits for the answer's head never closes its
connection (0.15.1 drops the handle of its runtime's task, which goes on), so an upstream would go
on working, and billing, for a caller who has left.

What holds here, whatever the engine:

* No redirect is followed, no cookie kept, no request repeated, no body decompressed (so a cap on
  bytes read is a cap on memory; a compressed answer, which nobody asked for, is refused).
* Nothing is read from the environment: ``HTTP_PROXY`` and ``.netrc`` have no effect, the settings'
  ``proxy`` has.
* Timeouts are named: one for a connection (looking the name up, connecting, TLS: each), one for
  each read. There is no total; bounding an attempt is the gateway's work.
* Leaving ``send``'s context, also by cancellation, closes the connection of an unread body.
* Errors hold no address, header or body.
"""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from providers.contract import (
    CredentialsRejected,
    Http,
    HttpResponse,
    ProtocolViolation,
    ProviderError,
    ProviderSettings,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)

READ_TIMEOUT_SECONDS = 900.0  # a backstop: the gateway's deadlines, by phase, come first
USER_AGENT = "serverless-inference-gateway"
_IDLE_CONNECTION_SECONDS = 30.0  # below the idle time after which load balancers drop silently
_LARGE_BODY_BYTES = 1 << 20  # above this the engine wants a file, not bytes

allow_host: Callable[[str], bool] | None = None
"""Asked with the host of every request; the test suite sets it so that only loopback is dialled."""


class HostNotAllowed(RuntimeError):
    """A request to a host that ``allow_host`` refuses."""


def open_http(
    settings: ProviderSettings, *, read_timeout_seconds: float = READ_TIMEOUT_SECONDS
) -> Http:
    """A pooled client for one provider block; it connects on first use, and ``aclose`` ends it.

    Units:   ``read_timeout_seconds`` bounds the wait for the head and then for each read.
    Raises:  OSError or ssl.SSLError when ``ca_file`` cannot be read, ValueError for a bad proxy.
    """
    return _AiohttpHttp(settings, read_timeout_seconds)


def connection_refused(error: BaseException | None) -> bool:
    """Whether nobody listened at the address: a server that is down or still starting."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = getattr(error, "os_error", None) or error.__cause__
    return False


class _AiohttpHttp:
    def __init__(self, settings: ProviderSettings, read_timeout_seconds: float) -> None:
        self._settings = settings
        self._timeout = self._timeouts(read_timeout_seconds)
        self._proxy = URL(settings.proxy) if settings.proxy else None
        if self._proxy is not None and self._proxy.scheme not in ("http", "https"):
            raise ValueError("proxy must be an http:// or https:// URL")
        self._tls: ssl.SSLContext | bool = True
        if settings.ca_file is not None:
            self._tls = ssl.create_default_context()
            self._tls.load_verify_locations(cafile=settings.ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> _Exchange:
        timeout = self._timeout
        if read_timeout_seconds is not None:
            timeout = self._timeouts(read_timeout_seconds)
        return _Exchange(self, method, url, headers, content, timeout)

    async def aclose(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def begin(self, exchange: _Exchange) -> aiohttp.ClientResponse:
        """Send, and come back with the head of the answer."""
        session = self._session or self._open_session()
        url = URL(exchange.url, encoded=True)
        if allow_host is not None and not allow_host(url.host or ""):
            raise HostNotAllowed(f"{url.host} must not be dialled here")
        content = exchange.content
        large = content is not None and len(content) > _LARGE_BODY_BYTES
        return await session.request(
            exchange.method,
            url,
            headers=exchange.headers,
            data=io.BytesIO(content or b"") if large else content,
            timeout=exchange.timeout,
            allow_redirects=False,
        )

    def _timeouts(self, read_timeout_seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None,
            connect=None,  # would count the wait for a free connection too
            sock_connect=self._settings.connect_timeout_seconds,
            sock_read=read_timeout_seconds,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        # Not in __init__: the engine binds itself to the loop that runs now.
        if self._closed:
            raise UpstreamUnreachable("The gateway's connections to the provider are closed.")
        settings = self._settings
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        headers |= {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=settings.max_connections,
                keepalive_timeout=_IDLE_CONNECTION_SECONDS,
                ssl=self._tls,
                resolver=_BoundedResolver(settings.connect_timeout_seconds),
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
            proxy=self._proxy,
        )
        # No public switch: the engine repeats GET, PUT and DELETE once when a pooled connection
        # turns out to be dead. Whether to repeat is decided where money is counted, not here.
        self._session._retry_connection = False
        return self._session


class _BoundedResolver(AbstractResolver):
    """The engine's resolver with a bound: its connect timeout begins after the look-up."""

    def __init__(self, seconds: float) -> None:
        self._inner = aiohttp.ThreadedResolver()
        self._seconds = seconds

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._inner.resolve(host, port, family)
        except TimeoutError as exc:
            raise OSError(None, "looking the name up took too long") from exc

    async def close(self) -> None:
        await self._inner.close()


class _Exchange:
    """One request and its answer, as an async context manager."""

    __slots__ = ("_http", "_response", "content", "headers", "method", "timeout", "url")

    def __init__(
        self,
        http: _AiohttpHttp,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        timeout: aiohttp.ClientTimeout,
    ) -> None:
        self._http = http
        self._response: aiohttp.ClientResponse | None = None
        self.method = method
        self.url = url
        self.headers = headers
        self.content = content
        self.timeout = timeout

    async def __aenter__(self) -> HttpResponse:
        try:
            self._response = await self._http.begin(self)
        except ProviderError:
            raise
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise translate(exc) from _harmless(exc)
        return _Answer(self._response)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._response is not None:
            self._response.close()  # back to the pool if it was read to the end; needs no await


class _Answer:
    __slots__ = ("_headers", "_response")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._headers: dict[str, str] | None = None

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        if self._headers is None:
            self._headers = {}
            for name, value in self._response.headers.items():
                self._headers.setdefault(name.lower(), value)
        return self._headers

    async def read(self, max_bytes: int) -> bytes:
        announced = self._response.content_length
        if announced is not None and announced > max_bytes:
            raise _too_long()
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > max_bytes:
                raise _too_long()
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self) -> AsyncIterator[bytes]:
        if self._response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ProtocolViolation("The provider compressed its answer, which nobody asked for.")
        return _Chunks(self._response.content)


class _Chunks:
    """Not a generator, so that a consumer who breaks off leaves nothing behind to close."""

    __slots__ = ("_body",)

    def __init__(self, body: aiohttp.StreamReader) -> None:
        self._body = body

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._body.readany()
        except (aiohttp.ClientError, HttpProcessingError, OSError) as exc:
            raise translate(exc) from _harmless(exc)
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _too_long() -> ProtocolViolation:
    return ProtocolViolation("The provider's answer is longer than allowed.")


# The first row that fits; the last rows are the roots of the engine's and Python's own trees.
_TRANSLATIONS: tuple[tuple[type[BaseException], type[ProviderError], str | None], ...] = (
    (aiohttp.ConnectionTimeoutError, UpstreamUnreachable, "connecting took too long"),
    (aiohttp.ClientConnectorCertificateError, UpstreamUnreachable, "its certificate is not valid"),
    (aiohttp.ClientSSLError, UpstreamUnreachable, "no TLS connection came about"),
    (aiohttp.ClientConnectorDNSError, UpstreamUnreachable, "its name could not be looked up"),
    (aiohttp.ClientProxyConnectionError, UpstreamUnreachable, "the proxy did not answer"),
    (aiohttp.ClientConnectorError, UpstreamUnreachable, None),
    (aiohttp.ClientHttpProxyError, UpstreamUnreachable, "the proxy refused the connection"),
    (aiohttp.ServerFingerprintMismatch, UpstreamUnreachable, "its certificate is not valid"),
    (aiohttp.InvalidURL, UpstreamUnreachable, "its configured address is not a valid URL"),
    (aiohttp.NonHttpUrlClientError, UpstreamUnreachable, "its address is not an HTTP URL"),
    (aiohttp.RedirectClientError, UpstreamFailed, "it sent a redirect"),
    (aiohttp.ServerTimeoutError, UpstreamTimeout, None),
    (aiohttp.ClientResponseError, ProtocolViolation, None),
    (aiohttp.ClientPayloadError, UpstreamFailed, "its answer broke off"),
    (aiohttp.ClientConnectionError, UpstreamFailed, "it closed the connection"),
    (aiohttp.ClientError, UpstreamFailed, None),
    (HttpProcessingError, ProtocolViolation, None),
    (aiohttp.WSMessageTypeError, ProtocolViolation, None),
    (TimeoutError, UpstreamTimeout, None),
    (OSError, UpstreamFailed, "it closed the connection"),
    # The engine says ValueError only of what it was given: a line break in a key, mostly.
    (ValueError, CredentialsRejected, "a configured key or header is not valid in HTTP"),
)


def translate(exc: BaseException) -> ProviderError:
    """The contract's error for one of the engine's, in words that give nothing away."""
    for engine_class, error_class, words in _TRANSLATIONS:
        if isinstance(exc, engine_class):
            if error_class is UpstreamUnreachable and connection_refused(exc):
                words = "connection refused"
            summary = (error_class.__doc__ or "").strip().rstrip(".")
            return error_class(f"{summary}: {words}." if words else None)
    raise exc


def _harmless(exc: BaseException) -> BaseException:
    """``exc`` as a cause that may be logged: some of the engine's errors print URL and headers."""
    if isinstance(exc, aiohttp.ClientResponseError | aiohttp.InvalidURL | ValueError):
        return RuntimeError(type(exc).__name__)
    return exc
