"""The real gateway, Replicate's emulated control plane, and behind it the real cog runtime.

A boot here is a boot: cog's process starts and its model's ``setup`` runs. What the gateway tells
of it is held against what cog said.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gateways import Gateway, serving, until
from tests.emulators.cog_model import SETUP_SECONDS
from tests.emulators.replicate_cog import NAME, Cog, CogMade, ReplicateOnCog
from tests.serving import serve

USD_PER_SECOND = Decimal("0.000975")
CONFIG = """
providers:
  replicate: {{base_url: "{url}/v1", api_token: "{key}", poll_seconds: 0.1}}
deployments:
  on-cog: {{provider: replicate, model: {model}, hardware: gpu-l40s, price: replicate-gpu-l40s,
            warm_below_seconds: 0.8, cold_after_seconds: 1.0}}
models:
  on-cog: {{deployments: [on-cog]}}
"""


@pytest.fixture
def cog(tmp_path: Path) -> Iterator[Cog]:
    runtime = Cog(tmp_path / "cog")
    yield runtime
    runtime.end()


@pytest.fixture
def replicate(cog: Cog) -> Iterator[ReplicateOnCog]:
    app = ReplicateOnCog(cog)
    with serve(app) as app.url:
        yield app


@pytest.fixture
def gateway(replicate: ReplicateOnCog, tmp_path: Path) -> Iterator[Gateway]:
    config = tmp_path / "gateway.yml"
    config.write_text(CONFIG.format(url=replicate.url, key=replicate.key, model=NAME))
    with serving(config, tmp_path / "data", tmp_path / "gateway.log") as running:
        yield running


def ask(gateway: Gateway, words: int) -> Any:
    body = {"input": "a b c", "parameters": {"max_output_tokens": words}}
    return gateway.generate("on-cog", **body)


def held_against_cog(answer: Any, app: ReplicateOnCog) -> CogMade:
    """Seconds, counts and money of an answer are those that cog reported, to the last digit."""
    made = app.last()
    assert isinstance(made, CogMade) and made.started is not None
    said = made.end
    assert answer["attempts"][0]["upstream_id"] == said["id"] == made.id
    assert answer["output"] == [{"type": "text", "text": "".join(said["output"])}]
    predict_seconds = Decimal(str(said["metrics"]["predict_time"])).quantize(Decimal("0.000001"))
    assert answer["timing"]["execute_seconds"] == float(predict_seconds)
    waited_seconds = round((made.started - made.created).total_seconds(), 6)
    assert answer["timing"]["wait_seconds"] == pytest.approx(waited_seconds, abs=1e-9)
    assert answer["usage"]["source"] == "reported"
    counts = (said["metrics"]["input_token_count"], said["metrics"]["output_token_count"])
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == counts
    assert answer["cost"]["status"] == "measured"
    assert Decimal(answer["cost"]["total_usd"]) == predict_seconds * USD_PER_SECOND
    return made


def test_a_boot_a_warm_call_a_cancel_and_idle_time_on_the_real_runtime(
    gateway: Gateway, replicate: ReplicateOnCog, cog: Cog
) -> None:
    assert not cog.up
    cold = ask(gateway, 8)
    made = held_against_cog(cold, replicate)
    assert (cold["cold_start"]["verdict"], cold["cold_start"]["evidence"]) == (
        "cold",
        "timestamps_reported",
    )
    assert cold["usage"]["output_tokens"] == 8
    # The wait that was reported holds cog's own setup, and the setup its model's.
    began, ready = (datetime.fromisoformat(cog.setup[n]) for n in ("started_at", "completed_at"))
    assert made.created <= began and made.started is not None and ready <= made.started
    assert SETUP_SECONDS <= (ready - began).total_seconds() <= cold["timing"]["wait_seconds"]

    warm = ask(gateway, 3)
    held_against_cog(warm, replicate)
    assert (warm["cold_start"]["verdict"], cog.boots) == ("warm", 1)
    assert warm["timing"]["wait_seconds"] < 0.8

    with gateway.stream("on-cog", input="a b c", parameters={"max_output_tokens": 5000}) as events:
        next(event for event in events if event[0] == "delta")
    cut = replicate.last()
    assert isinstance(cut, CogMade)
    until(lambda: cut.over.is_set())
    assert cut.end["status"] == "canceled"
    assert 0 < len(cut.end["output"]) < 5000
    cancelled = [row for row in cog.log() if row["fields"]["message"] == "Prediction cancelled"]
    assert [row["fields"]["prediction_id"] for row in cancelled] == [cut.id]

    def rested() -> bool:
        """The one that was cancelled may hold the machine for a moment yet."""
        replicate.cogs.advance(replicate.cogs.keep_alive_seconds)
        return not cog.up

    until(rested)
    again = ask(gateway, 3)
    held_against_cog(again, replicate)
    assert (again["cold_start"]["verdict"], cog.boots) == ("cold", 2)
