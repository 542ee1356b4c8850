"""LM Studio's own ``/api/v1/chat``: the one that says whether a model was loaded, and how long.

API:      LM Studio 0.4, https://lmstudio.ai/docs/developer/rest/chat and .../streaming-events (read
          2026-11-23): server-sent events with a ``type`` each.
Reported: tokens; ``model_load.start`` and ``.end`` come only where the model was not in memory, and
          so does ``stats.model_load_time_seconds``. No finish reason.
Limits:   one user's text and a system text; no assistant messages, tools, ``stop`` or ``seed``,
          temperatures up to 1. Everything else, and every caller of OpenAI's dialect, goes to
          ``/v1/chat/completions``, where only the state read before tells of a load.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson

from providers.contract import (
    Booting,
    Channel,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Http,
    ModelNotFound,
    Phases,
    ProtocolViolation,
    ProviderError,
    RequestRejected,
    Started,
    UpstreamFailed,
    Usage,
)
from providers.local.server import State
from providers.local.speech import ChatSpeech
from providers.toolkit.openai_errors import ERROR_BODY_BYTES, error_from_answer
from providers.toolkit.sse import SseEvent, SseParser

CHANNELS: Mapping[Any, Channel] = {"message.delta": "text", "reasoning.delta": "reasoning"}
# error.type of a stream's error event (streaming-events.md, read 2026-11-23); others are failures.
ERRORS: Mapping[str, type[ProviderError]] = {
    "invalid_request": RequestRejected,
    "model_not_found": ModelNotFound,
}


class LmStudioSpeech:
    """One model: natively where the request can be said so, else through ``chat``."""

    def __init__(
        self, base_url: str, model: str, headers: Mapping[str, str], chat: ChatSpeech
    ) -> None:
        self.dialect = chat.dialect
        self._url = f"{base_url}/api/v1/chat"
        self._model = model
        self._headers = {"content-type": "application/json", **headers}
        self._chat = chat

    def __repr__(self) -> str:
        return f"LmStudioSpeech({self._url!r}, {self._model!r})"  # the headers hold the key

    def check(self, request: GenerateRequest) -> None:
        self._chat.check(request)

    def tells_boots(self, request: GenerateRequest) -> bool:
        return native_body(self._model, request) is not None

    async def ask(
        self, http: Http, request: GenerateRequest, state: State
    ) -> AsyncGenerator[Event, None]:
        body = native_body(self._model, request)
        if body is None:
            async with aclosing(self._chat.ask(http, request, state)) as events:
                async for event in events:
                    yield event
            return
        fold, parser = Fold(), SseParser()
        async with http.send(
            "POST", self._url, headers=self._headers, content=orjson.dumps(body)
        ) as answer:
            if answer.status != 200:
                raw = await answer.read(ERROR_BODY_BYTES)
                raise error_from_answer(answer.status, answer.headers, raw)
            async for chunk in answer.chunks():
                for event in fold.take(parser.feed(chunk)):
                    yield event
                if fold.unreadable:
                    break
        if fold.failure is not None:
            fold.failure.usage = fold.usage
            raise fold.failure
        if fold.end is None:
            raise UpstreamFailed("The server's stream ended early.")
        yield Finished((), fold.usage, fold.phases, native=(fold.end,))


def native_body(model: str, request: GenerateRequest) -> dict[str, Any] | None:
    """The request in LM Studio's own words; None where they do not suffice."""
    parameters = request.parameters
    if request.dialect is not None or request.extra or parameters.stop:
        return None
    if parameters.seed is not None or (parameters.temperature or 0.0) > 1:
        return None
    body: dict[str, Any] = {"model": model, "stream": True, "store": False}
    if isinstance(request.input, str):
        body["input"] = request.input
    else:
        roles = [m.get("role") if isinstance(m, Mapping) else None for m in request.input]
        texts = [m.get("content") if isinstance(m, Mapping) else None for m in request.input]
        if roles not in (["user"], ["system", "user"]):
            return None
        if not all(isinstance(text, str) for text in texts):
            return None
        body["input"] = texts[-1]
        if len(texts) == 2:
            body["system_prompt"] = texts[0]
    named = {
        "max_output_tokens": parameters.max_output_tokens,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
    }
    return body | {name: value for name, value in named.items() if value is not None}


class Fold:
    """One streamed answer."""

    def __init__(self) -> None:
        self.end: dict[str, Any] | None = None
        self.failure: ProviderError | None = None
        self.unreadable = False
        self._started = False
        self._load_seconds: float | None = None
        self._loads = False

    def take(self, events: list[SseEvent]) -> list[Event]:
        """Our events for what one upstream read completed; a failure waits in ``failure``."""
        found: list[Event] = []
        for event in events:
            try:
                self._take(_object(event.data), found)
            except ProtocolViolation as error:
                self.failure, self.unreadable = error, True
                break
        return found

    @property
    def usage(self) -> Usage | None:
        stats = self._stats
        usage = Usage(
            input_tokens=_count(stats.get("input_tokens")),
            output_tokens=_count(stats.get("total_output_tokens")),
            reasoning_tokens=_count(stats.get("reasoning_output_tokens")),
        )
        return None if usage == Usage() else usage

    @property
    def phases(self) -> Phases:
        """A load that nobody mentions did not happen: both ways to say so are documented."""
        seconds = _seconds(self._stats.get("model_load_time_seconds"))
        if seconds is None:
            seconds = self._load_seconds
        if seconds is None and not self._loads:
            seconds = 0.0
        instance = None if self.end is None else self.end.get("model_instance_id")
        return Phases(
            boot_seconds=seconds,
            evidence=None if seconds is None else "delay_reported",
            instance_id=instance if isinstance(instance, str) else None,
        )

    @property
    def _stats(self) -> Mapping[str, Any]:
        stats = None if self.end is None else self.end.get("stats")
        return stats if isinstance(stats, Mapping) else {}

    def _take(self, said: dict[str, Any], found: list[Event]) -> None:
        kind = said.get("type")
        if kind == "model_load.start":
            self._loads = True
            if not self._started:
                found.append(Booting(evidence="phase_reported"))
        elif kind == "model_load.end":
            self._load_seconds = _seconds(said.get("load_time_seconds"))
            self._start(found)
        elif kind == "prompt_processing.start":
            self._start(found)
        elif kind in CHANNELS:
            self._start(found)
            text = said.get("content")
            if isinstance(text, str) and text:
                self._say(found, text, CHANNELS[kind], said)
        elif kind == "error":
            self.failure = _failure(said.get("error"))
        elif kind == "chat.end":
            result = said.get("result")
            self.end = result if isinstance(result, dict) else {}

    def _start(self, found: list[Event]) -> None:
        if not self._started:
            self._started = True
            # A load would have been named before.
            found.append(Started(evidence=None if self._loads else "phase_reported"))

    @staticmethod
    def _say(found: list[Event], text: str, channel: Channel, frame: dict[str, Any]) -> None:
        last = found[-1] if found else None
        if isinstance(last, Delta) and last.channel == channel:
            found[-1] = Delta(last.text + text, channel=channel, native=(*last.native, frame))
        else:
            found.append(Delta(text, channel=channel, native=(frame,)))


def _failure(error: Any) -> ProviderError:
    kind = error.get("type") if isinstance(error, Mapping) else None
    return ERRORS.get(str(kind), UpstreamFailed)("The server reported an error.")


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise _unreadable() from RuntimeError(f"{type(exc).__name__} at {exc.pos}")
    if type(value) is not dict:
        raise _unreadable()
    return value


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _seconds(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and value >= 0 else None


def _unreadable() -> ProtocolViolation:
    return ProtocolViolation("The server's answer is not a chat of LM Studio's.")
