"""Text generation, embeddings, images and everything else in ``{"inputs": ...}``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from providers.contract import (
    Delta,
    GenerateRequest,
    Http,
    ModelLoading,
    Parameters,
    Phases,
    ProtocolViolation,
    ProviderRetired,
    RequestRejected,
    UpstreamFailed,
    Usage,
)
from providers.huggingface.embeddings import embedding_outputs
from providers.huggingface.payload import Place, inputs_body
from providers.huggingface.text_generation import TokenFold, whole_text
from providers.huggingface.timing import phases_from, usage_from
from providers.testing.scenarios import ANSWER, INPUT_TOKENS, OUTPUT_TOKENS
from providers.toolkit.sse import SseParser
from tests.adapters.huggingface_runs import World, ask, attempt
from tests.emulators.huggingface_tasks import (
    LABELS,
    VECTOR,
    png,
    tei_headers,
    tgi_headers,
    token_frame,
    token_frames,
)

TEXT = Place("http://127.0.0.1/", "org/m", "text-generation")


@pytest.fixture
def world(emulator: Callable[[Any], str], http: Http) -> World:
    return World(emulator, http)


def tasks(world: World, model: str, api: str, **options: Any) -> Any:
    return world.bind(model, via="hf-inference", api=api, **options)


# -- the request --------------------------------------------------------------------------------


def test_common_parameters_under_tgis_names() -> None:
    asked = Parameters(64, 0.7, 0.9, ("\n", "END"), 7)
    body = inputs_body(TEXT, GenerateRequest("hi", asked))
    assert body == {
        "inputs": "hi",
        "parameters": {
            "max_new_tokens": 64,
            "temperature": 0.7,
            "top_p": 0.9,
            "stop": ["\n", "END"],
            "seed": 7,
            "return_full_text": False,
            "details": True,
        },
        "stream": True,
    }


def test_greedy_and_whole_nucleus_in_tgis_words() -> None:
    parameters = inputs_body(TEXT, GenerateRequest("hi", Parameters(temperature=0, top_p=1)))[
        "parameters"
    ]
    assert parameters == {"do_sample": False, "return_full_text": False, "details": True}


def test_the_models_own_words_win_and_the_deployments_win_over_them() -> None:
    place = Place("", "m", "text-generation", parameters={"top_k": 5}, details=False)
    own = {"inputs": "hi", "parameters": {"max_new_tokens": 3, "top_k": 9, "watermark": True}}
    body = inputs_body(place, GenerateRequest(own, Parameters(max_output_tokens=64)))
    assert body["parameters"] == {
        "max_new_tokens": 3,
        "top_k": 5,
        "watermark": True,
        "return_full_text": False,
    }
    assert own["parameters"]["top_k"] == 9  # type: ignore[index]


def test_a_chat_callers_keys_are_known_or_refused_by_name() -> None:
    said = {"max_tokens": 5, "temperature": 0.5, "stream_options": {"include_usage": True}}
    messages = [{"role": "user", "content": "hi"}]
    asked = Parameters(5, 0.5)
    request = GenerateRequest(messages, asked, dialect="openai_chat", extra=said)
    assert inputs_body(TEXT, request)["inputs"] == "hi"
    for key in ("tools", "logprobs"):
        request = GenerateRequest(messages, dialect="openai_chat", extra={key: True})
        with pytest.raises(RequestRejected) as caught:
            inputs_body(TEXT, request)
        assert caught.value.param == key


@pytest.mark.parametrize(
    ("api", "request_", "param"),
    [
        ("text-to-image", GenerateRequest("hi", Parameters(64)), "parameters.max_output_tokens"),
        (
            "feature-extraction",
            GenerateRequest("hi", Parameters(temperature=1), "embed"),
            "parameters.temperature",
        ),
        ("feature-extraction", GenerateRequest("hi"), "task"),
        ("text-generation", GenerateRequest("hi", task="embed"), "task"),
        ("native", GenerateRequest({"question": "why"}), "input"),
        ("native", GenerateRequest({"inputs": "x", "parameters": 3}), "input.parameters"),
    ],
)
def test_what_cannot_be_said_is_refused(api: Any, request_: GenerateRequest, param: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        inputs_body(Place("", "m", api), request_)
    assert caught.value.param == param


async def test_a_chat_deployment_does_not_embed(world: World) -> None:
    with pytest.raises(RequestRejected):
        await ask(world.bind("org/warm"), GenerateRequest("hi", task="embed"))
    assert not world.app.received


# -- text ---------------------------------------------------------------------------------------


async def test_whole_answer_with_its_seconds_and_counts(world: World) -> None:
    deployment = tasks(world, "org/warm", "text-generation")
    ran = await ask(deployment, GenerateRequest("hi", stream=False))
    assert ran.text == ANSWER and ran.finished.reasons == ("stop",)
    assert ran.finished.usage == Usage(INPUT_TOKENS, OUTPUT_TOKENS)
    assert ran.finished.phases == Phases(queue_seconds=0.007, execute_seconds=0.043)
    kept = ran.finished.native[0]["headers"]
    assert kept["x-compute-time"] == "0.050345" and kept["x-validation-time"] == "1"


async def test_a_stream_says_no_seconds(world: World) -> None:
    ran = await ask(tasks(world, "org/warm", "text-generation"))
    assert ran.finished.phases is None
    assert ran.finished.usage == Usage(INPUT_TOKENS, OUTPUT_TOKENS)


async def test_without_details_nothing_is_made_up(world: World) -> None:
    ran = await ask(tasks(world, "org/warm", "text-generation", details=False))
    assert ran.text == ANSWER
    assert ran.finished.usage is None and ran.finished.reasons == ()


async def test_what_tgi_refuses_is_the_callers(world: World) -> None:
    deployment = tasks(world, "org/warm", "text-generation")
    with pytest.raises(RequestRejected):
        await ask(deployment, GenerateRequest("hi", Parameters(max_output_tokens=-1)))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_tokens_split_anywhere(size: int) -> None:
    raw = b": keep-alive\n\n" + b"".join(token_frames("warm", {"details": True}))
    fold, parser, text = TokenFold(), SseParser(), ""
    for start in range(0, len(raw), size):
        text += "".join(d.text for d in fold.take(parser.feed(raw[start : start + size])))
    assert text == ANSWER and fold.done
    assert fold.usage == Usage(INPUT_TOKENS, OUTPUT_TOKENS)


def _fold(*frames: dict[str, Any]) -> tuple[TokenFold, list[Delta]]:
    fold, parser = TokenFold(), SseParser()
    raw = b"".join(b"data:" + orjson.dumps(frame) + b"\n\n" for frame in frames)
    return fold, fold.take(parser.feed(raw))


def test_special_tokens_are_no_text_and_stop_sequences_are_stops() -> None:
    last = {**token_frame(1, "</s>", special=True), "generated_text": "a"}
    last["details"] = {"finish_reason": "stop_sequence", "generated_tokens": 1, "input_length": 3}
    fold, deltas = _fold(token_frame(0, "a"), last)
    assert [delta.text for delta in deltas] == ["a"]
    assert fold.finished().reasons == ("stop",)
    fold, _ = _fold({**last, "details": {"finish_reason": "length", "generated_tokens": 1}})
    assert fold.finished().reasons == ("length",)


def test_a_server_that_gives_all_in_its_last_event() -> None:
    _, deltas = _fold({"token": None, "generated_text": "all of it", "details": None})
    assert [delta.text for delta in deltas] == ["all of it"]


def test_what_came_before_an_error_is_given_out() -> None:
    fold, deltas = _fold(token_frame(0, "a"), {"error": "x", "error_type": "generation"})
    assert [delta.text for delta in deltas] == ["a"]
    assert type(fold.failure) is UpstreamFailed
    fold, _ = _fold({"nothing": "known"})
    assert type(fold.failure) is ProtocolViolation


def test_whole_answers_as_object_and_as_list() -> None:
    one = {"generated_text": "a", "details": {"finish_reason": "length", "generated_tokens": 1}}
    for value in (one, [one]):
        delta, finished = whole_text(value)
        assert delta == Delta("a")
        assert finished.reasons == ("length",)  # type: ignore[union-attr]
    assert [e.index for e in whole_text([one, one]) if isinstance(e, Delta)] == [0, 1]
    for bad in ({}, [], [3], {"generated_text": None}, "text"):
        with pytest.raises(ProtocolViolation):
            whole_text(bad)


# -- seconds ------------------------------------------------------------------------------------


def test_compute_time_is_seconds_at_tgi_and_milliseconds_at_tei() -> None:
    tgi, tei = tgi_headers("hi"), tei_headers(1)
    assert float(tgi["x-compute-time"]) < 1 < float(tei["x-compute-time"])
    expected = Phases(queue_seconds=0.007, execute_seconds=0.043)
    assert phases_from(tgi) == phases_from(tei) == expected
    for headers in (tgi, tei):
        del headers["x-total-time"]
        phases = phases_from(headers)
        assert phases is not None and phases.execute_seconds == pytest.approx(0.043, abs=0.001)


def test_a_compute_time_of_an_unknown_engine_has_no_unit() -> None:
    assert phases_from({"x-compute-type": "cpu", "x-compute-time": "31"}) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-total-time": "5", "x-queue-time": "9"}, Phases(0.009, execute_seconds=0.0)),
        ({"x-total-time": "0"}, Phases(execute_seconds=0.0)),
        ({"x-inference-time": "12"}, Phases(execute_seconds=0.012)),
        ({"x-total-time": "soon", "x-queue-time": "-3"}, None),
        ({"x-total-time": "nan"}, None),
        ({"x-inference-provider": "groq"}, Phases(revision="groq")),
    ],
)
def test_phase_table(headers: dict[str, str], expected: Phases | None) -> None:
    assert phases_from(headers) == expected


def test_counts_of_the_head() -> None:
    assert usage_from(tgi_headers("hi")) == Usage(INPUT_TOKENS, OUTPUT_TOKENS)
    assert usage_from(tei_headers(2)) == Usage(INPUT_TOKENS * 2)
    assert usage_from({"x-generated-tokens": "0"}) == Usage(output_tokens=0)
    assert usage_from({"x-generated-tokens": "many"}) is None


# -- embeddings, images, the rest ---------------------------------------------------------------


async def test_one_text_one_vector(world: World) -> None:
    request = GenerateRequest("hello", task="embed")
    for model in ("org/tei", "org/flat"):
        deployment = tasks(world, model, "feature-extraction")
        ran = await ask(deployment, request)
        assert [(o.kind, o.value) for o in ran.outputs] == [("embedding", VECTOR)]
    assert deployment.capabilities.tasks == {"embed"}
    assert world.last.path == "/hf-inference/models/org/flat/pipeline/feature-extraction"
    assert world.last.body == {"inputs": "hello"}


async def test_many_texts_many_vectors_in_order(world: World) -> None:
    deployment = tasks(world, "org/tei", "feature-extraction", parameters={"truncate": True})
    ran = await ask(deployment, GenerateRequest({"inputs": ["a", "b", "c"]}, task="embed"))
    assert [(o.index, o.kind, o.value) for o in ran.outputs] == [
        (index, "embedding", VECTOR) for index in range(3)
    ]
    assert ran.finished.usage == Usage(INPUT_TOKENS * 3)
    assert ran.finished.phases == Phases(queue_seconds=0.007, execute_seconds=0.043)
    assert world.last.body == {"inputs": ["a", "b", "c"], "truncate": True}


async def test_a_model_that_pools_nothing_gives_no_embedding(world: World) -> None:
    request = GenerateRequest("hello", task="embed")
    ran = await ask(tasks(world, "org/tokens", "feature-extraction"), request)
    assert [(o.kind, o.value) for o in ran.outputs] == [("json", [VECTOR, VECTOR])]


@pytest.mark.parametrize(
    ("inputs", "value"),
    [("a", []), ("a", {"x": 1}), (["a", "b"], [VECTOR]), (["a"], [[]]), ("a", 0.5)],
)
def test_an_answer_that_is_no_embedding(inputs: Any, value: Any) -> None:
    with pytest.raises(ProtocolViolation):
        embedding_outputs(inputs, value)


async def test_an_image_is_its_bytes(world: World) -> None:
    deployment = tasks(world, "org/sd", "text-to-image", parameters={"width": 64})
    ran = await ask(deployment, GenerateRequest("a red dot", Parameters(seed=3)))
    (image,) = ran.outputs
    assert (image.kind, image.data, image.media_type) == ("image", png(), "image/png")
    assert world.last.headers["accept"] == "image/png"
    assert world.last.body == {"inputs": "a red dot", "parameters": {"seed": 3, "width": 64}}


async def test_an_image_model_that_gives_no_image(world: World) -> None:
    world.app.endpoint("toolkit", engine="toolkit").running()
    with pytest.raises(ProtocolViolation):
        await ask(world.bind_endpoint("toolkit", api="text-to-image"))


async def test_any_other_task_takes_the_models_own_object(world: World) -> None:
    own = {"inputs": "I like it", "parameters": {"top_k": 2}}
    ran = await ask(tasks(world, "org/classifier", "native"), GenerateRequest(own))
    assert [(o.kind, o.value) for o in ran.outputs] == [("json", [LABELS])]
    assert world.last.body == own
    assert ran.finished.phases is None  # "x-compute-time" alone has no unit


# -- the classic API ----------------------------------------------------------------------------


async def test_a_classic_model_is_waited_for_by_its_answers_alone(world: World) -> None:
    deployment = world.bind("org/gpt2", via="classic", api="text-generation", url=world.app.url)
    ran = await attempt(deployment, world.clock)
    model = world.app.classic["gpt2"]
    assert ran.text == ANSWER and ran.cold.verdict == "cold"
    assert ran.cold.evidence == "loading_reported"
    assert all("20 s" in refusal.detail for refusal in ran.refusals)
    boot_seconds = ran.timeline.boot_seconds
    assert boot_seconds is not None
    assert model.load_seconds <= boot_seconds <= model.load_seconds + 1
    world.clock.advance(1)
    warm = await attempt(deployment, world.clock)
    assert not warm.refusals and warm.cold.verdict == "unknown"  # nothing proves it


async def test_loading_is_repeated_while_the_guess_stays_the_same(world: World) -> None:
    deployment = world.bind("org/gpt2", via="classic", api="native", url=world.app.url)
    for _ in range(3):
        with pytest.raises(ModelLoading, match="20 s"):
            await ask(deployment)
        world.clock.advance(10)


async def test_the_classic_address_has_ended(world: World) -> None:
    world.app.classic_ended = True
    deployment = world.bind("org/gpt2", via="classic", api="native", url=world.app.url)
    with pytest.raises(ProviderRetired):
        await ask(deployment)
