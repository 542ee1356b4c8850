"""What an upstream says, at the adapter's own doors, as shapes: names and types, never values.

The doors are the HTTP seam and, for Modal, the protocol that its SDK stands behind. Of a path the
last part is kept as a name only where it is a word; ids and model names become ``*``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from providers.contract import BilledSum, Host, Http, HttpResponse, ProviderSettings
from providers.modal.api import Api, Facts, Outcome, Ref, Scale, Target
from providers.modal.options import ModalSettings
from providers.modal.provider import ModalProvider
from providers.modal.sdk import SdkApi
from providers.toolkit.http import open_http
from providers.toolkit.sse import SseParser

Shape = dict[str, set[str]]
"""Types by place: ``{"choices[].index": {"number"}}``."""

_WORD = re.compile(r"[a-z_][a-z_-]{0,30}|v\d")
_TYPES: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    bytes: "bytes",
    datetime: "datetime",
}


@dataclass(slots=True)
class Exchange:
    """One call at a door."""

    method: str
    path: str
    status: int
    streamed: bool = False
    shape: Shape = field(default_factory=dict)
    complete: bool = False  # read to its end; nothing is missing from one that was left before

    def take(self, value: Any, place: str = "") -> None:
        """Note the types of a value and of all that it holds."""
        if is_dataclass(value) and not isinstance(value, type):
            value = {each.name: getattr(value, each.name) for each in fields(value)}
        if isinstance(value, Mapping):
            self._note(place, "object")
            for name, inner in value.items():
                self.take(inner, f"{place}.{name}" if place else str(name))
        elif isinstance(value, list | tuple):
            self._note(place, "array")
            for inner in value:
                self.take(inner, f"{place}[]")
        else:
            self._note(place, _TYPES.get(type(value), type(value).__name__))

    def take_text(self, raw: bytes, place: str = "") -> None:
        """The same for JSON; anything else is ``text``."""
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            self._note(place, "text")
        else:
            self.take(value, place)

    def _note(self, place: str, kind: str) -> None:
        self.shape.setdefault(place, set()).add(kind)


class Recording:
    """All exchanges of one gateway, in order. ``open`` is what its HTTP clients are opened by."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def open(self, settings: ProviderSettings) -> Http:
        return _RecordedHttp(open_http(settings), self.exchanges)

    def build_modal(self, settings: ModalSettings, host: Host) -> ModalProvider:
        """As Modal's plugin builds it, with the SDK behind the recorder."""
        assert settings.token_id is not None and settings.token_secret is not None
        sdk = SdkApi(
            settings.token_id,
            settings.token_secret.get_secret_value(),
            server_url=settings.server_url,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            rpc_timeout_seconds=settings.rpc_timeout_seconds,
        )
        return ModalProvider(settings, host, _RecordedApi(sdk, self.exchanges))


class _RecordedHttp:
    def __init__(self, http: Http, kept: list[Exchange]) -> None:
        self._http = http
        self._kept = kept

    def send(
        self, method: str, url: str, **known: Any
    ) -> AbstractAsyncContextManager[HttpResponse]:
        return self._send(method, url, known)

    @asynccontextmanager
    async def _send(
        self, method: str, url: str, known: dict[str, Any]
    ) -> AsyncGenerator[HttpResponse, None]:
        async with self._http.send(method, url, **known) as answer:
            parts = urlsplit(url).path.split("/")
            path = "/".join(part if _WORD.fullmatch(part) else "*" for part in parts[1:])
            streamed = "event-stream" in answer.headers.get("content-type", "")
            exchange = Exchange(method, f"/{path}", answer.status, streamed)
            self._kept.append(exchange)
            yield _RecordedAnswer(answer, exchange)

    async def aclose(self) -> None:
        await self._http.aclose()


class _RecordedAnswer:
    def __init__(self, answer: HttpResponse, exchange: Exchange) -> None:
        self._answer = answer
        self._exchange = exchange
        self.status = answer.status
        self.headers = answer.headers

    async def read(self, max_bytes: int) -> bytes:
        raw = await self._answer.read(max_bytes)
        self._exchange.take_text(raw)
        self._exchange.complete = True
        return raw

    async def chunks(self) -> AsyncIterator[bytes]:
        kind = self.headers.get("content-type", "")
        events, rest = SseParser(), b""
        async for chunk in self._answer.chunks():
            if self._exchange.streamed:
                for event in events.feed(chunk):
                    self._exchange.take_text(event.data, event.event)
            elif "json" in kind:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._exchange.take_text(line)
            yield chunk
        if rest:
            self._exchange.take_text(rest)
        self._exchange.complete = True


class _RecordedApi:
    def __init__(self, api: Api, kept: list[Exchange]) -> None:
        self._api = api
        self._kept = kept

    async def find(self, ref: Ref) -> Target:
        target = await self._api.find(ref)
        self._keep("find", target.facts)
        return _RecordedTarget(target, self._keep)

    async def outcome(
        self, call_id: str, *, wait: bool, allow_pickle: bool = False
    ) -> Outcome | None:
        outcome = await self._api.outcome(call_id, wait=wait, allow_pickle=allow_pickle)
        self._keep("outcome", outcome)
        return outcome

    async def cancel(self, call_id: str) -> None:
        await self._api.cancel(call_id)
        self._keep("cancel", None)

    async def billed(self, since: datetime, until: datetime) -> Sequence[BilledSum]:
        sums = await self._api.billed(since, until)
        self._keep("billed", sums)
        return sums

    async def aclose(self) -> None:
        await self._api.aclose()

    def _keep(self, name: str, value: Any) -> Exchange:
        exchange = Exchange("SDK", f"/{name}", 200, complete=True)
        exchange.take(value)
        self._kept.append(exchange)
        return exchange


class _RecordedTarget:
    def __init__(self, target: Target, keep: Any) -> None:
        self._target = target
        self._keep = keep

    @property
    def facts(self) -> Facts:
        return self._target.facts

    async def scale(self) -> Scale:
        scale = await self._target.scale()
        self._keep("scale", scale)
        return scale

    async def set_scale(self, minimum: int, maximum: int | None) -> None:
        await self._target.set_scale(minimum, maximum)

    async def spawn(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        call_id = await self._target.spawn(args, kwargs)
        self._keep("spawn", call_id)
        return call_id

    async def stream(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> AsyncGenerator[Any, None]:
        exchange = None
        async with aclosing(self._target.stream(args, kwargs)) as items:
            async for item in items:
                exchange = exchange or self._keep("stream", {})
                exchange.take(item, "item")
                yield item
