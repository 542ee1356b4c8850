"""A gateway whose event loop is watched: ``python -m tests.benchmarks.crowd_gateway CONFIG LAGS``.

``gateway serve`` as it is, and a task that sleeps 10 ms over and over. Each time it wakes, three
numbers go to the file LAGS, a line, when the gateway stops: when that was (the system's monotonic
clock, which all processes share), by how many seconds it was too late, and how many seconds of CPU
the event loop's thread has used meanwhile: on a machine that has other work to do as well, only
those are the gateway's own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from gateway import serving
from gateway.settings import load

EVERY_SECONDS = 0.01


async def watch(lags: list[tuple[float, float, float]]) -> None:
    """Until it is cancelled."""
    while True:
        due, used = time.monotonic() + EVERY_SECONDS, time.thread_time()
        await asyncio.sleep(EVERY_SECONDS)
        now = time.monotonic()
        lags.append((now, max(0.0, now - due), time.thread_time() - used))


def main(config: Path, told: Path) -> None:
    """Serve until a signal."""
    lags: list[tuple[float, float, float]] = []
    kept: list[asyncio.Task[None]] = []

    class Watched(serving.GatewayServer):
        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            kept.append(asyncio.create_task(watch(lags)))

        async def shutdown(self, sockets: object = None) -> None:
            kept.pop().cancel()
            await super().shutdown(sockets)  # type: ignore[arg-type]

    serving.GatewayServer = Watched  # type: ignore[misc]
    serving.serve(load(config, {}), print)
    told.write_text("".join(f"{at:.6f} {lag:.6f} {cpu:.6f}\n" for at, lag, cpu in lags))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
