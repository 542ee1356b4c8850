"""A gateway that says what it holds: ``python -m tests.benchmarks.leavers_gateway CONFIG TOLD``.

``gateway serve`` as it is. On SIGUSR1 it writes to the file TOLD, as JSON, how many of what an
operation needs there are at that moment.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway import serving
from gateway.execution.run import Run
from gateway.http.state import State
from gateway.limits.book import MemoryBook
from gateway.limits.hold import Hold
from gateway.settings import load


def held(state: State) -> dict[str, int]:
    """By name; none of it is there once the last operation has ended and been forgotten."""
    executor, targets = state.executor, state.registry.targets.values()
    away = executor.away
    gc.collect()
    objects = gc.get_objects()
    books = [x for x in objects if isinstance(x, MemoryBook)]
    return {
        "runs": len(executor.runs),
        "run objects": sum(isinstance(x, Run) for x in objects),
        "newest of a retry": len(executor.newest),
        "trailing attempts": len(executor._trailing),
        "waited for, hung up": len(away.hung_up),
        "waited for, told": sum(map(len, away.told.values())),
        "keys under way": len(state.idempotency.underway),
        "attempts running": sum(target.running for target in targets),
        "places taken": sum(target.gate.held for target in targets),
        "callers held": sum(target.gate.queued for target in targets),
        "holds": sum(isinstance(x, Hold) for x in objects),
        "leases": sum(len(book._leases) for book in books),
        "answers waiting for their file": len(state.results._waiting),
        "tasks": len(asyncio.all_tasks()),
    }


def main(config: Path, told: Path) -> None:
    """Serve until a signal."""

    class Telling(serving.GatewayServer):
        def __init__(self, app: Any, settings: Any, announce: Callable[[], None]) -> None:
            super().__init__(app, settings, announce)
            self.app = app

        def tell(self) -> None:
            half = told.with_suffix(".half")
            half.write_text(json.dumps(held(self.app.state.gateway)))
            half.replace(told)

        async def startup(self, sockets: object = None) -> None:
            await super().startup(sockets)  # type: ignore[arg-type]
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.tell)

    serving.GatewayServer = Telling  # type: ignore[misc]
    serving.serve(load(config, {}), print)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
