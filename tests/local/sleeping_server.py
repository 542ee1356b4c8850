"""The real llama.cpp server, as somebody else would run it: at an address, and it sleeps when idle.

    python sleeping_server.py MODEL.gguf        prints its address, ends when stdin closes

In a process of its own: the engine cannot be unloaded from one.
"""

from __future__ import annotations

import importlib
import os
import sys


def main(path: str) -> None:
    xllamacpp = importlib.import_module("xllamacpp")
    os.putenv("OMP_WAIT_POLICY", "passive")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.model_alias = {"smol"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.ui = False
    parameters.endpoint_metrics = True
    parameters.cache_ram_mib = 0
    parameters.n_parallel = 1
    parameters.n_ctx = 512
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.sleep_idle_seconds = 1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
