"""A vLLM worker at the emulated RunPod: chat completions as jobs.

Source: runpod-workers/worker-vllm at 7a925039 (2026-08-20), ``src/handler.py``: the input holds
``openai_route`` and ``openai_input``; a stream is yielded as the raw text of vLLM's server-sent
events, cut anywhere, anything else as one parsed answer; an error is yielded as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.emulators.runpod_wire import HANDLERS, OPENAI_COUNTS, WORDS
from tests.emulators.runpod_world import Handler

MODEL = "Qwen/Qwen3-8B"
CHUNK_CHARACTERS = 37  # pieces end anywhere
TOO_LONG = (
    'vLLM returned HTTP 400: {"error": {"message": "This model\'s maximum context length is 4096 '
    'tokens.", "type": "BadRequestError", "code": 400}}'
)
TOOL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}


def _error(text: str) -> str:
    """What the worker SDK sends of a yielded ``{"error": {...}}``: rp_job.py, ``handle_job``."""
    return str({"message": text, "type": "worker_error", "code": None})


def _chat(name: str, **said: Any) -> Handler:
    known = {"words": WORDS, "usage": OPENAI_COUNTS}
    return replace(HANDLERS[name], pieces=(), chat={**known, **said})


CHATS: dict[str, Handler] = {
    "warm": _chat("warm"),
    "cold": _chat("cold"),
    "queued": _chat("queued"),
    "unknown-status": _chat("unknown-status"),
    "clock-skew": _chat("clock-skew"),
    "split-frames": _chat("split-frames"),
    "slow-first-delta": _chat("slow-first-delta"),
    "usage-missing": _chat("usage-missing", usage=None),
    "usage-zero": _chat("usage-zero", words=(), usage={**OPENAI_COUNTS, "completion_tokens": 0}),
    "huge-frame": _chat("huge-frame", words=("x" * 10_000_000,)),
    "tools": _chat("warm", words=(), tool=TOOL),
    "context-too-long": replace(_chat("job-fails", words=()), error=_error(TOO_LONG)),
    "job-fails": replace(
        _chat("job-fails", words=()), error=_error("vLLM returned HTTP 500: Internal Server Error")
    ),
    "error-in-200": replace(
        _chat("error-in-200", words=()), error=_error("Request to vLLM failed")
    ),
    "error-frame-mid-stream": _chat("slow-first-delta", words=WORDS[:2], ends="error"),
    "dies-mid-stream": replace(
        _chat("dies-mid-stream", words=WORDS[:2], ends="cut"), error="worker lost"
    ),
    "malformed-frame": _chat("slow-first-delta", words=WORDS[:2], ends="broken"),
    "never-answers": _chat("never-answers"),
    "never-boots": _chat("never-boots"),
    "slow-create": _chat("slow-create"),
    "stalls": replace(_chat("stalls", words=WORDS[:1], ends="cut"), piece_seconds=1.0),
}


def answering(handler: Handler, given: Mapping[str, Any]) -> Handler:
    """The handler with the pieces of its answer to one job."""
    body, said = given.get("openai_input"), handler.chat
    assert said is not None
    if given.get("openai_route") != "/v1/chat/completions" or not isinstance(body, dict):
        return replace(handler, pieces=(), error=_error("Job input must contain one of: ..."))
    if not body.get("messages") or body.get("model") != MODEL:
        text = "vLLM returned HTTP 404: {'error': {'message': 'The model does not exist.'}}"
        return replace(handler, pieces=(), error=_error(text))
    if not body.get("stream"):
        return replace(handler, pieces=() if "ends" in said else (_whole(said),))
    text = "".join(_frames(said, (body.get("stream_options") or {}).get("include_usage", False)))
    if "ends" in said or len(text) > 1_000_000:
        return replace(handler, pieces=(text,))
    cuts = range(0, len(text), CHUNK_CHARACTERS)
    return replace(handler, pieces=tuple(text[cut : cut + CHUNK_CHARACTERS] for cut in cuts))


def _whole(said: Mapping[str, Any]) -> dict[str, Any]:
    tool = said.get("tool")
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said["words"])}
    if tool is not None:
        message |= {"content": None, "tool_calls": [tool]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool else "stop"}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**body, "choices": [choice], "usage": said["usage"]}


def _frames(said: Mapping[str, Any], counts: bool) -> list[str]:
    tool = said.get("tool")
    frames = [_frame({"role": "assistant", "content": ""})]
    frames += [_frame({"content": word}) for word in said["words"]]
    if tool is not None:
        frames.append(_frame({"tool_calls": [{"index": 0, **tool}]}))
    ends = said.get("ends")
    if ends == "cut":
        return frames
    if ends == "broken":
        return [*frames, 'data: {"choices": [{"del\n\n']
    if ends == "error":
        return [*frames, 'data: {"error": {"message": "boom", "type": "server_error"}}\n\n']
    frames.append(_frame({}, "tool_calls" if tool else "stop"))
    if counts and said["usage"] is not None:
        frames.append(_frame(None, usage=said["usage"]))
    return [*frames, "data: [DONE]\n\n"]


def _frame(delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> str:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n"
