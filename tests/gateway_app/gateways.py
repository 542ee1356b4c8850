"""A whole gateway on a real socket: journal, shipper child and SQLite ledger all on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from gateway.app import create_app
from gateway.clock import Clock
from gateway.settings import Settings
from gateway.wire import KEEP_ALIVE_SECONDS, BoundedProtocol
from providers.contract import Delta, Finished, Usage
from providers.testing import ScriptedProvider
from providers.testing.scripted import Call, Step
from tests.documented import is_documented
from tests.shippers import forking_python


class Scripts(ScriptedProvider):
    """A scripted provider that many tests share, each by models of its own."""

    def only(self, model: str, *scripts: tuple[Step, ...]) -> None:
        """From now on these scripts, and no calls remembered."""
        self._scripts[model] = deque(scripts)
        self.history[:] = [call for call in self.history if call.model != model]

    def says(self, model: str, text: str = "Hello, world", usage: Usage | None = None) -> None:
        self.only(model, (Delta(text), Finished(("stop",), usage)))

    def calls(self, model: str) -> list[Call]:
        return [call for call in self.history if call.model == model]


@dataclass(frozen=True)
class Event:
    """One server-sent event; ``name`` is ":" for a comment."""

    name: str
    data: Any
    id: int | None = None


class Gateway:
    """One that runs, and what a test wants to know of it."""

    def __init__(self, url: str, data_dir: Path, scripts: Scripts, headers: Mapping[str, str]):
        self.url = url
        self.data_dir = data_dir
        self.scripts = scripts
        self.http = httpx.Client(
            base_url=url,
            headers=dict(headers),
            timeout=20,
            event_hooks={"response": [is_documented]},
        )
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stop: Callable[[], None] = lambda: None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def generate(self, model: str, input: Any = "Hi", **fields: Any) -> httpx.Response:
        return self.http.post("/v1/generate", json={"model": model, "input": input, **fields})

    def answer(self, model: str, input: Any = "Hi", **fields: Any) -> Any:
        response = self.generate(model, input, **fields)
        assert response.status_code == 200, response.text
        return response.json()

    def error(self, model: str, input: Any = "Hi", **fields: Any) -> tuple[int, Any]:
        response = self.generate(model, input, **fields)
        assert response.status_code >= 400, response.text
        return response.status_code, response.json()["error"]

    def stream(self, model: str, input: Any = "Hi", **fields: Any) -> list[Event]:
        """All events of a streamed answer."""
        with self.streaming(model, input, **fields) as response:
            assert response.status_code == 200, response.read()
            return list(events_of(response))

    def streaming(
        self, model: str, input: Any = "Hi", **fields: Any
    ) -> contextlib.AbstractContextManager[httpx.Response]:
        body = {"model": model, "input": input, "stream": True, **fields}
        return self.http.stream("POST", "/v1/generate", json=body)

    def get(self, path: str, **params: Any) -> Any:
        """An answer in JSON; of a report, one that the ledger's database has caught up for."""
        began = time.monotonic()
        while True:
            response = self.http.get(path, params=params)
            behind = response.status_code == 503 and "ledger_behind" in response.text
            if not behind and not (response.status_code == 200 and '"as_of"' in response.text):
                break
            assert time.monotonic() - began < 10, "the shipper is too slow"
        assert response.status_code == 200, response.text
        return response.json()

    def operation(self, operation_id: str) -> Any:
        return self.get(f"/v1/operations/{operation_id}")

    def journal(self) -> list[Any]:
        """Every whole line, in order: what is on disk at this moment; one may be half written."""
        texts = [f.read_text() for f in sorted((self.data_dir / "journal").glob("*.ndjson"))]
        return [json.loads(line) for text in texts for line in text.split("\n")[:-1]]

    def rows(self, operation_id: str) -> list[Any]:
        """The attempts of an operation that have ended, as the journal has them."""
        ended = [line["attempt"] for line in self.journal() if line["kind"] == "end"]
        return [row for row in ended if row["operation_id"] == operation_id]

    def last_rows(self, model: str) -> list[Any]:
        """The ended attempts of the last operation of a model."""
        ended = [line["attempt"] for line in self.journal() if line["kind"] == "end"]
        of_model = [row for row in ended if row["model"] == model]
        last = of_model[-1]["operation_id"] if of_model else ""
        return [row for row in of_model if row["operation_id"] == last]

    def running(self) -> int:
        """Operations that live now, by the gateway's own metric."""
        text = self.http.get("/metrics").text
        name = "gateway_operations_running "
        told = next(x for x in text.splitlines() if x.startswith(name))
        return int(float(told.removeprefix(name)))


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until ``holds``; gives how long it took, in seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it did not come about"
        time.sleep(0.005)
    return time.monotonic() - began


def events_of(response: httpx.Response) -> Iterator[Event]:
    """Server-sent events, and comments, as they come."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            yield Event(":", line[1:].strip())
        elif line:
            name, _, value = line.partition(": ")
            assert name in ("id", "event", "data") and name not in fields
            fields[name] = value
        elif fields:
            said = fields["data"]
            data = said if said == "[DONE]" else json.loads(said)
            number = int(fields["id"]) if "id" in fields else None
            yield Event(fields.get("event", "message"), data, number)
            fields = {}


def wait_for_event(events: Iterator[Event], name: str, nth: int = 1) -> Event:
    """The next of a name. Keep ``events``: an iterator that is dropped hangs up."""
    return next(itertools.islice((e for e in events if e.name == name), nth - 1, None))


@contextlib.contextmanager
def running_gateway(
    tree: Mapping[str, Any],
    data_dir: Path,
    scripts: Scripts | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    clock: Clock | None = None,
    log_attempts: bool = True,
) -> Iterator[Gateway]:
    """Serve a configuration in a thread, as ``gateway serve`` would."""
    scripts = scripts or Scripts()
    server_tree = {"data_dir": data_dir, **tree.get("server", {})}
    settings = Settings.model_validate({**tree, "server": server_tree})
    app = create_app(
        settings,
        plugins={"scripted": scripts.plugin()},
        clock=clock,
        log_attempts=log_attempts,
        python=forking_python(),
    )
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=0,
    )
    server = _Server(config)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    gateway = Gateway(url, data_dir, scripts, headers or {})

    async def live() -> None:
        gateway.loop = asyncio.get_running_loop()
        await server.serve(sockets=[listener])

    def work() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(live())

    thread = threading.Thread(target=work, name="gateway", daemon=True)

    def stop() -> None:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the gateway did not stop"

    gateway.stop = stop
    thread.start()
    try:
        assert server.ready.wait(60), "the gateway did not start"
        yield gateway
    finally:
        gateway.http.close()
        stop()
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the test runner
