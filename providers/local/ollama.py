"""Ollama's own ``/api/chat``: the one that says how long the load took, and takes ``num_ctx``.

API:      POST /api/chat, JSON lines; https://github.com/ollama/ollama/blob/main/docs/api.md (read
          2026-11-23). Its ``/v1`` has no load time, no ``keep_alive`` and no ``num_ctx``; a call
          without the ``num_ctx`` of the loaded model makes Ollama load it anew.
Reported: tokens, and nanoseconds of load, prompt and answer. An input that is too long is cut by
          Ollama without a word. Not for tools: ``server: plain`` speaks ``/v1`` instead.
Boots:    ``load_duration`` is no load time by itself: it counts from the request's arrival until
          a runner is there, and a warm model was seen with 0.1 s (the page above) and with 0.66 to
          0.84 s (0.32.13, a 9B model, 2026-09-08). What was in memory before is read at
          ``/api/ps``; the duration alone decides only from ``RELOAD_SECONDS`` on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

import orjson

from providers.contract import (
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Http,
    Phases,
    ProtocolViolation,
    ProviderError,
    UpstreamFailed,
    Usage,
)
from providers.local.ollama_request import request_body
from providers.local.server import State
from providers.toolkit.openai_errors import ERROR_BODY_BYTES, error_from_answer

RELOAD_SECONDS = 1.0
MAX_LINE_BYTES = 16 << 20
STATUS_ERRORS = {499: UpstreamFailed}  # it says so when it dropped the request itself


class OllamaSpeech:
    """One model. ``load_body`` are ``keep_alive`` and ``options`` as configured."""

    dialect: str | None = None

    def __init__(
        self,
        base_url: str,
        model: str,
        headers: Mapping[str, str],
        load_body: Mapping[str, Any],
    ) -> None:
        self._url = f"{base_url}/api/chat"
        self._model = model
        self._headers = {"content-type": "application/json", **headers}
        self._load_body = load_body

    def __repr__(self) -> str:
        return f"OllamaSpeech({self._url!r}, {self._model!r})"  # the headers hold the key

    def check(self, request: GenerateRequest) -> None:
        request_body(self._model, self._load_body, request)

    def tells_boots(self, request: GenerateRequest) -> bool:
        return False

    async def ask(
        self, http: Http, request: GenerateRequest, state: State
    ) -> AsyncGenerator[Event, None]:
        content = orjson.dumps(request_body(self._model, self._load_body, request))
        lines, last = Lines(), None
        async with http.send("POST", self._url, headers=self._headers, content=content) as answer:
            if answer.status != 200:
                raw = await answer.read(ERROR_BODY_BYTES)
                raise error_from_answer(answer.status, answer.headers, raw, overrides=STATUS_ERRORS)
            async for chunk in answer.chunks():
                said = Said()
                try:
                    for line in lines.feed(chunk):
                        said.take(line)
                except ProviderError as error:
                    said.failure = error
                for delta in said.deltas():
                    yield delta
                if said.failure is not None:
                    raise said.failure
                last = said.last or last
        if last is None:
            raise UpstreamFailed("The server's stream ended early.")
        reason = last.get("done_reason")
        yield Finished(
            (reason,) if isinstance(reason, str) else (),
            _usage(last),
            phases_of(last, state),
            native=(last,),
        )


class Lines:
    """JSON lines out of a body, whatever the splits."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The objects that ``chunk`` completes. Raises ProtocolViolation."""
        self._pending += chunk
        if len(self._pending) > MAX_LINE_BYTES and b"\n" not in chunk:
            raise ProtocolViolation("The server sent a line longer than allowed.")
        *whole, rest = self._pending.split(b"\n")
        self._pending = rest
        for line in filter(None, whole):
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as exc:
                raise _unreadable() from RuntimeError(f"{type(exc).__name__} at {exc.pos}")
            if type(value) is not dict:
                raise _unreadable()
            yield value


class Said:
    """What one upstream read brought: text by channel, and the last line if it was there."""

    def __init__(self) -> None:
        self.failure: ProviderError | None = None
        self.last: dict[str, Any] | None = None
        self._thinking: list[str] = []
        self._text: list[str] = []

    def take(self, line: dict[str, Any]) -> None:
        if "error" in line:
            raise UpstreamFailed("The server reported an error.")
        message = line.get("message")
        if type(message) is dict:
            self._thinking.append(str(message.get("thinking") or ""))
            self._text.append(str(message.get("content") or ""))
        elif not line.get("done"):
            raise _unreadable()
        if line.get("done"):
            self.last = line

    def deltas(self) -> Iterator[Delta]:
        if thinking := "".join(self._thinking):
            yield Delta(thinking, channel="reasoning")
        if text := "".join(self._text):
            yield Delta(text)


def phases_of(last: Mapping[str, Any], state: State) -> Phases:
    """Where the time went; ``state`` is whether the model was in memory before."""
    load = _seconds(last.get("load_duration"))
    prompt, answer = _seconds(last.get("prompt_eval_duration")), _seconds(last.get("eval_duration"))
    execute = None if answer is None else (prompt or 0.0) + answer  # a cached prompt takes none
    if load is None:
        return Phases(execute_seconds=execute)
    if state == "asleep" or load >= RELOAD_SECONDS:
        return Phases(boot_seconds=load, execute_seconds=execute, evidence="delay_reported")
    if state == "ready":
        return Phases(
            boot_seconds=0.0, execute_seconds=execute, evidence="scale_state", caused_boot=False
        )
    return Phases(execute_seconds=execute)


def _usage(last: Mapping[str, Any]) -> Usage | None:
    usage = Usage(_count(last.get("prompt_eval_count")), _count(last.get("eval_count")))
    return None if usage == Usage() else usage


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _seconds(nanoseconds: Any) -> float | None:
    count = _count(nanoseconds)
    return None if count is None else count / 1e9


def _unreadable() -> ProtocolViolation:
    return ProtocolViolation("The server's answer is not a chat of Ollama's.")
