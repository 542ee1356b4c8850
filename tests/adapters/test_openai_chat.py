"""The provider without code; its dialect is tested in tests/toolkit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from providers.contract import (
    ContextTooLong,
    GenerateRequest,
    Host,
    ModelLoading,
)
from providers.openai_chat import OpenAIChatOptions, OpenAIChatSettings, plugin
from providers.openai_presets import PRESETS
from providers.testing.scenarios import ANSWER
from providers.toolkit.http import open_http
from providers.toolkit.openai_chat import ChatEndpoint, ColdWhen
from tests.emulators.openai_chat import OpenAIChat
from tests.toolkit.canned import Canned, ask, chunk, joined, sse, text
from tests.toolkit.raw_server import Play, RawServer, raw_server


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


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
)


def ends_after(seconds: float) -> Callable[[RawServer], Play]:
    """A stream whose body ends ``seconds`` after ``[DONE]``."""

    def play(state: RawServer) -> Play:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            body = sse(text("a"), chunk({}, "stop"))
            writer.write(STREAM_HEAD + b"\r\n%x\r\n" % len(body) + body + b"\r\n")
            await asyncio.sleep(seconds)
            writer.write(b"0\r\n\r\n")

        return answer

    return play


@pytest.mark.parametrize(("seconds", "connections"), [(0.01, 1), (30.0, 2)])
async def test_the_end_of_the_body_is_awaited_but_not_long(
    seconds: float, connections: int
) -> None:
    settings = OpenAIChatSettings(base_url="http://127.0.0.1")
    async with raw_server(ends_after(seconds)) as server:
        http = open_http(settings)
        for _ in range(2):
            async with asyncio.timeout(1):
                await ask(http, endpoint=ChatEndpoint(server.url, "m"))
        await http.aclose()
        assert server.connections == connections


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
