"""V2: one POST to a Potassium server; see the package's docstring for what it does not say.

Checked against potassium 0.5.0 (2026-11-23): a closed connection never ends the work. The server
does not look at it while a handler runs, and drains a handler's generator to its end.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio

from providers.banana.answers import (
    MAX_ANSWER_BYTES,
    error_from,
    json_body,
    outputs_of,
    parsed,
    refuse_retired,
    usage_of,
)
from providers.banana.deployment import BananaDeployment
from providers.banana.status import Status
from providers.contract import (
    Delta,
    Event,
    Finished,
    GenerateRequest,
    HttpResponse,
    ModelLoading,
    Output,
    Phases,
    ProbeState,
    ProviderError,
    Started,
    UpstreamFailed,
    UpstreamUnreachable,
)
from providers.toolkit.http import connection_refused
from providers.toolkit.jobs import backoff_seconds
from providers.toolkit.mapping import kind_of

STATUS_READ_TIMEOUT_SECONDS = 1.0  # a proxy that holds it during a boot must not make it look warm
STATUS_BYTES = 64 << 10
WARMUP_PATH = "/_k/warmup"
_WARM = Phases(boot_seconds=0.0, evidence="scale_state", caused_boot=False)
_WHOLE = ("image", "audio", "video", "file")


class PotassiumDeployment(BananaDeployment):
    """One route of one server."""

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        content = json_body(self._input(request))
        before = await self._status()
        if before is not None and before.free:
            yield Started(evidence="scale_state")
        # It is up but busy: nothing says when the work begins, only that no boot is waited for.
        warm = _WARM if before is not None and not before.free else None
        headers = {**self._headers, "content-type": "application/json"}
        if request.request_id is not None:
            headers["x-banana-request-id"] = request.request_id  # it names the request in their log
        try:
            async with aclosing(self._answer(headers, content, before, warm)) as events:
                async for event in events:
                    yield event
        except ProviderError as error:
            error.phases = error.phases or warm
            raise

    async def probe(self) -> ProbeState:
        """Reads the status alone, which is no request to a handler and wakes nothing."""
        try:
            refuse_retired(self._url)
            return "unknown" if await self._status() is None else "ready"
        except ProviderError:
            return "down"

    async def warm(self) -> None:
        """Ask for a replica. A self-hosted server that answers is warm already. Raises as a call.

        It counts as a request in the server's ``sequence_number``, but runs no handler.
        """
        refuse_retired(self._url)
        headers = {**self._headers, "content-type": "application/json"}
        try:
            async with self._http.send(
                "POST", self._url + WARMUP_PATH, headers=headers, content=b"{}"
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise error_from(answer)
                await answer.read(STATUS_BYTES)
        except UpstreamUnreachable as error:
            raise self._unreachable(error) from error

    async def _answer(
        self, headers: dict[str, str], content: bytes, before: Status | None, warm: Phases | None
    ) -> AsyncGenerator[Event, None]:
        options = self._options
        if options.background and (before is None or before.sequence_number is None):
            raise UpstreamFailed("The server does not say what it does, so nothing was begun.")
        usage = None
        try:
            async with self._http.send(
                "POST", self._url + options.route, headers=headers, content=content
            ) as answer:
                if not 200 <= answer.status < 300:
                    raise error_from(answer)
                media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
                events: list[Delta | Output] = []
                if media_type == "application/json":
                    value = parsed(await answer.read(MAX_ANSWER_BYTES))
                    events, usage = outputs_of(options, value), usage_of(options, value)
                elif media_type.startswith("text/") and options.output not in _WHOLE:
                    async with aclosing(_texts(answer)) as texts:
                        async for text in texts:
                            yield Delta(text)
                else:
                    events = [await self._file(answer, media_type)]
        except UpstreamUnreachable as error:
            raise self._unreachable(error) from error
        if before is not None and options.background:
            await self._until_idle(before)
        for event in events:
            yield event
        yield Finished(("started",) if options.background else ("stop",), usage, warm)

    async def _file(self, answer: HttpResponse, media_type: str) -> Output:
        data = await answer.read(MAX_ANSWER_BYTES)
        wanted = self._options.output
        if wanted == "image" or wanted == "audio" or wanted == "video" or wanted == "file":
            kind = wanted
        else:
            return Output(kind_of(f"data:{media_type},"), data=data, media_type=media_type or None)
        # Flask calls bytes without a type text/html; that is no media type of an image.
        said = None if media_type.startswith("text/") else media_type or None
        return Output(kind, data=data, media_type=said)

    async def _status(self) -> Status | None:
        """Where the server stands; None: it does not say.

        Raises: UpstreamUnreachable or ModelLoading, when it cannot take a call now.
        """
        if self._options.status_path is None:
            return None
        try:
            async with self._http.send(
                "GET",
                self._url + self._options.status_path,
                headers=self._headers,
                read_timeout_seconds=STATUS_READ_TIMEOUT_SECONDS,
            ) as answer:
                if answer.status != 200:
                    # 503 too, "no replica yet": whether this look started one, nobody knows,
                    # so the call itself must be made.
                    return None
                return Status.read(await answer.read(STATUS_BYTES))
        except UpstreamUnreachable as error:
            raise self._unreachable(error) from error
        except ProviderError:
            return None

    async def _until_idle(self, before: Status) -> None:
        """Until the server has done what it was given: the only sign that a background job ended.

        The status is a moment behind the answer to the call, so it must have counted the call too.
        """
        for pause_seconds in backoff_seconds():
            try:
                now = await self._status()
            except ProviderError as error:  # it ran and it billed: no refusal before the work
                raise UpstreamFailed("The server went away during a background job.") from error
            if (
                now is not None
                and now.idle
                and (now.sequence_number or 0) > (before.sequence_number or 0)
            ):
                return
            await anyio.sleep(pause_seconds)

    @property
    def _headers(self) -> dict[str, str]:
        key = self._api_key
        return {} if key is None else {"x-banana-api-key": key.get_secret_value()}

    def _unreachable(self, error: UpstreamUnreachable) -> ProviderError:
        """The port is bound only when the model is loaded: a refusal may be a boot."""
        if self._options.waits_when_refused and connection_refused(error):
            return ModelLoading(
                "The server does not take connections yet.", evidence="connection_refused"
            )
        return UpstreamUnreachable(error.detail)


async def _texts(answer: HttpResponse) -> AsyncGenerator[str, None]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for chunk in answer.chunks():
        if text := decoder.decode(chunk):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
