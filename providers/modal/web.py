"""Web endpoints at Modal: OpenAI's dialect (a vLLM server, say), or plain JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import orjson

from providers.contract import (
    Booting,
    Capabilities,
    Event,
    GenerateRequest,
    Hardware,
    Http,
    HttpResponse,
    Output,
    OutputKind,
    ProbeState,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    Started,
)
from providers.modal.answer import Answer
from providers.modal.evidence import Containers
from providers.modal.options import ModalOptions
from providers.modal.scaling import Lookup, Scaled
from providers.toolkit.mapping import model_input
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, chat_events, request_body
from providers.toolkit.openai_errors import ERROR_BODY_BYTES, error_from_answer
from providers.toolkit.sse import SseParser

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_KINDS: dict[str, OutputKind] = {"image": "image", "audio": "audio", "video": "video"}


class WebDeployment:
    """An endpoint by its URL. Modal says nothing of boots there, so the verdict is ``unknown``."""

    def __init__(self, http: Http, endpoint: ChatEndpoint, options: ModalOptions) -> None:
        self._http = http
        self._endpoint = endpoint
        self._options = options
        self._containers = Containers()

    @property
    def capabilities(self) -> Capabilities:
        dialect = DIALECT if self._options.protocol == "openai_chat" else None
        return Capabilities(dialect=dialect, cancels=self._options.cancels)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        if self._options.protocol == "openai_chat":
            request_body(self._endpoint, request)  # first: what cannot be said boots nothing
            opening = await self._opening()
            work = _started_by_output(chat_events(self._http, self._endpoint, request), opening)
        else:
            content = self._json(request)
            opening = await self._opening()
            work = self._ask(content, request, opening)
        if opening is not None:
            yield opening
        async with aclosing(work) as events:
            async for event in events:
                yield event

    async def _opening(self) -> Booting | Started | None:
        return None

    def _json(self, request: GenerateRequest) -> bytes:
        if request.task != "generate":
            raise RequestRejected("This deployment only generates.", param="task")
        try:
            return orjson.dumps(model_input(self._options.input, request))
        except orjson.JSONEncodeError as exc:
            raise RequestRejected("The request cannot be written as JSON.") from exc

    async def _ask(
        self, content: bytes, request: GenerateRequest, opening: Booting | Started | None
    ) -> AsyncGenerator[Event, None]:
        headers = {"content-type": "application/json", **self._endpoint.headers}
        if request.stream:
            headers["accept"] = "text/event-stream, */*;q=0.5"
        async with self._http.send(
            "POST", self._endpoint.url, headers=headers, content=content
        ) as reply:
            if not 200 <= reply.status < 300:
                raw = await reply.read(ERROR_BODY_BYTES)
                raise error_from_answer(reply.status, reply.headers, raw)
            media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
            answer = Answer(self._options.output, self._containers, opening, streamed=True)
            try:
                if media_type == "text/event-stream":
                    async for item in _items(reply):
                        for event in answer.take(item):
                            yield event
                else:
                    raw = await reply.read(MAX_ANSWER_BYTES)
                    for event in _whole(answer, media_type, raw):
                        yield event
            except ProviderError as error:
                error.usage, error.phases = answer.usage, answer.phases()
                raise
        yield answer.finished(answer.phases())


class ScaledWebDeployment(WebDeployment):
    """The same, with the function behind it named: its scale is evidence, and can be set."""

    def __init__(
        self, http: Http, endpoint: ChatEndpoint, options: ModalOptions, lookup: Lookup
    ) -> None:
        super().__init__(http, endpoint, options)
        self._lookup = lookup
        self._scaled = Scaled(lookup)

    async def probe(self) -> ProbeState:
        return await self._scaled.probe()

    async def scale(self, minimum: int, maximum: int | None = None) -> None:
        await self._scaled.set(minimum, maximum)

    async def hardware(self) -> Hardware:
        """GPUs, cores and memory as the app requests them: what a price is put on."""
        return (await self._lookup.target()).facts.hardware

    async def _opening(self) -> Booting | Started | None:
        return await self._scaled.before_the_call() if self._options.read_scale else None


async def _started_by_output(
    events: AsyncGenerator[Event, None], opening: Booting | Started | None
) -> AsyncGenerator[Event, None]:
    """Ends an announced boot at the first output: nothing else tells its end."""
    booting = isinstance(opening, Booting)
    async with aclosing(events):
        async for event in events:
            if booting:
                yield Started()
                booting = False
            yield event


async def _items(reply: HttpResponse) -> AsyncIterator[Any]:
    """The data of each event: parsed where it is a JSON string or object, a text otherwise."""
    parser = SseParser()
    async for chunk in reply.chunks():
        for event in parser.feed(chunk):
            if event.data.startswith(b"[DONE]"):
                return
            yield _item(event.data)
    for event in parser.close():
        yield _item(event.data)


def _item(data: bytes) -> Any:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")
    return value if isinstance(value, str | dict) else data.decode(errors="replace")


def _whole(answer: Answer, media_type: str, raw: bytes) -> list[Event]:
    if media_type == "application/json":
        try:
            return list(answer.take(orjson.loads(raw)))
        except orjson.JSONDecodeError:
            raise ProtocolViolation("The endpoint's answer is not JSON.") from None
    if media_type.startswith("text/"):
        return list(answer.take(raw.decode(errors="replace")))
    kind = _KINDS.get(media_type.partition("/")[0], "file")
    return [Output(kind, data=raw, media_type=media_type or None)]
