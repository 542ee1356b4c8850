"""The engines behind Hugging Face that take ``{"inputs": ...}``: TGI, TEI, diffusion, pipelines.

Our reading of text-generation-inference router/src at db931fcf (2026-01-08) and
text-embeddings-inference router/src/http/server.rs, and of the tasks in
https://huggingface.co/docs/inference-providers/tasks (2026-08-22); read 2026-11-23.
The scenario is the model's name (``providers.testing.scenarios``).
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from providers.testing.scenarios import (
    ANSWER,
    INPUT_TOKENS,
    LEAVING_SECONDS,
    OUTPUT_TOKENS,
)
from tests.emulators.asgi import Call

VALIDATION_MS, QUEUE_MS, INFERENCE_MS = 1, 7, 42
TOTAL_MS = VALIDATION_MS + QUEUE_MS + INFERENCE_MS
VECTOR = [0.25, -0.5, 1.0]
LABELS = [{"label": "POSITIVE", "score": 0.9998}, {"label": "NEGATIVE", "score": 0.0002}]
TOO_LONG = "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"
TGI_ERRORS: dict[str, tuple[int, str, str]] = {
    "context-too-long": (422, "validation", TOO_LONG),
    "invalid-request": (422, "validation", "Input validation error: `seed` must be positive"),
    "no-capacity": (429, "overloaded", "Model is overloaded"),
    "incomplete": (500, "incomplete_generation", "Incomplete generation"),
    "job-fails": (424, "generation", "Request failed during generation: CUDA out of memory"),
}


class Tasks:
    """Answers calls for a model, once they are let in; knows how many were broken off."""

    def __init__(self) -> None:
        self.began: Counter[str] = Counter()
        self.stopped: Counter[str] = Counter()
        self.texts: list[Any] = []

    async def text(self, call: Call, model: str, *, compatible: bool = True) -> None:
        """TGI: ``/`` answers with a list and streams on request, ``/generate`` with an object."""
        self.began[model] += 1
        body = call.body
        if not isinstance(body, dict) or "inputs" not in body:
            why = "Failed to deserialize the JSON body into the target type: missing field `inputs`"
            return await call.text(422, why)
        self.texts.append(body)
        parameters = body.get("parameters") or {}
        if (refusal := tgi_refusal(parameters)) is not None:
            return await tgi_error(call, 422, "validation", f"Input validation error: {refusal}")
        if model in TGI_ERRORS and not (body.get("stream") and model == "job-fails"):
            return await tgi_error(call, *TGI_ERRORS[model])
        if model == "never-answers":
            return await self.hold(call, model)
        if model == "slow-create" and await self.left_within(call, model, LEAVING_SECONDS):
            return None
        if model == "slow-first-delta":
            await asyncio.sleep(0.05)
        if body.get("stream"):
            return await self.stream(call, model, parameters)
        if model == "error-in-200":
            return await call.json(200, {"error": "it broke", "error_type": "generation"})
        whole = whole_answer(model, parameters, body["inputs"])
        head = tgi_headers(body["inputs"], counts=model != "usage-missing")
        if model == "usage-zero":
            head["x-generated-tokens"] = "0"
        if model == "clock-skew":
            head |= {"x-total-time": "5", "x-inference-time": "-3"}  # and 7 ms of queue
        await call.json(200, [whole] if compatible else whole, head)

    async def stream(self, call: Call, model: str, parameters: dict[str, Any]) -> None:
        head = {
            "content-type": "text/event-stream",
            "cache-control": "no-cache",
            "x-compute-type": "gpu+optimized",
            "x-compute-characters": "14",
            "x-accel-buffering": "no",
        }
        await call.start(200, head)
        gone = asyncio.create_task(call.hung_up())
        try:
            for piece in pieces(model, parameters):
                if gone.done():
                    self.stopped[model] += 1
                    return
                await call.piece(piece)
                await asyncio.sleep(0)
            if model == "stalls":
                await gone
                self.stopped[model] += 1
            elif model == "dies-mid-stream":
                raise ConnectionAbortedError("the server dies")
            else:
                await call.end()
        finally:
            gone.cancel()

    async def embed(self, call: Call, model: str) -> None:
        """TEI: a vector for each text; ``x-compute-time`` in milliseconds."""
        self.began[model] += 1
        body = call.body
        inputs = body.get("inputs") if isinstance(body, dict) else None
        if not isinstance(inputs, str | list):
            return await call.text(422, "missing field `inputs`")
        texts = [inputs] if isinstance(inputs, str) else inputs
        if model == "context-too-long":
            return await call.json(413, {"error": TOO_LONG, "error_type": "Validation"})
        if "" in texts:
            return await call.json(
                400, {"error": "`inputs` cannot be empty", "error_type": "Empty"}
            )
        if model == "tokens":  # a model that pools nothing
            return await call.json(200, [[VECTOR, VECTOR] for _ in texts])
        flat = model == "flat" and isinstance(inputs, str)
        answer = VECTOR if flat else [VECTOR for _ in texts]
        await call.json(200, answer, tei_headers(len(texts)))

    async def image(self, call: Call, model: str) -> None:
        self.began[model] += 1
        body = call.body
        if not isinstance(body, dict) or not isinstance(body.get("inputs"), str):
            return await call.json(400, {"error": ["Error in `inputs`: none is not allowed"]})
        self.texts.append(body)
        if model == "never-answers":
            return await self.hold(call, model)
        await call.whole(200, png(), {"content-type": "image/png"})

    async def classify(self, call: Call, model: str) -> None:
        self.began[model] += 1
        body = call.body
        if not isinstance(body, dict) or "inputs" not in body:
            return await call.json(400, {"error": ["Error in `inputs`: field required"]})
        self.texts.append(body)
        await call.json(200, [LABELS], {"x-compute-type": "cpu", "x-compute-time": "0.031"})

    async def left_within(self, call: Call, model: str, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self.hold(call, model), seconds)
        except TimeoutError:
            return False
        return True

    async def hold(self, call: Call, model: str) -> None:
        await call.hung_up()
        self.stopped[model] += 1


def pieces(model: str, parameters: dict[str, Any]) -> Iterator[bytes]:
    frames = list(token_frames(model, parameters))
    whole = b"".join(frames)
    if model == "split-frames":
        yield from (whole[i : i + 1] for i in range(len(whole)))
    elif model in ("error-in-200", "job-fails"):
        yield event({"error": "it broke", "error_type": "generation"})
    elif model in ("stalls", "dies-mid-stream"):
        yield from frames[:3]
    elif model == "malformed-frame":
        yield from [*frames[:3], b'data: {"token": [}\n\n']
    elif model == "error-frame-mid-stream":
        yield from [*frames[:3], event({"error": "it broke", "error_type": "generation"})]
    else:
        yield from [b": keep-alive\n\n", *frames]


def token_frames(model: str, parameters: dict[str, Any]) -> Iterator[bytes]:
    text = spoken(model)
    step = 5 if len(text) < 100 else len(text)
    for index, start in enumerate(range(0, len(text), step)):
        yield event(token_frame(index, text[start : start + step]))
    last = token_frame(99, "</s>", special=True)
    last["generated_text"] = text
    if parameters.get("details") and model != "usage-missing":
        last["details"] = details(model, streamed=True)
    yield event(last)


def token_frame(index: int, text: str, *, special: bool = False) -> dict[str, Any]:
    token = {"id": 7, "text": text, "logprob": -0.3, "special": special}
    frame = {"index": index, "token": token, "top_tokens": []}
    return {**frame, "generated_text": None, "details": None}


def whole_answer(model: str, parameters: dict[str, Any], inputs: str) -> dict[str, Any]:
    text = spoken(model)
    if parameters.get("return_full_text", True):  # the default of TGI's compatible route
        text = inputs + text
    answer: dict[str, Any] = {"generated_text": text}
    if parameters.get("details") and model != "usage-missing":
        answer["details"] = details(model, streamed=False)
    return answer


def details(model: str, *, streamed: bool) -> dict[str, Any]:
    made = 0 if model == "usage-zero" else OUTPUT_TOKENS
    reason = "stop_sequence" if model == "stopped" else "eos_token"
    common = {"finish_reason": reason, "generated_tokens": made, "seed": None}
    if streamed:
        return {**common, "input_length": INPUT_TOKENS}
    return {**common, "prefill": [], "tokens": []}


def spoken(model: str) -> str:
    if model == "usage-zero":
        return ""
    return "x" * 10_000_000 if model == "huge-frame" else ANSWER


def tgi_refusal(parameters: dict[str, Any]) -> str | None:
    if (temperature := parameters.get("temperature")) is not None and temperature <= 0:
        return "`temperature` must be strictly positive"
    if (top_p := parameters.get("top_p")) is not None and not 0 < top_p < 1:
        return "`top_p` must be > 0.0 and < 1.0"
    if (most := parameters.get("max_new_tokens")) is not None and most < 1:
        return "`max_new_tokens` must be strictly positive"
    return None


async def tgi_error(call: Call, status: int, kind: str, words: str) -> None:
    await call.json(status, {"error": words, "error_type": kind})


def tgi_headers(inputs: str, *, counts: bool = True) -> dict[str, str]:
    """Milliseconds, but for ``x-compute-time``, which is seconds here."""
    head = {
        "x-compute-type": "gpu+optimized",
        "x-compute-time": f"{TOTAL_MS / 1000 + 0.000345:.6f}",
        "x-compute-characters": str(len(inputs)),
        "x-total-time": str(TOTAL_MS),
        "x-validation-time": str(VALIDATION_MS),
        "x-queue-time": str(QUEUE_MS),
        "x-inference-time": str(INFERENCE_MS),
        "x-time-per-token": str(INFERENCE_MS // OUTPUT_TOKENS),
    }
    if counts:
        head |= {"x-prompt-tokens": str(INPUT_TOKENS), "x-generated-tokens": str(OUTPUT_TOKENS)}
    return head


def tei_headers(texts: int) -> dict[str, str]:
    return {
        "x-compute-type": "gpu+optimized",
        "x-compute-time": str(TOTAL_MS),
        "x-compute-characters": "14",
        "x-compute-tokens": str(INPUT_TOKENS * texts),
        "x-total-time": str(TOTAL_MS),
        "x-tokenization-time": str(VALIDATION_MS),
        "x-queue-time": str(QUEUE_MS),
        "x-inference-time": str(INFERENCE_MS),
    }


def event(value: dict[str, Any]) -> bytes:
    return b"data:" + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def png() -> bytes:
    """The smallest image there is: one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00"))
    return b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b"")
