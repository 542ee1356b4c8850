"""The emulator held against the unmodified ``replicate`` SDK: what one expects, the other says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput
from replicate.stream import ServerSentEvent

from providers.testing.scenarios import ANSWER
from tests.emulators.replicate import TOKEN, Replicate
from tests.emulators.replicate_wire import FILES, PIECES, WARM
from tests.emulators.replicate_world import Deployed, Model, World, version_of

VERSIONED = f"community/warm:{version_of('community/warm')}"


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate(World(scale=1000.0))
    app.url = emulator(app)
    app.world.deployments["acme/fast"] = Deployed("emulated/warm")
    return app


@pytest.fixture
def client(app: Replicate) -> Iterator[Client]:
    client = Client(api_token=TOKEN, base_url=app.url)
    client.poll_interval = 0.005
    yield client
    client._client.close()


def test_it_is_the_sdk() -> None:
    assert version("replicate") == "1.0.7" and Client.__module__ == "replicate.client"


def test_run_an_official_model(client: Client, app: Replicate) -> None:
    assert "".join(client.run("emulated/warm", input={"prompt": "hi"})) == ANSWER
    assert app.received[0].headers["prefer"] == "wait"


def test_run_a_version(client: Client) -> None:
    assert "".join(client.run(VERSIONED, input={"prompt": "hi"})) == ANSWER


def test_run_past_the_hold_polls(client: Client, app: Replicate) -> None:
    app.models["emulated/cold"] = replace(WARM, always_warm=False)
    assert "".join(client.run("emulated/cold", input={"prompt": "hi"}, wait=1)) == ANSWER
    assert app.last().looks > 0 and app.last().cold


def test_files(client: Client, app: Replicate) -> None:
    app.models["emulated/photo"] = Model(output=f"{FILES}/a.png", always_warm=True)
    output = client.run("emulated/photo", input={})
    assert isinstance(output, FileOutput) and output.url == f"{FILES}/a.png"


@pytest.mark.parametrize("model", ["emulated/warm", VERSIONED])
def test_stream(client: Client, app: Replicate, model: str) -> None:
    events = list(client.stream(model, input={"prompt": "hi"}))
    assert [event.data for event in events if event.event.value == "output"] == list(PIECES)
    assert events[-1].event == ServerSentEvent.EventType.DONE and events[-1].data == "{}"


def test_a_stream_that_fails(client: Client, app: Replicate) -> None:
    with pytest.raises(RuntimeError, match="list index out of range"):
        list(client.stream("emulated/error-frame-mid-stream", input={"prompt": "hi"}))


def test_predictions(client: Client, app: Replicate) -> None:
    made = client.predictions.create(
        version=version_of("community/never-answers"), input={"prompt": "hi"}
    )
    assert made.status == "starting" and made.started_at is None and made.metrics is None
    assert made.urls is not None and made.urls["get"].startswith(app.url)
    made.cancel()
    ended = client.predictions.get(made.id)
    assert ended.status == "canceled" and ended.completed_at is not None
    assert app.stopped("never-answers") == 1


def test_metrics(client: Client) -> None:
    made = client.models.predictions.create("emulated/warm", input={"prompt": "hi"})
    made.wait()
    assert made.version == "hidden" and made.metrics is not None
    assert made.metrics["predict_time"] == pytest.approx(2.0)
    assert made.metrics["total_time"] == pytest.approx(2.012)


def test_deployments(client: Client, app: Replicate) -> None:
    deployment = client.deployments.get("acme/fast")
    assert deployment.current_release is not None
    assert deployment.current_release.configuration.max_instances == 1
    made = deployment.predictions.create(input={"prompt": "hi"})
    made.wait()
    assert made.output == list(PIECES) and app.last().deployment == "acme/fast"
    changed = client.deployments.update("acme", "fast", min_instances=1, max_instances=3)
    assert changed.current_release is not None and changed.current_release.number == 2
    assert changed.current_release.configuration.min_instances == 1


def test_models_hardware_and_the_webhook_secret(client: Client) -> None:
    model = client.models.get("emulated/warm")
    assert model.latest_version is not None
    schema = model.latest_version.openapi_schema
    assert "prompt" in schema["components"]["schemas"]["Input"]["properties"]
    assert client.hardware.list()[0].sku == "gpu-l40s"
    assert client.webhooks.default.secret().key.startswith("whsec_")


def test_a_failed_prediction(client: Client) -> None:
    with pytest.raises(ModelError, match="E1001"):
        client.run("emulated/job-fails", input={"prompt": "hi"})


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("emulated/out-of-quota", 402, "insufficient credit"),
        ("emulated/rate-limited", 429, "throttled"),
        ("emulated/no-such-model", 404, "not be found"),
        ("emulated/bad-key", 401, "Invalid or expired"),
        ("emulated/invalid-request", 422, "temperature"),
    ],
)
def test_refusals(client: Client, app: Replicate, model: str, status: int, words: str) -> None:
    with pytest.raises(ReplicateError) as caught:
        client.run(model, input={"prompt": "hi"})
    assert caught.value.status == status and words in str(caught.value.detail)
    assert len(app.received) == 1  # the SDK repeats no POST


def test_input_is_held_against_the_schema(client: Client, app: Replicate) -> None:
    app.models["emulated/strict"] = replace(WARM, required=("prompt",))
    with pytest.raises(ReplicateError, match="prompt is required"):
        client.run("emulated/strict", input={})
    with pytest.raises(ReplicateError, match="Invalid type"):
        client.run("emulated/warm", input={"prompt": 3})
