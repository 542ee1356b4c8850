"""Web endpoints: Modal's proxy, its redirects and refusals, and plain JSON behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from providers.contract import (
    Booting,
    CredentialsRejected,
    Delta,
    GenerateRequest,
    Hardware,
    ModelNotFound,
    Output,
    ProtocolViolation,
    ProviderError,
    QuotaExhausted,
    RequestRejected,
    Started,
    UpstreamFailed,
    UpstreamTimeout,
)
from providers.modal import ModalOptions
from providers.testing.contract_suite import seen, text_of
from providers.testing.scenarios import ANSWER
from tests.adapters.modal_help import ask, provider
from tests.emulators.modal import Modal, serve_modal
from tests.emulators.modal_web import PROXY_TOKEN, ModalProxy
from tests.emulators.openai_chat import OpenAIChat

CREDENTIALS = {"proxy_token_id": PROXY_TOKEN[0], "proxy_token_secret": PROXY_TOKEN[1]}


class Slow:
    """What takes a while, and then answers a chat completion or whatever it is told."""

    def __init__(
        self, seconds: float = 0.0, media_type: str = "application/json", body: bytes = b""
    ) -> None:
        self.seconds = seconds
        self.is_ready: Callable[[], bool] = lambda: True
        self.media_type = media_type
        self.status = 200
        choice = {"index": 0, "message": {"content": ANSWER}, "finish_reason": "stop"}
        self.body = body or json.dumps({"choices": [choice]}).encode()
        self.bodies: list[Any] = []
        self.accepts: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append(json.loads((await receive())["body"]))
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.accepts.append(headers.get("accept", ""))
        await asyncio.sleep(self.seconds)
        while not self.is_ready():  # noqa: ASYNC110  (said by another thread)
            await asyncio.sleep(0.005)
        pairs = [(b"content-type", self.media_type.encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        for at in range(len(self.body)):  # frames split at every byte
            piece = self.body[at : at + 1]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def endpoint(url: str, modal: Modal | None = None, **options: Any) -> AsyncIterator[Any]:
    async with provider(modal, **CREDENTIALS) as made:
        yield made.bind("llm", ModalOptions.model_validate({"url": url, **options}))


@pytest.fixture
def serve_proxy(emulator: Callable[[Any], str]) -> Callable[..., ModalProxy]:
    def make(app: Any, **keys: Any) -> ModalProxy:
        proxy = ModalProxy(app, **keys)
        proxy.url = emulator(proxy)
        return proxy

    return make


@pytest.fixture(scope="module")
def modal() -> Iterator[Modal]:
    with serve_modal(speed=200.0) as service:
        yield service


async def test_work_longer_than_the_limit_is_followed(
    serve_proxy: Callable[..., ModalProxy],
) -> None:
    app = Slow()
    proxy = serve_proxy(app, limit_seconds=0.02)
    app.is_ready = lambda: len(proxy.requests) >= 3
    async with endpoint(proxy.url) as bound:
        got = await ask(bound, GenerateRequest("hi", stream=False))
    assert text_of(got.events) == ANSWER
    assert len(app.bodies) == 1, "the work ran once"
    methods = [method for method, _, _ in proxy.requests]
    assert methods[0] == "POST" and set(methods[1:]) == {"GET"} and len(methods) >= 3
    assert all(headers["modal-key"] == PROXY_TOKEN[0] for _, _, headers in proxy.requests)
    assert all(path == "/v1/chat/completions" for _, path, _ in proxy.requests)


async def test_it_is_not_followed_for_ever(serve_proxy: Callable[..., ModalProxy]) -> None:
    proxy = serve_proxy(Slow(1.0), limit_seconds=0.005)
    async with endpoint(proxy.url, max_redirects=2) as bound:
        with pytest.raises(UpstreamTimeout):
            await ask(bound)
    assert len(proxy.requests) == 3


@pytest.mark.parametrize("elsewhere", ["http://localhost:9/x", "https://evil.example/x", ""])
async def test_keys_go_nowhere_else(serve_proxy: Callable[..., ModalProxy], elsewhere: str) -> None:
    proxy = serve_proxy(Slow(1.0), limit_seconds=0.005)
    proxy.elsewhere = elsewhere or f"{proxy.url.replace('127.0.0.1', 'localhost')}/x"
    async with endpoint(proxy.url) as bound:
        with pytest.raises(ProtocolViolation, match="another place"):
            await ask(bound)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (401, "missing credentials for proxy authorization", CredentialsRejected),
        (404, "invalid function call", ModelNotFound),
        (404, "workspace ac-1 is disabled", QuotaExhausted),
        (500, "internal error: function execution timed out", UpstreamTimeout),
        (500, "internal error: function was terminated by signal", UpstreamFailed),
        (400, "bad redirect method", ProtocolViolation),
    ],
)
async def test_what_the_proxy_says_itself(
    serve_proxy: Callable[..., ModalProxy], status: int, words: str, error: type[ProviderError]
) -> None:
    proxy = serve_proxy(OpenAIChat())
    proxy.refusal = (status, words)
    async with endpoint(proxy.url) as bound:
        with pytest.raises(error) as caught:
            await ask(bound)
    assert type(caught.value) is error and caught.value.upstream_status == status
    assert words not in caught.value.detail


async def test_the_server_behind_may_have_errors_of_its_own(
    serve_proxy: Callable[..., ModalProxy],
) -> None:
    app = Slow(media_type="text/plain", body=b"it broke")
    app.status = 503
    proxy = serve_proxy(app)
    async with endpoint(proxy.url) as bound:
        with pytest.raises(ProviderError) as caught:
            await ask(bound)
    assert caught.value.upstream_status == 503 and "broke" not in caught.value.detail


def _sse(*data: str) -> bytes:
    return "".join(f"data: {line}\n\n" for line in data).encode()


REPORT = '{"gateway": {"instance_id": "ta-1", "process_age_seconds": 9.0, "boot_seconds": 8.9}}'


@pytest.mark.parametrize(
    ("media_type", "body", "outputs"),
    [
        ("application/json", b'{"output": "hi", "gateway": {}}', [Delta("hi")]),
        ("application/json", b'{"n": 1}', [Output("json", value={"n": 1})]),
        ("text/plain; charset=utf-8", b"hi", [Delta("hi")]),
        ("image/png", b"\x89PNG", [Output("image", data=b"\x89PNG", media_type="image/png")]),
        ("text/event-stream", _sse('"h"', "i", "[DONE]", "no"), [Delta("h"), Delta("i")]),
        ("text/event-stream", _sse(REPORT, '"h"'), [Delta("h")]),
    ],
)
async def test_plain_endpoints(
    serve_proxy: Callable[..., ModalProxy], media_type: str, body: bytes, outputs: list[Any]
) -> None:
    app = Slow(media_type=media_type, body=body)
    async with endpoint(serve_proxy(app).url, protocol="json") as bound:
        got = await ask(bound)
    assert [e for e in got.events if isinstance(e, Delta | Output)] == outputs
    assert app.bodies == [{"prompt": "Say something."}]
    assert app.accepts[0].startswith("text/event-stream")
    if REPORT.encode() in body:
        assert (got.cold.verdict, got.cold.evidence) == ("cold", "delay_reported")
        assert got.events[0] == Started("ta-1")
    else:
        assert got.cold.verdict == "unknown"


async def test_a_plain_endpoint_that_does_not_answer_json(
    serve_proxy: Callable[..., ModalProxy],
) -> None:
    app = Slow(body=b"{oops")
    async with endpoint(serve_proxy(app).url, protocol="json") as bound:
        with pytest.raises(ProtocolViolation):
            await ask(bound)
        app.status = 422
        with pytest.raises(RequestRejected):
            await ask(bound)


async def test_the_function_behind_is_evidence(
    serve_proxy: Callable[..., ModalProxy], modal: Modal
) -> None:
    modal.forget()
    proxy = serve_proxy(OpenAIChat("k"))
    options = {"path": "/chat/completions", "api_key": "k", "app": "emulated", "function": "plain"}
    async with endpoint(proxy.url, modal, **options) as bound:
        bound._endpoint = bound._endpoint.__class__(
            bound._endpoint.url, "warm", headers=bound._endpoint.headers
        )
        assert await bound.probe() == "down"
        cold = await ask(bound)
        await bound.scale(1)
        assert await bound.hardware() == Hardware((("H100", 1),), 4, 16384)
        await seen(lambda: modal.world.stats("plain").num_total_tasks == 1)
        assert await bound.probe() == "ready"
        warm = await ask(bound)
    assert isinstance(cold.events[0], Booting) and isinstance(cold.events[1], Started)
    assert (cold.cold.verdict, warm.cold.verdict) == ("cold", "warm")
    assert warm.cold.evidence == "scale_state" and modal.calls("plain") == []


async def test_proxy_tokens_only_go_by_https() -> None:
    async with provider(None, **CREDENTIALS) as made:
        with pytest.raises(ValueError, match="https"):
            made.bind("m", ModalOptions(url="http://example.com"))
        made.bind("m", ModalOptions(url="https://example.com"))
