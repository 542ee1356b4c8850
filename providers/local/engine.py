"""The child that runs the embedded engine: llama.cpp's HTTP server, from the xllamacpp wheel.

Run as a file (``python -P engine.py``), not with ``-m``: importing the package around it costs
more time than loading the model does, and all of it would be cold start.

stdin    one line of JSON (``Config``), then nothing; the child ends itself when it closes, so it
         cannot outlive its parent, however that one dies. ``end_file`` is locked meanwhile, and
         written to then
stdout   JSON lines: ``{"begun_monotonic"}``, then ``{"ready": true, ...}`` or ``{"failed": why}``
stderr   the engine's own log

The parameter names of xllamacpp follow llama.cpp and change between releases: only this file knows
them, and the release is pinned in pyproject.toml.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import sys
import threading
import time
from typing import Any, NoReturn, NotRequired, TypedDict

BATCH_TOKENS_PER_THREAD = 64


class Settings(TypedDict):
    """What stays the same from start to start. ``context_tokens`` is for each slot."""

    model_name: str
    context_tokens: int
    slots: int
    threads: int
    max_output_tokens: int
    temperature: float | None
    top_p: float | None


class Config(Settings):
    """What the supervisor sends."""

    model_path: str
    api_key: str
    end_file: NotRequired[str | None]


def main() -> NoReturn:
    """Read the configuration, load the model, say that it is ready, and serve until stdin ends."""
    begun_monotonic = time.monotonic()
    report = _claim_stdout()
    report({"begun_monotonic": begun_monotonic})
    with os.fdopen(0, "rb", buffering=0, closefd=False) as stdin:
        config: Config = json.loads(stdin.readline())
    end_file = _hold(config.get("end_file"))
    threading.Thread(target=_end_with_parent, args=(end_file,), daemon=True).start()
    if not os.path.isfile(config["model_path"]):
        _fail(report, "model_missing")
    with open(config["model_path"], "rb") as file:
        if file.read(4) != b"GGUF":
            _fail(report, "not_gguf")

    # Threads that spin while they wait bring two busy cores from 117 tokens/s down to 4.
    os.putenv("OMP_WAIT_POLICY", "passive")
    try:
        xllamacpp = importlib.import_module("xllamacpp")
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        _fail(report, "engine_missing")
    imported_monotonic = time.monotonic()
    try:
        # It holds the interpreter's lock while it loads, so a parent that dies meanwhile is
        # noticed only after the load.
        server = xllamacpp.Server(_parameters(xllamacpp, config))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        _fail(report, "load_failed")
    ready_monotonic = time.monotonic()
    report(
        {
            "ready": True,
            "url": server.listening_address,
            "begun_monotonic": begun_monotonic,
            "ready_monotonic": ready_monotonic,
            "import_seconds": imported_monotonic - begun_monotonic,
            "load_seconds": ready_monotonic - imported_monotonic,
        }
    )
    while True:
        threading.Event().wait()


def _parameters(xllamacpp: Any, config: Config) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = config["model_path"]
    parameters.model_alias = {config["model_name"]}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0  # the system chooses: no race for a port
    # Without a key any local user, and by CORS any web page, could use it.
    parameters.api_keys = [config["api_key"]]
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.cache_ram_mib = 0  # the prompt cache would take up to 8 GiB
    parameters.n_parallel = config["slots"]
    parameters.n_ctx = config["slots"] * config["context_tokens"]
    # Half a second's work: only between batches does it look for callers who left or came.
    parameters.n_batch = min(512, BATCH_TOKENS_PER_THREAD * config["threads"])
    parameters.n_ubatch = parameters.n_batch
    parameters.cpuparams.n_threads = config["threads"]
    parameters.cpuparams_batch.n_threads = config["threads"]
    # Defaults for requests that say nothing; each of them gives way to the request's own.
    parameters.n_predict = config["max_output_tokens"]
    if config["temperature"] is not None:
        parameters.sampling.temp = config["temperature"]
    if config["top_p"] is not None:
        parameters.sampling.top_p = config["top_p"]
    return parameters


def _claim_stdout() -> Any:
    """Keep stdout for reports; whatever else is printed, by C++ too, goes to stderr."""
    reports = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda line: reports.write(json.dumps(line) + "\n")


def _hold(path: str | None) -> int | None:
    if path is None:
        return None
    end_file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    fcntl.flock(end_file, fcntl.LOCK_EX)
    return end_file


def _end_with_parent(end_file: int | None) -> None:
    while os.read(0, 4096):
        pass
    if end_file is not None:
        os.write(end_file, b"ended")
    os._exit(0)


def _fail(report: Any, reason: str) -> NoReturn:
    report({"failed": reason})
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
