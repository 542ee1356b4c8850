"""Making engines notice that their caller has left, without the caller noticing anything.

llama.cpp's server (b11549) learns that its client is gone only when it writes: asked without
``stream`` it generated to the end for nobody, 31 seconds long, and while it reads a long prompt it
writes nothing either. So it is always asked to stream, and to report its progress; what the caller
did not ask for is taken out again here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from copy import deepcopy
from dataclasses import replace
from typing import Any

from providers.contract import Delta, Event, Finished

FRAGMENTS = {"content", "reasoning_content", "reasoning", "refusal", "arguments"}


async def without_progress(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The same events without the frames that tell how much of the prompt has been read."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta | Finished) and event.native:
                kept = tuple(frame for frame in event.native if "prompt_progress" not in frame)
                event = replace(event, native=kept)
            yield event


async def as_unstreamed(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The same events, but the native frames come as one ``chat.completion``, with the end."""
    body: dict[str, Any] = {}
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Delta):
                _take(body, event.native)
                yield replace(event, native=())
            elif isinstance(event, Finished):
                _take(body, event.native)
                yield replace(event, native=(_whole(body),))
            else:
                yield event


def _take(body: dict[str, Any], frames: Iterable[Mapping[str, Any]]) -> None:
    choices = body.setdefault("choices", {})
    for frame in frames:
        body.update({k: v for k, v in frame.items() if k != "choices" and v is not None})
        for choice in frame.get("choices") or ():
            index = choice.get("index", 0)
            known = choices.setdefault(index, {"index": index, "finish_reason": None})
            said = {k: v for k, v in choice.items() if k not in ("index", "delta", "message")}
            _merge(known, {**said, "message": choice.get("delta") or choice.get("message") or {}})


def _merge(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        old = known.get(key)
        if value is None:
            known.setdefault(key, None)
        elif key == "tool_calls":
            _merge_calls(known, value)
        elif isinstance(value, str) and isinstance(old, str) and key in FRAGMENTS:
            known[key] = old + value
        elif isinstance(value, Mapping):
            if not isinstance(old, dict):
                old = known[key] = {}
            _merge(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            old.extend(value)  # log probabilities, token by token
        else:
            known[key] = deepcopy(value)


def _merge_calls(message: dict[str, Any], calls: Iterable[Mapping[str, Any]]) -> None:
    known: list[dict[str, Any]] = message.setdefault("tool_calls", [])
    for call in calls:
        index = call.get("index", len(known))
        while len(known) <= index:
            known.append({})
        _merge(known[index], {k: v for k, v in call.items() if k != "index"})


def _whole(body: Mapping[str, Any]) -> dict[str, Any]:
    choices = [choice for _, choice in sorted(body.get("choices", {}).items())]
    for choice in choices:
        choice["message"] = {"role": "assistant", "content": None, **choice.get("message", {})}
        choice.setdefault("logprobs", None)
    return {**body, "object": "chat.completion", "choices": choices}
