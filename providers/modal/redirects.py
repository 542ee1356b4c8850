"""Modal's proxy in front of web endpoints: its 303 after 150 s, and its own refusals.

Sources, read 2026-11-23: https://modal.com/docs/guide/webhook-timeouts (the 303 leads to the same
address with ``__modal_function_call_id``; asking there again waits for the same call),
https://modal.com/docs/guide/webhook-proxy-auth, and bodies quoted in public issues
(modal-labs/modal-client #4112 among them).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urljoin, urlsplit

from providers.contract import (
    CredentialsRejected,
    Http,
    HttpResponse,
    ModelNotFound,
    ProtocolViolation,
    ProviderError,
    QuotaExhausted,
    UpstreamFailed,
    UpstreamTimeout,
)

_SEE_OTHER = 303
_BODY_BYTES = 64 * 1024
_MARK = b"modal-http:"

# What the proxy says itself, in plain text; all seen or quoted in public by 2026-11-23.
_REFUSALS: tuple[tuple[int, bytes, type[ProviderError], str], ...] = (
    (401, b"", CredentialsRejected, "The endpoint wants a proxy auth token."),
    (404, b"is disabled", QuotaExhausted, "The Modal workspace is disabled."),
    (404, b"", ModelNotFound, "There is no such Modal endpoint, or its app is stopped."),
    (500, b"timed out", UpstreamTimeout, "The function ran into its own timeout."),
    (500, b"", UpstreamFailed, "The function failed."),
    (
        400,
        b"bad redirect method",
        ProtocolViolation,
        "Modal refused how its redirect was followed.",
    ),
)


class FollowingHttp:
    """An ``Http`` that asks on where Modal says that the work goes on: same host, GET, bounded."""

    def __init__(self, http: Http, max_redirects: int) -> None:
        self._http = http
        self._max_redirects = max_redirects

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[HttpResponse]:
        return self._exchange(method, url, dict(headers or {}), content, read_timeout_seconds)

    async def aclose(self) -> None:
        """The HTTP client inside is somebody else's."""

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes | None,
        read_timeout_seconds: float | None,
    ) -> AsyncIterator[HttpResponse]:
        for _ in range(self._max_redirects + 1):
            async with self._http.send(
                method,
                url,
                headers=headers,
                content=content,
                read_timeout_seconds=read_timeout_seconds,
            ) as answer:
                if answer.status != _SEE_OTHER:
                    yield await _heard(answer)
                    return
                url = _onward(url, answer.headers.get("location", ""))
                await answer.read(_BODY_BYTES)  # so that the connection can be kept
            method, content = "GET", None  # a POST there would run the work twice
            headers.pop("content-type", None)
        raise UpstreamTimeout("The endpoint has not answered after all its redirects.")


def _onward(url: str, location: str) -> str:
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if not location or (here.scheme, here.netloc) != (there.scheme, there.netloc):
        raise ProtocolViolation("The endpoint redirects to another place.")  # keys stay here
    return target


async def _heard(answer: HttpResponse) -> HttpResponse:
    """The answer, unless it is a refusal in the proxy's own words."""
    media_type = answer.headers.get("content-type", "")
    if answer.status < 400 or "json" in media_type:
        return answer
    raw = await answer.read(_BODY_BYTES)
    if raw.startswith(_MARK):
        for status, words, error, detail in _REFUSALS:
            if answer.status == status and words in raw:
                raise error(detail, upstream_status=status)
    return _Read(answer.status, answer.headers, raw)


class _Read:
    """An answer whose body was read already."""

    def __init__(self, status: int, headers: Mapping[str, str], raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self._raw = raw

    async def read(self, max_bytes: int) -> bytes:
        if len(self._raw) > max_bytes:
            raise ProtocolViolation("The provider's answer is longer than allowed.")
        return self._raw

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._raw
