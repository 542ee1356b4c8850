"""Folding chat completion frames into events: the hot path of every relayed stream.

Every frame is parsed, but there is one ``Delta`` for each upstream read, choice and channel, for
what costs is the event, not the frame. A frame stands in exactly one event. Frames without text
(the role, the finish reason, the usage) wait for the next event that has some, at the latest for
``Finished``: an empty ``Delta`` would look like a first output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson

from providers.contract import (
    Channel,
    Delta,
    Event,
    Finished,
    ProtocolViolation,
    ProviderError,
    Usage,
)
from providers.toolkit.openai_errors import ColdWhen, error_from_body
from providers.toolkit.sse import SseEvent

_MOST_HELD_FRAMES = 256  # then they go out with an empty Delta: memory must not grow
_Group = tuple[list[str], list[dict[str, Any]]]


_FIRST_TEXT: tuple[int, Channel] = (0, "text")


class StreamFold:
    """One streamed answer: feed it what each upstream read completed."""

    def __init__(self, cold_when: tuple[ColdWhen, ...] = ()) -> None:
        self.done = False
        self.failure: ProviderError | None = None
        self._cold_when = cold_when
        self._reasons: dict[int, str] = {}
        self._usage: Any = None
        self._held: list[dict[str, Any]] = []

    @property
    def complete(self) -> bool:
        """Whether the answer came to its end: ``[DONE]``, or at least a finish reason."""
        return self.done or bool(self._reasons)

    @property
    def usage(self) -> Usage | None:
        return usage_from(self._usage)

    def take(self, events: list[SseEvent]) -> list[Delta]:
        """The Deltas of one read, in the order in which their first text came.

        What stands before a frame that reports an error, or cannot be read, is given out; the
        error waits in ``failure``.
        """
        groups: dict[tuple[int, Channel], _Group] = {}
        try:
            self._fold(events, groups)
        except ProviderError as error:
            self.failure = error
        deltas = [
            Delta("".join(texts), index, channel, tuple(frames))
            for (index, channel), (texts, frames) in groups.items()
        ]
        if len(self._held) > _MOST_HELD_FRAMES:
            deltas.append(Delta("", native=tuple(self._held)))
            self._held = []
        return deltas

    def finished(self) -> Finished:
        """The end of a complete answer, with the frames that are still held."""
        return Finished(_in_order(self._reasons), self.usage, native=tuple(self._held))

    def _fold(self, events: list[SseEvent], groups: dict[tuple[int, Channel], _Group]) -> None:
        for event in events:
            data = event.data
            if data.startswith(b"[DONE]"):
                self.done = True
                continue
            frame = _object(data)
            choices = frame.get("choices")
            if frame.get("error") or (choices is None and frame.get("object") == "error"):
                raise error_from_body(frame, cold_when=self._cold_when)
            usage = frame.get("usage")
            if usage:
                self._usage = usage
            if choices and type(choices) is not list:
                raise _unreadable()
            if choices and len(choices) == 1:  # nearly every frame: one choice, text and no more
                text = _plain_text(choices[0])
                if text is not None:
                    group = groups.get(_FIRST_TEXT)
                    if group is None:
                        group = groups[_FIRST_TEXT] = ([], [])
                    group[0].append(text)
                    if self._held:
                        group[1].extend(self._held)
                        self._held = []
                    group[1].append(frame)
                    continue
            owner = None
            for choice in choices or ():
                index, channels = self._read(choice)
                for channel, text in channels:
                    group = groups.get((index, channel))
                    if group is None:
                        group = groups[index, channel] = ([], [])
                    group[0].append(text)
                    if owner is None:
                        owner = group[1]
            if owner is None:
                self._held.append(frame)
                continue
            if self._held:
                owner += self._held
                self._held = []
            owner.append(frame)

    def _read(self, choice: Any) -> tuple[int, list[tuple[Channel, str]]]:
        if type(choice) is not dict:
            raise _unreadable()
        index = choice.get("index", 0)
        delta = choice.get("delta") or {}
        if type(index) is not int or type(delta) is not dict:
            raise _unreadable()
        reason = choice.get("finish_reason")
        if reason:
            self._reasons[index] = str(reason)
        return index, list(_texts(delta))


def _plain_text(choice: Any) -> str | None:
    """The text of choice 0 where the frame says nothing else; None: read it the long way."""
    if type(choice) is not dict or choice.get("index", 0) != 0 or choice.get("finish_reason"):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or len(delta) != 1:
        return None
    text = delta.get("content")
    return text if type(text) is str and text else None


def whole_answer(raw: bytes, cold_when: tuple[ColdWhen, ...] = ()) -> list[Event]:
    """The events of an unstreamed answer; the first Delta carries the body.

    Raises: ProtocolViolation for a body that cannot be read, or the error that it reports.
    """
    body = _object(raw)
    if body.get("error") or body.get("object") == "error":  # the latter: vLLM before 0.10
        raise error_from_body(body, cold_when=cold_when)
    choices = body.get("choices")
    if type(choices) is not list:
        raise _unreadable()
    events: list[Event] = []
    reasons: dict[int, str] = {}
    native: tuple[Mapping[str, Any], ...] = (body,)
    for choice in choices:
        message = choice.get("message") if type(choice) is dict else None
        if type(message) is not dict or type(choice.get("index", 0)) is not int:
            raise _unreadable()
        index = choice.get("index", 0)
        if choice.get("finish_reason"):
            reasons[index] = str(choice["finish_reason"])
        for channel, text in list(_texts(message)) or [("text", "")]:
            events.append(Delta(text, index, channel, native))
            native = ()
    events.append(Finished(_in_order(reasons), usage_from(body.get("usage")), native=native))
    return events


def usage_from(raw: Any) -> Usage | None:
    """Usage as reported. None: nothing was said.

    Sources, read 2026-11-23: SGLang puts ``reasoning_tokens`` on top; ``cost`` is OpenRouter's and
    ``estimated_cost`` DeepInfra's price of this very request, both in USD.
    """
    if type(raw) is not dict:
        return None
    cached = _inside(raw, "prompt_tokens_details", "cached_tokens")
    reasoning = _inside(raw, "completion_tokens_details", "reasoning_tokens")
    cost = _usd(raw.get("cost"))
    usage = Usage(
        input_tokens=_count(raw.get("prompt_tokens")),
        output_tokens=_count(raw.get("completion_tokens")),
        cached_input_tokens=_count(cached),
        reasoning_tokens=_count(raw.get("reasoning_tokens") if reasoning is None else reasoning),
        cost_usd=_usd(raw.get("estimated_cost")) if cost is None else cost,
    )
    return None if usage == Usage() else usage


def _texts(message: Mapping[str, Any]) -> Iterator[tuple[Channel, str]]:
    """All text of a message or delta, by channel."""
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if reasoning and type(reasoning) is str:
        yield "reasoning", reasoning
    content = message.get("content")
    if type(content) is str:
        if content:
            yield "text", content
    elif type(content) is list:  # Mistral sends parts, with its thinking among them
        for part in content:
            text = part.get("text") if type(part) is dict else None
            if text and type(text) is str:
                yield "text", text
    refusal = message.get("refusal")
    if refusal and type(refusal) is str:
        yield "text", refusal
    calls = message.get("tool_calls")
    for call in calls if type(calls) is list else ():
        arguments = _inside(call, "function", "arguments")
        if arguments and type(arguments) is str:
            yield "tool_call", arguments


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise _unreadable() from RuntimeError(f"{type(exc).__name__} at {exc.pos}")
    if type(value) is not dict:
        raise _unreadable()
    return value


def _unreadable() -> ProtocolViolation:
    return ProtocolViolation("The provider's answer is not a chat completion.")


def _in_order(reasons: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(reasons[index] for index in sorted(reasons))


def _inside(raw: Any, outer: str, inner: str) -> Any:
    part = raw.get(outer) if type(raw) is dict else None
    return part.get(inner) if type(part) is dict else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _usd(value: Any) -> Decimal | None:
    return Decimal(str(value)) if type(value) in (int, float) and value >= 0 else None
