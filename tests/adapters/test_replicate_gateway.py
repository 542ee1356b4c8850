"""A whole gateway in front of the emulator: what a caller of Replicate gets to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from gateway.app import create_app
from gateway.settings import load
from providers.testing.scenarios import ANSWER
from tests.acceptance.gateways import until
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import FILES, WARM
from tests.emulators.replicate_world import Model
from tests.gateways import post, running


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate()
    app.models["emulated/photo"] = Model(output=f"{FILES}/out.webp")
    app.url = emulator(app)
    return app


@pytest.fixture
def url(app: Replicate, tmp_path: Path) -> Iterator[str]:
    def deployment(name: str) -> dict[str, str]:
        return {
            "provider": "replicate",
            "model": f"emulated/{name}",
            "hardware": "gpu-l40s",
            "price": "replicate-gpu-l40s",
        }

    names = ("warm", "cold", "photo")
    block = {"api_token": app.key, "base_url": f"{app.url}/v1", "poll_seconds": 0.02}
    changes = {
        "server": {"data_dir": str(tmp_path)},
        "providers": {"replicate": block},
        "deployments": {name: deployment(name) for name in names},
        "models": {name: {"deployments": [name]} for name in names},
    }
    with running(create_app(load(None, {}, changes))) as url:
        yield url


def test_a_budget_sets_aside_what_the_model_makes_at_most(app: Replicate, tmp_path: Path) -> None:
    """The model's default is 128 tokens; where nothing is known, 512 are set aside at a time."""
    maximum = {"type": "integer", "default": 128}
    inputs: dict[str, dict[str, Any]] = {"prompt": {"type": "string"}, "max_tokens": maximum}
    app.models["emulated/bounded"] = replace(WARM, inputs=inputs)
    changes: dict[str, Any] = {
        "server": {"data_dir": str(tmp_path)},
        "providers": {"replicate": {"api_token": app.key, "base_url": f"{app.url}/v1"}},
        "deployments": {
            "bounded": {
                "provider": "replicate",
                "model": "emulated/bounded",
                "price": {"usd_per_million_output_tokens": "1000"},
            }
        },
        "models": {"bounded": {"deployments": ["bounded"]}},
        "budgets": [{"name": "small", "limit_usd": "0.30", "per": "total"}],
    }
    asked = {"model": "bounded", "input": "Say something."}
    with running(create_app(load(None, {}, changes))) as url:
        with pytest.raises(HTTPError) as caught:
            post(f"{url}/v1/generate", asked)
        assert json.loads(caught.value.read())["error"]["code"] == "budget_exceeded"
        caught.value.close()
        until(lambda: app.sent("GET", "/models/emulated/bounded"))
        answer = until_answered(url, asked)
    assert answer["status"] == "succeeded" and app.last().input["max_tokens"] == 128


def until_answered(url: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The first answer within a few tries: what was asked for is on its way."""
    answers: list[dict[str, Any]] = []

    def answered() -> bool:
        try:
            answers.append(post(f"{url}/v1/generate", asked))
        except HTTPError as refused:
            refused.close()
        return bool(answers)

    until(answered)
    return answers[0]


def test_a_cold_answer_with_its_price(url: str, app: Replicate) -> None:
    answer = post(f"{url}/v1/generate", {"model": "cold", "input": "Say something."})
    assert answer["output"] == [{"type": "text", "text": ANSWER}]
    assert answer["cold_start"]["verdict"] == "cold"
    assert answer["cold_start"]["evidence"] == "timestamps_reported"
    made = app.last()
    assert answer["attempts"][0]["upstream_id"] == made.id
    assert answer["timing"]["wait_seconds"] == pytest.approx(90.012)
    assert answer["timing"]["boot_seconds"] is None
    assert answer["cost"]["status"] == "measured"
    assert Decimal(answer["cost"]["total_usd"]) == made.billed_usd == Decimal("0.00195")
    # The gateway's deadline goes along, for the day when nobody is left to cancel.
    assert app.sent("POST", "/predictions")[0].headers["cancel-after"] == "900s"


def test_a_file_and_until_when_it_is_there(url: str, app: Replicate) -> None:
    answer = post(f"{url}/v1/generate", {"model": "photo", "input": {"prompt": "a cat"}})
    (output,) = answer["output"]
    assert (output["type"], output["url"]) == ("image", f"{FILES}/out.webp")
    assert output["expires_at"].endswith("Z") and output["expires_at"] > "2026-11-01T01:00"


def test_openais_dialect(url: str, app: Replicate) -> None:
    body = {
        "model": "warm",
        "messages": [{"role": "user", "content": "Say something."}],
        "max_tokens": 64,
        "temperature": 0.5,
    }
    answer = post(f"{url}/v1/chat/completions", body)
    assert answer["choices"][0]["message"]["content"] == ANSWER
    assert answer["usage"]["cold_start"]["verdict"] == "warm"
    assert app.last().input == {"prompt": "Say something.", "max_tokens": 64, "temperature": 0.5}


def test_a_prediction_whose_answer_was_lost_is_not_made_again(url: str, app: Replicate) -> None:
    app.lost_creates = 1
    with pytest.raises(HTTPError) as caught:
        post(f"{url}/v1/generate", {"model": "warm", "input": "Say something."})
    error = json.loads(caught.value.read())["error"]
    caught.value.close()
    assert len(app.world.made) == len(app.sent("POST", "/predictions")) == 1
    # It may have run, and nobody knows its id: the cost is no measured 0.
    assert error["cost"]["status"] == "estimated"
    assert Decimal(error["cost"]["range_usd"]["high"]) >= app.last().billed_usd > 0
