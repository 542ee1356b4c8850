"""Hugging Face's own client, unmodified, against the emulator: it stands for the real callers.

The switches are those that huggingface_hub 2.4.0 has for other addresses; nothing is replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError, OverloadedError
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference import _providers

from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from tests.emulators.huggingface import NAMESPACE, HuggingFace
from tests.emulators.huggingface_tasks import VECTOR

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def app(
    emulator: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> HuggingFace:
    app = HuggingFace()
    app.url = emulator(app)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # it blocks loopback, too
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "INFERENCE_ENDPOINTS_ENDPOINT", f"{app.url}/v2")
    return app


def endpoint_client(app: HuggingFace, name: str, engine: str) -> InferenceClient:
    app.endpoint(name, engine=engine).running()
    return InferenceClient(base_url=f"{app.url}/e/{name}", api_key=app.key)


def test_chat_through_the_router(app: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    router: Any = _providers.CONVERSATIONAL_AUTO_ROUTER
    monkeypatch.setattr(router, "base_url", app.url)
    known: Any = _providers._common.HARDCODED_MODEL_INFERENCE_MAPPING
    mapping: Any = InferenceProviderMapping(  # type: ignore[no-untyped-call]
        provider="novita",
        hf_model_id="org/warm",
        providerId="warm",
        task="conversational",
        status="live",
    )
    monkeypatch.setitem(known, "auto", {"org/warm": mapping})
    client = InferenceClient(api_key=app.key, bill_to="acme-org")
    answer = client.chat_completion(MESSAGES, model="org/warm:cheapest", max_tokens=5)
    assert answer.choices[0].message.content == ANSWER
    assert app.received[-1].path == "/v1/chat/completions"
    assert app.received[-1].body["model"] == "org/warm:cheapest"
    assert app.received[-1].headers["x-hf-bill-to"] == "acme-org"


def test_chat_and_its_stream_at_an_address(app: HuggingFace) -> None:
    client = endpoint_client(app, "warm", "vllm")
    answer = client.chat_completion(MESSAGES, max_tokens=5)
    assert app.received[-1].body["model"] == "dummy"
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage.completion_tokens == OUTPUT_TOKENS
    stream = client.chat_completion(MESSAGES, stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == ANSWER and len(pieces) > 2


def test_text_generation(app: HuggingFace) -> None:
    client = endpoint_client(app, "warm", "tgi")
    whole = client.text_generation("hello", max_new_tokens=5, details=True, return_full_text=False)
    assert whole.generated_text == ANSWER
    assert whole.details is not None and whole.details.generated_tokens == OUTPUT_TOKENS
    assert client.text_generation("hello ") == f"hello {ANSWER}"  # the compatible route's default
    stream = list(client.text_generation("hello", stream=True, details=True))
    assert "".join(item.token.text for item in stream if not item.token.special) == ANSWER
    assert stream[-1].details is not None
    assert stream[-1].details.input_length == INPUT_TOKENS


def test_an_overloaded_engine(app: HuggingFace) -> None:
    with pytest.raises(OverloadedError):
        endpoint_client(app, "no-capacity", "tgi").text_generation("hello")


def test_feature_extraction(app: HuggingFace) -> None:
    vectors = endpoint_client(app, "e", "tei").feature_extraction("hello")
    assert vectors.tolist() == [VECTOR]


def test_text_to_image(app: HuggingFace) -> None:
    client = InferenceClient(
        model=f"{app.url}/hf-inference/models/org/sd", api_key=app.key, provider="hf-inference"
    )
    image = client.text_to_image("a red dot")
    assert image.size == (1, 1) and image.getpixel((0, 0)) == (255, 0, 0)


def test_a_loading_model_is_one_request_and_one_error(app: HuggingFace) -> None:
    client = InferenceClient(base_url=f"{app.url}/models/gpt2", api_key=app.key)
    with pytest.raises(HfHubHTTPError, match="gpt2 is currently loading"):
        client.text_generation("hello")
    assert len(app.received) == 1


def test_the_state_of_endpoints(app: HuggingFace) -> None:
    endpoint = app.endpoint("e", boot_seconds=0.05)
    api = HfApi(token=app.key)
    told = api.get_inference_endpoint("e", namespace=NAMESPACE)
    assert told.status == "scaledToZero" and told.health_route == "/health"
    assert told.url == f"{app.url}/e/e" and told.revision == endpoint.revision
    assert api.pause_inference_endpoint("e", namespace=NAMESPACE).status == "paused"
    assert api.resume_inference_endpoint("e", namespace=NAMESPACE).status == "initializing"
    scaled = api.update_inference_endpoint("e", namespace=NAMESPACE, min_replica=1, max_replica=2)
    assert scaled.raw["compute"]["scaling"] == {"minReplica": 1, "maxReplica": 2}
    slept = api.scale_to_zero_inference_endpoint("e", namespace=NAMESPACE)
    assert slept.status in ("scaledToZero", "initializing")
    with pytest.raises(HfHubHTTPError):
        HfApi(token="hf_other").get_inference_endpoint("e", namespace=NAMESPACE)


def test_a_sleeping_endpoint_refuses_and_the_header_makes_it_wait(app: HuggingFace) -> None:
    app.endpoint("warm", boot_seconds=0.1)
    url = f"{app.url}/e/warm"
    with pytest.raises(HfHubHTTPError, match="503"):
        InferenceClient(base_url=url, api_key=app.key).chat_completion(MESSAGES)
    patient = InferenceClient(base_url=url, api_key=app.key, headers={"X-Scale-Up-Timeout": "60"})
    assert patient.chat_completion(MESSAGES).choices[0].message.content == ANSWER
