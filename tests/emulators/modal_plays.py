"""What the emulated functions do: one play for each scenario, chosen by the function's name.

The answers follow the convention of ``providers/modal/EXAMPLE.md``, as a deployed app would.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import cbor2
from modal_proto import api_pb2

from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from tests.emulators.modal_world import Call, World, scenario_of

PICKLE, GENERATOR_DONE, CBOR = (
    api_pb2.DATA_FORMAT_PICKLE,
    api_pb2.DATA_FORMAT_GENERATOR_DONE,
    api_pb2.DATA_FORMAT_CBOR,
)
Result = api_pb2.GenericResult
SECRET_WORDS = "ValueError: the prompt was 'attack at dawn'"  # must reach no caller

STATUSES: dict[str, tuple[int, str]] = {
    "job-fails": (Result.GENERIC_STATUS_FAILURE, SECRET_WORDS),
    "error-in-200": (Result.GENERIC_STATUS_INIT_FAILURE, "the container did not start"),
    "times-out": (Result.GENERIC_STATUS_TIMEOUT, "Task's current input hit its timeout"),
    "internal-failure": (Result.GENERIC_STATUS_INTERNAL_FAILURE, "worker lost"),
    "terminated": (Result.GENERIC_STATUS_TERMINATED, "terminated"),
    "idle-timeout": (Result.GENERIC_STATUS_IDLE_TIMEOUT, "idle"),
    "memory-manager": (Result.GENERIC_STATUS_MEMORY_MANAGER_EVICTION, "evicted"),
    "memory-thrashing": (Result.GENERIC_STATUS_MEMORY_THRASHING_EVICTION, "evicted"),
    "out-of-memory": (Result.GENERIC_STATUS_KERNEL_OOM_KILL, "killed"),
    "error-frame-mid-stream": (Result.GENERIC_STATUS_FAILURE, SECRET_WORDS),
}
CODES = {
    "context-too-long": "context_too_long",
    "content-refused": "content_refused",
    "invalid-request": "invalid_request",
}
Blob = Callable[[bytes], str]


class Hostile:
    """What a pickle can do to whoever reads it."""

    hits = 0

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return _hit, ()


def _hit() -> None:
    Hostile.hits += 1


async def play(world: World, call: Call, keep_blob: Blob) -> None:
    """Run one input, as the function of that name."""
    scenario = scenario_of(call.function)
    streams = call.method == "stream" or call.function.endswith("@stream")
    if scenario in ("never-answers", "slow-create"):
        await world.sleep(1e9)
    if streams:
        await _stream(world, call, scenario, keep_blob)
        return
    await world.sleep(world.execute_seconds)
    if scenario in STATUSES:
        return _fail(world, call, scenario)
    if scenario == "hostile-crash":
        data = pickle.dumps(Hostile())
        result = Result(status=Result.GENERIC_STATUS_INIT_FAILURE, exception="crash", data=data)
        return world.finish(call, result)
    if scenario == "hostile-answer":
        result = Result(status=Result.GENERIC_STATUS_SUCCESS, data=pickle.dumps(Hostile()))
        return world.finish(call, result, PICKLE)
    _succeed(world, call, _answer(world, call, scenario), keep_blob)


def report(world: World, call: Call, scenario: str) -> dict[str, Any]:
    """What the function says of itself, under the key ``gateway``."""
    box = call.container
    assert box is not None and box.ready_at is not None and call.started_at is not None
    if scenario == "clock-skew":
        return {"process_age_seconds": -3.0, "boot_seconds": -12.0, **_used(scenario)}
    said: dict[str, Any] = {
        "instance_id": box.id,
        "process_age_seconds": call.started_at - box.created_at,
        "boot_seconds": round(box.ready_at - box.created_at, 6),
        "finish_reason": "stop",
    }
    return {**said, **_used(scenario)}


def _used(scenario: str) -> dict[str, Any]:
    if scenario == "usage-missing":
        return {}
    output_tokens = 0 if scenario == "usage-zero" else OUTPUT_TOKENS
    return {"usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens}}


def _answer(world: World, call: Call, scenario: str) -> Any:
    match scenario:
        case "echo":
            return call.arguments
        case "bytes":
            return b"\x89PNG\r\n\x1a\n"
        case "plain":
            return ANSWER
        case "not-json":
            return {"value": {1, 2}}
        case "nothing":
            return None
        case _ if scenario in CODES:
            error = {"code": CODES[scenario], "param": "prompt"}
            return {"gateway": {"instance_id": "i-1", "error": error}}
    text = {"huge-frame": "x" * 10_000_000, "usage-zero": ""}.get(scenario, ANSWER)
    return {"output": text, "gateway": report(world, call, scenario)}


async def _stream(world: World, call: Call, scenario: str, keep_blob: Blob) -> None:
    last: dict[str, Any] | None = None
    if scenario in CODES:
        items: list[Any] = [_answer(world, call, scenario)]
    elif scenario == "plain":
        items = [ANSWER]
    else:
        said = report(world, call, scenario)
        last = {"usage": said.pop("usage")} if "usage" in said else {}
        text = {"huge-frame": "x" * 10_000_000, "usage-zero": ""}.get(scenario, ANSWER)
        step = max(1, len(text) // 4)
        pieces = [text[at : at + step] for at in range(0, len(text), step)]
        items = [{"gateway": said}, *pieces, {"gateway": last}]
    works_at = 1 if last is None else 2  # the report comes before the work
    ended_at = None
    for index, item in enumerate(items, 1):
        if index == works_at:
            await world.sleep(world.execute_seconds)
        if last is not None and index == len(items):
            ended_at = world.now()
            last["execute_seconds"] = world.truth(call, ended_at).execute_seconds
        if scenario == "job-fails" and index == 2:
            return _fail(world, call, scenario)
        chunk = api_pb2.DataChunk(
            index=index, data_format=api_pb2.DataFormat.Name(call.data_format)
        )
        _put(chunk, _encode(item, call.data_format), keep_blob)
        if index == 3:
            if scenario == "stalls":
                await world.sleep(1e9)
            elif scenario == "malformed-frame":
                chunk.data = b"\xff\xff"
            elif scenario == "error-frame-mid-stream":
                await asyncio.sleep(0.03)  # the SDK lets a failure overtake what came before it
                return _fail(world, call, scenario)
            elif scenario == "dies-mid-stream":
                call.cancelled = True
                call.tell()
                return
        call.chunks.append(chunk)
        call.tell()
        if index < len(items):
            await world.sleep(world.execute_seconds / 20)
    done = api_pb2.GeneratorDone(items_total=len(items)).SerializeToString()
    result = Result(status=Result.GENERIC_STATUS_SUCCESS, data=done)
    world.finish(call, result, GENERATOR_DONE, ended_at)


def _fail(world: World, call: Call, scenario: str) -> None:
    status, words = STATUSES[scenario]
    result = Result(status=Result.GenericStatus.Name(status), exception=words, traceback=words)
    if call.data_format == PICKLE:
        result.data = pickle.dumps(ValueError(words))
    world.finish(call, result, call.data_format)


def _succeed(world: World, call: Call, value: Any, keep_blob: Blob) -> None:
    result = Result(status=Result.GENERIC_STATUS_SUCCESS)
    _put(result, _encode(value, call.data_format), keep_blob)
    world.finish(call, result, call.data_format)


def _put(message: Any, data: bytes, keep_blob: Blob) -> None:
    """Into the message, or to the blob store where it is large, as Modal does."""
    if len(data) > 2 * 1024 * 1024:
        message.data_blob_id = keep_blob(data)
    else:
        message.data = data


def _encode(value: Any, data_format: int) -> bytes:
    return cbor2.dumps(value) if data_format == CBOR else pickle.dumps(value, 4)


def decode(data: bytes, data_format: int) -> Any:
    """The arguments of a call: its keywords, or the one object that it was given."""
    args, kwargs = cbor2.loads(data) if data_format == CBOR else pickle.loads(data)
    assert not (args and kwargs) and len(args) <= 1
    return args[0] if args else kwargs
