"""The real llama.cpp server at an address: read without waking it, woken, timed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from providers.contract import (
    Booting,
    Delta,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    Parameters,
    Started,
)
from providers.local import LocalOptions, LocalProvider, LocalSettings
from providers.local.dialects import DIALECTS
from providers.local.url import WakingUrlDeployment
from providers.local.weights import SMOLLM2, locate
from tests.adapters.folded import attempt, price_of
from tests.local.engines import fetch_json

PROGRAM = Path(__file__).parents[1] / "local" / "sleeping_server.py"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = locate(SMOLLM2, tmp_path_factory.mktemp("models"))
    assert path is not None and importlib.util.find_spec("xllamacpp"), "see CONTRIBUTING.md"
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


@pytest.fixture
async def deployment(http: Http, tmp_path: Path, url: str) -> AsyncIterator[WakingUrlDeployment]:
    provider = LocalProvider(LocalSettings(), Host(http, tmp_path))
    options = LocalOptions.model_validate({"url": url, "server": "llama.cpp"})
    deployment = provider.bind("smol", options)
    assert isinstance(deployment, WakingUrlDeployment)
    yield deployment
    await provider.aclose()


def ask(stream: bool = True) -> GenerateRequest:
    parameters = Parameters(max_output_tokens=4, temperature=0.0)
    return GenerateRequest("Say something.", parameters, stream=stream)


async def collect(deployment: WakingUrlDeployment, request: GenerateRequest) -> list[Event]:
    async with aclosing(deployment.generate(request)) as events:
        return [event async for event in events]


async def asleep(http: Http, url: str) -> bool:
    return bool((await fetch_json(http, f"{url}/props", {}))["is_sleeping"])


async def until_asleep(http: Http, url: str) -> None:
    """It sleeps after a second without work, by its own clock."""
    end = time.monotonic() + 10
    while not await asleep(http, url):
        assert time.monotonic() < end
        await anyio.sleep(0.05)


async def test_asleep_probed_woken_and_warm(
    deployment: WakingUrlDeployment, http: Http, url: str
) -> None:
    await until_asleep(http, url)
    for _ in range(3):
        assert await deployment.probe() == "down"  # not in memory
    assert await asleep(http, url)  # and no probe has changed that
    begun = time.monotonic()
    cold = await attempt(deployment, ask(), price_of("1", "execute"))
    cold_seconds = time.monotonic() - begun
    assert await deployment.probe() == "ready"
    warm = await attempt(deployment, ask(), price_of("1", "execute"))

    assert cold.events[:2] == [Booting("scale_state", caused_boot=True), Started()]
    assert (cold.row.verdict, cold.row.evidence) == ("cold", "scale_state")
    assert cold.row.boot_seconds is not None and cold.row.execute_seconds is not None
    assert 0.1 < cold.row.boot_seconds < cold_seconds - cold.row.execute_seconds
    assert warm.events[0] == Started(evidence="scale_state")
    assert (warm.row.verdict, warm.row.boot_seconds) == ("warm", None)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_seconds_are_the_engine_s_own(
    deployment: WakingUrlDeployment, stream: bool
) -> None:
    events = await collect(deployment, ask(stream))
    finished = events[-1]
    assert isinstance(finished, Finished) and finished.phases is not None
    timings = [frame["timings"] for frame in finished.native if "timings" in frame][-1]
    expected = (timings["prompt_ms"] + timings["predicted_ms"]) / 1000
    assert finished.phases.execute_seconds == pytest.approx(expected)
    assert not any(
        "prompt_progress" in frame
        for event in events
        if isinstance(event, Delta | Finished)
        for frame in event.native
    )


async def test_warming_without_work(deployment: WakingUrlDeployment, http: Http, url: str) -> None:
    await until_asleep(http, url)
    before = await metrics(http, url)
    await deployment.warm()
    assert not await asleep(http, url)
    assert await metrics(http, url) <= before
    (first, *_) = await collect(deployment, ask())
    assert first == Started(evidence="scale_state")


async def metrics(http: Http, url: str) -> float:
    """Tokens that it says to have made; counted anew after each load."""
    dialect = DIALECTS["llama.cpp"]
    async with http.send("GET", f"{url}{dialect.metrics_path}") as answer:
        lines = (await answer.read(1 << 20)).decode().splitlines()
    rows = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert all(name.startswith(str(dialect.metrics_prefix)) for name in rows)
    return float(rows["llamacpp:tokens_predicted_total"])
