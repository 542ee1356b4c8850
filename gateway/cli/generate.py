"""``gateway generate``: one question to a gateway, on a terminal."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from gateway.cli.client import configured_url, headers_of
from gateway.settings import ConfigError, Settings


def ask(
    settings: Settings,
    prompt: str,
    model: str | None,
    max_output_tokens: int | None,
    url: str | None,
    api_key: str | None,
) -> int:
    """Stream an answer to standard output, then its bill to standard error; the exit status."""
    body: dict[str, Any] = {"model": model or _first_model(settings), "input": prompt}
    if max_output_tokens is not None:
        body["parameters"] = {"max_output_tokens": max_output_tokens}
    if url is not None:
        return _ask_at(url.rstrip("/"), body, api_key)
    here = configured_url(settings)
    if _answers(here):
        return _ask_at(here, body, api_key)
    if settings.needs_keys:
        raise ConfigError(f"no gateway answers at {here}; start it with: gateway serve")
    with _served(settings) as own:
        return _ask_at(own, body, None)


def _first_model(settings: Settings) -> str:
    if not settings.models:
        raise ConfigError("no model is configured; name one with --model deployment:<name>")
    return next(iter(settings.models))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def _served(settings: Settings) -> Iterator[str]:
    """A gateway of our own on a free port, for as long as the block runs."""
    from gateway.app import create_app
    from gateway.cli.local import prepare_weights
    from gateway.serving import GatewayServer

    prepare_weights(settings)
    ready = threading.Event()
    failed: list[ConfigError] = []
    server = GatewayServer(create_app(settings, log_attempts=False), settings, ready.set)
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        try:
            server.run(sockets=[listener])
        except ConfigError as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        ready.wait()
        if failed:
            raise ConfigError(f"{failed[0]}, or ask the one that runs, with --url")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def _ask_at(url: str, body: dict[str, Any], api_key: str | None) -> int:
    headers = headers_of(api_key)
    timeout = httpx.Timeout(5.0, read=60.0)  # keep-alives come every 10 s
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=False) as client,
            client.stream(
                "POST", f"{url}/v1/generate", json={**body, "stream": True}, headers=headers
            ) as answer,
        ):
            if answer.status_code != 200:
                return _complain(json.loads(answer.read())["error"])
            return _show(answer.iter_lines())
    except httpx.HTTPError as error:
        raise ConfigError(f"no answer from {url} ({type(error).__name__})") from error


def _show(lines: Iterator[str]) -> int:
    event = ""
    for line in lines:
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
            match event:
                case "booting":
                    _aside("booting ...\n")
                case "delta" if data["type"] == "text":
                    sys.stdout.write(data["text"])
                    sys.stdout.flush()
                case "output":
                    sys.stdout.write(json.dumps(data) + "\n")
                case "finished":
                    sys.stdout.write("\n")
                    sys.stdout.flush()
                    _aside(bill(data) + "\n")
                    return 0
                case "error":
                    sys.stdout.write("\n")
                    return _complain(data["error"])
    _aside("the answer broke off\n")
    return 1


def bill(operation: dict[str, Any]) -> str:
    """One line: tokens, cost, verdict, seconds."""
    usage, cost = operation["usage"], operation["cost"]
    cold, timing = operation["cold_start"], operation["timing"]
    tokens = f"{_known(usage['input_tokens'])} + {_known(usage['output_tokens'])} tokens"
    if cost["total_usd"] is None:
        money = "cost unknown"
    else:
        money = f"${cost['total_usd']} ({cost['status']})"
    verdict = cold["verdict"]
    if cold["evidence"] is not None:
        verdict += f" ({cold['evidence']})"
    if verdict.startswith("cold") and cold["boot_seconds"] is not None:
        verdict += f", boot {cold['boot_seconds']:.2f} s"
    where = operation["deployment"]
    return f"{tokens} | {money} | {verdict} | {timing['total_seconds']:.2f} s | {where}"


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)


def _complain(error: dict[str, Any]) -> int:
    _aside(f"gateway: {error['message']} ({error['code']})\n")
    return 1


def _aside(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
