"""A whole gateway in front of the emulator: what a caller of RunPod, and who pays, get to see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from gateway.app import create_app
from gateway.settings import load
from providers.testing.contract_suite import seen
from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from tests.adapters.runpod_asking import STREAMED
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_chat import CHATS, MODEL
from tests.emulators.runpod_wire import COLD
from tests.emulators.runpod_world import RATE_USD
from tests.gateways import post, running

INPUT = {"prompt": "prompt", "max_output_tokens": "max_tokens"}


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> RunPod:
    app = RunPod()
    app.endpoint("words", COLD)
    app.endpoint("vllm", CHATS["cold"])
    app.endpoint("kept", COLD)
    app.url = emulator(app)
    return app


@pytest.fixture
def url(app: RunPod, tmp_path: Path) -> Iterator[str]:
    handler = {"model": "m", **STREAMED, "input": INPUT}
    named: dict[str, dict[str, Any]] = {
        "words": handler,
        "kept": {**handler, "keep_warm": {"policy": "fixed", "window_seconds": 3600}},
        "vllm": {"model": MODEL, "api": "openai"},
    }
    block = {
        "api_key": app.key,
        "base_url": f"{app.url}/v2",
        "management_url": f"{app.url}/rest/v2",
        "poll_seconds": 0.02,
    }
    usual = {"provider": "runpod", "price": "runpod-l40s"}
    changes = {
        "server": {"data_dir": str(tmp_path)},
        "providers": {"runpod": block},
        "deployments": {n: {**usual, "endpoint": n, **more} for n, more in named.items()},
        "models": {name: {"deployments": [name]} for name in named},
    }
    with running(create_app(load(None, {}, changes))) as url:
        yield url


def test_a_cold_answer_with_its_price(url: str, app: RunPod) -> None:
    answer = post(f"{url}/v1/generate", {"model": "words", "input": "Say something."})
    made = app.last()
    assert answer["output"] == [{"type": "text", "text": ANSWER}]
    assert answer["attempts"][0]["upstream_id"] == made.id
    start, timing, cost = answer["cold_start"], answer["timing"], answer["cost"]
    assert (start["verdict"], start["evidence"], start["caused_boot"]) == (
        "cold",
        "scale_state",
        True,
    )
    assert timing["wait_seconds"] == pytest.approx(made.wait_seconds, abs=0.0006)
    assert timing["boot_seconds"] == pytest.approx(300.0, abs=1.1)
    assert timing["queue_seconds"] + timing["boot_seconds"] == pytest.approx(timing["wait_seconds"])
    assert (cost["status"], cost["pending"]) == ("measured", ["idle"])
    seconds = Decimal(str(timing["boot_seconds"])) + Decimal(str(timing["execute_seconds"]))
    assert Decimal(cost["total_usd"]) == seconds * RATE_USD
    # The gateway's deadline goes along, for the day when nobody is left to cancel.
    policy = app.sent("POST", "/words/run")[0].body["policy"]
    assert policy == {"ttl": 900_000}


def test_openais_dialect_through_the_queue(url: str, app: RunPod) -> None:
    body = {
        "model": "vllm",
        "messages": [{"role": "user", "content": "Say something."}],
        "max_tokens": 64,
        "logit_bias": {"1": 2},
    }
    answer = post(f"{url}/v1/chat/completions", body)
    assert answer["choices"][0]["message"]["content"] == ANSWER
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert usage["cold_start"]["verdict"] == "cold"  # what /openai/v1 could not have told
    sent = app.last().input["openai_input"]
    assert sent["logit_bias"] == {"1": 2} and sent["model"] == MODEL


def test_a_job_whose_answer_was_lost_is_not_submitted_again(url: str, app: RunPod) -> None:
    app.lost_jobs = 1
    with pytest.raises(HTTPError) as caught:
        post(f"{url}/v1/generate", {"model": "words", "input": "Say something."})
    error = json.loads(caught.value.read())["error"]
    caught.value.close()
    assert len(app.world.made) == len(app.sent("POST", "/words/run")) == 1
    assert error["cost"]["status"] == "estimated"  # it may have run: no measured 0
    made = app.last()
    worst = (Decimal(str(made.boot_seconds)) + Decimal(2)) * RATE_USD
    assert Decimal(error["cost"]["range_usd"]["high"]) >= worst > 0


async def test_keep_warm_sets_the_active_workers(url: str, app: RunPod) -> None:
    place = app.world.places["kept"]
    post(f"{url}/v1/generate", {"model": "kept", "input": "Say something."})
    await seen(lambda: place.minimum == 1)
    app.world.advance(600.0)  # far beyond the idle timeout
    answer = post(f"{url}/v1/generate", {"model": "kept", "input": "Say something."})
    assert answer["cold_start"]["verdict"] == "warm" and not app.last().cold
    assert place.maximum == 3 and place.idle_timeout == 5
