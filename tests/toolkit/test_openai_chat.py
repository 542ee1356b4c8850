"""What is peculiar to the dialect; the common promises are in tests/contract."""

from __future__ import annotations

from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from providers.contract import (
    Delta,
    Event,
    Finished,
    GenerateRequest,
    ModelLoading,
    Parameters,
    ProtocolViolation,
    ProviderError,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    Usage,
)
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, chat_events
from tests.toolkit.canned import ENDPOINT, Canned, ask, chunk, failure, joined, sse, text, whole

# -- what is sent -------------------------------------------------------------------------------


async def test_the_gateways_own_request() -> None:
    http = Canned(sse(chunk({}, "stop")))
    parameters = Parameters(5, 0.5, 0.9, ("a", "b"), 0)
    await ask(http, GenerateRequest("hi", parameters))
    assert http.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["a", "b"],
        "seed": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_unsaid_parameters_are_not_sent() -> None:
    http = whole({"choices": []})
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text"}]}]
    await ask(http, GenerateRequest(messages, stream=False))
    assert http.body == {"model": "m", "messages": messages, "stream": False}


async def test_the_same_dialect_goes_through_verbatim() -> None:
    http = Canned(sse(chunk({}, "stop")))
    extra = {"max_tokens": 3, "logit_bias": {"1": -1}, "unheard_of": [1, None], "user": "u"}
    request = GenerateRequest(
        [{"role": "user", "content": "hi", "name": "n"}],
        Parameters(max_output_tokens=3),
        dialect=DIALECT,
        extra={**extra, "stream_options": {"include_obfuscation": False}},
    )
    await ask(http, request)
    assert http.body == {
        **extra,
        "model": "m",
        "messages": [{"role": "user", "content": "hi", "name": "n"}],
        "stream": True,
        "stream_options": {"include_obfuscation": False, "include_usage": True},
    }


async def test_what_is_always_sent_wins() -> None:
    http = Canned(sse(chunk({}, "stop")))
    endpoint = ChatEndpoint("http://127.0.0.1/", "m", extra_body={"temperature": 0})
    await ask(http, GenerateRequest("hi", dialect=DIALECT, extra={"temperature": 1}), endpoint)
    assert http.body["temperature"] == 0


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (GenerateRequest({"prompt": "native"}), "input"),
        (GenerateRequest("hi", task="embed"), "task"),
        (GenerateRequest("hi", dialect="other", extra={"top_k": 3, "x": 1}), "top_k"),
        (GenerateRequest("hi", extra={"top_k": 3}), "top_k"),
    ],
)
async def test_what_the_dialect_cannot_say(request_: GenerateRequest, param: str) -> None:
    error = await failure(Canned(), request_)
    assert type(error) is RequestRejected and error.param == param


async def test_a_number_that_json_cannot_hold() -> None:
    request = GenerateRequest("hi", dialect=DIALECT, extra={"seed": 1 << 80})
    assert type(await failure(Canned(), request)) is RequestRejected


# -- streams ------------------------------------------------------------------------------------


async def test_one_delta_for_each_read() -> None:
    frames = [text("a"), text("b"), text("c"), chunk({}, "stop")]
    http = Canned(sse(*frames[:2], done=False), sse(*frames[2:]))
    assert await ask(http) == [
        Delta("ab", native=(frames[0], frames[1])),
        Delta("c", native=(frames[2],)),
        Finished(("stop",), native=(frames[3],)),
    ]
    assert http.closed == 1


async def test_every_frame_stands_in_exactly_one_event() -> None:
    both = {"choices": [{"index": 0, "delta": {"content": "x", "reasoning_content": "r"}}]}
    many = {"choices": [text("p")["choices"][0], text("q", 1)["choices"][0]]}
    frames = [
        chunk({"role": "assistant", "content": ""}),
        both,
        many,
        chunk({"content": None}),
        chunk({}, "length", 1),
        chunk({}, "stop", 0),
        {"choices": [], "usage": {"prompt_tokens": 1}},
    ]
    for size in (1, 7, 10_000):
        stream = sse(*frames)
        http = Canned(*(stream[i : i + size] for i in range(0, len(stream), size)))
        events = await ask(http)
        native = [
            f for event in events if isinstance(event, Delta | Finished) for f in event.native
        ]
        assert native == frames
        assert joined(events) == {(0, "text"): "xp", (0, "reasoning"): "r", (1, "text"): "q"}
        assert isinstance(events[-1], Finished) and events[-1].reasons == ("stop", "length")
        assert all(event.text for event in events if isinstance(event, Delta))


async def test_tool_calls_and_reasoning_have_their_channels() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    events = await ask(
        Canned(
            sse(
                chunk({"reasoning": "hm"}),
                chunk({"tool_calls": [call]}),
                chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
                chunk({"refusal": "no"}),
                chunk({"content": [{"type": "text", "text": "!"}, {"type": "thinking"}]}),
                chunk({}, "tool_calls"),
            )
        )
    )
    assert joined(events) == {
        (0, "reasoning"): "hm",
        (0, "tool_call"): '{"a":1}',
        (0, "text"): "no!",
    }


async def test_the_last_usage_counts() -> None:
    first, last = {"prompt_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": 5}
    frames = [{**text("a"), "usage": first}, {**text("b"), "usage": last}, chunk({}, "stop")]
    events = await ask(Canned(sse(*frames, {"choices": [], "usage": None})))
    assert isinstance(events[-1], Finished) and events[-1].usage == Usage(1, 5)


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (None, None),
        ({}, None),
        ({"total_tokens": 3}, None),
        ("12", None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 3}, Usage(3)),
        ({"prompt_tokens": True, "completion_tokens": "4"}, None),
        ({"prompt_tokens": -1, "completion_tokens": 2}, Usage(None, 2)),
        (
            {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
            Usage(3, cached_input_tokens=2),
        ),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, Usage(3)),
        (
            {"completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 0}},
            Usage(None, 3, reasoning_tokens=0),
        ),
        ({"completion_tokens": 3, "reasoning_tokens": 1}, Usage(None, 3, reasoning_tokens=1)),
        ({"cost": 0.0000123}, Usage(cost_usd=Decimal("0.0000123"))),
        ({"cost": 0}, Usage(cost_usd=Decimal(0))),
        ({"cost": None, "estimated_cost": 1e-05}, Usage(cost_usd=Decimal("0.00001"))),
        ({"cost": "free"}, None),
    ],
)
async def test_usage(raw: Any, usage: Usage | None) -> None:
    choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
    for http in (
        Canned(sse(text("a"), chunk({}, "stop"), {"choices": [], "usage": raw})),
        whole({"choices": [choice], "usage": raw}),
    ):
        finished = (await ask(http))[-1]
        assert isinstance(finished, Finished) and finished.usage == usage


@pytest.mark.parametrize(
    "stream",
    [
        sse(text("a"), chunk({}, "stop"), done=False),
        sse(text("a")),
        sse(text("a"), chunk({}, "stop")).removesuffix(b"\n\n"),
        sse(text("a"), chunk({}, "stop")).replace(b"\n", b"\r\n"),
        b": keep-alive\n\n" + sse(text("a"), chunk({}, "stop")),
    ],
    ids=["no-done", "no-reason", "no-last-newline", "crlf", "comment"],
)
async def test_ends_that_are_good(stream: bytes) -> None:
    events = await ask(Canned(stream))
    assert joined(events) == {(0, "text"): "a"} and isinstance(events[-1], Finished)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"", UpstreamFailed),
        (sse(text("a"), done=False), UpstreamFailed),
        (sse(text("a"), done=False) + b'data: {"choices": [{"del', UpstreamFailed),
        (sse(text("a")).replace(b'"choices"', b"choices"), ProtocolViolation),
        (b"data: [1]\n\n", ProtocolViolation),
        (b'data: {"choices": [1]}\n\n', ProtocolViolation),
        (b'data: {"choices": [{"delta": 1}]}\n\n', ProtocolViolation),
        (b'data: {"choices": [{"index": [], "delta": {}}]}\n\n', ProtocolViolation),
        (b'data: {"choices": 1}\n\n', ProtocolViolation),
        (b"data: \xff\xfe\n\n", ProtocolViolation),
        (sse({"error": "text only"}), UpstreamFailed),
        (sse({"error": {"code": 503, "message": "Loading model"}}), ModelLoading),
        (sse({"error": {"code": 502, "message": "x"}, "choices": []}), UpstreamFailed),
        (sse({"error": {"code": 429, "message": "x"}}), RateLimited),
        (sse({"object": "error", "message": "x", "code": 400}), RequestRejected),
        (sse({"error": {"code": 429}}, done=False).removesuffix(b"\n\n"), RateLimited),
    ],
)
async def test_ends_that_are_bad(stream: bytes, error: type[ProviderError]) -> None:
    assert type(await failure(Canned(stream))) is error


async def test_what_came_before_the_error_is_not_lost() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    http = Canned(sse({**text("a"), "usage": usage}, {"error": {"code": 500}}, text("b")))
    seen: list[Event] = []
    with pytest.raises(UpstreamFailed) as caught:
        async with aclosing(chat_events(http, ENDPOINT, GenerateRequest("hi"))) as events:
            async for event in events:
                seen.append(event)
    assert joined(seen) == {(0, "text"): "a"}
    assert caught.value.usage == Usage(3, 1)


async def test_frames_without_text_do_not_pile_up() -> None:
    frames = [chunk({"role": "assistant"})] * 1000
    events = await ask(Canned(*(sse(frame, done=False) for frame in frames), sse()))
    assert isinstance(events[-1], Finished) and len(events[-1].native) < 300
    assert sum(len(e.native) for e in events if isinstance(e, Delta | Finished)) == 1000


async def test_json_although_a_stream_was_asked_for() -> None:
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
    assert await ask(whole(body)) == [Delta("a", native=(body,)), Finished(("stop",))]


async def test_a_stream_although_none_was_asked_for() -> None:
    http = Canned(sse(text("a"), chunk({}, "stop")))
    assert joined(await ask(http, GenerateRequest("hi", stream=False))) == {(0, "text"): "a"}


async def test_an_unstreamed_answer_with_choices() -> None:
    body = {
        "choices": [
            {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
            {"index": 1, "message": {"content": None}, "finish_reason": "content_filter"},
        ]
    }
    assert await ask(whole(body), GenerateRequest("hi", stream=False)) == [
        Delta("a", 0, native=(body,)),
        Delta("", 1),
        Finished(("stop", "content_filter")),
    ]


@pytest.mark.parametrize("body", [[], {}, {"choices": None}, {"choices": [1]}, {"choices": [{}]}])
async def test_an_unstreamed_answer_that_is_none(body: Any) -> None:
    assert type(await failure(whole(body))) is ProtocolViolation
