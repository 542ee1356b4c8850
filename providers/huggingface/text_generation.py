"""Text generation in TGI's dialect: ``[{"generated_text": ...}]`` or a stream of tokens.

Source: text-generation-inference router/src at db931fcf (2026-01-08), docs/openapi.json. A stream
has no ``[DONE]``: its last event carries ``generated_text`` and, when asked for, ``details``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.contract import Delta, Event, Finished, ProtocolViolation, ProviderError, Usage
from providers.huggingface.errors import error_in
from providers.toolkit.sse import SseEvent

# OpenAI's names for the two ways to come to an end by oneself.
_REASONS = {"eos_token": "stop", "stop_sequence": "stop"}


class TokenFold:
    """One streamed answer: feed it the events that each upstream read completed."""

    def __init__(self) -> None:
        self.done = False
        self.failure: ProviderError | None = None
        self.usage: Usage | None = None
        self._reasons: tuple[str, ...] = ()
        self._has_text = False

    def take(self, events: list[SseEvent]) -> list[Delta]:
        """At most one Delta for a read; an error waits in ``failure`` until it is given out."""
        texts: list[str] = []
        try:
            for event in events:
                texts += self._texts(_object(event.data))
        except ProviderError as error:
            self.failure = error
        text = "".join(texts)
        return [Delta(text)] if text else []

    def finished(self) -> Finished:
        """The end of an answer that is ``done``."""
        return Finished(self._reasons, self.usage)

    def _texts(self, frame: Mapping[str, Any]) -> list[str]:
        if "error" in frame:
            raise error_in(frame)
        texts = []
        token = frame.get("token")
        if isinstance(token, Mapping) and token.get("special") is not True:
            text = token.get("text")
            if isinstance(text, str) and text:
                texts.append(text)
                self._has_text = True
        whole = frame.get("generated_text")
        if isinstance(whole, str):
            self.done = True
            self._reasons = reasons_of(frame.get("details"))
            self.usage = usage_of(frame.get("details"))
            if whole and not self._has_text:
                texts.append(whole)  # a server that gives it in one piece
        elif token is None:
            raise _unreadable()
        return texts


def whole_text(value: Any) -> list[Event]:
    """The events of an unstreamed answer: TGI's object, or the list around it."""
    items = value if isinstance(value, list) else [value]
    events: list[Event] = []
    reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    for index, item in enumerate(items):
        text = item.get("generated_text") if isinstance(item, Mapping) else None
        if not isinstance(text, str):
            raise _unreadable()
        events.append(Delta(text, index))
        reasons += reasons_of(item.get("details"))
        usage = usage_of(item.get("details")) if len(items) == 1 else None
    if not events:
        raise _unreadable()
    return [*events, Finished(reasons, usage)]


def usage_of(details: Any) -> Usage | None:
    """Tokens, as ``details`` count them; ``input_length`` stands in streams alone."""
    if not isinstance(details, Mapping):
        return None
    prefill = details.get("prefill")
    given = _count(details.get("input_length"))
    if given is None and isinstance(prefill, list) and prefill:
        given = len(prefill)
    usage = Usage(input_tokens=given, output_tokens=_count(details.get("generated_tokens")))
    return None if usage == Usage() else usage


def reasons_of(details: Any) -> tuple[str, ...]:
    """Why it ended, in OpenAI's words; nothing where it was not said."""
    reason = details.get("finish_reason") if isinstance(details, Mapping) else None
    return (_REASONS.get(reason, reason),) if isinstance(reason, str) else ()


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise _unreadable() from RuntimeError(f"{type(exc).__name__} at {exc.pos}")
    if not isinstance(value, Mapping):
        raise _unreadable()
    return value


def _unreadable() -> ProtocolViolation:
    return ProtocolViolation("The provider's answer is no generated text.")


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
