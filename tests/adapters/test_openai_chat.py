"""What is peculiar to the dialect; the rest is in tests/contract."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from providers.contract import (
    CapacityUnavailable,
    ContentRefused,
    ContextTooLong,
    CredentialsRejected,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Host,
    ModelLoading,
    ModelNotFound,
    Parameters,
    ProtocolViolation,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    UpstreamFailed,
    Usage,
)
from providers.openai_chat import OpenAIChatOptions, OpenAIChatSettings, plugin
from providers.openai_presets import PRESETS
from providers.testing.scenarios import ANSWER
from providers.toolkit.http import open_http
from providers.toolkit.openai_chat import DIALECT, ChatEndpoint, ColdWhen, chat_events
from tests.emulators.openai_chat import OpenAIChat

ENDPOINT = ChatEndpoint("http://127.0.0.1/v1/chat/completions", "m")


class Canned:
    """An ``Http`` that answers with what it is given, and remembers what it was asked."""

    def __init__(
        self, *chunks: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.pieces = chunks
        self.status = status
        self.headers = headers or {"content-type": "text/event-stream"}
        self.body: dict[str, Any] = {}
        self.closed = 0

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        read_timeout_seconds: float | None = None,
    ) -> AsyncIterator[Canned]:
        self.body = json.loads(content or b"{}")
        try:
            yield self
        finally:
            self.closed += 1

    async def read(self, max_bytes: int) -> bytes:
        return b"".join(self.pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    async def aclose(self) -> None: ...


def whole(body: Any, status: int = 200) -> Canned:
    return Canned(
        json.dumps(body).encode(), status=status, headers={"content-type": "application/json"}
    )


def sse(*frames: Any, done: bool = True) -> bytes:
    lines = [b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


def text(content: str, index: int = 0) -> dict[str, Any]:
    return chunk({"content": content}, index=index)


async def ask(
    http: Any, request: GenerateRequest | None = None, endpoint: ChatEndpoint = ENDPOINT
) -> list[Event]:
    async with aclosing(chat_events(http, endpoint, request or GenerateRequest("hi"))) as events:
        return [event async for event in events]


async def failure(
    http: Any, request: GenerateRequest | None = None, endpoint: ChatEndpoint = ENDPOINT
) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await ask(http, request, endpoint)
    return caught.value


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


def joined(events: list[Event]) -> dict[tuple[int, str], str]:
    found: dict[tuple[int, str], str] = {}
    for event in events:
        if isinstance(event, Delta):
            key = (event.index, event.channel)
            found[key] = found.get(key, "") + event.text
    return found


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


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"code": "context_length_exceeded"}}, ContextTooLong),
        (400, {"error": {"type": "exceed_context_size_error", "code": 400}}, ContextTooLong),
        (400, {"error": {"message": "This model's maximum context length is 8"}}, ContextTooLong),
        (400, {"error": {"code": "content_filter"}}, ContentRefused),
        (400, {"error": {"code": "invalid_value", "param": "top_p"}}, RequestRejected),
        (401, {"error": {"code": "invalid_api_key"}}, CredentialsRejected),
        (403, {}, CredentialsRejected),
        (404, {"error": {"code": "model_not_found"}}, ModelNotFound),
        (429, {"error": {"code": "insufficient_quota"}}, QuotaExhausted),
        (429, {"error": {"type": "insufficient_quota", "code": None}}, QuotaExhausted),
        (429, {"error": {"code": "rate_limit_exceeded"}}, RateLimited),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, CapacityUnavailable),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}], RateLimited),
        (500, None, UpstreamFailed),
        (502, "<html>", UpstreamFailed),
        (
            503,
            {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
            ModelLoading,
        ),
        (503, {"error": {"message": "busy", "type": "unavailable_error"}}, CapacityUnavailable),
        (302, {}, UpstreamFailed),
    ],
)
async def test_errors_by_code_then_text_then_status(
    status: int, body: Any, error: type[ProviderError]
) -> None:
    caught = await failure(whole(body, status))
    assert type(caught) is error
    assert caught.upstream_status == (status if status >= 400 else None)


async def test_rows_of_a_provider() -> None:
    scaling = {"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "wait"}}
    cold = ChatEndpoint("http://127.0.0.1/", "m", cold_when=(ColdWhen(503, "scaling_up"),))
    assert type(await failure(whole(scaling, 503))) is CapacityUnavailable
    assert type(await failure(whole(scaling, 503), endpoint=cold)) is ModelLoading
    assert type(await failure(whole(scaling, 500), endpoint=cold)) is UpstreamFailed
    assert type(await failure(whole({}, 503), endpoint=cold)) is CapacityUnavailable
    bent = ChatEndpoint("http://127.0.0.1/", "m", status_errors={403: ContextTooLong})
    assert type(await failure(whole({}, 403), endpoint=bent)) is ContextTooLong
    key = {"error": {"code": "invalid_api_key"}}
    assert type(await failure(whole(key, 403), endpoint=bent)) is CredentialsRejected


async def test_retry_after_comes_along() -> None:
    http = Canned(b"{}", status=503, headers={"retry-after": "4"})
    assert (await failure(http)).retry_after_seconds == 4.0


async def test_their_words_stay_with_them() -> None:
    body = {
        "error": {
            "message": "bad key sk-secret for prompt hi",
            "code": "sk-secret",
            "type": "bad thing sk-secret",
            "param": "messages[0].content sk-secret",
        }
    }
    error = await failure(whole(body, 400))
    assert "secret" not in f"{error.detail} {error.param} {error!r}"
    known = await failure(whole({"error": {"code": "invalid_value", "param": "a.b[0]"}}, 400))
    assert known.param == "a.b[0]"
    assert known.detail == "The provider refused the request as it stands (code invalid_value)."


# -- the provider without code ------------------------------------------------------------------


async def test_a_model_that_loads_and_then_answers(
    emulator: Callable[[Any], str], tmp_path: Path
) -> None:
    app = OpenAIChat()
    settings = OpenAIChatSettings.model_validate({"base_url": emulator(app), "api_key": app.key})
    http = open_http(settings)
    provider = plugin.build(settings, Host(http, tmp_path))
    deployment = provider.bind("loading:2", OpenAIChatOptions())
    for _ in range(2):
        with pytest.raises(ModelLoading):
            async for _ in deployment.generate(GenerateRequest("hi")):
                pass
    events = [event async for event in deployment.generate(GenerateRequest("hi"))]
    assert joined(events) == {(0, "text"): ANSWER}
    assert app.received[-1].headers["content-type"] == "application/json"
    await http.aclose()


async def test_the_connection_is_kept_after_a_stream(emulator: Callable[[Any], str]) -> None:
    app = OpenAIChat()
    ports: set[int] = set()

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        ports.add(scope["client"][1])
        await app(scope, receive, send)

    settings = OpenAIChatSettings.model_validate({"base_url": emulator(watching)})
    http = open_http(settings)
    headers = {"authorization": f"Bearer {app.key}"}
    endpoint = ChatEndpoint(f"{settings.base_url}/chat/completions", "warm", headers)
    for stream in (True, True, False, True):
        await ask(http, GenerateRequest("hi", stream=stream), endpoint)
    await http.aclose()
    assert len(ports) == 1


def test_options_shape_the_request(tmp_path: Path) -> None:
    settings = OpenAIChatSettings.model_validate(
        {
            "base_url": "https://a.example/v1/",
            "cold_when": [{"status": 503}],
            "status_errors": {"403": "ContextTooLong"},
            "max_tokens_key": "max_completion_tokens",
        }
    )
    options = OpenAIChatOptions.model_validate(
        {"body": {"top_k": 1}, "chat_path": "/chat", "cold_when": []}
    )
    provider = plugin.build(settings, Host(Canned(), tmp_path))
    endpoint = provider.bind("m", options)._endpoint  # type: ignore[attr-defined]
    assert endpoint == ChatEndpoint(
        "https://a.example/v1/chat",
        "m",
        extra_body={"top_k": 1},
        status_errors={403: ContextTooLong},
        max_tokens_key="max_completion_tokens",
    )
    inherited = provider.bind("m", OpenAIChatOptions())._endpoint  # type: ignore[attr-defined]
    assert inherited.cold_when == (ColdWhen(503),)


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"base_url": "a.example/v1"},
        {"base_url": "https://a.example/v1/chat/completions"},
        {"base_url": "https://a.example", "status_errors": {"403": "NoSuchError"}},
        {"base_url": "https://a.example", "cold_when": [{"status": 503, "contain": "x"}]},
        {"base_url": "https://a.example", "cold_when": [{"status": 200}]},
    ],
)
def test_a_block_that_cannot_work_is_refused(block: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenAIChatSettings.model_validate(block)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_sourced(name: str) -> None:
    preset = PRESETS[name]
    settings = OpenAIChatSettings.model_validate(plugin.presets[name])
    assert settings.base_url == preset.base_url.rstrip("/")
    assert preset.base_url.startswith("https://") and preset.source.startswith("https://")
    assert preset.checked_on
