"""Ollama and LM Studio in their own APIs, where they say how long a load took.

Our reading of https://github.com/ollama/ollama/blob/main/docs/api.md and of LM Studio's
``_2_rest/chat.md``, ``streaming-events.md``, ``list.md`` and ``load.md``
(https://github.com/lmstudio-ai/docs), 2026-11-23; neither program was run.

The scenario is the model's name (``providers.testing.scenarios``). ``loaded`` is the world: whether
the model is in memory; a load of ``load_seconds`` takes ``SCALE`` of that. ``truth`` has one row
for each answer.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from providers.testing.scenarios import (
    ANSWER,
    INPUT_TOKENS,
    LEAVING_SECONDS,
    OUTPUT_TOKENS,
    RETRY_AFTER_SECONDS,
    UNKNOWN_STATUS,
)
from tests.emulators.gpu_servers import SCALE, Receive, Send, Truth

KEY = "native-emulated-81b3f4"
PIECES = [ANSWER[:7], ANSWER[7:12], ANSWER[12:]]


@dataclass(slots=True)
class Native:
    """What both have in common; an ``Upstream`` of the contract suite once ``url`` is set."""

    key: str = KEY
    url: str = ""
    loaded: bool = True
    load_seconds: float = 3.25
    warm_load_seconds: float = 0.7  # what Ollama reports although nothing was loaded
    execute_seconds: float = 1.5
    truth: list[Truth] = field(default_factory=list)
    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    loads: int = 0
    _began: Counter[str] = field(default_factory=Counter)
    _stopped: Counter[str] = field(default_factory=Counter)

    media_type: ClassVar[str]
    statuses: ClassVar[dict[str, int]] = {
        "no-such-model": 404,
        "invalid-request": 400,
        "no-capacity": 503,
        "job-fails": 500,
    }

    def began(self, scenario: str) -> int:
        return self._began[scenario]

    def stopped(self, scenario: str) -> int:
        return self._stopped[scenario]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        raw = b""
        while (message := await receive()).get("more_body"):
            raw += message["body"]
        raw += message.get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}

        async def answer(value: Any, status: int = 200) -> None:
            pairs = [(b"content-type", b"application/json")]
            if status == 429:
                pairs.append((b"retry-after", f"{RETRY_AFTER_SECONDS:g}".encode()))
            await send({"type": "http.response.start", "status": status, "headers": pairs})
            await send({"type": "http.response.body", "body": json.dumps(value).encode()})

        given = headers.get("authorization", "").removeprefix("Bearer ")
        path = f"{scope['method']} {scope['path']}"
        body = json.loads(raw) if raw else {}
        if path == self.chat:
            self._began[body["model"]] += 1
        # Neither checks a key by itself (LM Studio can); a proxy in front of it does.
        if given != self.key or body.get("model") == "bad-key":
            return await answer({"error": f"no such key: {given}"}, 401)
        if path != self.chat:
            return await self.other(path, body, answer)
        self.bodies.append((path, body))
        self.check(body)
        scenario = body["model"]
        if scenario in self.statuses:
            return await answer(self.refusal(scenario), self.statuses[scenario])
        gone = asyncio.create_task(hung_up(receive))
        try:
            if (
                scenario == "slow-create"
                and (await asyncio.wait({gone}, timeout=LEAVING_SECONDS))[0]
            ):
                self._stopped[scenario] += 1
                return
            await self._play(scenario, body, send, gone)
        finally:
            gone.cancel()

    async def _play(
        self, scenario: str, body: dict[str, Any], send: Send, gone: asyncio.Task[None]
    ) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", self.media_type.encode())],
            }
        )
        if scenario == "never-answers":
            await gone
            self._stopped[scenario] += 1
            return
        await asyncio.sleep(0.05 if scenario == "slow-first-delta" else 0)
        sent = b""
        async for frame in self.frames(scenario, body):
            sent += frame
            parts = [frame]
            if scenario == "split-frames":
                parts = [frame[i : i + 1] for i in range(len(frame))]
            for part in parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        if scenario in ("stalls", "never-boots"):
            await gone
            self._stopped[scenario] += 1
        elif scenario == "dies-mid-stream":
            raise ConnectionAbortedError("the server dies")  # uvicorn drops the connection
        else:
            await send({"type": "http.response.body", "body": b""})

    async def load(self) -> bool:
        """Bring the model into memory; whether that was needed."""
        if self.loaded:
            return False
        await asyncio.sleep(self.load_seconds * SCALE)
        self.loaded = True
        self.loads += 1
        return True

    def told(self, cold: bool) -> None:
        load_seconds = self.load_seconds if cold else 0.0
        self.truth.append(Truth(cold, load_seconds, 0.0, self.execute_seconds))

    # -- what differs ---------------------------------------------------------------------------

    chat: ClassVar[str]

    def check(self, body: dict[str, Any]) -> None:
        raise NotImplementedError

    def refusal(self, scenario: str) -> dict[str, Any]:
        raise NotImplementedError

    async def other(self, path: str, body: dict[str, Any], answer: Any) -> None:
        raise NotImplementedError

    def frames(self, scenario: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        raise NotImplementedError


@dataclass(slots=True)
class Ollama(Native):
    """``/api/chat``, ``/api/ps``, ``/api/generate`` (load and unload only), ``/api/version``."""

    media_type: ClassVar[str] = "application/x-ndjson"
    chat: ClassVar[str] = "POST /api/chat"
    reloads: bool = False  # asked with other options than the loaded model has
    lists_what_runs: bool = True  # an old one, or a proxy that lets only chat through, does not

    def check(self, body: dict[str, Any]) -> None:
        known = {"model", "messages", "stream", "options", "keep_alive", "format"}
        assert body.keys() <= known, body.keys() - known
        options = {"num_ctx", "num_predict", "temperature", "top_p", "stop", "seed"}
        assert body["options"].keys() <= options
        assert all(isinstance(message["content"], str) for message in body["messages"])

    def refusal(self, scenario: str) -> dict[str, Any]:
        words = {
            "no-such-model": f"model '{scenario}' not found",
            "no-capacity": "server busy, please try again.  maximum pending requests exceeded",
        }
        return {"error": words.get(scenario, f"it broke, with {self.key}")}

    async def other(self, path: str, body: dict[str, Any], answer: Any) -> None:
        match path:
            case "GET /api/version":
                await answer({"version": "0.32.13"})
            case "GET /api/ps" if self.lists_what_runs:
                name = {"name": "cold:latest", "model": "cold:latest"}
                row = {**name, "expires_at": "2026-11-23T10:00:00Z", "size_vram": 5_600_000_000}
                rows = [{**row, "name": s, "model": s} for s in ("warm:latest", "cold:latest")]
                await answer({"models": rows if self.loaded else []})
            case "POST /api/generate":
                assert "prompt" not in body
                self.bodies.append((path, body))
                if body.get("keep_alive") == 0:
                    self.loaded = False
                else:
                    await self.load()
                await answer({"model": body["model"], "response": "", "done": True})
            case _:
                await answer("404 page not found", 404)

    async def frames(self, scenario: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        if scenario == "never-boots":
            return
        cold = await self.load() or self.reloads
        head = {"model": scenario, "created_at": "2026-11-23T10:00:00.1Z"}

        def line(said: dict[str, Any]) -> bytes:
            return json.dumps({**head, **said}, ensure_ascii=False).encode() + b"\n"

        if scenario == "error-in-200":
            yield line({"error": f"it broke, with {self.key}"})
            return
        for number, text in enumerate(pieces(scenario)):
            message: dict[str, Any] = {"role": "assistant", "content": text}
            if number == 0 and scenario == "warm":
                message["thinking"] = "Hm."
            yield line({"message": message, "done": False})
            if scenario in ("stalls", "dies-mid-stream"):
                return
        if scenario == "error-frame-mid-stream":
            yield line({"error": f"it broke, with {self.key}"})
        elif scenario == "malformed-frame":
            yield b'{"message": {]\n'
        else:
            self.told(cold)
            yield line(self._last(scenario, cold))

    def _last(self, scenario: str, cold: bool) -> dict[str, Any]:
        load_seconds = self.load_seconds if cold else self.warm_load_seconds
        said = {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "total_duration": round((load_seconds + self.execute_seconds) * 1e9),
            "load_duration": round(load_seconds * 1e9),
            "prompt_eval_duration": round(self.execute_seconds / 3 * 1e9),
            "eval_duration": round(self.execute_seconds * 2 / 3 * 1e9),
        }
        if scenario == "clock-skew":
            spans = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
            said |= dict.fromkeys(spans, -7)
        if scenario != "usage-missing":
            said["prompt_eval_count"] = INPUT_TOKENS
            said["eval_count"] = 0 if scenario == "usage-zero" else OUTPUT_TOKENS
        return said


@dataclass(slots=True)
class LmStudio(Native):
    """``/api/v1/chat``, ``/api/v1/models`` with load and unload, ``/v1/chat/completions``."""

    media_type: ClassVar[str] = "text/event-stream"
    chat: ClassVar[str] = "POST /api/v1/chat"
    openai_calls: int = 0

    def check(self, body: dict[str, Any]) -> None:
        known = {"model", "input", "system_prompt", "stream", "temperature", "top_p", "store"}
        assert body.keys() <= known | {"max_output_tokens"}, body.keys()
        assert isinstance(body["input"], str) and 0 <= body.get("temperature", 0) <= 1

    def refusal(self, scenario: str) -> dict[str, Any]:
        kinds = {"no-such-model": "model_not_found", "invalid-request": "invalid_request"}
        error = {"message": f"no, with {self.key}", "type": kinds.get(scenario, "internal_error")}
        return {"error": error}

    async def other(self, path: str, body: dict[str, Any], answer: Any) -> None:
        match path:
            case "GET /api/v1/models":
                instances = [{"id": "cold", "config": {}}] if self.loaded else []
                rows = [{"type": "llm", "key": "cold", "loaded_instances": instances}]
                await answer({"models": rows})
            case "POST /api/v1/models/load":
                self.bodies.append((path, body))
                assert not self.loaded, "it would load a second instance"
                await self.load()
                await answer({"model_instance_id": "cold", "load_time_seconds": self.load_seconds})
            case "POST /api/v1/models/unload":
                assert body == {"instance_id": "cold"}
                self.loaded = False
                await answer({"instance_id": "cold"})
            case "POST /v1/chat/completions":
                self.openai_calls += 1
                self.told(await self.load())
                message = {"role": "assistant", "content": ANSWER}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                await answer({"object": "chat.completion", "choices": [choice]})
            case _:
                await answer({"error": {"type": "invalid_request", "message": "no path"}}, 404)

    async def frames(self, scenario: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        instance = {"model_instance_id": scenario}
        if scenario in ("cold", "clock-skew", "never-boots"):
            self.loaded = False
        yield event("chat.start", instance)
        cold = not self.loaded
        if cold:
            yield event("model_load.start", instance)
            yield event("model_load.progress", {**instance, "progress": 0.65})
            if scenario == "never-boots":
                return
            await self.load()
            seconds = self.load_seconds if scenario != "clock-skew" else -self.load_seconds
            yield event("model_load.end", {**instance, "load_time_seconds": seconds})
        if scenario == "unknown-status":
            yield event(UNKNOWN_STATUS, instance)
        yield event("prompt_processing.start", {})
        yield event("prompt_processing.end", {})
        if scenario == "error-in-200":
            error = {"type": "internal_error", "message": f"it broke, with {self.key}"}
            yield event("error", {"error": error})
        yield event("message.start", {})
        for text in [] if scenario == "error-in-200" else pieces(scenario):
            yield event("message.delta", {"content": text})
            if scenario in ("stalls", "dies-mid-stream"):
                return
        if scenario == "malformed-frame":
            yield b'event: message.delta\ndata: {"type": ]\n\n'
            return
        if scenario == "error-frame-mid-stream":
            yield event("error", {"error": {"type": "unknown", "message": "it broke"}})
        self.told(cold)
        yield event("message.end", {})
        yield event("chat.end", {"result": {**instance, "stats": self._stats(scenario, cold)}})

    def _stats(self, scenario: str, cold: bool) -> dict[str, Any]:
        stats: dict[str, Any] = {"tokens_per_second": 43.7, "time_to_first_token_seconds": 0.78}
        if scenario != "usage-missing":
            stats["input_tokens"] = INPUT_TOKENS
            stats["total_output_tokens"] = 0 if scenario == "usage-zero" else OUTPUT_TOKENS
            stats["reasoning_output_tokens"] = 0
        if cold:
            sign = -1 if scenario == "clock-skew" else 1
            stats["model_load_time_seconds"] = sign * self.load_seconds
        return stats


def event(kind: str, said: dict[str, Any]) -> bytes:
    data = json.dumps({"type": kind, **said}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def pieces(scenario: str) -> Iterator[str]:
    if scenario == "huge-frame":
        yield "x" * 10_000_000
    elif scenario != "usage-zero":
        yield from PIECES


async def hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
