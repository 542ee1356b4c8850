from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from providers.contract import Delta, Event, Finished, Usage
from providers.local.frames import as_unstreamed, without_progress


def chunk(delta: dict[str, Any], index: int = 0, **choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": index, "delta": delta, "finish_reason": None, **choice}],
    }


async def stream(*events: Event) -> AsyncGenerator[Event, None]:
    for event in events:
        yield event


async def unstreamed(*events: Event) -> dict[str, Any]:
    seen = [event async for event in as_unstreamed(stream(*events))]
    assert [type(event) for event in seen] == [type(event) for event in events]
    assert isinstance(seen[-1], Finished)
    (body,) = seen[-1].native
    return dict(body)


async def test_text_reasoning_and_log_probabilities_are_joined() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    body = await unstreamed(
        Delta("Hm", channel="reasoning", native=(chunk({"reasoning_content": "Hm"}),)),
        Delta("a", native=(chunk({"role": "assistant", "content": "a"}, logprobs=tokens("a")),)),
        Delta("b", native=(chunk({"content": "b"}, logprobs=tokens("b")),)),
        Finished(
            ("stop",),
            Usage(3, 2),
            native=(chunk({}, finish_reason="stop"), {"choices": [], "usage": usage, "model": "m"}),
        ),
    )
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "usage": usage,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "ab", "reasoning_content": "Hm"},
                "logprobs": {"content": [{"token": "a"}, {"token": "b"}]},
            }
        ],
    }


def tokens(*names: str) -> dict[str, Any]:
    return {"content": [{"token": name} for name in names]}


async def test_tool_calls_are_joined_by_their_index() -> None:
    def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        name = {"name": more.pop("name")} if "name" in more else {}
        return {"index": index, "function": {"arguments": arguments, **name}, **more}

    body = await unstreamed(
        Delta(
            '{"x"',
            channel="tool_call",
            native=(
                chunk({"tool_calls": [call(0, '{"x"', id="c0", type="function", name="f")]}),
                chunk({"tool_calls": [call(1, "{}", id="c1", type="function", name="g")]}),
            ),
        ),
        Finished(
            ("tool_calls",),
            native=(
                chunk({"tool_calls": [call(0, ":1}")]}),
                chunk({}, finish_reason="tool_calls"),
            ),
        ),
    )
    (choice,) = body["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "c1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


async def test_choices_are_kept_apart_and_in_order() -> None:
    body = await unstreamed(
        Delta("y", 1, native=(chunk({"content": "y"}, 1),)),
        Delta("x", 0, native=(chunk({"content": "x"}, 0),)),
        Finished(native=(chunk({}, 0, finish_reason="stop"), chunk({}, 1, finish_reason="length"))),
    )
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in body["choices"]] == [
        (0, "x", "stop"),
        (1, "y", "length"),
    ]


async def test_an_answer_that_came_in_one_piece_stays_as_it_is() -> None:
    whole = {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "x"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
    }
    assert await unstreamed(Delta("x", native=(whole,)), Finished(("stop",))) == whole


async def test_frames_are_not_changed_where_they_came_from() -> None:
    frames = (chunk({"content": "a"}), chunk({"content": "b"}))
    await unstreamed(Delta("ab", native=frames), Finished())
    assert frames[0] == chunk({"content": "a"})


async def test_progress_is_taken_out() -> None:
    progress = {**chunk({"role": "assistant", "content": None}), "prompt_progress": {"total": 9}}
    text = chunk({"content": "a"})
    seen = [
        event
        async for event in without_progress(
            stream(Delta("a", native=(progress, text)), Finished(native=(progress,)))
        )
    ]
    assert seen == [Delta("a", native=(text,)), Finished()]
