"""What is peculiar about Replicate: how predictions are made, and what becomes of their output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    Bounded,
    Delta,
    GenerateRequest,
    Host,
    ModelNotFound,
    Output,
    Parameters,
    Reconcilable,
    RequestRejected,
    Scalable,
    UpstreamFailed,
)
from providers.replicate import ReplicateOptions, ReplicateSettings, plugin
from providers.testing.contract_suite import seen
from providers.testing.scenarios import ANSWER
from tests.adapters.asking import ask
from tests.adapters.replicate_asking import Asking, asking
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import FILES, PIECES, WARM
from tests.emulators.replicate_world import Deployed, Model, version_of
from tests.toolkit.canned import Canned

UNSTREAMED = GenerateRequest("Say something.", stream=False)
SLOW = replace(WARM, execute_seconds=200.0)


@pytest.fixture
def app(emulator: Callable[[Any], str]) -> Replicate:
    app = Replicate()
    app.url = emulator(app)
    return app


@pytest.fixture
async def account(app: Replicate, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(app, tmp_path, poll_seconds=0.02) as account:
        yield account


# -- how it is made -------------------------------------------------------------------------------


async def test_the_three_ways_to_name_a_model(account: Asking, app: Replicate) -> None:
    app.world.deployments["acme/fast"] = Deployed("emulated/warm")
    version = version_of("community/warm")
    for model, deployment, path, named in (
        ("emulated/warm", None, "/v1/models/emulated/warm/predictions", None),
        (f"community/warm:{version}", None, "/v1/predictions", version),
        ("emulated/warm", "acme/fast", "/v1/deployments/acme/fast/predictions", None),
    ):
        asked = await account.ask(model, options={"deployment": deployment})
        assert asked.text == ANSWER
        (made,) = app.sent("POST", path)
        assert made.body.get("version") == named
        assert made.headers["authorization"] == f"Bearer {app.key}"
    assert asked.finished.phases is not None


async def test_a_version_alone_needs_an_input_rule(account: Asking, app: Replicate) -> None:
    asked = await account.ask(version_of("community/warm"))
    assert isinstance(asked.error, RequestRejected) and "`input:`" in asked.error.detail
    asked = await account.ask(version_of("community/warm"), options={"input": {"prompt": "prompt"}})
    assert asked.text == ANSWER


@pytest.mark.parametrize("model", ["llama", "a/b:123", "a/b/c", "a b/c", "../x/y", ""])
def test_other_names_are_refused(model: str, tmp_path: Path, app: Replicate) -> None:
    provider = plugin.build(
        ReplicateSettings.model_validate({"api_token": "r8_x"}), Host(Canned(), tmp_path)
    )
    with pytest.raises(ValueError, match="owner/name"):
        provider.bind(model, ReplicateOptions())


async def test_headers_of_the_call(account: Asking, app: Replicate) -> None:
    await account.ask(request=replace(UNSTREAMED, deadline_seconds=0.4))
    await account.ask(request=replace(UNSTREAMED, deadline_seconds=89.2))
    await account.ask(request=GenerateRequest("x", deadline_seconds=89.2))
    await account.ask(request=UNSTREAMED, options={"hold_seconds": 0})
    sent = [
        (r.headers.get("prefer"), r.headers.get("cancel-after"))
        for r in app.sent("POST", "/predictions")
    ]
    assert sent == [(None, "5s"), ("wait=5", "90s"), (None, "90s"), (None, None)]


async def test_an_answer_within_the_hold_takes_one_call(account: Asking, app: Replicate) -> None:
    app.models["emulated/photo"] = Model(output=f"{FILES}/a.png", always_warm=True)
    asked = await account.ask("emulated/photo", replace(UNSTREAMED, input={"prompt": "a cat"}))
    assert [r.method for r in app.received] == ["POST"]
    (output,) = [event for event in asked.events if isinstance(event, Output)]
    assert (output.kind, output.url, output.media_type) == ("image", f"{FILES}/a.png", "image/png")
    assert output.expires_at is not None
    kept = output.expires_at - app.last().completed
    assert abs(kept - timedelta(hours=1)) < timedelta(milliseconds=1)


async def test_an_early_answer_is_looked_at_until_its_metrics_are_there(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/photo"] = Model(output=f"{FILES}/a.png", early_answer=True)
    asked = await account.ask("emulated/photo", replace(UNSTREAMED, input={}))
    assert asked.finished.phases is not None
    assert asked.finished.phases.execute_seconds == pytest.approx(2.0)
    assert asked.kinds.count("Output") == 1


async def test_one_look_after_the_stream_brings_the_metrics(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/once"] = replace(WARM, execute_seconds=1.0, piece_seconds=0.01)
    account.provider._settings = account.provider._settings.model_copy(  # type: ignore[attr-defined]
        update={"poll_seconds": 30.0}
    )
    asked = await account.ask("emulated/once", options={"input": "payload"})
    assert asked.text == ANSWER and asked.finished.usage is not None
    assert [r.method for r in app.received] == ["POST", "GET", "GET"]  # make, stream, one look


# -- input names ----------------------------------------------------------------------------------


async def test_input_names_come_from_the_models_schema_once(
    account: Asking, app: Replicate
) -> None:
    asked_for = GenerateRequest(
        "hi", Parameters(max_output_tokens=7, temperature=0.5, stop=("a", "b"))
    )
    deployment = account.bind("emulated/warm")
    for _ in range(2):
        async with aclosing(deployment.generate(asked_for)) as events:
            async for _event in events:
                pass
    assert app.last().input == {
        "prompt": "hi",
        "max_tokens": 7,
        "temperature": 0.5,
        "stop_sequences": "a,b",
    }
    assert len(app.sent("GET", "/models/emulated/warm")) == 1


async def test_names_that_differ(account: Asking, app: Replicate) -> None:
    inputs = {"message": {"type": "string"}, "max_new_tokens": {"type": "integer"}}
    app.models["emulated/old"] = replace(WARM, inputs=inputs)
    await account.ask("emulated/old", GenerateRequest("hi", Parameters(max_output_tokens=7)))
    assert app.last().input == {"message": "hi", "max_new_tokens": 7}
    refused = await account.ask("emulated/old", GenerateRequest("hi", Parameters(seed=1)))
    assert isinstance(refused.error, RequestRejected)
    assert refused.error.param == "parameters.seed"
    assert len(app.sent("POST", "/predictions")) == 1


async def test_a_model_without_a_name_for_text_is_not_guessed_at(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/image-only"] = replace(WARM, inputs={"image": {"type": "string"}})
    asked = await account.ask("emulated/image-only")
    assert isinstance(asked.error, RequestRejected) and asked.error.param == "input"
    assert not app.sent("POST", "/predictions")


async def test_names_that_cannot_be_read_stop_no_text(account: Asking, app: Replicate) -> None:
    app.lost_schemas = 3
    deployment = account.bind("emulated/warm")
    assert (await ask(deployment)).text == ANSWER  # as ``prompt``
    # With a parameter there is no telling what it is called: nothing is made, and all can be tried
    # again, here or elsewhere.
    bounded = GenerateRequest("hi", Parameters(max_output_tokens=7))
    refused = await ask(deployment, bounded)
    assert isinstance(refused.error, UpstreamFailed) and "`input:`" in refused.error.detail
    assert (await ask(deployment)).text == ANSWER  # the third try does not hold it up
    await seen(lambda: not app.lost_schemas)
    assert (await ask(deployment, bounded)).text == ANSWER
    assert [made.input for made in app.world.made.values()][1:] == [
        {"prompt": "Say something."},
        {"prompt": "hi", "max_tokens": 7},
    ]
    assert len(app.sent("GET", "/models/emulated/warm")) == 4


async def test_what_the_create_call_will_say_is_left_to_it(account: Asking, app: Replicate) -> None:
    asked = await account.ask("emulated/no-such-model")
    assert type(asked.error) is ModelNotFound and asked.error.upstream_status == 404


async def test_many_first_requests_read_the_names_once(account: Asking, app: Replicate) -> None:
    deployment = account.bind("emulated/warm")
    together = await asyncio.gather(*(ask(deployment) for _ in range(5)))
    assert [one.text for one in together] == [ANSWER] * 5
    assert len(app.sent("GET", "/models/emulated/warm")) == 1


# -- the bound that the schema tells --------------------------------------------------------------

BOUNDED = replace(
    WARM,
    inputs={
        "prompt": {"type": "string"},
        "max_new_tokens": {"type": "integer", "default": 128, "minimum": 1},
    },
)


async def test_the_models_own_maximum_is_a_bound_once_it_is_known(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/bounded"] = BOUNDED
    deployment, text = account.bind("emulated/bounded"), GenerateRequest("hi")
    assert isinstance(deployment, Bounded)
    assert deployment.most_output_tokens(text) is None  # which has it read
    await seen(lambda: deployment.most_output_tokens(text) == 128)
    await ask(deployment, text)
    assert len(app.sent("GET", "/models/emulated/bounded")) == 1
    # It is sent along, so that it holds whatever the default becomes; what is asked for wins.
    assert app.last().input == {"prompt": "hi", "max_new_tokens": 128}
    await ask(deployment, GenerateRequest("hi", Parameters(max_output_tokens=7)))
    assert app.last().input == {"prompt": "hi", "max_new_tokens": 7}
    # An input in the model's own words goes as it is: only what stands there is a bound.
    for given, known in (
        ({"prompt": "hi"}, None),
        ({"prompt": "hi", "max_new_tokens": 5}, 5),
        ({"prompt": "hi", "max_new_tokens": "5"}, None),
        ({"prompt": "hi", "max_new_tokens": True}, None),
        ({"prompt": "hi", "max_tokens": 5}, None),
    ):
        assert deployment.most_output_tokens(GenerateRequest(given)) == known
    await ask(deployment, GenerateRequest({"prompt": "hi"}))
    assert app.last().input == {"prompt": "hi"}


async def test_of_a_native_input_the_schema_is_read_only_for_a_bound_of_its_own(
    account: Asking, app: Replicate
) -> None:
    app.models["emulated/bounded"] = BOUNDED
    deployment = account.bind("emulated/bounded")
    assert isinstance(deployment, Bounded)
    assert deployment.most_output_tokens(GenerateRequest({"prompt": "hi"})) is None
    await asyncio.sleep(0.02)
    assert not app.received
    given = GenerateRequest({"prompt": "hi", "max_new_tokens": 5})
    await seen(lambda: deployment.most_output_tokens(given) == 5)


@pytest.mark.parametrize("default", [None, 0, -1, "128", 1.5, True, [128]])
async def test_what_is_no_number_of_tokens_is_no_bound(
    account: Asking, app: Replicate, default: Any
) -> None:
    inputs = {"prompt": {"type": "string"}, "max_tokens": {"type": "integer", "default": default}}
    app.models["emulated/odd"] = replace(WARM, inputs=inputs)
    deployment = account.bind("emulated/odd")
    await ask(deployment)
    assert isinstance(deployment, Bounded)
    assert deployment.most_output_tokens(GenerateRequest("hi")) is None
    assert app.last().input == {"prompt": "Say something."}


async def test_a_rule_says_which_name_bounds(account: Asking, app: Replicate) -> None:
    for rule, given, known in (
        ({"prompt": "prompt", "max_output_tokens": "budget"}, {"budget": 9}, 9),
        ("messages", {"max_tokens": 9}, 9),
        ("payload", {"max_tokens": 9}, None),
        ({"prompt": "prompt"}, {"max_tokens": 9}, None),
        ("payload", "hi", None),
    ):
        deployment = account.bind("emulated/warm", input=rule)
        assert isinstance(deployment, Bounded)
        assert deployment.most_output_tokens(GenerateRequest(given)) == known
    assert not app.received


async def test_a_native_input_needs_no_names(account: Asking, app: Replicate) -> None:
    asked = await account.ask(request=GenerateRequest({"prompt": "x", "top_k": 3}))
    assert asked.text == ANSWER and app.last().input == {"prompt": "x", "top_k": 3}
    assert not app.sent("GET", "/models/emulated/warm")


# -- outputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("plain", [Delta("plain")]),
        (["a", "b"], [Delta("ab")]),
        ({"score": 0.5}, [Output("json", value={"score": 0.5})]),
        ([[1.0, 2.0]], [Output("json", value=[[1.0, 2.0]])]),
        (3, [Output("json", value=3)]),
        (None, []),
    ],
)
async def test_whole_outputs(account: Asking, app: Replicate, output: Any, shown: Any) -> None:
    app.models["emulated/whole"] = Model(output=output, always_warm=True)
    asked = await account.ask("emulated/whole", GenerateRequest({"prompt": "x"}))
    assert [event for event in asked.events if isinstance(event, Delta | Output)] == shown


@pytest.mark.parametrize(
    ("model", "connections"),
    [
        (SLOW, 1),
        (
            replace(SLOW, cuts=(2, 0, 0, 0), piece_seconds=0.0),
            4,
        ),  # what is left stands in the prediction
        (replace(SLOW, cuts=(3, 0, 0, 0), piece_seconds=0.0), 4),
        (WARM, 0),
    ],
    ids=["streamed", "cut-before-a-file", "cut-after-one", "whole"],
)
async def test_files_among_text(
    account: Asking, app: Replicate, model: Model, connections: int
) -> None:
    pieces = ("https://a.example", " is no file", f"{FILES}/1.png", f"{FILES}/2.mp4")
    app.models["emulated/mixed"] = replace(model, pieces=pieces)
    asked = await account.ask("emulated/mixed", GenerateRequest("x", stream=model is not WARM))
    assert asked.error is None and asked.text == "https://a.example is no file"
    assert app.last().connections == connections
    files = [event for event in asked.events if isinstance(event, Output)]
    assert [(file.kind, file.index) for file in files] == [("image", 0), ("video", 1)]
    assert all(file.expires_at is not None for file in files)


async def test_a_json_output_is_not_streamed(account: Asking, app: Replicate) -> None:
    asked = await account.ask(options={"output": "json"})
    (output,) = [event for event in asked.events if isinstance(event, Output)]
    assert output.value == list(PIECES)
    assert app.last().connections == 0


# -- powers ---------------------------------------------------------------------------------------


async def test_lookup(account: Asking, app: Replicate) -> None:
    deployment = account.bind("emulated/warm")
    assert isinstance(deployment, Reconcilable) and not isinstance(deployment, Scalable)
    await account.ask("emulated/cold")
    made = app.last()
    report = await deployment.lookup(made.id)
    assert report is not None and report.status == "succeeded" and report.usage is not None
    assert report.phases is not None and report.phases.waited_for_boot
    assert report.completed_at == made.completed
    assert await deployment.lookup("../models/x") is None


async def test_scaling_a_deployment(account: Asking, app: Replicate) -> None:
    app.world.deployments["acme/fast"] = Deployed("emulated/warm")
    deployment = account.bind("emulated/warm", deployment="acme/fast")
    assert isinstance(deployment, Scalable)
    await deployment.scale(1)
    await deployment.scale(2, 7)
    assert [r.body for r in app.received] == [
        {"min_instances": 1},
        {"min_instances": 2, "max_instances": 7},
    ]
    with pytest.raises(RequestRejected) as refused:
        await deployment.scale(9)
    assert refused.value.param == "min_instances"
