"""Drives an address with the ``runpod`` SDK, as its users do; prints what it got as JSON.

Run by the Python that has the SDK (``tests/adapters/test_runpod_sdk.py``), with ``-P``: the folder
has a module of the same name.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(base_url: str, key: str) -> dict[str, Any]:
    import runpod  # type: ignore[import-not-found,unused-ignore]

    runpod.endpoint_url_base, runpod.api_key = base_url, key
    warm = runpod.Endpoint("warm")
    job = warm.run({"input": {"prompt": "hi"}})
    told: dict[str, Any] = {
        "version": runpod.__version__,
        "streamed": list(job.stream()),
        "status": job.status(),
        "output": warm.run({"prompt": "hi"}).output(timeout=10),
        "sync": warm.run_sync({"prompt": "hi"}, timeout=10),
        "health": warm.health(),
        "failed": runpod.Endpoint("job-fails").run_sync({"prompt": "hi"}, timeout=10),
    }
    never = runpod.Endpoint("never-answers")
    waiting = never.run({"prompt": "hi"})
    told["queued"] = waiting.status()
    told["cancelled"] = waiting.cancel()
    told["after"] = waiting.status()
    never.run({"prompt": "hi"})
    told["purged"] = never.purge_queue()
    refusals = (("no-such-model", key), ("invalid-request", key), ("warm", "nobody"))
    for name, used in refusals:
        try:
            runpod.Endpoint(name, api_key=used).run({"prompt": "hi"})
        except Exception as error:
            told[f"{name} {used == key}"] = f"{type(error).__name__}: {error}"
    return told


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
