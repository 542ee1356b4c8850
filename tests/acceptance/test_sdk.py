"""The ``openai`` SDK as it is, against the gateway and its own model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import openai
import psutil
import pytest

from tests.acceptance.gateways import QUESTION, Gateway

ASKED: dict[str, Any] = {
    "model": "steady",
    "messages": [{"role": "user", "content": QUESTION}],
    "max_tokens": 6,
    "temperature": 0,
    "extra_body": {"gateway": {"tags": {"team": "sdk"}}},
}
STREAMED: dict[str, Any] = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def client(gateway: Gateway, steady: psutil.Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(
    gateway: Gateway, steady: psutil.Process
) -> AsyncIterator[openai.AsyncOpenAI]:
    base_url = f"{gateway.url}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


def assert_billed(gateway: Gateway, operation_id: str, usage: Any) -> None:
    """Usage with its cost in the SDK's objects, equal to what the ledger holds."""
    assert usage.completion_tokens == 6
    assert usage.total_tokens == usage.prompt_tokens + 6
    assert usage.cold_start["verdict"] == "warm"
    known = gateway.get(f"/v1/operations/{operation_id}")
    exact = Decimal(known["cost"]["total_usd"])
    assert usage.cost == float(exact) > 0
    assert usage.cost_details["total_usd"] == known["cost"]["total_usd"]
    assert sum(Decimal(line["usd"]) for line in usage.cost_details["lines"]) == exact
    assert known["usage"]["input_tokens"] == usage.prompt_tokens
    assert known["tags"] == {"team": "sdk"}


def assert_streamed(gateway: Gateway, chunks: list[Any], text: str) -> None:
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert {c.id for c in chunks} == {chunks[0].id}
    assert {c.model for c in chunks} == {"steady"}
    assert [bool(c.usage) for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(chunks) > 5
    assert_billed(gateway, chunks[-1].id, chunks[-1].usage)


def test_sync(gateway: Gateway, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**ASKED)
    answer = raw.parse()
    assert answer.choices[0].finish_reason == "length"
    assert answer.model == "steady"
    assert_billed(gateway, answer.id, answer.usage)
    assert raw.headers["x-request-id"] == answer.id
    assert raw.headers["x-gateway-cost-usd"] == answer.usage.cost_details["total_usd"]
    assert raw.headers["x-gateway-cold-start"] == "warm"
    text = answer.choices[0].message.content
    assert text
    assert_streamed(gateway, list(client.chat.completions.create(**STREAMED)), text)
    assert "steady" in [model.id for model in client.models.list()]


async def test_async(gateway: Gateway, async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(**ASKED)
    assert_billed(gateway, answer.id, answer.usage)
    text = answer.choices[0].message.content
    assert text
    chunks = [chunk async for chunk in await async_client.chat.completions.create(**STREAMED)]
    assert_streamed(gateway, chunks, text)


def test_errors_are_the_sdk_s_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(**{**ASKED, "model": "nope"})
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(
            **{**ASKED, "messages": [{"role": "user", "content": "why? " * 2000}]}
        )
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(**{**ASKED, "model": "failing"})
    assert failed.value.code == "provider_failed"
