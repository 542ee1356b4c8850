"""``/v1/chat/completions`` with the ``openai`` SDK as it is, against an upstream of its dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from providers.contract import Booting, Delta, Finished, Output, Started, Usage
from providers.testing import Wait
from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from tests.emulators.openai_chat import OpenAIChat
from tests.gateway_app.gateways import Gateway, Scripts, events_of

MESSAGES: Any = [{"role": "user", "content": "Say it."}]
CHAT = "/v1/chat/completions"
USD = INPUT_TOKENS * Decimal("0.05") / 10**6 + OUTPUT_TOKENS * Decimal("0.07") / 10**6
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}


@pytest.fixture(scope="module")
def sdk(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_sdk(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        yield client


def check_usage(usage: Any) -> None:
    assert (usage.prompt_tokens, usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert usage.total_tokens == INPUT_TOKENS + OUTPUT_TOKENS
    assert usage.prompt_tokens_details.audio_tokens == 0  # theirs is kept
    assert usage.cost == float(USD)
    details = usage.cost_details
    assert Decimal(details["total_usd"]) == USD and details["status"] == "measured"
    assert sum(Decimal(line["usd"]) for line in details["lines"]) == USD
    assert usage.cold_start["verdict"] == "unknown"


def test_a_whole_answer(sdk: openai.OpenAI, gateway: Gateway) -> None:
    raw = sdk.chat.completions.with_raw_response.create(model="warm", messages=MESSAGES)
    answer = raw.parse()
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "warm")
    assert answer.id.startswith("gen_") and answer._request_id == answer.id
    check_usage(answer.usage)
    assert raw.headers["x-gateway-cost-usd"] == format(USD, "f")
    assert raw.headers["x-gateway-provider"] == "upstream"
    (row,) = gateway.rows(answer.id)
    assert row["route"] == "chat.completions" and row["status"] == "succeeded"
    assert (row["input_tokens"], row["output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)


async def test_a_whole_answer_without_blocking(async_sdk: openai.AsyncOpenAI) -> None:
    answer = await async_sdk.chat.completions.create(model="warm", messages=MESSAGES)
    assert answer.choices[0].message.content == ANSWER
    check_usage(answer.usage)


def test_a_stream(sdk: openai.OpenAI, gateway: Gateway) -> None:
    chunks = list(sdk.chat.completions.create(model="warm", messages=MESSAGES, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == ANSWER
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"warm"}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    (operation_id,) = {chunk.id for chunk in chunks}
    assert all(chunk.usage is None for chunk in chunks)  # it was not asked for
    (row,) = gateway.rows(operation_id)
    assert row["streamed"] and row["output_tokens_source"] == "reported"


async def test_a_stream_with_usage(async_sdk: openai.AsyncOpenAI) -> None:
    stream = await async_sdk.chat.completions.create(
        model="warm", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == ANSWER
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    check_usage(chunks[-1].usage)


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_upstream_is_sent_is_what_the_caller_said(
    sdk: openai.OpenAI, chat_emulator: OpenAIChat, stream: bool
) -> None:
    said: dict[str, Any] = {
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "logprobs": True,
        "temperature": 0.25,
        "max_tokens": 50,
        "stop": "###",
        "user": "u-1",
        "n": 1,
    }
    answer: Any = sdk.chat.completions.create(
        model="tools",
        messages=MESSAGES,
        stream=stream,
        metadata={"team": "search"},
        extra_body={"gateway": {"tags": {"feature": "f"}}},
        **said,
    )
    if stream:
        list(answer)
    sent = chat_emulator.received[-1].body
    expected = {**said, "model": "tools", "messages": MESSAGES, "stream": stream}
    if stream:
        expected["stream_options"] = {"include_usage": True}  # for the books
    assert sent == expected


def test_tools_come_back(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="tools", messages=MESSAGES, tools=[WEATHER])
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert choice.message.tool_calls is not None
    call: Any = choice.message.tool_calls[0]
    assert (call.id, call.function.name) == ("call_1", "weather")
    assert call.function.arguments == '{"city": "Zürich"}'


def test_tools_come_back_in_a_stream(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(model="tools", messages=MESSAGES, tools=[WEATHER]) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"city": "Zürich"}'


def test_metadata_and_gateway_tags_are_tags(sdk: openai.OpenAI, gateway: Gateway) -> None:
    sdk.chat.completions.create(
        model="warm",
        messages=MESSAGES,
        metadata={"team": "chat-tags"},
        extra_body={"gateway": {"tags": {"feature": "summary"}}},
    )
    asked: dict[str, Any] = {"group_by": ["tag:team", "tag:feature"], "tag:team": "chat-tags"}
    (row,) = gateway.get("/v1/costs", **asked)["data"]
    assert row["group"] == {"tag:team": "chat-tags", "tag:feature": "summary"}
    assert Decimal(row["measured_usd"]) == USD


def test_an_upstream_that_does_not_count(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="usage-missing", messages=MESSAGES)
    usage: Any = answer.usage
    assert usage.completion_tokens > 0 and usage.cost_details["status"] == "estimated"
    assert Decimal(usage.cost_details["range_usd"]["high"]) >= Decimal(str(usage.cost))


def test_an_unknown_price_is_null(sdk: openai.OpenAI, scripts: Scripts) -> None:
    scripts.says("unpriced", "hi", Usage(1, 2))
    usage: Any = sdk.chat.completions.create(model="unpriced", messages=MESSAGES).usage
    assert usage.cost is None and usage.cost_details["status"] == "unknown"


@pytest.mark.parametrize("size", [10_000_000])
def test_a_frame_of_ten_megabytes_comes_whole(sdk: openai.OpenAI, size: int) -> None:
    stream = sdk.chat.completions.create(model="huge-frame", messages=MESSAGES, stream=True)
    assert sum(len(chunk.choices[0].delta.content or "") for chunk in stream) == size


def test_models(sdk: openai.OpenAI) -> None:
    assert {"warm", "plain"} <= {model.id for model in sdk.models.list()}
    assert sdk.models.retrieve("warm").id == "warm"


# -- deployments that speak otherwise ---------------------------------------------------------


LIFE = (
    Booting("phase_reported", True),
    Started(),
    Delta("Let me see.", channel="reasoning"),
    Delta("Hello"),
    Delta(", you"),
    Delta("Other", index=1),
    Finished(("stop", "length"), Usage(10, 20)),
)


def test_another_dialect_in_openais_words(sdk: openai.OpenAI, scripts: Scripts) -> None:
    scripts.only("plain", LIFE)
    answer = sdk.chat.completions.create(model="plain", messages=MESSAGES, max_tokens=9, n=2)
    first, second = answer.choices
    assert (first.message.role, first.message.content) == ("assistant", "Hello, you")
    assert first.message.reasoning_content == "Let me see."  # type: ignore[attr-defined]
    assert (second.index, second.message.content, second.finish_reason) == (1, "Other", "length")
    assert answer.usage is not None and answer.usage.total_tokens == 30
    assert answer.usage.cold_start["verdict"] == "cold"  # type: ignore[attr-defined]
    given = scripts.calls("plain")[0].request
    assert given.dialect == "openai_chat" and given.input == MESSAGES
    assert given.parameters.max_output_tokens == 18  # for both choices


def test_another_dialect_in_chunks(sdk: openai.OpenAI, scripts: Scripts) -> None:
    scripts.only("plain", LIFE)
    chunks = list(
        sdk.chat.completions.create(
            model="plain", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    texts = {0: "", 1: ""}
    reasoning = ""
    reasons: dict[int, str | None] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    assert texts == {0: "Hello, you", 1: "Other"} and reasoning == "Let me see."
    assert reasons == {0: "stop", 1: "length"}
    usage: Any = chunks[-1].usage
    assert usage.completion_tokens == 20 and usage.cold_start["caused_boot"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_whole_texts_of_another_dialect(sdk: openai.OpenAI, scripts: Scripts, stream: bool) -> None:
    scripts.only("plain", (Output("text", value="All at once"), Finished(("stop",), Usage(1, 2))))
    answer: Any = sdk.chat.completions.create(model="plain", messages=MESSAGES, stream=stream)
    if stream:
        said = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    else:
        said = answer.choices[0].message.content
    assert said == "All at once"


def test_a_long_silence_before_the_first_output(gateway: Gateway, scripts: Scripts) -> None:
    """The head of the answer goes out after keep_alive_seconds, then comments keep it alive."""
    scripts.only("plain", (Booting("phase_reported"), Wait(0.35), *LIFE[2:]))
    body = {"model": "plain", "messages": MESSAGES, "stream": True}
    with gateway.http.stream("POST", CHAT, json=body) as response:
        events = list(events_of(response))
    assert events[0].name == ":" and events[-1].data == "[DONE]"
