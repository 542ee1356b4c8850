"""Bad requests: a clear error of the right class, soon, naming the fault, and nothing booked."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from providers.contract import ContextTooLong
from tests.emulators.openai_chat import OpenAIChat
from tests.gateway_app.gateways import Gateway, Scripts

JSON = {"content-type": "application/json"}
GENERATE, CHAT = "/v1/generate", "/v1/chat/completions"
USER = {"role": "user", "content": "hi"}
SOON_SECONDS = 5.0


@pytest.fixture(autouse=True)
def nothing_is_booked(
    request: pytest.FixtureRequest, gateway: Gateway, scripts: Scripts
) -> Iterator[None]:
    scripts.says("plain")
    lines = len(gateway.journal())
    yield
    if "booked" not in request.node.name:
        assert len(gateway.journal()) == lines
        assert not scripts.calls("plain")


def refused(response: httpx.Response, status: int, code: str, param: str | None = None) -> Any:
    assert response.status_code == status, response.text
    assert response.elapsed.total_seconds() < SOON_SECONDS
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {
        *("type", "code", "message", "param"),
        *("operation_id", "retry_after_seconds", "cost", "doc_url"),
    }
    assert (error["code"], error["param"]) == (code, param), error
    assert error["message"] and error["message"][-1] == "."
    assert error["operation_id"] is None and error["cost"] is None
    expected = {403: "permission_error", 404: "not_found_error"}
    assert error["type"] == expected.get(status, "invalid_request_error")
    for word in ("Traceback", "pydantic", "ChatBody", "GenerateBody", "union", "/gateway/"):
        assert word not in response.text
    return error


GENERATE_FAULTS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"input": "x"}, "missing_field", "model"),
    ({"model": "plain"}, "missing_field", "input"),
    ({"model": "plain", "input": "x", "foo": 1}, "unknown_field", "foo"),
    ({"model": "plain", "input": "x", "str": 1}, "unknown_field", "str"),
    ({"model": "plain", "input": "x", "a[b]": 1}, "unknown_field", "a[b]"),
    ({"model": "plain", "input": "x", "on_disconnect": "stop"}, "invalid_value", "on_disconnect"),
    ({"model": "plain", "input": "x", "dry_run": "yes"}, "invalid_value", "dry_run"),
    (
        {"model": "plain", "input": "x", "parameters": {"max_tokens": 1}},
        *("unknown_field", "parameters.max_tokens"),
    ),
    ({"model": "plain", "input": [{**USER, "name": "x"}]}, "unknown_field", "input.0.name"),
    ({"model": "plain", "input": [{"role": "user"}]}, "missing_field", "input.0.content"),
    ({"model": "plain", "input": [{**USER, "role": "me"}]}, "invalid_value", "input.0.role"),
    ({"model": "plain", "input": [{**USER, "content": ""}]}, "invalid_value", "input.0.content"),
    ({"model": "plain", "input": [{**USER, "content": 5}]}, "invalid_value", "input.0.content"),
    ({"model": "plain", "input": ""}, "invalid_value", "input"),
    ({"model": "plain", "input": []}, "invalid_value", "input"),
    ({"model": "plain", "input": 5}, "invalid_value", "input"),
    ({"model": "plain", "input": None}, "invalid_value", "input"),
    ({"model": "plain", "input": {}}, "invalid_value", "input"),
    ({"model": 7, "input": "x"}, "invalid_value", "model"),
    ({"model": "", "input": "x"}, "invalid_value", "model"),
    ({"model": "plain", "input": "x", "stream": "yes"}, "invalid_value", "stream"),
    ({"model": "plain", "input": "x", "parameters": []}, "invalid_value", "parameters"),
    ({"model": "plain", "input": "x", "tags": ["a"]}, "invalid_value", "tags"),
    ({"model": "plain", "input": "x", "tags": {"team": 1}}, "invalid_value", "tags.team"),
    ({"model": "plain", "input": "x", "tags": {"team": ""}}, "invalid_value", "tags.team"),
    ({"model": "plain", "input": "x", "tags": {"a b": "c"}}, "invalid_value", "tags.a b"),
    ({"model": "plain", "input": "x", "tags": {"t": "x" * 257}}, "invalid_value", "tags.t"),
    (
        {"model": "plain", "input": "x", "tags": {f"t{i}": "x" for i in range(17)}},
        *("invalid_value", "tags"),
    ),
]


@pytest.mark.parametrize(("body", "code", "param"), GENERATE_FAULTS)
def test_a_fault_is_named(gateway: Gateway, body: Any, code: str, param: str | None) -> None:
    refused(gateway.http.post(GENERATE, json=body), 400, code, param)


OUT_OF_BOUNDS: dict[str, list[Any]] = {
    "max_output_tokens": [-1, 0, 10**9, 10**40, "64", 1.5, True, []],
    "temperature": [-0.1, 2.1, "hot"],
    "top_p": [0, 1.5],
    "seed": [-1, 2**32],
    "stop": ["x", ["a"] * 5],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OUT_OF_BOUNDS.items() for value in values]
)
def test_a_parameter_out_of_bounds(gateway: Gateway, name: str, value: Any) -> None:
    body = {"model": "plain", "input": "x", "parameters": {name: value}}
    refused(gateway.http.post(GENERATE, json=body), 400, "invalid_value", f"parameters.{name}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none(gateway: Gateway, number: str) -> None:
    raw = '{"model": "plain", "input": "x", "parameters": {"temperature": NUMBER}}'
    raw = raw.replace("NUMBER", number)
    response = gateway.http.post(GENERATE, content=raw, headers=JSON)
    refused(response, 400, "invalid_value", "parameters.temperature")
    raw = '{"model": "plain", "messages": [{"role": "user", "content": "x"}], "top_p": NUMBER}'
    raw = raw.replace("NUMBER", number)
    response = gateway.http.post(CHAT, content=raw, headers=JSON)
    assert response.status_code == 400 and "error" in response.json()


@pytest.mark.parametrize("path", [GENERATE, CHAT])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"model": "plain",}',
        b"nonsense",
        b'{"model": "plain", "input": "\xff\xfe", "messages": []}',
        b'{"model": "plain", "input": "\\ud800", "messages": [{"role": "\\ud800"}]}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"model": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=["empty", "cut", "comma", "nonsense", "utf-8", "surrogate", "deep lists", "deep objects"],
)
def test_what_is_no_json(gateway: Gateway, path: str, raw: bytes) -> None:
    error = refused(gateway.http.post(path, content=raw, headers=JSON), 400, "invalid_json")
    assert error["message"] == "The request body is not valid JSON."


@pytest.mark.parametrize("path", [GENERATE, CHAT])
@pytest.mark.parametrize("raw", [b"[]", b'"text"', b"5", b"null"])
def test_json_that_is_no_object(gateway: Gateway, path: str, raw: bytes) -> None:
    error = refused(gateway.http.post(path, content=raw, headers=JSON), 400, "invalid_value")
    assert error["message"] == "The request body must be a JSON object."


TOO_DEEP = '{"a":' * 600 + "1" + "}" * 600


@pytest.mark.parametrize(
    ("path", "param", "body"),
    [
        (
            GENERATE,
            "input",
            '"input": [{"role": "user", "content": [{"n": 1180591620717411303424}]}]',
        ),
        (CHAT, "messages", f'"messages": [{{"role": "user", "content": [{TOO_DEEP}]}}]'),
        (CHAT, "tools", f'"messages": [{{"role": "user", "content": "x"}}], "tools": [{TOO_DEEP}]'),
    ],
    ids=["number", "message", "tools"],
)
def test_what_cannot_be_sent_on(gateway: Gateway, path: str, param: str, body: str) -> None:
    """Numbers and depths that one JSON library reads and another does not write."""
    raw = '{"model": "plain", ' + body + "}"
    refused(gateway.http.post(path, content=raw, headers=JSON), 400, "invalid_value", param)


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        (GENERATE, {"input": "x", **{f"f{i}": 1 for i in range(150_000)}}, "too_many_fields", None),
        (GENERATE, {"input": [5] * 1_000_000}, "invalid_value", "input.0"),
        (GENERATE, {"input": [{}] * 500_000}, "missing_field", "input.0.role"),
        (
            GENERATE,
            {"input": [{"role": "user", "content": [5] * 1_000_000}]},
            *("invalid_value", "input.0.content.0"),
        ),
        (
            GENERATE,
            {"input": [{**USER, **{f"f{i}": 1 for i in range(150_000)}}]},
            *("too_many_fields", "input.0"),
        ),
        (
            GENERATE,
            {"input": "x", "tags": {f"t{i}": 1 for i in range(150_000)}},
            *("too_many_fields", "tags"),
        ),
        (CHAT, {"messages": [5] * 1_000_000}, "invalid_value", "messages.0"),
        (CHAT, {"messages": [USER], "stop": [5] * 1_000_000}, "invalid_value", "stop.0"),
        (
            CHAT,
            {"messages": [USER], "metadata": {f"t{i}": 1 for i in range(150_000)}},
            *("too_many_fields", "metadata"),
        ),
    ],
    ids=[
        *("fields", "numbers", "messages", "parts", "message fields", "tags"),
        *("chat messages", "chat stop", "chat metadata"),
    ],
)
def test_a_million_faults_cost_as_much_as_one(
    gateway: Gateway, path: str, body: Any, code: str, param: str | None
) -> None:
    raw = json.dumps({"model": "plain", **body}, separators=(",", ":"))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    response = gateway.http.post(path, content=raw, headers=JSON)
    refused(response, 400, code, param)
    assert time.process_time() - began < 1.5  # of this process, gateway and client together
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


CHAT_FAULTS: list[tuple[dict[str, Any], str, str | None]] = [
    ({"messages": [USER]}, "missing_field", "model"),
    ({"model": "plain"}, "missing_field", "messages"),
    ({"model": "plain", "messages": []}, "invalid_value", "messages"),
    ({"model": "plain", "messages": "hi"}, "invalid_value", "messages"),
    ({"model": "plain", "messages": ["hi"]}, "invalid_value", "messages.0"),
    ({"model": "plain", "messages": [USER], "max_tokens": 0}, "invalid_value", "max_tokens"),
    (
        {"model": "plain", "messages": [USER], "max_completion_tokens": "64"},
        *("invalid_value", "max_completion_tokens"),
    ),
    ({"model": "plain", "messages": [USER], "temperature": 3}, "invalid_value", "temperature"),
    ({"model": "plain", "messages": [USER], "n": 0}, "invalid_value", "n"),
    ({"model": "plain", "messages": [USER], "stop": 5}, "invalid_value", "stop"),
    ({"model": "plain", "messages": [USER], "stream": "no"}, "invalid_value", "stream"),
    ({"model": "plain", "messages": [USER], "metadata": {"a": 1}}, "invalid_value", "metadata.a"),
    (
        {"model": "plain", "messages": [USER], "gateway": {"hedges": True}},
        *("unknown_field", "gateway.hedges"),
    ),
]


@pytest.mark.parametrize(("body", "code", "param"), CHAT_FAULTS)
def test_a_fault_on_the_chat_route(
    gateway: Gateway, body: Any, code: str, param: str | None
) -> None:
    refused(gateway.http.post(CHAT, json=body), 400, code, param)


@pytest.mark.parametrize(
    ("path", "body"),
    [(GENERATE, {"input": "x"}), (CHAT, {"messages": [USER]})],
)
@pytest.mark.parametrize("model", ["gpt-nowhere", "deployment:nothing", "Plain", "plain "])
def test_an_unknown_model(gateway: Gateway, path: str, body: Any, model: str) -> None:
    response = gateway.http.post(path, json={**body, "model": model})
    refused(response, 404, "model_not_found", "model")


def test_more_tokens_than_the_model_gives(gateway: Gateway) -> None:
    body = {"model": "short", "input": "x", "parameters": {"max_output_tokens": 101}}
    error = refused(
        gateway.http.post(GENERATE, json=body),
        *(400, "max_output_tokens_too_large", "parameters.max_output_tokens"),
    )
    assert "100" in error["message"]
    chat = {"model": "short", "messages": [USER], "max_completion_tokens": 101}
    refused(
        gateway.http.post(CHAT, json=chat),
        *(400, "max_output_tokens_too_large", "max_completion_tokens"),
    )


@pytest.mark.parametrize("path", [GENERATE, CHAT])
@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_only_json_is_read(gateway: Gateway, path: str, media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    raw = b'{"model": "plain", "input": "x"}'
    refused(gateway.http.post(path, content=raw, headers=headers), 415, "unsupported_media_type")


def test_json_with_a_charset_is_json(gateway: Gateway, scripts: Scripts) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    refused(
        gateway.http.post(GENERATE, content=b"{}", headers=headers),
        400,
        *("missing_field", "model"),
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_50_megabytes(gateway: Gateway, chunked: bool) -> None:
    piece = b"x" * 1_000_000

    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield piece

    content: Any = pieces() if chunked else piece * 50
    response = gateway.http.post(GENERATE, content=content, headers=JSON)
    error = refused(response, 413, "body_too_large")
    assert str(16 << 20) in error["message"]
    assert gateway.get("/healthz") == {"status": "ok"}


@pytest.mark.parametrize("framing", [b"content-length: 1000", b"transfer-encoding: chunked"])
def test_a_body_that_never_ends(gateway: Gateway, framing: bytes) -> None:
    head = b"POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=0.1) as connection:
        connection.sendall(head + framing + b"\r\n\r\n")
        began, answer = time.monotonic(), b""
        while not answer:
            connection.sendall(b"{" if b"length" in framing else b"1\r\n{\r\n")
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                assert time.monotonic() - began < SOON_SECONDS
        waited_seconds = time.monotonic() - began
        assert answer.startswith(b"HTTP/1.1 408 ") and b"body_timeout" in answer
        assert 0.3 < waited_seconds < 2  # body_timeout_seconds is 0.4 here
        assert b"connection: close" in answer


def test_a_body_that_never_begins(gateway: Gateway) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=3) as connection:
        connection.sendall(head + b"content-type: application/json\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_leaves_in_the_middle_of_its_body(gateway: Gateway) -> None:
    head = b"POST /v1/generate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(head + b'content-type: application/json\r\n\r\n{"model"')
        time.sleep(0.05)
    time.sleep(0.05)
    assert gateway.get("/healthz") == {"status": "ok"}
    assert gateway.running() == 0


def test_huge_names_are_not_echoed_whole(gateway: Gateway) -> None:
    for body in ({"x" * 500_000: 1}, {"tags": {"x" * 500_000: "y"}}):
        response = gateway.http.post(GENERATE, json={"model": "plain", "input": "x", **body})
        assert response.status_code == 400
        assert len(response.content) < 2000


@pytest.mark.parametrize("path", [GENERATE, CHAT])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_wrong_methods(gateway: Gateway, path: str, method: str) -> None:
    response = gateway.http.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1", "/v2/generate", "/v1/embeddings", "/v1/generate/x"])
def test_unknown_routes(gateway: Gateway, path: str) -> None:
    refused(gateway.http.post(path, json={}), 404, "route_not_found")
    refused(gateway.http.get(path), 404, "route_not_found")


def test_a_prompt_too_long_for_the_model_is_booked_as_free(
    gateway: Gateway, scripts: Scripts, chat_emulator: OpenAIChat
) -> None:
    scripts.only("plain", (ContextTooLong(param="input"),))
    for model in ("plain", "context-too-long"):
        status, error = gateway.error(model, "many words " * 10_000)
        assert (status, error["code"]) == (400, "context_length_exceeded")
        assert error["type"] == "invalid_request_error"
        assert (error["cost"]["total_usd"], error["cost"]["status"]) == ("0", "measured")
        (row,) = gateway.rows(error["operation_id"])
        assert row["error_type"] == "ContextTooLong" and row["cost_pico_usd"] == 0


def test_nothing_of_the_upstream_leaks_and_it_is_booked(
    gateway: Gateway, chat_emulator: OpenAIChat
) -> None:
    """The emulator quotes the key in every refusal, as services do."""
    for model in ("bad-key", "job-fails", "invalid-request", "out-of-quota", "no-such-model"):
        response = gateway.generate(model, "a secret prompt")
        assert response.status_code >= 400
        assert chat_emulator.key not in response.text and "Bearer" not in response.text
        assert "secret prompt" not in response.text and "127.0.0.1" not in response.text
    journal = json.dumps(gateway.journal())
    assert chat_emulator.key not in journal and "secret prompt" not in journal
