"""The examples of the providers, run: each configuration as it stands, but for addresses and keys.

The deployed sides too: Potassium's is started, Modal's is loaded by the SDK and held against what
its configuration calls.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import modal
import pytest
import yaml

from gateway.app import create_app
from gateway.plugins import list_plugins
from gateway.settings import load
from providers.contract import Delta, Finished, Started, Usage
from providers.local.launch import free_port
from providers.runpod import RunPodOptions
from providers.runpod.output import HandlerOutput
from providers.testing import ScriptedProvider
from tests.documents import ROOT, Block, anchors, blocks
from tests.emulators.gpu_servers import GpuServer
from tests.emulators.huggingface import NAMESPACE, HuggingFace
from tests.emulators.modal import TOKEN, serve_modal
from tests.emulators.native_servers import Ollama
from tests.emulators.openai_chat import OpenAIChat
from tests.emulators.replicate import Replicate
from tests.emulators.replicate_wire import WARM
from tests.emulators.runpod import RunPod
from tests.emulators.runpod_chat import CHATS
from tests.emulators.runpod_chat import MODEL as QWEN
from tests.emulators.runpod_wire import COLD
from tests.emulators.runpod_world import Handler
from tests.gateways import post, running
from tests.local.engines import slow_command

PAGE = ROOT / "providers/EXAMPLES.md"
MODAL_PAGE = ROOT / "providers/modal/EXAMPLE.md"
Serve = Callable[[Any], str]


def block(language: str, containing: str, page: Path = PAGE) -> Block:
    (found,) = (b for b in blocks(language, pages=[page]) if containing in b.text)
    return found


def tree_of(containing: str, page: Path = PAGE) -> Any:
    return yaml.safe_load(block("yaml", containing, page).text)


def calls(model: str, page: Path = PAGE) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and body of the page's calls to a model."""
    for each in blocks("sh", pages=[page]):
        words = shlex.split(each.text.replace("\\\n", " "))
        for url, body in zip(words, words[4:], strict=False):
            if url.startswith("http://127.0.0.1:8080/") and json.loads(body)["model"] == model:
                yield url.removeprefix("http://127.0.0.1:8080"), json.loads(body)


@contextmanager
def gateway(
    tree: Any, environment: Mapping[str, str], tmp_path: Path, **known: Any
) -> Iterator[Callable[..., Any]]:
    """A gateway of the page's configuration; ``ask`` makes the page's one call to a model."""
    config = tmp_path / "gateway.yml"
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    settings = load(config, environment, {"server": {"data_dir": str(tmp_path / "data")}})

    with running(create_app(settings, log_attempts=False, **known)) as url:

        def ask(model: str, page: Path = PAGE) -> Any:
            ((path, body),) = calls(model, page)
            return post(f"{url}{path}", {**body, "stream": False} if "stream" in body else body)

        yield ask


def facts(answer: Any) -> tuple[str, str | None, str]:
    """Verdict, evidence, and how the cost is known."""
    assert answer["status"] == "succeeded" and answer["output"][0]["text"]
    start, cost = answer["cold_start"], answer["cost"]
    return start["verdict"], start["evidence"], cost["status"]


def test_every_provider_has_its_example() -> None:
    names = {info.name for info in list_plugins(load(None, {}))}
    assert names <= anchors(PAGE)


def test_replicate(emulator: Serve, tmp_path: Path) -> None:
    app = Replicate()
    app.url = emulator(app)
    tree = tree_of("llama-405b")
    app.models[tree["deployments"]["llama-405b"]["model"]] = WARM
    tree["providers"]["replicate"]["base_url"] = f"{app.url}/v1"
    with gateway(tree, {"REPLICATE_API_TOKEN": app.key}, tmp_path) as ask:
        assert facts(ask("llama")) == ("warm", "timestamps_reported", "measured")


def test_huggingface(emulator: Serve, tmp_path: Path) -> None:
    app = HuggingFace()
    app.url = emulator(app)
    app.endpoint("my-endpoint").boot_seconds = 0.03
    tree = tree_of("own-endpoint")
    tree["providers"]["huggingface"] |= {"base_url": app.url, "management_url": f"{app.url}/v2"}
    tree["deployments"]["own-endpoint"] |= {
        "url": f"{app.url}/e/my-endpoint",
        "endpoint": f"{NAMESPACE}/my-endpoint",
    }
    with gateway(tree, {"HF_TOKEN": app.chat.key}, tmp_path) as ask:
        assert facts(ask("deepseek")) == ("unknown", None, "measured")
        assert facts(ask("own"))[:2] == ("cold", "scale_state")


def test_runpod(emulator: Serve, tmp_path: Path) -> None:
    app = RunPod()
    app.url = emulator(app)
    tree = tree_of("RUNPOD_API_KEY")
    words, qwen = tree["deployments"]["words"], tree["deployments"]["qwen3"]
    app.endpoint(words["endpoint"], COLD)
    app.endpoint(qwen["endpoint"], CHATS["warm"])
    image = {"image_url": "https://image.runpod.ai/abc123/output.png", "cost": 0.00251658}
    app.endpoint(tree["deployments"]["flux"]["endpoint"], Handler(output=image, always_warm=True))
    assert qwen["model"] == QWEN
    tree["providers"]["runpod"] |= {
        "base_url": f"{app.url}/v2",
        "management_url": f"{app.url}/rest/v2",
        "poll_seconds": 0.02,
    }
    with gateway(tree, {"RUNPOD_API_KEY": app.key}, tmp_path) as ask:
        first, second, third = ask("words"), ask("qwen3"), ask("flux")
    assert third["output"][0]["url"] == image["image_url"]
    assert third["cost"]["total_usd"] == "0.00251658"
    assert facts(first) == ("cold", "scale_state", "measured")
    assert facts(second) == ("warm", "delay_reported", "measured")
    assert first["usage"]["source"] == second["usage"]["source"] == "reported"


async def test_runpods_handler_gives_what_its_configuration_reads() -> None:
    code = ast.parse(block("python", "runpod.serverless.start").text)
    code.body = code.body[:-1]  # `start` is the real worker's: tests/acceptance
    code.body = [n for n in code.body if not ast.unparse(n).startswith("import runpod")]
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    job = {"id": "1", "input": {"prompt": "a b", "max_tokens": 3}}
    pieces = [piece async for piece in names["handler"](job)]
    given = {**tree_of("RUNPOD_API_KEY")["deployments"]["words"]}
    for key in ("provider", "model", "price"):
        del given[key]
    told = HandlerOutput(RunPodOptions.model_validate(given))
    (delta,) = told.rest(pieces, None)
    assert isinstance(delta, Delta) and delta.text == "a b a "
    assert told.usage == Usage(2, 3)


def test_potassium(tmp_path: Path) -> None:
    port = free_port()
    app = tmp_path / "app.py"
    code = block("python", "potassium").text
    app.write_text(code.replace("port=8000", f"port={port}"), encoding="utf-8")
    tree = tree_of("waits_when_refused")
    address = tree["providers"]["banana"]["base_url"].replace("8000", str(port))
    tree["providers"]["banana"]["base_url"] = address
    server = subprocess.Popen(
        [sys.executable, str(app)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with gateway(tree, {}, tmp_path) as ask:
            first, second = ask("my-model"), ask("my-model")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    # Nobody says whose boot it was: it may have cost nothing.
    assert facts(first) == ("cold", "connection_refused", "estimated")
    assert facts(second) == ("warm", "scale_state", "measured")
    assert second["output"][0]["text"] == "Why is the"
    usage = second["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["source"]) == (5, 3, "reported")


def test_local(emulator: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    tree = tree_of("vllm-child")
    ollama = Ollama(key="")
    assert tree["deployments"]["vllm-child"]["command"][0] == "vllm"
    tree["deployments"]["vllm-child"]["command"] = list(slow_command())
    tree["deployments"]["vllm-there"]["url"] = emulator(GpuServer("vllm"))
    tree["deployments"]["ollama-there"]["url"] = emulator(ollama)
    # The embedded engine itself answers this very call in tests/acceptance.
    del tree["deployments"]["local-smollm2"], tree["models"]["smollm2"]
    with gateway(tree, {}, tmp_path) as ask:
        assert facts(ask("qwen-child")) == ("cold", "process_started", "measured")
        assert facts(ask("qwen")) == ("warm", "scale_state", "measured")
        assert facts(ask("qwen-ollama"))[2] == "measured"


def test_the_embedded_model(tmp_path: Path) -> None:
    script = ScriptedProvider()
    script.play(
        "smollm2-135m-instruct", Started("l-1"), Delta("It."), Finished(("stop",), Usage(1, 1))
    )
    tree = tree_of("vllm-child")
    name = "local-smollm2"
    tree["deployments"] = {name: tree["deployments"][name]}
    del tree["deployments"][name]["idle_timeout_seconds"]  # a script has none
    tree["models"] = {"smollm2": tree["models"]["smollm2"]}
    with gateway(tree, {}, tmp_path, plugins={"local": script.plugin("local")}) as ask:
        assert facts(ask("smollm2"))[2] == "measured"


def test_openai_chat(emulator: Serve, tmp_path: Path) -> None:
    app = OpenAIChat()
    tree = tree_of("llama-groq")
    tree["providers"]["acme"]["base_url"] = emulator(app)
    environment = {"ACME_API_KEY": app.key, "GROQ_API_KEY": "gsk_1"}
    with gateway(tree, environment, tmp_path) as ask:
        answer = ask("llama3")
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["cost"] > 0 and answer["usage"]["cold_start"]["verdict"] == "unknown"


# -- Modal --------------------------------------------------------------------------------------


def test_modals_app_has_what_its_configuration_calls() -> None:
    code = block("python", "modal.App", MODAL_PAGE).text
    names: dict[str, Any] = {"__name__": "my_app"}
    exec(compile(code, str(MODAL_PAGE), "exec"), names)  # by the SDK itself
    tree = tree_of("my-chat", MODAL_PAGE)
    called, endpoint = tree["deployments"]["my-llm"], tree["deployments"]["my-chat"]
    assert names["app"].name == called["app"] == endpoint["app"]
    assert isinstance(names[called["cls"]], modal.Cls)
    assert isinstance(names[endpoint["function"]], modal.Function)
    (cls,) = (n for n in ast.parse(code).body if getattr(n, "name", "") == called["cls"])
    assert isinstance(cls, ast.ClassDef)
    methods = {each.name: each for each in cls.body if isinstance(each, ast.FunctionDef)}
    for name in (called["method"], called["stream_method"]):
        taken = {argument.arg for argument in methods[name].args.args}
        assert set(called["input"].values()) <= taken
    yields = {n: any(isinstance(x, ast.Yield) for x in ast.walk(m)) for n, m in methods.items()}
    assert (yields[called["method"]], yields[called["stream_method"]]) == (False, True)


def test_modals_configuration(tmp_path: Path) -> None:
    tree = tree_of("my-chat", MODAL_PAGE)
    environment = {
        "MODAL_TOKEN_ID": TOKEN[0],
        "MODAL_TOKEN_SECRET": TOKEN[1],
        "MODAL_PROXY_TOKEN_ID": "wk-1",
        "MODAL_PROXY_TOKEN_SECRET": "ws-1",
    }
    with serve_modal(speed=200.0) as app:
        tree["providers"]["modal"]["server_url"] = app.url
        tree["deployments"]["my-llm"] |= {"app": "emulated", "cls": "warm"}
        with gateway(tree, environment, tmp_path) as ask:
            answer = ask("smollm2", MODAL_PAGE)
    assert facts(answer)[0] in ("cold", "warm") and facts(answer)[2] == "measured"
