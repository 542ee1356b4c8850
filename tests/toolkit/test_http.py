"""The HTTP seam, against a server on a real socket that says exactly what the test wants."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import aiohttp.http_exceptions
import anyio
import pytest

import providers.toolkit.http as seam
from providers.contract import (
    CredentialsRejected,
    Http,
    ProtocolViolation,
    ProviderError,
    ProviderSettings,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from providers.testing.contract_suite import seen
from providers.toolkit.http import connection_refused, open_http, translate
from tests.network import NetworkUsed
from tests.toolkit.raw_server import Play, RawServer, fixed, held, raw_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: a\r\nx-thing: b\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
SECRET = "sk-very-secret"


@asynccontextmanager
async def client(*, read_timeout_seconds: float = 10.0, **settings: Any) -> AsyncIterator[Http]:
    http = open_http(ProviderSettings(**settings), read_timeout_seconds=read_timeout_seconds)
    try:
        yield http
    finally:
        await http.aclose()


async def get(http: Http, url: str, **more: Any) -> tuple[int, bytes]:
    async with http.send("GET", url, **more) as answer:
        return answer.status, await answer.read(1 << 20)


async def test_a_plain_exchange_and_what_is_sent() -> None:
    account = {"X-Account": SECRET}
    async with raw_server(fixed(OK)) as server, client(headers=account) as http:
        url, headers = f"{server.url}/a%2Fb", {"authorization": f"Bearer {SECRET}"}
        async with http.send("POST", url, headers=headers, content=b"{}") as answer:
            assert answer.status == 200
            assert answer.headers["x-thing"] == "a"
            assert all(name == name.lower() for name in answer.headers)
            assert await answer.read(2) == b"ok"
    head = server.heads[0].lower()
    assert head.startswith("post /a%2fb http/1.1")
    assert "accept-encoding: identity" in head
    assert "user-agent: serverless-inference-gateway\r\n" in head
    assert f"x-account: {SECRET}" in head and f"authorization: bearer {SECRET}" in head
    assert server.bodies == [b"{}"]


async def test_connections_are_kept() -> None:
    async with raw_server(fixed(OK)) as server, client() as http:
        for _ in range(3):
            await get(http, server.url)
        assert server.connections == 1


async def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 20_000
    async with raw_server(fixed(OK)) as server, client() as http:
        async with http.send("POST", server.url, content=body) as answer:
            await answer.read(10)
        assert server.bodies == [body]


async def test_no_redirect_no_cookie_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(fixed(redirect)) as server, client() as http:
        assert await get(http, server.url) == (302, b"")
        assert await get(http, server.url) == (302, b"")
        assert len(server.heads) == 2
        assert not any("cookie" in head.lower() for head in server.heads)


async def test_the_proxy_of_the_settings_is_used() -> None:
    async with raw_server(fixed(OK)) as server, client(proxy=server.url) as http:
        assert await get(http, "http://127.0.0.1:1/x") == (200, b"ok")
        assert server.heads[0].startswith("GET http://127.0.0.1:1/x HTTP/1.1")


def test_a_proxy_that_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="proxy must be"):
        open_http(ProviderSettings(proxy="socks5://127.0.0.1:1"))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_nothing_is_ever_repeated(method: str) -> None:
    def play(state: RawServer) -> Play:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(state.heads) > 1:
                raise ConnectionAbortedError
            writer.write(OK)

        return answer

    async with raw_server(play) as server, client() as http:
        async with http.send(method, server.url, content=b"x") as answer:
            await answer.read(10)
        with pytest.raises(UpstreamFailed):  # on the pooled connection
            async with http.send(method, server.url, content=b"x"):
                pass
        assert len(server.heads) == 2


# -- leaving early ------------------------------------------------------------------------------


HANG_UP_SECONDS = 0.2  # the best of three counts: a busy machine is no failure


@pytest.mark.parametrize("pieces", [(), (CHUNKED,)], ids=["before-the-head", "in-the-body"])
async def test_a_cancelled_task_hangs_up(pieces: tuple[bytes, ...]) -> None:
    # One connection at most: a leak would block the second call.
    async with raw_server(held(*pieces)) as server, client(max_connections=1) as http:

        async def ask() -> None:
            async with http.send("POST", server.url, content=b"{}") as answer:
                async for _ in answer.chunks():
                    pass

        waits = []
        for count in (1, 2, 3):
            task = asyncio.create_task(ask())
            await seen(lambda count=count: len(server.heads) == count)
            await asyncio.sleep(0.02)
            left_at = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await seen(lambda count=count: len(server.hung_up_at) == count)
            waits.append(server.hung_up_at[-1] - left_at)
        assert min(waits) < HANG_UP_SECONDS


async def test_leaving_the_context_hangs_up() -> None:
    async with raw_server(held(CHUNKED)) as server, client() as http:
        waits = []
        for count in (1, 2, 3):
            async with http.send("POST", server.url, content=b"{}") as answer:
                async for chunk in answer.chunks():
                    assert chunk == b"hello"
                    break
            left_at = time.monotonic()
            await seen(lambda count=count: len(server.hung_up_at) == count)
            waits.append(server.hung_up_at[-1] - left_at)
        assert min(waits) < HANG_UP_SECONDS


async def test_an_anyio_scope_hangs_up() -> None:
    async with raw_server(held()) as server, client() as http:
        with anyio.move_on_after(0.03):
            await get(http, server.url)
        await seen(lambda: len(server.hung_up_at) == 1)


async def test_a_waiting_call_that_is_cancelled_takes_no_place() -> None:
    async with raw_server(held(CHUNKED)) as server, client(max_connections=1) as http:
        async with http.send("GET", server.url):
            waiting = asyncio.create_task(get(http, server.url))
            await asyncio.sleep(0.02)
            assert len(server.heads) == 1
            waiting.cancel()
            await asyncio.wait({waiting})
        async with http.send("GET", server.url) as answer:
            assert answer.status == 200


async def test_chunks_come_as_they_are_sent() -> None:
    go_on = asyncio.Event()

    def play(state: RawServer) -> Play:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED)
            await go_on.wait()
            writer.write(b"5\r\nworld\r\n0\r\n\r\n")

        return answer

    async with raw_server(play) as server, client() as http:
        async with http.send("GET", server.url) as answer:
            chunks = answer.chunks()
            assert await anext(chunks) == b"hello"
            go_on.set()
            assert await anext(chunks) == b"world"
            with pytest.raises(StopAsyncIteration):
                await anext(chunks)


# -- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("play", "error"),
    [
        (fixed(close=True), UpstreamFailed),
        (fixed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", close=True), UpstreamFailed),
        (fixed(CHUNKED, close=True), UpstreamFailed),
        (fixed(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ProtocolViolation),
        (fixed(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"), ProtocolViolation),
        (held(), UpstreamTimeout),
        (held(CHUNKED), UpstreamTimeout),
    ],
    ids=["closed", "cut", "cut-chunked", "not-http", "long-head", "no-head", "no-more-body"],
)
async def test_broken_answers(
    play: Callable[[RawServer], Play], error: type[ProviderError]
) -> None:
    async with raw_server(play) as server, client(read_timeout_seconds=0.05) as http:
        with pytest.raises(ProviderError) as caught:
            await get(http, f"{server.url}/?key={SECRET}", headers={"x-key": SECRET})
        assert type(caught.value) is error
        assert_harmless(caught.value)


async def test_a_read_timeout_of_one_call() -> None:
    async with raw_server(held()) as server, client() as http:
        with pytest.raises(UpstreamTimeout):
            await get(http, server.url, read_timeout_seconds=0.03)


async def test_a_slow_but_steady_stream_is_no_timeout() -> None:
    def play(state: RawServer) -> Play:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):
                await asyncio.sleep(0.02)
                writer.write(b"x")

        return answer

    async with raw_server(play) as server, client() as http:
        assert (await get(http, server.url, read_timeout_seconds=0.1))[1] == b"x" * 8


async def test_no_connection() -> None:
    async with client() as http:
        with pytest.raises(UpstreamUnreachable) as caught:
            await get(http, f"http://127.0.0.1:9/?key={SECRET}")
        assert connection_refused(caught.value)
        assert "connection refused" in caught.value.detail
        assert_harmless(caught.value)


async def test_a_server_without_tls() -> None:
    async with raw_server(held()) as server:
        async with client(connect_timeout_seconds=0.05) as http:
            with pytest.raises(UpstreamUnreachable) as caught:
                await get(http, server.url.replace("http:", "https:"))
            assert not connection_refused(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/", f"http://:{SECRET}@:80/", ""])
async def test_an_address_that_is_none(url: str) -> None:
    async with client() as http:
        with pytest.raises((UpstreamUnreachable, seam.HostNotAllowed)):
            await get(http, url)


async def test_a_key_with_a_line_break_stays_unsaid() -> None:
    async with raw_server(fixed(OK)) as server, client() as http:
        with pytest.raises(CredentialsRejected) as caught:
            await get(http, server.url, headers={"authorization": f"Bearer {SECRET}\n"})
        assert_harmless(caught.value)
        assert server.heads == []


async def test_the_cap_on_a_body() -> None:
    announced = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    unannounced = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for body in (announced, unannounced):
        async with raw_server(fixed(body)) as server, client() as http:
            async with http.send("GET", server.url) as answer:
                with pytest.raises(ProtocolViolation):
                    await answer.read(2)
            async with http.send("GET", server.url) as answer:
                assert await answer.read(3) == b"abc"


async def test_a_compressed_answer_is_refused_not_unpacked() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with raw_server(fixed(head.encode() + bomb)) as server, client() as http:
        with pytest.raises(ProtocolViolation):
            await get(http, server.url)


async def test_after_aclose() -> None:
    http = open_http(ProviderSettings())
    await http.aclose()
    with pytest.raises(UpstreamUnreachable):
        await get(http, "http://127.0.0.1:9/")


def engine_errors() -> Iterator[type[BaseException]]:
    for module in (aiohttp.client_exceptions, aiohttp.http_exceptions):
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, BaseException):
                yield thing
    yield from (OSError, ConnectionResetError, TimeoutError, ValueError, ssl.SSLError)


@pytest.mark.parametrize("engine_error", sorted(set(engine_errors()), key=str))
def test_every_error_of_the_engine_is_translated(engine_error: type[BaseException]) -> None:
    error = translate(engine_error.__new__(engine_error))
    assert isinstance(error, ProviderError)
    assert type(error) is not ProviderError


def test_a_stranger_is_not_translated() -> None:
    with pytest.raises(KeyError):
        translate(KeyError("ours"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    key, path = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=a"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)]
    subprocess.run(["openssl", *options.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + key.read_text())
    return path


async def test_a_certificate_authority_of_ones_own(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with raw_server(fixed(OK), tls=tls) as server:
        async with client(ca_file=certificate) as http:
            assert await get(http, server.url) == (200, b"ok")
        async with client() as http:
            with pytest.raises(UpstreamUnreachable, match="certificate is not valid"):
                await get(http, server.url)


def test_a_certificate_authority_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        open_http(ProviderSettings(ca_file=tmp_path / "missing.pem"))


# -- the guard of the test suite ----------------------------------------------------------------


async def test_the_seam_dials_only_allowed_hosts() -> None:
    async with client() as http:
        with pytest.raises(seam.HostNotAllowed):
            await get(http, "http://192.0.2.1/")


async def test_sockets_dial_only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "allow_host", None)
    async with client() as http:
        with pytest.raises(NetworkUsed):
            await get(http, "http://192.0.2.1/")


def assert_harmless(error: ProviderError) -> None:
    told = "".join((*traceback.format_exception(error), repr(error), error.detail))
    assert SECRET not in told
