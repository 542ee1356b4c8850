"""One call to Hugging Face: its errors raised as what they mean, the head of its answer kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from providers.contract import Http, HttpResponse, ProviderError
from providers.huggingface.errors import error_from, says_why
from providers.huggingface.timing import request_id_from
from providers.toolkit.openai_errors import ERROR_BODY_BYTES


class Wire:
    """An ``Http`` for one request: what the OpenAI dialect's code cannot know is read here.

    ``headers`` are those of the last answer, empty before it; names are lower case.
    ``error_says_why``: the last error came from an engine, not from the proxy before it.
    """

    def __init__(self, http: Http, *, read_timeout_seconds: float | None = None) -> None:
        self.headers: Mapping[str, str] = {}
        self.error_says_why = False
        self._http = http
        self._read_timeout_seconds = read_timeout_seconds

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[HttpResponse]:
        """As ``Http.send``; any answer but 2xx is raised as the error that it stands for."""
        timeout = read_timeout_seconds or self._read_timeout_seconds
        return self._exchange(method, url, headers, content, timeout)

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        read_timeout_seconds: float | None,
    ) -> AsyncIterator[HttpResponse]:
        async with self._http.send(
            method,
            url,
            headers=headers,
            content=content,
            read_timeout_seconds=read_timeout_seconds,
        ) as answer:
            self.headers = answer.headers
            if not 200 <= answer.status < 300:
                raw = await _error_body(answer)
                self.error_says_why = says_why(raw)
                error = error_from(answer.status, answer.headers, raw)
                error.job_id = request_id_from(answer.headers)
                raise error
            yield answer

    async def aclose(self) -> None:
        """The client is the gateway's to close."""


async def _error_body(answer: HttpResponse) -> bytes:
    try:
        return await answer.read(ERROR_BODY_BYTES)
    except ProviderError:
        return b""  # cut or endless: the status still says something
