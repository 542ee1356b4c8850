"""Other gateways in front of the same upstream, where they are installed: LiteLLM and Portkey.

Both run as their own documentation starts them, one process each, with no database and no cache,
so they are asked to do less than the gateway is: neither keeps what a request cost.
Seen with Portkey 1.15.2: it answers every stream of this upstream with 500 ("TypeError: immutable")
on @hono/node-server 1.14 and later, which its package.json allows; an ``overrides`` entry for
1.13.8 in the package.json of the folder that it is installed into cures that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.benchmarks import nginx
from tests.benchmarks.prerequisites import Missing, version_line
from tests.benchmarks.process import free_port, running_server
from tests.benchmarks.targets import (
    COMPLETION_MODEL,
    LITELLM,
    PORTKEY,
    STREAM_MODEL,
    Target,
    completion_call,
    stream_call,
)

_READY_TIMEOUT_SECONDS = 120  # LiteLLM imports for tens of seconds on a slow machine
_LITELLM_KEY = "sk-benchmark"


def litellm_command(python: Path | None) -> list[str]:
    """The program: beside the given venv's python, or on PATH. Missing when it is in neither."""
    beside = python.with_name("litellm") if python else None
    if beside and beside.exists():
        return [str(beside)]
    on_path = None if python else shutil.which("litellm")
    if on_path is None:
        raise Missing(
            "LiteLLM is not installed: pip install 'litellm[proxy]' into a venv of its own, "
            "then --litellm-python VENV/bin/python"
        )
    return [on_path]


def portkey_command(folder: Path | None) -> list[str]:
    """node and the server's file in the package's folder. Missing when either is not there."""
    script = folder / "build" / "start-server.js" if folder else None
    node = shutil.which("node")
    if script is None or not script.exists() or node is None:
        raise Missing(
            "Portkey is not installed: npm install @portkey-ai/gateway in a folder of its own, "
            "then --portkey-dir FOLDER/node_modules/@portkey-ai/gateway (needs node)"
        )
    return [node, str(script.resolve())]


def _litellm_version(program: Path) -> str:
    # Its own --version imports the whole proxy first.
    ask = "from importlib.metadata import version; print(version('litellm'))"
    return version_line([str(program.with_name("python")), "-c", ask])


def _portkey_version(script: Path) -> str:
    return str(json.loads((script.parent.parent / "package.json").read_text())["version"])


@contextmanager
def running_litellm(command: list[str], upstream_url: str, scratch: Path) -> Iterator[Target]:
    """The LiteLLM proxy, one worker, a master key, its price map read from its own package."""
    scratch.mkdir(parents=True)
    paths = {COMPLETION_MODEL: "/v1", STREAM_MODEL: nginx.STREAM_PREFIX + "/v1"}
    models = [
        {
            "model_name": model,
            "litellm_params": {
                "model": "openai/upstream-model",
                "api_base": upstream_url + path,
                "api_key": "upstream-key",
                "input_cost_per_token": 0.05e-6,
                "output_cost_per_token": 0.08e-6,
            },
        }
        for model, path in paths.items()
    ]
    config = scratch / "litellm.yaml"
    config.write_text(
        yaml.safe_dump(
            {"model_list": models, "general_settings": {"master_key": _LITELLM_KEY}},
        )
    )
    port = free_port()
    # env: the map of prices would otherwise be fetched from the network at the start.
    full_command = [
        *("env", "LITELLM_LOCAL_MODEL_COST_MAP=True", *command),
        *("--config", str(config), "--host", "127.0.0.1", "--port", str(port)),
        *("--num_workers", "1"),
    ]
    with running_server(
        full_command,
        port=port,
        ready_path="/health/liveliness",
        scratch=scratch,
        ready_timeout_seconds=_READY_TIMEOUT_SECONDS,
    ) as process:
        url = f"http://127.0.0.1:{port}{nginx.COMPLETION_PATH}"
        headers = {"authorization": f"Bearer {_LITELLM_KEY}"}
        yield Target(
            name=LITELLM,
            process=process,
            completion=completion_call(url, headers),
            stream=stream_call(url, headers),
            version=_litellm_version(Path(command[0])),
        )


@contextmanager
def running_portkey(command: list[str], upstream_url: str, scratch: Path) -> Iterator[Target]:
    """The Portkey gateway, headless; the upstream is named by headers of each request."""
    port = free_port()
    full_command = [*command, f"--port={port}", "--headless"]
    with running_server(
        full_command,
        port=port,
        ready_path="/",
        scratch=scratch,
        ready_timeout_seconds=_READY_TIMEOUT_SECONDS,
    ) as process:
        url = f"http://127.0.0.1:{port}{nginx.COMPLETION_PATH}"
        yield Target(
            name=PORTKEY,
            process=process,
            completion=completion_call(url, _portkey_headers(upstream_url + "/v1")),
            stream=stream_call(url, _portkey_headers(upstream_url + nginx.STREAM_PREFIX + "/v1")),
            version=_portkey_version(Path(command[-1])),
        )


def _portkey_headers(base_url: str) -> dict[str, str]:
    return {
        "authorization": "Bearer upstream-key",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": base_url,
    }
