"""A handler for the real RunPod worker: says the prompt's words over and over, and counts them.

The worker runs a copy of this file in a folder of its own (``tests/emulators/runpod_worker.py``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

LOAD_SECONDS = 0.8  # as long as loading small weights
PIECE_SECONDS = 0.02


async def handler(job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    words = job["input"]["prompt"].split()
    count = job["input"].get("max_tokens", 8)
    if "break" in words:
        raise ValueError("a prompt that nobody outside may see")
    for index in range(count):
        await asyncio.sleep(PIECE_SECONDS)
        yield {"text": f"{words[index % len(words)]} "}
    yield {"text": "", "usage": {"tokens_in": len(words), "tokens_out": count}}


if __name__ == "__main__":
    import runpod  # type: ignore[import-not-found,unused-ignore]

    time.sleep(LOAD_SECONDS)
    runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
