"""The two fixed answers of the upstream, and the check that a target relayed them whole.

A benchmark of a relay that drops half of what it relays is worth nothing, so every target has to
give both answers back, word for word, before its load begins.
"""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.prerequisites import Broken

INPUT_TOKENS = 12
OUTPUT_TOKENS = 8
COMPLETION_TEXT = "Eight tokens of fixed text, and no more."

STREAM_EVENTS = 200  # chunks; the usage chunk and [DONE] come on top
EVENTS_PER_STREAM = STREAM_EVENTS + 2
STREAM_OUTPUT_TOKENS = STREAM_EVENTS - 1
STREAM_WORDS = [f"word{number} " for number in range(STREAM_OUTPUT_TOKENS)]

_HEAD = {"id": "chatcmpl-benchmark", "created": 1_700_000_000, "model": "benchmark"}


class WrongAnswer(Broken):
    """A target answered, but not with what the upstream said."""


def _usage(output_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": INPUT_TOKENS + output_tokens,
    }


def completion_body() -> str:
    """One small chat completion with its usage, as a line of JSON."""
    message = {"role": "assistant", "content": COMPLETION_TEXT}
    return json.dumps(
        {
            **_HEAD,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(OUTPUT_TOKENS),
        }
    )


def stream_body() -> str:
    """The same as server-sent events: 199 words, one finish, one usage chunk, ``[DONE]``."""
    frames = [_frame({"role": "assistant", "content": STREAM_WORDS[0]})]
    frames += [_frame({"content": word}) for word in STREAM_WORDS[1:]]
    frames.append(_frame({}, finish_reason="stop"))
    frames.append(_chunk(choices=[], usage=_usage(STREAM_OUTPUT_TOKENS)))
    return "".join(f"data: {frame}\n\n" for frame in [*frames, "[DONE]"])


def _frame(delta: dict[str, str], finish_reason: str | None = None) -> str:
    return _chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])


def _chunk(**fields: Any) -> str:
    return json.dumps({**_HEAD, "object": "chat.completion.chunk", **fields})


def request_body(model: str, *, stream: bool) -> bytes:
    """What the load sends: small, and the same to every target but for the model's name."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Say something short about the weather."}],
        "max_tokens": 256,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def check_completion(body: bytes) -> None:
    """Raise WrongAnswer unless text and usage came through."""
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"]["content"]
        tokens = answer["usage"]["completion_tokens"]
    except (ValueError, LookupError, TypeError) as exc:
        raise WrongAnswer(f"not a chat completion: {body[:300]!r}") from exc
    if (text, tokens) != (COMPLETION_TEXT, OUTPUT_TOKENS):
        raise WrongAnswer(f"other text or usage than the upstream's: {body[:300]!r}")


def check_stream(body: bytes) -> None:
    """Raise WrongAnswer unless every word came in an event of its own, and then ``[DONE]``."""
    events = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
    if not events or events[-1] != b"[DONE]":
        raise WrongAnswer(f"the stream does not end with [DONE]: {body[-300:]!r}")
    try:
        chunks = [json.loads(event) for event in events[:-1]]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    except (ValueError, LookupError, TypeError) as exc:
        raise WrongAnswer(f"not a stream of chat completion chunks: {body[:300]!r}") from exc
    words = [delta["content"] for delta in deltas if delta.get("content")]
    if words != STREAM_WORDS:
        raise WrongAnswer(f"{len(words)} words relayed of {len(STREAM_WORDS)}, or not the same")
