"""Ollama and LM Studio in their own APIs: when a model was loaded, and what they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from providers.contract import (
    Booting,
    Delta,
    Deployment,
    Event,
    Finished,
    GenerateRequest,
    Host,
    Http,
    Parameters,
    Phases,
    Probeable,
    RequestRejected,
    Scalable,
    Started,
    UpstreamFailed,
    Warmable,
)
from providers.local import LocalOptions, LocalProvider, LocalSettings
from providers.local.ollama import Lines, phases_of
from providers.testing.scenarios import ANSWER, OUTPUT_TOKENS
from tests.adapters.folded import attempt, price_of
from tests.emulators.native_servers import LmStudio, Native, Ollama

Bind = Callable[..., Deployment]
PARAMETERS = Parameters(32, 0.5, 0.9, (), None)


@pytest.fixture
async def bind(http: Http, tmp_path: Path, emulator: Callable[[Any], str]) -> AsyncIterator[Bind]:
    provider = LocalProvider(LocalSettings(), Host(http, tmp_path))

    def bind(app: Native, model: str = "cold", **options: Any) -> Deployment:
        server = "ollama" if isinstance(app, Ollama) else "lmstudio"
        options = {"url": emulator(app), "server": server, "api_key": app.key, **options}
        return provider.bind(model, LocalOptions.model_validate(options))

    yield bind
    await provider.aclose()


async def collect(deployment: Deployment, request: GenerateRequest) -> list[Event]:
    async with aclosing(deployment.generate(request)) as events:
        return [event async for event in events]


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("app_class", [Ollama, LmStudio])
async def test_probing_loads_nothing_and_warming_loads_once(
    bind: Bind, app_class: type[Native]
) -> None:
    app = app_class(loaded=False)
    deployment = bind(app)
    assert isinstance(deployment, Probeable) and isinstance(deployment, Warmable)
    assert isinstance(deployment, Scalable)
    assert [await deployment.probe() for _ in range(2)] == ["down", "down"]
    assert app.loads == 0
    await deployment.warm()
    await deployment.warm()
    assert (app.loads, await deployment.probe()) == (1, "ready")
    await deployment.scale(0, 0)
    assert not app.loaded
    assert app.truth == []


# -- Ollama ---------------------------------------------------------------------------------------


async def test_ollama_cold_and_warm_against_the_truth(bind: Bind) -> None:
    app = Ollama(loaded=False)
    deployment = bind(app)
    price = price_of("1", "execute", "boot")
    cold = await attempt(deployment, GenerateRequest("hi"), price)
    warm = await attempt(deployment, GenerateRequest("hi"), price)
    first, second = app.truth
    assert (first.cold, second.cold) == (True, False)
    assert isinstance(cold.events[0], Booting) and cold.events[0].evidence == "scale_state"
    assert cold.row.verdict == "cold"
    assert cold.row.boot_seconds == pytest.approx(first.load_seconds)
    assert cold.row.execute_seconds == pytest.approx(first.execute_seconds)
    assert cold.row.cost_pico_usd == round((first.load_seconds + first.execute_seconds) * 1e12)
    # 0.7 s of "load" although nothing was loaded
    assert (warm.row.verdict, warm.row.evidence, warm.row.boot_seconds) == (
        "warm",
        "scale_state",
        0.0,
    )
    assert warm.row.cost_pico_usd == round(second.execute_seconds * 1e12)


async def test_ollama_may_load_anew_what_was_in_memory(bind: Bind) -> None:
    app = Ollama(reloads=True)
    folded = await attempt(bind(app), GenerateRequest("hi"))
    assert app.truth[0].cold
    assert (folded.row.verdict, folded.row.evidence) == ("cold", "delay_reported")
    assert folded.row.boot_seconds == pytest.approx(app.load_seconds)


@pytest.mark.parametrize("loaded", [True, False])
async def test_ollama_that_does_not_list_what_runs(bind: Bind, loaded: bool) -> None:
    app = Ollama(loaded=loaded, lists_what_runs=False)
    deployment = bind(app)
    assert isinstance(deployment, Probeable)
    assert await deployment.probe() == "unknown"  # it is up; that says nothing about the model
    folded = await attempt(deployment, GenerateRequest("hi"))
    assert not any(isinstance(event, Booting | Started) for event in folded.events)
    expected = ("unknown", None) if loaded else ("cold", "delay_reported")
    assert (folded.row.verdict, folded.row.evidence) == expected


@pytest.mark.parametrize(
    ("state", "load_seconds", "boot_seconds", "evidence"),
    [
        ("asleep", 0.4, 0.4, "delay_reported"),
        ("asleep", 6.0, 6.0, "delay_reported"),
        ("ready", 0.84, 0.0, "scale_state"),
        ("ready", 3.0, 3.0, "delay_reported"),
        ("unknown", 0.84, None, None),  # a small model's load, or none at all
        ("unknown", 3.0, 3.0, "delay_reported"),
        ("ready", None, None, None),
    ],
)
def test_what_a_load_duration_means(
    state: Any, load_seconds: float | None, boot_seconds: float | None, evidence: str | None
) -> None:
    last = {} if load_seconds is None else {"load_duration": round(load_seconds * 1e9)}
    phases = phases_of(last, state)
    assert (phases.boot_seconds, phases.evidence) == (boot_seconds, evidence)


async def test_ollama_is_sent_its_own_words(bind: Bind) -> None:
    app = Ollama()
    deployment = bind(app, "warm", context_tokens=8192, keep_alive_seconds=-1)
    assert deployment.capabilities.keep_alive_seconds is None  # for ever has no number
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]},
    ]
    extra = {"max_tokens": 32, "n": 1, "response_format": {"type": "json_object"}}
    request = GenerateRequest(messages, PARAMETERS, dialect="openai_chat", extra=extra)
    events = await collect(deployment, request)
    ((_, body),) = app.bodies
    assert body == {
        "model": "warm",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?", "images": ["aGk="]},
        ],
        "stream": True,
        "format": "json",
        "keep_alive": -1,
        "options": {"num_ctx": 8192, "num_predict": 32, "temperature": 0.5, "top_p": 0.9},
    }
    reasoning = [e.text for e in events if isinstance(e, Delta) and e.channel == "reasoning"]
    assert reasoning == ["Hm."]


async def test_ollama_is_warmed_with_the_same_context(bind: Bind) -> None:
    app = Ollama(loaded=False)
    deployment = bind(app, context_tokens=8192, keep_alive_seconds=60)
    assert deployment.capabilities.keep_alive_seconds == 60
    assert isinstance(deployment, Warmable)
    await deployment.warm()
    ((_, body),) = app.bodies
    assert body == {"model": "cold", "keep_alive": 60, "options": {"num_ctx": 8192}}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"dialect": "openai_chat", "extra": {"tools": []}}, "tools"),
        ({"dialect": "openai_chat", "extra": {"n": 2}}, "n"),
        ({"dialect": "openai_chat", "extra": {"logprobs": True}}, "logprobs"),
        ({"extra": {"response_format": {"type": "text"}}}, "response_format"),
        ({"input": {"prompt": "x"}}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input"),
        ({"task": "embed"}, "task"),
    ],
)
async def test_ollama_refuses_what_it_cannot_say(
    bind: Bind, changes: dict[str, Any], param: str
) -> None:
    app = Ollama(loaded=False)
    with pytest.raises(RequestRejected) as caught:
        await collect(bind(app), GenerateRequest(**{"input": "hi", **changes}))
    assert caught.value.param == param
    assert (app.loads, app.bodies) == (0, [])


def test_lines_are_found_whatever_the_splits() -> None:
    raw = '{"a":"ü\\n"}\n\n{"b":2}\n'.encode()
    for size in range(1, len(raw) + 1):
        lines = Lines()
        found = [x for i in range(0, len(raw), size) for x in lines.feed(raw[i : i + size])]
        assert found == [{"a": "ü\n"}, {"b": 2}]


# -- LM Studio ------------------------------------------------------------------------------------


async def test_lmstudio_cold_and_warm_against_the_truth(bind: Bind) -> None:
    app = LmStudio(loaded=False)
    deployment = bind(app, "cold")
    cold = await attempt(deployment, GenerateRequest("hi"))
    warm = await attempt(bind(app, "warm"), GenerateRequest("hi"))
    first, second = app.truth
    assert (first.cold, second.cold) == (True, False)
    assert [type(e) for e in cold.events[:2]] == [Booting, Started]
    assert (cold.row.verdict, cold.row.evidence) == ("cold", "phase_reported")
    assert cold.row.boot_seconds == pytest.approx(first.load_seconds)
    assert cold.row.instance_id == "cold"
    assert warm.events[0] == Started(evidence="phase_reported")
    assert (warm.row.verdict, warm.row.boot_seconds) == ("warm", 0.0)
    finished = warm.events[-1]
    assert isinstance(finished, Finished)
    assert finished.phases == Phases(
        boot_seconds=0.0, evidence="delay_reported", instance_id="warm"
    )


async def test_lmstudio_is_sent_its_own_words(bind: Bind) -> None:
    app = LmStudio()
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    await collect(bind(app, "warm"), GenerateRequest(messages, PARAMETERS))
    ((_, body),) = app.bodies
    assert body == {
        "model": "warm",
        "input": "hi",
        "system_prompt": "Be brief.",
        "stream": True,
        "store": False,
        "max_output_tokens": 32,
        "temperature": 0.5,
        "top_p": 0.9,
    }


@pytest.mark.parametrize(
    "request_",
    [
        GenerateRequest("hi", dialect="openai_chat", extra={"tools": []}),
        GenerateRequest("hi", Parameters(seed=1)),
        GenerateRequest("hi", Parameters(stop=("x",))),
        GenerateRequest("hi", Parameters(temperature=1.5)),
        GenerateRequest([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]),
        GenerateRequest([{"role": "user", "content": [{"type": "text", "text": "a"}]}]),
    ],
)
@pytest.mark.parametrize("loaded", [True, False])
async def test_lmstudio_s_other_door_takes_what_its_own_api_cannot(
    bind: Bind, request_: GenerateRequest, loaded: bool
) -> None:
    app = LmStudio(loaded=loaded)
    folded = await attempt(bind(app), request_)
    assert (app.openai_calls, app.bodies) == (1, [])
    assert "".join(e.text for e in folded.events if isinstance(e, Delta)) == ANSWER
    assert (folded.row.verdict == "cold") == app.truth[0].cold == (not loaded)
    assert folded.row.evidence == "scale_state"


async def test_lmstudio_failures_carry_what_was_used(bind: Bind) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await collect(bind(LmStudio(), "error-frame-mid-stream"), GenerateRequest("hi"))
    assert caught.value.usage is not None
    assert caught.value.usage.output_tokens == OUTPUT_TOKENS
