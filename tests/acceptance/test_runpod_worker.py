"""The real gateway, RunPod's emulated control plane, and behind it the real ``runpod`` worker.

A boot here is a boot: the worker's process starts and its handler's module loads. What the gateway
tells of it is held against what the worker did.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateways import Gateway, serving, until
from tests.emulators.runpod_handler import LOAD_SECONDS
from tests.emulators.runpod_worker import (
    NAME,
    NO_SDK,
    Process,
    RealMade,
    RunPodOnWorker,
    python_with_sdk,
)
from tests.emulators.runpod_world import RATE_USD
from tests.serving import serve

CONFIG = """
providers:
  runpod: {{base_url: "{url}/v2", management_url: "{url}/rest/v2", api_key: "{key}",
            poll_seconds: 0.1}}
deployments:
  on-worker:
    provider: runpod
    model: words
    endpoint: {endpoint}
    streams: true
    input: {{prompt: prompt, max_output_tokens: max_tokens}}
    output_field: text
    input_tokens_field: usage.tokens_in
    output_tokens_field: usage.tokens_out
    warm_below_seconds: 0.5
    price: runpod-l40s
models:
  on-worker: {{deployments: [on-worker]}}
"""
pytestmark = pytest.mark.skipif(python_with_sdk() is None, reason=NO_SDK)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "worker", str(python_with_sdk()))
    yield process
    process.end()


@pytest.fixture
def runpod(process: Process) -> Iterator[RunPodOnWorker]:
    app = RunPodOnWorker(process)
    with serve(app) as app.url:
        yield app


@pytest.fixture
def gateway(runpod: RunPodOnWorker, tmp_path: Path) -> Iterator[Gateway]:
    config = tmp_path / "gateway.yml"
    config.write_text(CONFIG.format(url=runpod.url, key=runpod.key, endpoint=NAME))
    with serving(config, tmp_path / "data", tmp_path / "gateway.log") as running:
        yield running


def ask(gateway: Gateway, words: int, text: str = "a b c") -> Any:
    return gateway.generate("on-worker", input=text, parameters={"max_output_tokens": words})


def held_against_worker(answer: Any, app: RunPodOnWorker) -> RealMade:
    """Seconds, counts, verdict and money of an answer are those of the real run."""
    made = app.last()
    assert isinstance(made, RealMade) and made.started is not None
    assert answer["attempts"][0]["upstream_id"] == made.id
    text = "".join(piece["text"] for piece in made.said["output"])
    assert answer["output"] == [{"type": "text", "text": text}]
    timing, counts = answer["timing"], made.said["output"][-1]["usage"]
    assert timing["execute_seconds"] == pytest.approx(made.execute_seconds, abs=0.0006)
    assert timing["wait_seconds"] == pytest.approx(made.wait_seconds, abs=0.0006)
    assert answer["usage"]["source"] == "reported"
    assert answer["usage"]["input_tokens"] == counts["tokens_in"]
    assert answer["usage"]["output_tokens"] == counts["tokens_out"]
    assert answer["cold_start"]["verdict"] == ("cold" if made.cold else "warm")
    assert answer["cost"]["status"] == "measured" and answer["cost"]["pending"] == ["idle"]
    seconds = Decimal(str(timing["execute_seconds"])) + Decimal(str(timing["boot_seconds"]))
    assert Decimal(answer["cost"]["total_usd"]) == pytest.approx(seconds * RATE_USD)
    return made


def test_a_boot_a_warm_call_a_cancel_and_idle_time_on_the_real_worker(
    gateway: Gateway, runpod: RunPodOnWorker, process: Process
) -> None:
    cold = ask(gateway, 8)
    made = held_against_worker(cold, runpod)
    assert made.cold and cold["usage"]["output_tokens"] == 8
    assert cold["cold_start"]["caused_boot"] is True
    # The wait that was reported holds the loading of the handler's module, and so does the boot.
    assert LOAD_SECONDS <= cold["timing"]["wait_seconds"]

    warm = ask(gateway, 3)
    made = held_against_worker(warm, runpod)
    assert (made.cold, process.boots) == (False, 1)
    # A worker that has just done a job asks for the next one up to a second later.
    assert warm["cold_start"]["evidence"] in ("delay_reported", "scale_state")

    with gateway.stream("on-worker", input="a b c", parameters={"max_output_tokens": 5000}) as told:
        next(event for event in told if event[0] == "delta")
    cut = runpod.last()
    until(lambda: cut.status == "CANCELLED")
    assert 0 < len(cut.pieces()) < 5000
    until(lambda: "Stopping job." in process.log() and "Job stopped." in process.log())

    refused = gateway.call("POST", "/v1/generate", {"model": "on-worker", "input": "break"})
    assert refused.status == 502
    assert refused.json["error"]["message"] == "The handler reported an error."
    assert b"nobody outside" not in refused.raw
    assert "nobody outside" in runpod.last().said["error"]  # type: ignore[attr-defined]

    runpod.real.advance(6.0)
    assert not process.up
    again = ask(gateway, 3)
    made = held_against_worker(again, runpod)
    assert (made.cold, process.boots) == (True, 2)
