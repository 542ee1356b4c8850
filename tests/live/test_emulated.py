"""The checks of the live tests against the emulators: the same code, with another address.

Two of the addresses lead to the real program: Potassium's and one of llama.cpp's.

What an emulator says must be in the rows of ``tests/live/shapes.py``, all of it, so that a live run
shows where the service itself says something else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from providers.local.launch import free_port
from providers.local.weights import SMOLLM2, locate
from tests.adapters.runpod_asking import STREAMED
from tests.emulators.gpu_servers import GpuServer, Kind
from tests.emulators.huggingface import HuggingFace
from tests.emulators.modal import TOKEN, serve_modal
from tests.emulators.native_servers import Ollama
from tests.emulators.openai_chat import OpenAIChat
from tests.emulators.replicate import Replicate
from tests.emulators.runpod import RunPod
from tests.live import checks, shapes
from tests.live.recording import Exchange
from tests.live.services import BY_NAME, PER_SECOND, PER_TOKEN, Setting

Serve = Callable[[Any], str]
Emulated = Callable[[Serve], AbstractContextManager[Setting]]
LLAMA_CPP = Path(__file__).parents[1] / "local/sleeping_server.py"
POTASSIUM_APP = Path(__file__).parents[1] / "emulators/potassium_app.py"


@contextmanager
def replicate(serve: Serve) -> Iterator[Setting]:
    app = Replicate()
    app.url = serve(app)
    block = {"base_url": f"{app.url}/v1", "api_token": app.key, "poll_seconds": 0.02}
    yield Setting(
        block,
        {"model": "emulated/warm", "price": "replicate-gpu-l40s"},
        lasting={"model": "emulated/stalls"},
        wrong_key={"block": {"api_token": "r8_nobody"}},
    )


@contextmanager
def modal(serve: Serve) -> Iterator[Setting]:
    with serve_modal(speed=200.0) as app:
        names = {"prompt": "prompt", "max_output_tokens": "max_tokens"}
        methods = {"method": "generate", "stream_method": "stream", "input": names}
        yield Setting(
            {"server_url": app.url, "token_id": TOKEN[0], "token_secret": TOKEN[1]},
            {"model": "m", "app": "emulated", "cls": "warm", **methods, "price": "modal-l4"},
            lasting={"cls": "never-answers", "stream_method": None},
            wrong_key={"block": {"token_secret": "as-nobody"}},
        )


@contextmanager
def huggingface(serve: Serve) -> Iterator[Setting]:
    app = HuggingFace()
    app.url = serve(app)
    yield Setting(
        {"base_url": app.url, "management_url": f"{app.url}/v2", "token": app.key},
        {"model": "org/warm:novita", "price": PER_TOKEN},
        lasting={"model": "org/stalls:novita"},
        wrong_key={"block": {"token": "hf_nobody"}},
    )


@contextmanager
def runpod(serve: Serve) -> Iterator[Setting]:
    app = RunPod()
    app.url = serve(app)
    names = {"prompt": "prompt", "max_output_tokens": "max_tokens"}
    yield Setting(
        {
            "base_url": f"{app.url}/v2",
            "management_url": f"{app.url}/rest/v2",
            "api_key": app.key,
            "poll_seconds": 0.02,
        },
        {"model": "m", "endpoint": "cold", **STREAMED, "input": names, "price": "runpod-l40s"},
        lasting={"endpoint": "stalls"},
        wrong_key={"block": {"api_key": "rpa_nobody"}},
    )


@contextmanager
def potassium(serve: Serve) -> Iterator[Setting]:
    """Not an emulator: Potassium itself."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(POTASSIUM_APP), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Setting(
            {"base_url": f"http://127.0.0.1:{port}"},
            {
                "model": "m",
                "waits_when_refused": True,
                "input": {"prompt": "prompt", "max_output_tokens": "max_tokens"},
                "output_field": "outputs",
                "input_tokens_field": "usage.tokens_in",
                "output_tokens_field": "usage.tokens_out",
                "price": PER_SECOND,
            },
        )
    finally:
        process.kill()
        process.wait()


@contextmanager
def openai_chat(serve: Serve) -> Iterator[Setting]:
    app = OpenAIChat()
    yield Setting(
        {"base_url": serve(app), "api_key": app.key},
        {"model": "warm", "price": PER_TOKEN},
        lasting={"model": "stalls"},
        wrong_key={"block": {"api_key": "sk-nobody"}},
    )


@contextmanager
def ollama(serve: Serve) -> Iterator[Setting]:
    app = Ollama()
    reached = {"url": serve(app), "server": "ollama", "api_key": app.key}
    yield Setting(
        {},
        {**reached, "model": "warm", "price": PER_SECOND},
        lasting={"model": "stalls"},
        wrong_key={"deployment": {"api_key": "nobody"}},
    )


def gpu_server(kind: Kind) -> Emulated:
    @contextmanager
    def emulated(serve: Serve) -> Iterator[Setting]:
        url = serve(GpuServer(kind))
        yield Setting({}, {"url": url, "server": kind, "model": "m", "price": PER_SECOND})

    return emulated


GPU_SERVERS: tuple[Kind, ...] = ("vllm", "sglang", "tgi", "nim", "llama.cpp")
# Of the rest no emulator goes on until it is left; but for Potassium they speak the same dialect.
LASTING: dict[str, Emulated] = {
    "replicate": replicate,
    "modal": modal,
    "huggingface": huggingface,
    "runpod": runpod,
    "openai_chat": openai_chat,
    "ollama": ollama,
}
EMULATED: dict[str, Emulated] = {
    **LASTING,
    "potassium": potassium,
    **{str(k): gpu_server(k) for k in GPU_SERVERS},
}


@pytest.fixture
def setting(request: pytest.FixtureRequest, emulator: Serve) -> Iterator[Setting]:
    with EMULATED[request.param](emulator) as setting:
        yield setting


def test_each_service_has_its_emulator() -> None:
    assert EMULATED.keys() == BY_NAME.keys()


@pytest.mark.parametrize(("name", "setting"), [(n, n) for n in EMULATED], indirect=["setting"])
def test_answers(name: str, setting: Setting, tmp_path: Path) -> None:
    with checks.in_front_of(BY_NAME[name], setting, tmp_path) as live:
        assert checks.whole(live).unlisted == ()
        assert checks.streamed(live).unlisted == ()


def test_answers_of_the_real_llama_cpp(tmp_path: Path) -> None:
    weights = locate(SMOLLM2, tmp_path)
    assert weights is not None, "see CONTRIBUTING.md"
    server = subprocess.Popen(
        [sys.executable, str(LLAMA_CPP), str(weights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with server:  # it ends when its standard input is closed
        assert server.stdin is not None and server.stdout is not None
        url = server.stdout.readline().strip()
        reached = {"url": url, "server": "llama.cpp", "model": "smol", "price": PER_SECOND}
        with checks.in_front_of(BY_NAME["llama.cpp"], Setting({}, reached), tmp_path) as live:
            assert checks.whole(live).unlisted == ()
            assert checks.streamed(live).unlisted == ()
            assert checks.cancelled(live).unlisted == ()
        server.stdin.close()


@pytest.mark.parametrize(("name", "setting"), [(n, n) for n in LASTING], indirect=["setting"])
def test_cancelled(name: str, setting: Setting, tmp_path: Path) -> None:
    with checks.in_front_of(BY_NAME[name], setting, tmp_path) as live:
        assert checks.cancelled(live).unlisted == ()


@pytest.mark.parametrize(("name", "setting"), [(n, n) for n in LASTING], indirect=["setting"])
def test_bad_key(name: str, setting: Setting, tmp_path: Path) -> None:
    wrong = checks.with_wrong_key(setting)
    assert wrong is not None
    with checks.in_front_of(BY_NAME[name], wrong, tmp_path) as live:
        assert checks.refused(live).unlisted == ()


def test_what_differs_is_found() -> None:
    prediction = {
        "id": "abc",
        "status": "starting",
        "model": "a/b",
        "version": "hidden",
        "created_at": 1767225600,
        "urls": {"cancel": "https://example.com", "get": "https://example.com"},
        "queue_position": 3,
    }
    exchange = Exchange("POST", "/v1/models/a/b/predictions", 201, complete=True)
    exchange.take(prediction)
    where = "POST /predictions"
    assert shapes.differences(shapes.REPLICATE, [exchange]) == [f"{where}: created_at is number"]
    assert shapes.unlisted(shapes.REPLICATE, [exchange]) == [f"{where}: queue_position"]
    exchange = Exchange("POST", "/v1/predictions", 201, complete=True)
    exchange.take({**prediction, "created_at": "2026-01-01T00:00:00Z", "urls": {"get": "x"}})
    assert shapes.differences(shapes.REPLICATE, [exchange]) == [f"{where}: urls.cancel is missing"]
    unknown = Exchange("GET", "/v1/account", 200)
    assert shapes.unlisted(shapes.REPLICATE, [unknown]) == ["GET /v1/account 200"]


def test_no_value_is_kept() -> None:
    exchange = Exchange("POST", "/v1/predictions", 201)
    exchange.take({"prompt": "my secret", "output": ["my secret"], "at": 12.5})
    assert "secret" not in repr(exchange) and "12.5" not in repr(exchange)
