"""A server that speaks OpenAI's chat completions, and refuses what OpenAI refuses.

Our reading of https://platform.openai.com/docs/api-reference/chat (streaming included) and
https://platform.openai.com/docs/guides/error-codes, read 2026-11-23; "loading" is the llama.cpp
server's answer (release b11434). It is no evidence about the services themselves.

The scenario is the model's name (``providers.testing.scenarios``). ``loading:N`` answers 503 the
first N times and then as "warm".
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

from providers.testing.scenarios import (
    ANSWER,
    INPUT_TOKENS,
    LEAVING_SECONDS,
    OUTPUT_TOKENS,
    RETRY_AFTER_SECONDS,
)

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEY = "sk-emulated-1f0c9d7e5b3a"
KNOWN_KEYS = {
    *("messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
    *("temperature", "top_p", "stop", "seed", "n", "tools", "tool_choice", "logprobs", "user"),
    *("response_format", "metadata", "presence_penalty", "frequency_penalty", "reasoning_effort"),
}
ERRORS: dict[str, tuple[int, str | None, str, str | None]] = {
    # scenario: status, code, type, param
    "no-such-model": (404, "model_not_found", "invalid_request_error", None),
    "context-too-long": (400, "context_length_exceeded", "invalid_request_error", "messages"),
    "content-refused": (400, "content_policy_violation", "invalid_request_error", None),
    "invalid-request": (400, "invalid_value", "invalid_request_error", "temperature"),
    "out-of-quota": (429, "insufficient_quota", "insufficient_quota", None),
    "rate-limited": (429, "rate_limit_exceeded", "requests", None),
    "rate-limited-no-header": (429, "rate_limit_exceeded", "requests", None),
    "no-capacity": (503, None, "server_error_overloaded", None),
    "job-fails": (500, None, "server_error", None),
}


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: Any


class OpenAIChat:
    """The ASGI app; an ``Upstream`` of the contract suite once ``url`` is set."""

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.url = ""
        self.received: list[Received] = []
        self._began: Counter[str] = Counter()
        self._stopped: Counter[str] = Counter()

    def began(self, scenario: str) -> int:
        return self._began[scenario]

    def stopped(self, scenario: str) -> int:
        return self._stopped[scenario]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await _Answer(self, scope, headers, raw, receive, send).run()


class _Answer:
    def __init__(
        self,
        app: OpenAIChat,
        scope: MutableMapping[str, Any],
        headers: dict[str, str],
        raw: bytes,
        receive: Receive,
        send: Send,
    ) -> None:
        self.app = app
        self.scope = scope
        self.headers = headers
        self.raw = raw
        self.receive = receive
        self.send = send
        self.model = ""
        self.stamps: Iterator[int] = itertools.repeat(1790000000)

    async def run(self) -> None:
        if self.scope["method"] != "POST" or self.scope["path"] != "/chat/completions":
            path = f"{self.scope['method']} {self.scope['path']}"
            return await self.error(404, None, "invalid_request_error", f"Invalid URL ({path})")
        if self.headers.get("content-type", "").partition(";")[0] != "application/json":
            return await self.error(400, None, "invalid_request_error", "you must send JSON")
        body = json.loads(self.raw)
        self.app.received.append(Received(self.scope["path"], self.headers, body))
        self.model = str(body.get("model"))
        self.app._began[self.model] += 1
        if self.model == "clock-skew":
            self.stamps = itertools.count(2, -1)  # soon before 1970
        given = self.headers.get("authorization", "").removeprefix("Bearer ")
        if given != self.app.key or self.model == "bad-key":
            # OpenAI's own message quotes the key; so does this one, whole.
            message = f"Incorrect API key provided: {given}."
            return await self.error(401, "invalid_api_key", "invalid_request_error", message)
        refusal = self.refusal(body)
        if refusal is not None:
            param, message = refusal
            kind = "invalid_request_error"
            return await self.error(400, "invalid_value", kind, message, param=param)
        await self.play(body)

    def refusal(self, body: dict[str, Any]) -> tuple[str, str] | None:
        for key in body:
            if key not in KNOWN_KEYS:
                return key, f"Unrecognized request argument supplied: {key}"
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return "messages", "[] is too short - 'messages'"
        for message in messages:
            if not isinstance(message, dict) or "role" not in message:
                return "messages", "Missing required parameter: 'messages[0].role'."
        if "stream_options" in body and not body.get("stream"):
            return "stream_options", "The 'stream_options' parameter is only allowed with 'stream'."
        return None

    async def play(self, body: dict[str, Any]) -> None:
        model = self.model
        if model in ERRORS:
            status, code, kind, param = ERRORS[model]
            headers = {"retry-after": f"{RETRY_AFTER_SECONDS:g}"} if model == "rate-limited" else {}
            message = f"No, said the server, and quoted {self.headers['authorization']}."
            return await self.error(status, code, kind, message, param=param, headers=headers)
        if model in ("loading", "never-boots") or model.startswith("loading:"):
            times = int(model.partition(":")[2] or 10**9)
            if self.app.began(model) <= times:
                return await self.error(503, 503, "unavailable_error", "Loading model")
        if model == "never-answers":
            return await self.hold()
        if model == "slow-create" and await self.left_within(LEAVING_SECONDS):
            return
        if model == "slow-first-delta":
            await asyncio.sleep(0.05)
        if model == "error-in-200":
            error = {"message": "it broke", "type": "server_error", "code": None, "param": None}
            return await self.whole(200, {"error": error})
        if body.get("stream"):
            return await self.stream(body)
        await self.whole(200, self.completion())

    # -- whole answers ------------------------------------------------------------------------

    def completion(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": ANSWER, "refusal": None}
        reason = "stop"
        if self.model == "tools":
            message, reason = (
                {**message, "content": None, "tool_calls": [tool_call()]},
                "tool_calls",
            )
        if self.model == "usage-zero":
            message["content"] = ""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        answer = {**self.head("chat.completion"), "choices": [choice]}
        if self.model != "usage-missing":
            answer["usage"] = usage(0 if self.model == "usage-zero" else OUTPUT_TOKENS)
        return answer

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": kind, "created": self.now(), "model": self.model}

    def now(self) -> int:
        return next(self.stamps)

    async def error(
        self,
        status: int,
        code: Any,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        error = {"message": message, "type": kind, "param": param, "code": code}
        await self.whole(status, {"error": error}, headers)

    async def whole(
        self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        await self.start(status, {"content-type": "application/json", **(headers or {})})
        await self.send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def start(self, status: int, headers: dict[str, str]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    # -- streams ------------------------------------------------------------------------------

    async def stream(self, body: dict[str, Any]) -> None:
        await self.start(200, {"content-type": "text/event-stream; charset=utf-8"})
        gone = asyncio.create_task(self.hung_up())
        try:
            for piece in self.pieces(body):
                if gone.done():
                    return
                await self.send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            if self.model == "stalls":
                await gone
            elif self.model == "dies-mid-stream":
                raise ConnectionAbortedError("the server dies")  # uvicorn drops the connection
            else:
                await self.send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    def pieces(self, body: dict[str, Any]) -> Iterator[bytes]:
        frames = b"".join(self.frames(body))
        if self.model == "split-frames":
            yield from (frames[i : i + 1] for i in range(len(frames)))
        elif self.model == "stalls" or self.model == "dies-mid-stream":
            yield from list(self.frames(body))[:3]
        elif self.model == "malformed-frame":
            yield from [*list(self.frames(body))[:3], b'data: {"choices": [{]\n\n']
        elif self.model == "error-frame-mid-stream":
            error = {"message": "it broke", "type": "server_error", "code": 500}
            yield from [*list(self.frames(body))[:3], frame({"error": error})]
        else:
            yield from self.frames(body)

    def frames(self, body: dict[str, Any]) -> Iterator[bytes]:
        def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return frame({**self.head("chat.completion.chunk"), "choices": [choice]})

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        if self.model == "tools":
            call = tool_call()
            arguments = call["function"].pop("arguments")
            yield chunk({"tool_calls": [{"index": 0, **call}]})
            for part in (arguments[:7], arguments[7:]):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        elif self.model == "huge-frame":
            yield chunk({"content": "x" * 10_000_000})
        elif self.model != "usage-zero":
            for start in range(0, len(ANSWER), 5):
                yield chunk({"content": ANSWER[start : start + 5]})
        yield chunk({}, "tool_calls" if self.model == "tools" else "stop")
        wants_usage = (body.get("stream_options") or {}).get("include_usage")
        if wants_usage and self.model != "usage-missing":
            counts = usage(0 if self.model == "usage-zero" else OUTPUT_TOKENS)
            yield frame({**self.head("chat.completion.chunk"), "choices": [], "usage": counts})
        yield b"data: [DONE]\n\n"

    async def hold(self) -> None:
        await self.hung_up()

    async def left_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.hung_up(), seconds)
        except TimeoutError:
            return False
        return True

    async def hung_up(self) -> None:
        """Returns when the client has left."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.app._stopped[self.model] += 1


def frame(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def usage(output_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": INPUT_TOKENS + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def tool_call() -> dict[str, Any]:
    function = {"name": "weather", "arguments": '{"city": "Zürich"}'}
    return {"id": "call_1", "type": "function", "function": function}
