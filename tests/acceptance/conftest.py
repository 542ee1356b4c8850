"""A gateway for most tests, with the real model behind it, and a data folder with a past."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.cli import main
from tests.acceptance.gateways import Gateway, Ran, serving, until
from tests.emulators.openai_chat import KEY, OpenAIChat
from tests.serving import serve

# One thread each: two busy processors are shared with the tests themselves.
CONFIG = """
server: {{drain_seconds: 10}}
retries: {{backoff_seconds: 0.001}}
providers:
  quick: {{kind: openai_chat, base_url: "{url}", api_key: "{key}"}}
deployments:
  local-smollm2: {{provider: local, model: smollm2-135m-instruct, price: local-cpu, hardware: cpu,
                   threads: 1, slots: 2, context_tokens: 1024, idle_timeout_seconds: 1}}
  steady: {{provider: local, model: smollm2-135m-instruct, price: local-cpu,
            threads: 1, slots: 1, context_tokens: 1024, idle_timeout_seconds: 600}}
  quick: {{provider: quick, model: warm,
           price: {{usd_per_million_input_tokens: "0.05", usd_per_million_output_tokens: "0.08"}}}}
  unpriced: {{provider: quick, model: warm}}
  failing: {{provider: quick, model: job-fails}}
models:
  smollm2: {{deployments: [local-smollm2]}}
  steady: {{deployments: [steady]}}
  quick: {{deployments: [quick]}}
  unpriced: {{deployments: [unpriced]}}
  failing: {{deployments: [failing]}}
"""
LONG: dict[str, Any] = {
    "input": "Write a very long story about the sea, with many chapters.",
    "parameters": {"max_output_tokens": 900, "temperature": 0.0},
}
SHORT: dict[str, Any] = {"parameters": {"max_output_tokens": 4, "temperature": 0.0}}


@pytest.fixture(scope="session")
def upstream() -> Iterator[OpenAIChat]:
    """A quick server of OpenAI's dialect, in a thread of this process."""
    app = OpenAIChat()
    with serve(app) as app.url:
        yield app


@pytest.fixture(scope="session")
def config(upstream: OpenAIChat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "gateway.yml"
    path.write_text(CONFIG.format(url=upstream.url, key=KEY))
    return path


@pytest.fixture(scope="session")
def gateway(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with serving(config, folder / "data", folder / "log") as running:
        yield running


@pytest.fixture(scope="session")
def steady(gateway: Gateway) -> psutil.Process:
    """The engine of the model "steady", which stays."""
    known = {boot.pid for boot in gateway.boots()}
    gateway.generate("steady", **SHORT)
    (pid,) = {boot.pid for boot in gateway.boots()} - known
    return psutil.Process(pid)


Here = Callable[..., Ran]


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    """A command in this process: one more start of an interpreter would show nothing more."""

    def run_here(*command: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, command)])
        status = 0
        try:
            main()
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
        return Ran(status, *capfd.readouterr())

    return run_here


@dataclass(frozen=True)
class Past:
    """What one data folder has lived through, and what was seen of it."""

    data_dir: Path
    answers: list[Any]
    """Of /v1/generate: cold, warm, without a price."""
    broken_off: str
    """The operation whose gateway was killed."""
    survivors: list[psutil.Process]
    """Children of the killed gateway that lived on."""
    afterwards: Any
    """The broken off operation, as the next gateway tells it."""
    last_events: list[tuple[str, Any]]
    """Of a stream that ran when the second gateway was told to stop."""
    exit_code: int
    orphans: list[psutil.Process]


@pytest.fixture(scope="session")
def past(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past")
    data_dir = folder / "data"
    with serving(config, data_dir, folder / "first.log") as first:
        answers = [first.generate(**SHORT, tags={"team": "search"}) for _ in range(2)]
        answers.append(first.generate("unpriced"))
        failed = first.call("POST", "/v1/generate", {"model": "failing", "input": "?"})
        assert failed.status == 502
        with first.stream(**LONG) as events:
            broken_off = next(events)[1]["id"]
            deltas = (event for event in events if event[0] == "delta")
            for _ in range(3):
                next(deltas)
            assert len(first.engines()) == 1
            first.kill()
        survivors = first.left_over(5)
    with serving(config, data_dir, folder / "second.log") as second:
        path = f"/v1/operations/{broken_off}"
        until(lambda: second.get(path)["status"] != "running")  # the database may be behind
        afterwards = second.get(path)
        with second.stream(parameters={"max_output_tokens": 12}) as events:
            seen = [next(events)]
            while seen[-1][0] != "delta":
                seen.append(next(events))
            assert len(second.engines()) == len(second.shippers()) == 1
            second.ask_to_stop()
            seen += events
        exit_code = second.process.wait(30)
        orphans = second.left_over(0)
    return Past(
        data_dir,
        answers,
        broken_off,
        survivors,
        afterwards,
        seen,
        exit_code,
        orphans,
    )
